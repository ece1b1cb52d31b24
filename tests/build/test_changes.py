"""The layer between an image and a base system that is built on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.oci.images import image, layer, tree

from hotdesk.build.changes import changes_of, read_changes, write_changes
from hotdesk.build.ownership import write_ownership
from hotdesk.build.recipe import Recipe
from hotdesk.errors import StoreError
from hotdesk.layers.contents import TREE, scan_tree, write_contents
from hotdesk.layers.debian import Ownership
from hotdesk.oci.layer import tar_chunks
from hotdesk.oci.unpack import Unpacked, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = tree(
    {
        "etc": None,
        "etc/kept": b"kept",
        "etc/edited": b"before",
        "etc/link": "kept",
        "var": None,
        "var/gone": None,
        "var/gone/a": b"a",
        "var/gone/b": b"b",
        "var/file": b"becomes a folder",
        "var/folder": None,
        "var/folder/x": b"becomes a file",
    }
)


class System:
    """A system on an image: unpacked, changed by a test, and written down."""

    def __init__(self, folder: Path) -> None:
        self.store = folder
        self.item = folder / "item"
        self.tree = self.item / TREE
        self.tree.mkdir(parents=True)
        self.base: Unpacked = unpack(image(BASE), self.tree)
        self.owners: dict[str, Ownership] = dict(self.base.owners)

    def settle(self) -> None:
        contents = scan_tree(self.tree)
        held = {entry.path for entry in contents.entries}
        owners = {path: owner for path, owner in self.owners.items() if path in held}
        write_contents(contents, self.item)
        write_ownership(owners, self.item)
        write_changes(changes_of(self.base, contents, owners), self.item)

    def stacked(self, folder: Path) -> Unpacked:
        """What an engine would see: the image, and the layer on top of it."""
        folder.mkdir()
        members = Recipe("3.13", system="item").members(self.store)
        return unpack(image(BASE, b"".join(tar_chunks(members))), folder)


def edit(tree: Path) -> None:
    (tree / "etc/edited").write_bytes(b"after")
    (tree / "etc/new").write_bytes(b"new")
    (tree / "etc/new").chmod(0o644)


def remove(tree: Path) -> None:
    for path in ("var/gone/a", "var/gone/b", "etc/link"):
        (tree / path).unlink()
    (tree / "var/gone").rmdir()


def turn(tree: Path) -> None:
    (tree / "var/file").unlink()
    (tree / "var/file").mkdir(mode=0o755)
    (tree / "var/file/below").symlink_to("../..")
    (tree / "var/folder/x").unlink()
    (tree / "var/folder").rmdir()
    (tree / "var/folder").write_bytes(b"a file now")
    (tree / "var/folder").chmod(0o644)


@pytest.mark.parametrize("change", [edit, remove, turn, bool])
def test_the_image_with_the_layer_on_top_is_the_system(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    system = System(tmp_path)
    change(system.tree)
    system.settle()

    stacked = system.stacked(tmp_path / "stacked")

    assert scan_tree(tmp_path / "stacked") == scan_tree(system.tree)
    assert all(owner == Ownership(0, 0, owner.mode) for owner in stacked.owners.values())


def test_only_what_changed_is_in_the_layer_and_removed_folders_go_as_a_whole(tmp_path: Path) -> None:
    system = System(tmp_path)
    edit(system.tree)
    remove(system.tree)
    system.settle()

    changes = read_changes(system.item)
    assert changes
    assert changes.changed == ("etc/edited", "etc/new")
    assert changes.removed == ("etc/link", "var/gone")
    paths = [member.entry.path for member in Recipe("3.13", system="item").members(tmp_path)]
    assert paths == ["etc", "etc/.wh.link", "etc/edited", "etc/new", "var", "var/.wh.gone"]


def test_another_owner_or_mode_is_a_change_and_folders_above_keep_theirs(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.owners["etc/kept"] = Ownership(0, 42, 0o2644)
    system.owners["etc"] = Ownership(0, 7, 0o755)
    os.chmod(system.tree / "etc/edited", 0o600)
    system.owners["etc/edited"] = Ownership(0, 0, 0o600)
    system.settle()

    stacked = system.stacked(tmp_path / "stacked")

    assert stacked.owners["etc/kept"] == Ownership(0, 42, 0o2644)
    assert stacked.owners["etc"] == Ownership(0, 7, 0o755)
    assert stacked.owners["etc/edited"] == Ownership(0, 0, 0o600)
    assert "var" not in {member.entry.path for member in Recipe("3.13", system="item").members(tmp_path)}


def test_a_system_without_an_image_has_no_changes_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    assert read_changes(tmp_path) is None
    (tmp_path / "changes.json").write_text("[1]")

    with pytest.raises(StoreError, match="is damaged"):
        read_changes(tmp_path)


def test_the_layer_is_the_same_whoever_writes_it(tmp_path: Path) -> None:
    archives = []
    for name in ("one", "two"):
        system = System(tmp_path / name)
        edit(system.tree)
        remove(system.tree)
        system.settle()
        members = Recipe("3.13", system="item").members(tmp_path / name)
        archives.append(b"".join(tar_chunks(members)))

    assert layer(archives[0]).diff_id == layer(archives[1]).diff_id
