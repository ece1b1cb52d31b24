"""What is in each layer of a desk's image, as a recipe that follows from the lock and can be written down.

Paths in a recipe are those of its parts below the store, which name them by their hashes: equal recipes
give equal bytes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hotdesk.build.changes import read_changes, with_parents
from hotdesk.build.ownership import read_ownership
from hotdesk.engines.request import PREFIX
from hotdesk.errors import StoreError
from hotdesk.layers.contents import TREE, read_contents
from hotdesk.layers.entries import Directory, File, Link
from hotdesk.oci.layer import Member, in_order, roots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotdesk.layers.entries import Entry, Written

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A wheel with its bytecode, each without the paths that it leaves to others.

    `file` and `bytecode` are a file and an item, relative to the store; `name` is the wheel's file name and
    `sha256` its hash.
    """

    file: str
    name: str
    sha256: str
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
        return cls(**{**data, "wheels": tuple(WheelPart(**part) for part in parts)})

    def members(self, store: Path) -> list[Member]:
        """All that is in the layer, in order; `store` is the root of the store that has its parts."""
        if self.system:
            return _system_members(store / self.system)
        from hotdesk.build.environment import own_entries  # 20 ms, and most commands write no layer

        entries: list[Entry] = []
        for part in self.wheels:
            entries += _wheel(store, part, self.python)
        return in_order(roots(map(_below_prefix, entries or own_entries(self.python))))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _below_prefix(entry: Entry) -> Entry:
    path = f"{PREFIX[1:]}/{entry.path}"
    match entry:  # `dataclasses.replace` takes four times as long, and there are 50,000 of them
        case Directory():
            return Directory(path)
        case Link(_, target):
            return Link(path, target)
        case File(_, size, chunks, executable, sha256, deflated):
            return File(path, size, chunks, executable, sha256, deflated)


def _wheel(store: Path, part: WheelPart, python: str) -> Iterator[Entry]:
    from hotdesk.layers.wheels import wheel_entries

    # Its tree is in the store: every file was compared with RECORD when that was made of these very bytes.
    without = frozenset(part.without)
    for entry in wheel_entries(store / part.file, python, part.name, checked=True):
        if entry.path not in without:
            yield entry
    item, without = store / part.bytecode, frozenset(part.bytecode_without)
    for written in read_contents(item).entries:
        if written.content != "directory" and written.path not in without:
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
            file = f"{os.fspath(tree)}/{written.path}"
            return File(written.path, written.size, partial(_read, file, written.size, value), sha256=value)


def _read(path: str, size: int, sha256: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # A byte more than there should be: more memory than is needed costs more time than a small file.
        while piece := os.read(descriptor, min(_PIECE, size + 1)):
            digest.update(piece)
            yield piece
    finally:
        os.close(descriptor)
    if digest.hexdigest() != sha256:
        raise StoreError(
            f"{path} is not what it was made to be",
            why=f"its SHA-256 is {digest.hexdigest()}",
            hint="`hotdesk cache verify --repair` removes what is damaged; it is made anew when it is needed",
        )
