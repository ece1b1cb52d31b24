from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotdesk.engines.trees import archived, plain_file, plain_place, unpack
from hotdesk.errors import EngineError
from hotdesk.layers.contents import scan_tree
from hotdesk.oci import tar


def a_tree(folder: Path) -> Path:
    tree = folder / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/tool").write_bytes(b"#!/bin/sh\n" * 100)
    (tree / "usr/bin/tool").chmod(0o4755)
    (tree / "usr/bin/empty").touch(0o600)
    (tree / "closed").mkdir()
    (tree / "closed/é\udcff").write_bytes(b"x" * 1024)
    (tree / "closed").chmod(0o500)
    (tree / "bin").symlink_to("usr/bin")
    (tree / "run").mkdir()
    (tree / "run/lock").touch()
    return tree


def test_a_tree_comes_back_as_it_went(tmp_path: Path) -> None:
    tree, back = a_tree(tmp_path), tmp_path / "back"
    back.mkdir()

    unpack([*archived(tree, ""), tar.END], back)

    assert scan_tree(back) == scan_tree(tree)


def test_some_folders_stay_where_they_are_with_what_is_in_them(tmp_path: Path) -> None:
    tree, sent, taken = a_tree(tmp_path), tmp_path / "sent", tmp_path / "taken"
    sent.mkdir()
    taken.mkdir()

    unpack([*archived(tree, "", without=("run",)), tar.END], sent)
    unpack([*archived(tree, ""), tar.END], taken, without=("run", "bin"))

    assert list((sent / "run").iterdir()) == []
    assert list((taken / "run").iterdir()) == []
    assert not os.path.lexists(taken / "bin")


def test_only_files_that_are_needed_go(tmp_path: Path) -> None:
    tree, sent = tmp_path / "tree", tmp_path / "sent"
    for path in (tree, sent):
        path.mkdir()
    (tree / "a.py").touch()
    (tree / "a.so").touch()

    unpack([*archived(tree, "", needed=".py"), tar.END], sent)

    assert [path.name for path in sent.iterdir()] == ["a.py"]


def hard_link(path: str, target: str) -> bytes:
    block = bytearray(tar.header("link", path, mode=0o777, target=target))
    block[156:157] = b"1"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


LINK = tar.header("link", "a", mode=0o777, target="/etc")


@pytest.mark.parametrize(
    "members",
    [
        [LINK, tar.header("file", "a/passwd", mode=0o644)],
        [LINK, tar.header("directory", "a", mode=0o755)],
        [LINK, tar.header("file", "a", mode=0o644)],
        [LINK, hard_link("b", "a/passwd")],
        [LINK, hard_link("b", "a")],
        [tar.header("file", "../out", mode=0o644)],
        [tar.header("file", "b/c", mode=0o644), tar.header("link", "b", mode=0o777, target="/etc")],
        [tar.header("file", "b", mode=0o644), tar.header("file", "b/c", mode=0o644)],
        [tar.header("file", "b", mode=0o644, size=5000), b"ab"],
    ],
)
def test_what_would_leave_the_tree_or_is_there_twice_is_refused(members: list[bytes], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()

    with pytest.raises(EngineError, match="cannot be taken over"):
        unpack([*members, tar.END], tree)

    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


@given(st.binary(max_size=3000))
def test_nonsense_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    with pytest.raises(EngineError):
        unpack([content + b"x" * 512], tmp_path_factory.mktemp("tree"))


def test_what_is_shown_through_a_link_goes_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "sent").mkdir()

    unpack([*archived(tmp_path / "link", "name"), tar.END], tmp_path / "sent")

    assert not (tmp_path / "sent/name").is_symlink()
    assert (tmp_path / "sent/name").read_text() == "content"


def test_there_is_an_end_to_what_is_taken_over(tmp_path: Path) -> None:
    endless = [tar.header("file", name, mode=0o644, size=512) + b"x" * 512 for name in "abc"]
    tree, other = tmp_path / "tree", tmp_path / "other"
    tree.mkdir()
    other.mkdir()

    unpack([*endless, tar.END], tree, most=1536)
    with pytest.raises(EngineError, match="too large"):
        unpack([*endless, tar.END], other, most=1535)

    assert sorted(path.name for path in other.iterdir()) == ["a", "b"]


def test_a_link_on_the_way_leads_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "tree/usr").mkdir(parents=True)
    (tmp_path / "tree/etc").symlink_to("/etc")
    (tmp_path / "tree/log").symlink_to("/etc/passwd")

    assert plain_place(tmp_path / "tree", "usr/tool") == tmp_path / "tree/usr/tool"
    with pytest.raises(EngineError):
        plain_place(tmp_path / "tree", "etc/passwd")
    for gone in ("log", "usr/none", "none/file"):
        with pytest.raises(EngineError, match="not where it was"):
            plain_file(tmp_path / "tree", gone)
