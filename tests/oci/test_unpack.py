from __future__ import annotations

import gzip
import os
import stat
import tarfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.oci.images import archive, image, info, layer, tree

from hotdesk.errors import UnsafeArchiveError
from hotdesk.layers.contents import Contents, differences, scan_tree
from hotdesk.layers.debian import Ownership
from hotdesk.oci.unpack import Unpacked, unpack


def unpacked(folder: Path, *layers: bytes) -> Unpacked:
    folder.mkdir()
    return unpack(image(*layers), folder)


def shown(folder: Path) -> dict[str, str | None]:
    """What is on disk: a file's text, a link's target, None for a directory."""
    found: dict[str, str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = None if path.is_dir() else path.read_text()
    return found


def test_layers_become_one_tree(tmp_path: Path) -> None:
    base = tree({"bin": "usr/bin", "usr/bin/sh": b"sh", "etc/a": b"old", "etc/b": b"gone", "opt/x/y": b"y"})
    top = tree({"etc/a": b"new", "etc/.wh.b": b"", "opt/x/.wh..wh..opq": b"", "opt/x/z": b"z"})

    unpacked(tmp_path / "tree", base, top)

    assert shown(tmp_path / "tree") == {
        "bin": "-> usr/bin",
        "etc": None,
        "etc/a": "new",
        "opt": None,
        "opt/x": None,
        "opt/x/z": "z",
        "usr": None,
        "usr/bin": None,
        "usr/bin/sh": "sh",
    }


def test_kinds_may_change_from_layer_to_layer(tmp_path: Path) -> None:
    unpacked(
        tmp_path / "tree", tree({"a/b/c": b"", "f": b"", "l": "a"}), tree({"a": "f", "f": None, "f/g": b"g"})
    )

    assert shown(tmp_path / "tree") == {"a": "-> f", "f": None, "f/g": "g", "l": "-> a"}


def test_modes_on_disk_are_plain_and_the_meant_ones_are_told(tmp_path: Path) -> None:
    secret = info("etc/shadow", mode=0o640)
    secret.gid = 42
    setuid, closed = info("su", mode=0o4755), info("closed", tarfile.DIRTYPE, mode=0o1000)

    found = unpacked(tmp_path / "tree", archive((secret, b"x"), (setuid, b"x"), closed))

    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "tree").rglob("*")}
    assert modes == {"etc": 0o755, "shadow": 0o640, "su": 0o755, "closed": 0o700}
    assert found.owners["etc/shadow"] == Ownership(0, 42, 0o640)
    assert found.owners["su"] == Ownership(0, 0, 0o4755)
    assert found.owners["closed"] == Ownership(0, 0, 0o1000)


def test_whoever_unpacks_with_whatever_umask_gets_the_same(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpacked(tmp_path / "tree", tree({"a/b": b""}))
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "tree/a").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "tree/a/b").stat().st_mode) == 0o644


def test_hard_links_are_one_file(tmp_path: Path) -> None:
    unpacked(tmp_path / "tree", tree({"a": b"abc"}), archive(info("d/b", tarfile.LNKTYPE, "a")))

    assert (tmp_path / "tree/d/b").samefile(tmp_path / "tree/a")


def test_replacing_one_name_of_a_file_leaves_the_other(tmp_path: Path) -> None:
    names = archive((info("a"), b"old"), info("b", tarfile.LNKTYPE, "a"))

    unpacked(tmp_path / "tree", names, tree({"a": b"new"}))

    assert shown(tmp_path / "tree") == {"a": "new", "b": "old"}


def test_times_are_the_archive_s(tmp_path: Path) -> None:
    file, folder = info("d/f"), info("d", tarfile.DIRTYPE, mode=0o755)
    file.mtime, folder.mtime = 1_000_000_000, 1_100_000_000

    unpacked(tmp_path / "tree", archive(folder, (file, b"")))

    assert (tmp_path / "tree/d").stat().st_mtime == 1_100_000_000
    assert (tmp_path / "tree/d/f").stat().st_mtime == 1_000_000_000


def test_what_was_written_is_told_as_it_is_on_disk(tmp_path: Path) -> None:
    base = archive(
        (info("a", mode=0o4711), b"a"),
        info("b", tarfile.LNKTYPE, "a"),
        info("l", tarfile.SYMTYPE, "/nowhere"),
        info(b"latin-\xe9".decode("utf-8", "surrogateescape")),
        info("d", tarfile.DIRTYPE, mode=0o555),
    )

    found = unpacked(tmp_path / "tree", base, tree({"d/e/f": b"f", "a": b"new"}))

    assert differences(Contents.of(found.written), scan_tree(tmp_path / "tree")) == []


def test_a_layer_that_lies_is_refused(tmp_path: Path) -> None:
    sound, other = (layer(tar, gzip.compress(tar, 0)) for tar in (tree({"a": b"a"}), tree({"a": b"b"})))
    assert sound.blob.descriptor.size == other.blob.descriptor.size
    swapped = replace(sound, blob=replace(sound.blob, chunks=other.blob.chunks))
    (tmp_path / "tree").mkdir()

    with pytest.raises(UnsafeArchiveError, match="another digest"):
        unpack(image(swapped), tmp_path / "tree")


_PATHS = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "b/canary", "../canary", "a/../../canary", "/tmp/canary", ".wh.a", "a/.wh.b",
     "a/.wh..wh..opq", ".wh...", "a/.wh..", "./b/", "canary"]
)  # fmt: skip
_TARGETS = st.sampled_from(["..", "../..", "/", "/tmp", "a", "../canary", "../../outside", "b", "."])
_KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
_MEMBERS = st.lists(st.tuples(_PATHS, _KINDS, _TARGETS), min_size=1, max_size=6)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_MEMBERS, min_size=1, max_size=3))
def test_nothing_hostile_reaches_what_is_outside(layers: list[list[tuple[str, bytes, str]]]) -> None:
    with TemporaryDirectory() as name:
        outside = Path(name)
        (outside / "canary").write_text("alive")
        (outside / "outside").mkdir()
        made = [
            archive(*((info(path, kind, target), b"dead" if kind == tarfile.REGTYPE else b"")
                      for path, kind, target in members))
            for members in layers
        ]  # fmt: skip
        try:
            found = unpacked(outside / "tree", *made)
        except UnsafeArchiveError:
            found = None
        assert sorted(os.listdir(outside)) == ["canary", "outside", "tree"]
        assert (outside / "canary").read_text() == "alive"
        assert (outside / "canary").stat().st_nlink == 1
        assert os.listdir(outside / "outside") == []
        if found:
            assert differences(Contents.of(found.written), scan_tree(outside / "tree")) == []
