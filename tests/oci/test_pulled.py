"""Pulled images in the store: read back, noted, and found damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.images import put_in_store, small_image

from hotdesk.errors import RegistryError
from hotdesk.oci.pulled import (
    bare,
    blobs_of,
    differences,
    known_layers,
    pulled_image,
    recall_reference,
    remember_reference,
)
from hotdesk.oci.validate import problems
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_an_image_is_read_back_as_it_was(store: Store) -> None:
    image = small_image()

    got = pulled_image(store, put_in_store(store, image))

    assert got.manifest.descriptor == image.manifest.descriptor
    assert (got.id, got.platform) == (image.id, image.platform)
    assert [layer.history for layer in got.layers] == [layer.history for layer in image.layers]
    assert problems(got) == []
    assert known_layers(store).keys() == {layer.blob.descriptor.digest for layer in image.layers}


def test_what_was_not_pulled(store: Store) -> None:
    with pytest.raises(RegistryError, match="is not in the store") as caught:
        pulled_image(store, "sha256:" + "0" * 64)

    assert "hotdesk pull" in caught.value.hint


def test_an_image_without_one_of_its_blobs_is_not_offered(store: Store) -> None:
    digest = put_in_store(store, small_image())
    store.place("blob", bare(small_image().layers[1].blob.descriptor.digest)).unlink()

    with pytest.raises(RegistryError, match="is not in the store"):
        pulled_image(store, digest)
    assert known_layers(store) == {}


def test_a_reference_leads_to_what_it_led_to_while_that_is_there(store: Store) -> None:
    digest = put_in_store(store, small_image())
    assert recall_reference(store, "registry.example/desk:1 linux/amd64") == ""

    remember_reference(store, "registry.example/desk:1 linux/amd64", digest)
    assert recall_reference(store, "registry.example/desk:1 linux/amd64") == digest
    assert recall_reference(store, "registry.example/desk:1 linux/arm64") == ""

    assert store.remove("pulled", bare(digest))
    assert recall_reference(store, "registry.example/desk:1 linux/amd64") == ""


@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_a_damaged_item_is_found(store: Store, name: str) -> None:
    item = store.item("pulled", bare(put_in_store(store, small_image())))
    assert differences(store, item) == []
    path = item / name
    path.write_bytes(path.read_bytes().replace(b"linux", b"lunix").replace(b"2", b"2 ", 1))

    assert differences(store, item) == [f"{name} is damaged"]


def test_the_blobs_of_an_image_are_known_by_their_names(store: Store) -> None:
    item = store.item("pulled", bare(put_in_store(store, small_image())))

    assert blobs_of(item) == {path.name for path in (store.root / "blobs").iterdir()}
