from __future__ import annotations

import fcntl
import json
import os
import resource
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.oci.images import image, layer, tree

from hotdesk.errors import ImageError, UnsafeImageError
from hotdesk.oci.layout import index_names, is_layout, read_layout, write_layout
from hotdesk.oci.model import INDEX, REF_NAME, Blob, Image, canonical, index_of
from hotdesk.oci.validate import problems

if TYPE_CHECKING:
    from pathlib import Path

SMALL = image(tree({"a": b"a" * 3000}), tree({"b": "a"}))
ARM = image(tree({"a": b"a" * 3000}), platform="linux/arm64")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def same(found: Image, meant: Image) -> bool:
    return (found.id, found.manifest.descriptor, found.platform, [one.history for one in found.layers]) == (
        meant.id,
        meant.manifest.descriptor,
        meant.platform,
        [one.history for one in meant.layers],
    )


@pytest.mark.parametrize("name", ["desk.tar", "desk"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    write_layout([SMALL, ARM], tmp_path / name, "desk:latest")

    found = read_layout(tmp_path / name)

    assert is_layout(tmp_path / name)
    assert index_names(tmp_path / name) == ["desk:latest"]
    assert [same(one, meant) for one, meant in zip(found, [SMALL, ARM], strict=True)] == [True, True]
    assert [problems(one) for one in found] == [[], []]
    assert b"".join(found[0].layers[1].tar_chunks()) == b"".join(SMALL.layers[1].tar_chunks())


def test_both_forms_hold_the_same_files(tmp_path: Path) -> None:
    write_layout([SMALL], tmp_path / "desk.tar", "desk:latest")
    write_layout([SMALL], tmp_path / "desk", "desk:latest")

    with tarfile.open(tmp_path / "desk.tar") as archive:
        held = {
            member.name: file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }
    assert held == files(tmp_path / "desk")


def test_docker_s_own_document_names_the_same_blobs(tmp_path: Path) -> None:
    write_layout([SMALL], tmp_path / "desk", "desk:latest")

    (row,) = json.loads((tmp_path / "desk/manifest.json").read_bytes())

    assert row["RepoTags"] == ["desk:latest"]
    assert {row["Config"], *row["Layers"]} <= files(tmp_path / "desk").keys()
    assert row["Config"].endswith(SMALL.id.removeprefix("sha256:"))


def test_platforms_have_names_of_their_own_for_docker(tmp_path: Path) -> None:
    write_layout([SMALL, ARM], tmp_path / "desk", "desk:1")

    rows = json.loads((tmp_path / "desk/manifest.json").read_bytes())

    assert [row["RepoTags"] for row in rows] == [["desk:1-amd64"], ["desk:1-arm64"]]


def test_an_archive_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_layout([SMALL], tmp_path / "one.tar", "desk:latest")
    write_layout([SMALL], tmp_path / "two.tar", "desk:latest")

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert {(member.uid, member.mtime) for member in archive} == {(0, 315532800)}


def test_a_folder_is_brought_up_to_date(tmp_path: Path) -> None:
    """What it has is not written again; what the image does not have any more goes."""
    write_layout([SMALL], tmp_path / "desk", "desk:latest")
    lower = tmp_path / "desk/blobs/sha256" / SMALL.layers[0].blob.descriptor.digest.removeprefix("sha256:")
    before = lower.stat().st_mtime_ns
    newer = image(SMALL.layers[0], tree({"c": b"c"}))

    write_layout([newer], tmp_path / "desk", "desk:latest")

    assert lower.stat().st_mtime_ns == before
    assert len(list(lower.parent.iterdir())) == 4
    (found,) = read_layout(tmp_path / "desk")
    assert same(found, newer)


def test_a_damaged_blob_in_a_folder_is_written_again(tmp_path: Path) -> None:
    write_layout([SMALL], tmp_path / "desk", "desk:latest")
    lower = tmp_path / "desk/blobs/sha256" / SMALL.layers[0].blob.descriptor.digest.removeprefix("sha256:")
    lower.write_bytes(bytes(lower.stat().st_size))
    (damaged,) = read_layout(tmp_path / "desk")
    assert problems(damaged)

    write_layout([SMALL], tmp_path / "desk", "desk:latest")

    assert problems(read_layout(tmp_path / "desk")[0]) == []


def test_somebody_else_s_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter-1").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.tar").mkdir()
    write_layout([SMALL], tmp_path / "other", "other:latest")

    for name, why in [
        ("thesis", "it holds `chapter-1`"),
        ("file", "it is a file"),
        ("folder.tar", "it is a folder"),
        ("other", "it holds another image, `other:latest`"),
    ]:
        with pytest.raises(ImageError) as caught:
            write_layout([SMALL], tmp_path / name, "desk:latest")
        assert why in caught.value.why


@pytest.mark.parametrize("name", ["desk.tar", "desk"])
def test_a_blob_that_is_not_what_it_says_is_never_written(tmp_path: Path, name: str) -> None:
    good = layer(tree({"a": b"a"}))
    lying = image(replace(good, blob=Blob(good.blob.descriptor, lambda: iter((b"something else",)))))

    with pytest.raises(ImageError, match="not what its digest says"):
        write_layout([lying], tmp_path / name, "desk:latest")

    assert not [path for path in files(tmp_path) if "index.json" in path or path.endswith(".tar")]
    assert not list(tmp_path.rglob("*.partial"))


def test_an_archive_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    write_layout([SMALL], tmp_path / "desk.tar", "desk:latest")
    before = (tmp_path / "desk.tar").read_bytes()
    good = layer(tree({"a": b"a"}))
    lying = image(replace(good, blob=Blob(good.blob.descriptor, lambda: iter((b"",)))))

    with pytest.raises(ImageError):
        write_layout([lying], tmp_path / "desk.tar", "desk:latest")

    assert (tmp_path / "desk.tar").read_bytes() == before


def test_what_a_kill_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".desk.tar.partial").write_bytes(b"rubbish" * 10_000)

    write_layout([SMALL], tmp_path / "desk.tar", "desk:latest")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["desk.tar"]
    assert problems(read_layout(tmp_path / "desk.tar")[0]) == []


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ImageError) as caught:
            write_layout([SMALL], tmp_path / "desk.tar", "desk:latest")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "the disk is full" in caught.value.what
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    with (tmp_path / ".desk.tar.partial").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ImageError) as caught:
            write_layout([SMALL], tmp_path / "desk.tar", "desk:latest")

    assert caught.value.why == "another process is writing it"


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    write_layout([SMALL], tmp_path / "desk", "desk:latest")
    other = os.open(tmp_path / "desk/blobs/sha256", os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ImageError, match="cannot be written"):
            write_layout([SMALL], tmp_path / "desk", "desk:latest")
    finally:
        os.close(other)


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    write_layout([SMALL], tmp_path / "desk", "desk:latest")
    (tmp_path / "desk/index.json").unlink()
    os.mkfifo(tmp_path / "desk/index.json")

    with pytest.raises(ImageError, match="no image that can be read"):
        read_layout(tmp_path / "desk")


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ImageError) as caught:
        write_layout([SMALL], tmp_path / "file/desk.tar", "desk:latest")

    assert "-o" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08", b"text" * 500, bytes(2000)])
