from __future__ import annotations

import os
from contextlib import nullcontext
from itertools import permutations
from pathlib import Path

import pytest
from tests.layers.debs import directory, hard_link, link, member, write_deb

from hotdesk.build.unpack import MTIME, SystemTree
from hotdesk.errors import ConfigureError, StoreError, UnsafeArchiveError
from hotdesk.layers.debian import Ownership


@pytest.fixture
def tree(tmp_path: Path) -> SystemTree:
    (tmp_path / "tree").mkdir()
    return SystemTree(tmp_path / "tree")


def test_a_package_lands_below_merged_usr_with_the_one_time(tree: SystemTree, tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "a.deb", [directory("./bin/"), member("./bin/tool", b"x", mode=0o755)])

    unpacked = tree.unpack(deb, "a")

    root = Path(tree.root)
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "usr/bin/tool").read_bytes() == b"x"
    assert (root / "usr/bin/tool").stat().st_mtime == MTIME
    assert unpacked.listed == ("/.", "/bin", "/bin/tool")


def test_setuid_never_reaches_the_disk_but_is_remembered(tree: SystemTree, tmp_path: Path) -> None:
    deb = write_deb(
        tmp_path / "a.deb",
        [member("./usr/bin/su", b"x", mode=0o4755), directory("./tmp/", 0o1777), member("./usr/s", mode=0)],
    )

    tree.unpack(deb, "a")
    tree.finish()

    root = Path(tree.root)
    assert oct((root / "usr/bin/su").stat().st_mode & 0o7777) == "0o755"
    assert oct((root / "tmp").stat().st_mode & 0o7777) == "0o777"
    assert oct((root / "usr/s").stat().st_mode & 0o7777) == "0o600"
    assert tree.ownership["usr/bin/su"] == Ownership(0, 0, 0o4755)
    assert tree.ownership["tmp"] == Ownership(0, 0, 0o1777)


def test_modes_do_not_depend_on_the_umask(tree: SystemTree, tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "a.deb", [member("./implied/by/a/file", b"x")])
    before = os.umask(0o077)
    try:
        tree.unpack(deb, "a")
    finally:
        os.umask(before)

    assert oct((Path(tree.root) / "implied/by").stat().st_mode & 0o777) == "0o755"
    assert oct((Path(tree.root) / "implied/by/a/file").stat().st_mode & 0o777) == "0o644"


def test_a_hard_link_is_one(tree: SystemTree, tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "a.deb", [member("./usr/a", b"x"), hard_link("./usr/b", "./usr/a")])

    tree.unpack(deb, "a")

    assert (Path(tree.root) / "usr/b").stat().st_nlink == 2


@pytest.mark.parametrize("order", list(permutations(["old", "middle", "new"])))
def test_the_package_that_replaces_the_others_has_the_file_in_any_order(
    tree: SystemTree, tmp_path: Path, order: tuple[str, ...]
) -> None:
    replaces = {"old": "", "middle": "old (<< 2)", "new": "old, middle"}
    for name in order:
        deb = write_deb(
            tmp_path / f"{name}.deb",
            [member("./usr/shared", name.encode())],
            name=name,
            replaces=replaces[name],
        )
        tree.unpack(deb, name)
    tree.finish()

    assert (Path(tree.root) / "usr/shared").read_bytes() == b"new"


def test_one_file_in_two_packages_is_an_error_that_names_both(tree: SystemTree, tmp_path: Path) -> None:
    for name in ("one", "two"):
        tree.unpack(write_deb(tmp_path / f"{name}.deb", [member("./usr/shared", b"x")], name=name), name)

    with pytest.raises(ConfigureError, match="`one` and `two`") as caught:
        tree.finish()
    assert "/usr/shared" in caught.value.why


def test_no_package_writes_through_the_link_of_another(tree: SystemTree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree.unpack(write_deb(tmp_path / "a.deb", [link("./usr/door", str(outside))]), "a")

    with pytest.raises(UnsafeArchiveError):
        tree.unpack(write_deb(tmp_path / "b.deb", [member("./usr/door/file", b"x")]), "b")
    assert not list(outside.iterdir())


def test_a_link_does_not_take_the_place_of_a_directory(tree: SystemTree, tmp_path: Path) -> None:
    tree.unpack(write_deb(tmp_path / "a.deb", [directory("./usr/place/")]), "a")

    with pytest.raises(UnsafeArchiveError):
        tree.unpack(write_deb(tmp_path / "b.deb", [link("./usr/place", "/etc")]), "b")


@pytest.mark.parametrize("order", list(permutations(["one", "two"])))
def test_where_both_replace_each_other_the_order_does_not_decide(
    tree: SystemTree, tmp_path: Path, order: tuple[str, ...]
) -> None:
    replaces = {"one": "two", "two": "one"}
    for name in order:
        file = member("./usr/shared", name.encode())
        tree.unpack(write_deb(tmp_path / f"{name}.deb", [file], name=name, replaces=replaces[name]), name)
    tree.finish()

    assert (Path(tree.root) / "usr/shared").read_bytes() == b"one"


@pytest.mark.parametrize(("limit", "works"), [("<< 2", True), ("<< 1", False), ("<= 1", True)])
def test_what_replaces_other_versions_of_a_package_does_not_replace_this_one(
    tree: SystemTree, tmp_path: Path, limit: str, works: bool
) -> None:
    old = write_deb(tmp_path / "old.deb", [member("./usr/shared", b"old")], name="old", version="1")
    new = write_deb(
        tmp_path / "new.deb", [member("./usr/shared", b"new")], name="new", replaces=f"old ({limit})"
    )
    for name, deb in (("new", new), ("old", old)):
        tree.unpack(deb, name)

    with nullcontext() if works else pytest.raises(ConfigureError, match="`new` and `old`"):
        tree.finish()


def test_a_relation_that_cannot_be_read_is_an_error(tree: SystemTree, tmp_path: Path) -> None:
    for name in ("one", "two"):
        deb = write_deb(tmp_path / f"{name}.deb", [member("./usr/x", b"x")], name=name, replaces="(((")
        if name == "one":
            tree.unpack(deb, name)

    with pytest.raises(UnsafeArchiveError, match="`two`"):
        tree.unpack(deb, name)


def test_a_folder_too_deep_to_walk_is_refused(tree: SystemTree, tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "a.deb", [member("./" + "a/" * 1100 + "b", b"x")])

    with pytest.raises(UnsafeArchiveError, match="128 folders"):
        tree.unpack(deb, "a")


def test_a_file_system_that_takes_two_names_for_one_is_told_of(tree: SystemTree, tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "a.deb", [member("./usr/share/README", b"x")])
    tree.unpack(write_deb(tmp_path / "b.deb", [member("./usr/share/other", b"x")]), "b")
    Path(tree.root, "usr/share/README").touch()  # as if it were `readme` of another package

    with pytest.raises(StoreError, match="cannot hold a Linux system") as caught:
        tree.unpack(deb, "a")
    assert "/usr/share/README" in caught.value.why
