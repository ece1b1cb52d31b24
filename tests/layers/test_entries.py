from __future__ import annotations

from typing import TYPE_CHECKING

from hotdesk.layers.entries import Directory, write_tree

if TYPE_CHECKING:
    from pathlib import Path


def test_a_group_that_folders_hand_on_does_not_change_modes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    tree.chmod(0o2755)

    write_tree([Directory("a/b"), Directory("c/d"), Directory("e")], tree)

    assert {path.stat().st_mode & 0o7777 for path in tree.rglob("*")} == {0o755}