def test_a_file_that_is_no_layout_is_explained(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "desk.tar").write_bytes(content)

    with pytest.raises(ImageError) as caught:
        read_layout(tmp_path / "desk.tar")

    assert caught.value.why
    assert caught.value.hint


def test_a_missing_or_empty_place_is_explained(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ImageError, match="no image that can be read"):
            read_layout(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_an_archive_that_is_cut_short_is_no_image(tmp_path: Path, kept: float) -> None:
    write_layout([SMALL], tmp_path / "desk.tar", "desk:latest")
    content = (tmp_path / "desk.tar").read_bytes()
    (tmp_path / "desk.tar").write_bytes(content[: int(len(content) * kept)])

    with pytest.raises(ImageError):
        read_layout(tmp_path / "desk.tar")


def test_an_index_in_the_index_is_followed(tmp_path: Path) -> None:
    write_layout([SMALL, ARM], tmp_path / "desk", "desk:latest")
    inner = index_of([SMALL, ARM])
    content = b"".join(inner.chunks())
    (tmp_path / "desk/blobs/sha256" / inner.descriptor.digest.removeprefix("sha256:")).write_bytes(content)
    rows = [inner.descriptor.to_json() | {"annotations": {REF_NAME: "desk:latest"}}]
    (tmp_path / "desk/index.json").write_bytes(
        canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": rows})
    )

    assert [found.platform for found in read_layout(tmp_path / "desk")] == ["linux/amd64", "linux/arm64"]


ROW = SMALL.manifest.descriptor.to_json()


@pytest.mark.parametrize(
    "rows",
    [
        None,
        [],
        [1],
        [ROW | {"digest": "sha256:../../../etc/passwd"}],
        [ROW | {"digest": f"sha256:{'0' * 64}"}],
        [ROW | {"size": 1}],
        [ROW] * 300,
        [ROW] + [" " * 1024] * 5000,
    ],
    ids=range(8),
)
def test_an_index_that_lies_is_refused(tmp_path: Path, rows: list[object] | None) -> None:
    write_layout([SMALL], tmp_path / "desk", "desk:latest")
    (tmp_path / "desk/index.json").write_bytes(canonical({"schemaVersion": 2, "manifests": rows}))

    with pytest.raises((ImageError, UnsafeImageError)):
        read_layout(tmp_path / "desk")
