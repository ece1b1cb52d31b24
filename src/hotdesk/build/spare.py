"""The next environment, made ahead: a twin of the last one, in which little is to be changed.

One more package should cost that package, but linking 50,000 files takes longer than all else until it can
be imported. A twin has its folders for itself and shares all files, so that one is kept: of the environment
that was made last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotdesk.build.environment import COMPILED, EnvironmentBuild, made_of
from hotdesk.errors import StoreError
from hotdesk.layers.contents import TREE, read_contents
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hotdesk.store import Store

    Part = tuple[str, str]  # the kind and the key of an item


def keep_spare(
    store: Store, environment: str, python: str, wheels: Sequence[Path], bytecode: Sequence[Path]
) -> None:
    """Make the twin of an environment of this key and of these items; it replaces the one that is kept."""

    def fill(item: Path) -> None:
        build = EnvironmentBuild(item, python)
        for wheel in wheels:
            build.link(wheel)
        build.finish(wheels, bytecode)

    kept = store.make("spare", environment, fill)
    for other in kept.parent.iterdir():
        if other != kept:
            store.remove("spare", other.name)


def take_spare(store: Store, item: Path, wanted: set[Part]) -> frozenset[Path]:
    """Move the spare to `item`, an empty folder, without what is not `wanted`; the wheels that it has then.

    None where there is no spare, or where it is not worth it.
    """
    for spare in (store.root / "items" / "spare").glob("*"):
        try:
            parts = made_of(spare)
            stays, goes = parts & wanted, parts - wanted
            removed = _removed(store, stays, goes) if len(goes) < len(stays) else None
            if removed is None:
                continue
            spare.rename(item)
        except (OSError, ValueError, TypeError, KeyError, StoreError):
            continue  # another process was faster, or it is damaged, or what it was made of is gone
        try:
            _remove(item, removed, [key for kind, key in goes if kind == "bytecode"])
        except OSError:  # damaged in another way
            remove_tree(item)
            item.mkdir()
            break
        return frozenset(store.item("wheel", key) for kind, key in stays if kind == "wheel")
    return frozenset()


def _removed(store: Store, stays: set[Part], goes: set[Part]) -> tuple[set[str], set[str]] | None:
    """The files and folders that only `goes` holds; none where a file is in both: who has it is not known."""
    if not goes:
        return set(), set()
    kept_files, kept_folders = _paths(store, stays)
    files, folders = _paths(store, goes)
    return None if files & kept_files else (files, folders - kept_folders - {"bin"})


def _paths(store: Store, parts: Iterable[Part]) -> tuple[set[str], set[str]]:
    """The files and the folders of these items."""
    files: set[str] = set()
    folders: set[str] = set()
    for kind, key in parts:
        for written in read_contents(store.root / "items" / kind / key).entries:
            (folders if written.content == "directory" else files).add(written.path)
    below = {path.rpartition("/")[0] for path in files}
    while below:
        folders |= below
        below = {path.rpartition("/")[0] for path in below} - folders
    return files, folders


def _remove(item: Path, removed: tuple[set[str], set[str]], bytecode: Iterable[str]) -> None:
    files, folders = removed
    for path in files:
        (item / TREE / path).unlink(missing_ok=True)
    for path in sorted(folders, key=len, reverse=True):
        (item / TREE / path).rmdir()
    for key in bytecode:
        (item / COMPILED / key).unlink()
