"""What is in each layer of a desk's image, as a recipe that follows from the lock and can be written down.

Paths in a recipe are those of its parts below the store, which name them by their hashes: equal recipes
give equal bytes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hotdesk.build.changes import read_changes, with_parents
from hotdesk.build.environment import own_entries
from hotdesk.build.ownership import read_ownership
from hotdesk.engines.request import PREFIX
from hotdesk.errors import StoreError
from hotdesk.layers.contents import TREE, read_contents
from hotdesk.layers.entries import Directory, File, Link
from hotdesk.layers.wheels import wheel_entries
from hotdesk.oci.layer import Member, in_order, roots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotdesk.layers.entries import Entry, Written

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A wheel with its bytecode, each without the paths that it leaves to others.

    `file` and `bytecode` are a file and an item, relative to the store; `name` is the wheel's file name.
    """

    file: str
    name: str
    bytecode: str
    without: tuple[str, ...] = ()
    bytecode_without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A layer: the base system that is the item `system`, or these wheels, or else the empty environment.

    Of a base system on an image, it is what that has not.
    """

    python: str
    system: str = ""
    wheels: tuple[WheelPart, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recipe:
        parts = ({name: _frozen(value) for name, value in part.items()} for part in data["wheels"])
        return cls(data["python"], data["system"], tuple(WheelPart(**part) for part in parts))

    def members(self, store: Path) -> list[Member]:
        """All that is in the layer, in order; `store` is the root of the store that has its parts."""
        if self.system:
            return _system_members(store / self.system)
        entries: list[Entry] = []
        for part in self.wheels:
            entries += _wheel(store, part, self.python)
        return in_order(roots(map(_below_prefix, entries or own_entries(self.python))))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _below_prefix(entry: Entry) -> Entry:
    return replace(entry, path=f"{PREFIX[1:]}/{entry.path}")


def _wheel(store: Path, part: WheelPart, python: str) -> Iterator[Entry]:
    # Its tree is in the store: every file was compared with RECORD when that was made of these very bytes.
    for entry in wheel_entries(store / part.file, python, part.name, checked=True):
        if entry.path not in part.without:
            yield entry
    item = store / part.bytecode
    for written in read_contents(item).entries:
        if written.path not in part.bytecode_without:
            yield _on_disk(item / TREE, written)


def _system_members(item: Path) -> list[Member]:
    """All of a base system, or what makes it out of the image that it is built on."""
    changes = read_changes(item)
    if changes is None:
        return in_order(_system(item))
    wanted = with_parents([*changes.changed, *changes.removed]) - {*changes.removed}
    return in_order((one for one in _system(item) if one.entry.path in wanted), changes.removed)


def _system(item: Path) -> Iterator[Member]:
    owners = read_ownership(item)
    for written in read_contents(item).entries:
        owner = owners.get(written.path)
        entry = _on_disk(item / TREE, written)
        if owner:
            yield Member(entry, owner.mode, owner.uid, owner.gid)
        else:
            yield Member(entry, written.mode)


def _on_disk(tree: Path, written: Written) -> Entry:
    """What a tree of the store holds, to be checked while it is read."""
    kind, _, value = written.content.partition(":")
    match kind:
        case "directory":
            return Directory(written.path)
        case "link":
            return Link(written.path, value)
        case _:
            return File(written.path, written.size, partial(_read, tree, written, value), sha256=value)


def _read(tree: Path, written: Written, sha256: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    with open(tree / written.path, "rb", buffering=0, opener=_no_link) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            yield piece
    if digest.hexdigest() != sha256:
        raise StoreError(
            f"{tree / written.path} is not what it was made to be",
            why=f"its SHA-256 is {digest.hexdigest()}",
            hint="`hotdesk cache verify --repair` removes what is damaged; it is made anew when it is needed",
        )


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
