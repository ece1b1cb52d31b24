"""The image that a desk is built on, in the store or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.oci.images import image, tree
from tests.support.images import put_in_store

from hotdesk.build.base import base_layers, bring_image, check_image, is_there, locked_blobs
from hotdesk.errors import ImageError, NotCachedError, RegistryError
from hotdesk.lock_base import LockedBase
from hotdesk.oci.pulled import pulled_image
from hotdesk.store import Store

AMD = "linux/amd64"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def base(store: Store) -> LockedBase:
    digest = put_in_store(store, image(tree({"a": b"a"}), tree({"b": b"b"})))
    manifest, config, layers = locked_blobs(pulled_image(store, digest))
    return LockedBase(manifest, config, layers, "debian:trixie", "3.13.5", 41)


def test_what_is_there_is_not_asked_for(store: Store, base: LockedBase) -> None:
    bring_image(store, base, "", AMD, offline=True)

    assert is_there(store, base)


def test_an_image_without_one_of_its_layers_is_not_there(store: Store, base: LockedBase) -> None:
    store.place("blob", base.layers[0].digest.removeprefix("sha256:")).unlink()

    assert not is_there(store, base)
    with pytest.raises(NotCachedError, match="the image that this desk is built on"):
        bring_image(store, base, "registry.example/base:1", AMD, offline=True)
    with pytest.raises(RegistryError, match="is not in the store") as caught:
        bring_image(store, base, "", AMD)
    assert "a lock names no registry" in caught.value.why


def test_a_lock_that_was_edited_is_found_out(store: Store, base: LockedBase) -> None:
    found = pulled_image(store, base.digest)
    check_image(found, base)

    with pytest.raises(ImageError, match="not what the lock says"):
        check_image(found, replace(base, layers=base.layers[:1]))


def test_its_layers_are_those_of_the_desk_by_their_oci_names(store: Store, base: LockedBase) -> None:
    layers = base_layers(store, base)

    assert [layer.blob.descriptor.digest for layer in layers] == [layer.digest for layer in base.layers]
    assert {layer.blob.descriptor.media_type for layer in layers} == {
        "application/vnd.oci.image.layer.v1.tar+gzip"
    }
    assert base_layers(store, None) == []
