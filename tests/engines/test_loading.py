from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.support.busybox import note

from hotdesk.engines.loading import Form, archive, left_out, tag_of
from hotdesk.oci.model import image_of

if TYPE_CHECKING:
    from hotdesk.oci.model import Image


@pytest.fixture(scope="module")
def image() -> Image:
    return image_of("linux/amd64", {}, [note("a"), note("b"), note("c")])


def files(image: Image, form: Form, without: frozenset[str] = frozenset()) -> dict[str, bytes]:
    written = b"".join(archive(image, form, "localhost/a:b", without))
    with tarfile.open(fileobj=io.BytesIO(written)) as read:
        return {member.name: read.extractfile(member).read() for member in read.getmembers()}  # type: ignore[union-attr]


def blobs(found: dict[str, bytes]) -> dict[str, bytes]:
    return {
        f"sha256:{name.rpartition('/')[2]}": content for name, content in found.items() if "blobs" in name
    }


def test_docker_gets_plain_archives_by_their_diff_ids(image: Image) -> None:
    found = files(image, "docker")
    (row,) = json.loads(found["manifest.json"])

    assert row["RepoTags"] == ["localhost/a:b"]
    assert found[row["Config"]] == image.config
    for layer, path in zip(image.layers, row["Layers"], strict=True):
        assert found[path] == b"".join(layer.tar_chunks())
        assert path.endswith(hashlib.sha256(found[path]).hexdigest())


@pytest.mark.parametrize("form", ["oci", "plain oci"])
def test_every_blob_of_a_layout_is_what_its_name_and_the_manifest_say(image: Image, form: Form) -> None:
    found = files(image, form)
    (row,) = json.loads(found["index.json"])["manifests"]
    manifest = json.loads(blobs(found)[row["digest"]])

    assert row["annotations"]["io.containerd.image.name"] == "localhost/a:b"
    assert manifest["config"]["digest"] == image.id
    for descriptor in (row, manifest["config"], *manifest["layers"]):
        content = blobs(found)[descriptor["digest"]]
        assert len(content) == descriptor["size"]
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"]


def test_containerd_gets_the_very_manifest_that_a_registry_has(image: Image) -> None:
    (row,) = json.loads(files(image, "oci")["index.json"])["manifests"]

    assert row["digest"] == image.manifest.descriptor.digest


@pytest.mark.parametrize("form", ["docker", "oci", "plain oci"])
def test_what_is_left_out_is_named_and_not_sent(image: Image, form: Form) -> None:
    whole, part = files(image, form), files(image, form, frozenset({image.layers[1].diff_id}))

    (missing,) = whole.keys() - part.keys()
    assert {name: content for name, content in whole.items() if name != missing} == part
    assert whole[missing] in [
        b"".join(image.layers[1].tar_chunks()),
        b"".join(image.layers[1].blob.chunks()),
    ]


def test_the_same_layer_twice_is_sent_once() -> None:
    twice = image_of("linux/amd64", {}, [note("a"), note("b"), note("a")])

    written = b"".join(archive(twice, "docker", "localhost/a:b"))
    with tarfile.open(fileobj=io.BytesIO(written)) as read:
        assert len(read.getnames()) == len(set(read.getnames())) == 4


def test_it_tells_how_much_of_the_layers_was_sent(image: Image) -> None:
    sent: list[int] = []

    for _ in archive(image, "docker", "localhost/a:b", frozenset({image.layers[0].diff_id}), sent.append):
        pass

    assert sum(sent) == sum(layer.tar_size for layer in image.layers[1:])


A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")


def test_a_stack_counts_from_the_bottom_only() -> None:
    assert left_out([A, B, C], [[A, B, D]], stacked=True) == {A, B}
    assert left_out([A, B, C], [[B, C]], stacked=True) == set()
    assert left_out([A, B, C], [[A], [D, B]], stacked=True) == {A}
    assert left_out([A, B, C], [], stacked=True) == set()
    assert left_out([A, B], [[A, B, C]], stacked=True) == {A, B}


def test_without_stacks_every_known_layer_counts() -> None:
    assert left_out([A, B, C], [[D, B], [C]], stacked=False) == {B, C}


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("sdcnd-term1", "localhost/hotdesk/sdcnd-term1:cpu"),
        ("My_Desk.2", "localhost/hotdesk/my-desk-2:cpu"),
        ("__", "localhost/hotdesk/desk:cpu"),
    ],
)
def test_a_desks_tag_is_one_whatever_its_name(name: str, tag: str) -> None:
    assert tag_of(name, "cpu") == tag
