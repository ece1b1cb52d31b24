"""What layers hold together, one applied on another: the tree that a container would see.

Source: OCI image specification 1.1, "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hotdesk.oci.untar import Header, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MOST_PATHS = 1_000_000
_OTHER_MARKERS = ".wh..wh."


@dataclass(slots=True)
class Node:
    """One path of the tree: its newest header, and the number of the layer that brought it.

    A hard link has the header of what it is another name of. `implied` tells of a directory that only its
    members speak of so far; `content` is the caller's.
    """

    header: Header
    layer: int
    implied: bool = False
    entries: dict[str, Node] = field(default_factory=dict)
    content: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What a member does to the tree, in this order.

    `node` is what is there then, None for what only removes; `linked` is the other name of a hard link.
    """

    removed: tuple[str, ...]
    parents: tuple[str, ...] = ()
    node: Node | None = None
    linked: str = ""


class Stack:
    """The tree below layers, the lowest first: `begin` each, and `add` its members."""

    def __init__(self) -> None:
        self.root = Node(Header("", "directory", 0o755), -1)
        self._layer = -1
        self._made = 0

    def begin(self) -> None:
        self._layer += 1

    def add(self, header: Header) -> Change:
        """Apply a member.

        `UnsafeArchiveError` where its layer has the path already, where it is below something that is no
        directory, a link above all, and where it is a hard link to nothing.
        """
        if not header.path:
            self.root.header, self.root.layer = header, self._layer
            return Change((), node=self.root)
        folder, _, name = header.path.rpartition("/")
        removed: list[str] = []
        if name.startswith(WHITEOUT):
            self._whiteout(header, folder, name, removed)
            return Change(tuple(removed))
        parents: list[str] = []
        parent = self._folder(folder, parents)
        node = self._place(header, parent, name, removed)
        return Change(
            tuple(removed), tuple(parents), node, header.target if header.kind == "hardlink" else ""
        )

    def find(self, path: str) -> Node | None:
        """What is at `path`, itself and no link on the way followed."""
        node: Node | None = self.root
        for part in path.split("/") if path else ():
            node = node.entries.get(part) if node else None
        return node

    def nodes(self) -> Iterator[Node]:
        """All but the root, each directory before what is in it."""
        pending = [*self.root.entries.values()]
        while pending:
            node = pending.pop()
            yield node
            pending += node.entries.values()

    def _folder(self, path: str, parents: list[str]) -> Node:
        node, here = self.root, ""
        for part in path.split("/") if path else ():
            if part.startswith(WHITEOUT):
                refuse("a name is a marker's", repr(path))
            here = f"{here}/{part}" if here else part
            below = node.entries.get(part)
            if below is None:
                self._count(here)
                below = node.entries[part] = Node(Header(here, "directory", 0o755), self._layer, implied=True)
                parents.append(here)
            if below.header.kind != "directory":
                refuse(f"a member is below a {_word(below)}", f"{path!r} is in the way at {here!r}")
            node = below
        return node

    def _place(self, header: Header, parent: Node, name: str, removed: list[str]) -> Node:
        old = parent.entries.get(name)
        if old and old.header.kind == header.kind == "directory":
            if old.layer == self._layer and not old.implied:
                refuse("it holds a path twice", repr(header.path))
            old.header, old.layer, old.implied = header, self._layer, False
            return old
        if old and self._of_this_layer(old):
            refuse("it holds a path twice", repr(header.path))
        node = self._other_name(header) if header.kind == "hardlink" else Node(header, self._layer)
        if old:
            removed.append(header.path)
        self._count(header.path)
        parent.entries[name] = node
        return node

    def _count(self, path: str) -> None:
        self._made += 1
        if self._made > _MOST_PATHS:
            refuse("its image has too many paths", f"{path!r} is one more than {_MOST_PATHS}")

    def _other_name(self, header: Header) -> Node:
        target = self.find(header.target)
        inside = header.target == header.path or header.target.startswith(f"{header.path}/")
        if target is None or target.header.kind == "directory" or inside:
            refuse("a hard link leads nowhere", f"{header.path!r} to {header.target!r}")
        return Node(replace(target.header, path=header.path), self._layer, content=target.content)

    def _whiteout(self, header: Header, folder: str, name: str, removed: list[str]) -> None:
        """Markers speak of lower layers only, wherever in their own layer they stand."""
        if header.kind != "file":
            refuse("a marker that removes files is no file", repr(header.path))
        if name == _OPAQUE:
            parent = self._lower_folder(folder)
            for below in [*parent.entries] if parent else ():
                self._remove(parent, below, removed)
        elif not name.startswith(_OTHER_MARKERS):  # those are a storage driver's own notes
            hidden = name.removeprefix(WHITEOUT)
            if hidden in ("", ".", ".."):
                refuse("a marker would remove what is outside of its folder", repr(header.path))
            parent = self._lower_folder(folder)
            if parent and hidden in parent.entries:
                self._remove(parent, hidden, removed)

    def _lower_folder(self, path: str) -> Node | None:
        node = self.root
        for part in path.split("/") if path else ():
            below = node.entries.get(part)
            if below is None:
                return None
            if below.header.kind != "directory":
                refuse(f"a marker that removes files is below a {_word(below)}", repr(path))
            node = below
        return node

    def _remove(self, parent: Node | None, name: str, removed: list[str]) -> None:
        """Take away what lower layers put there; what this layer did stays."""
        assert parent
        node = parent.entries[name]
        if not self._of_this_layer(node):
            removed.append(node.header.path)
            del parent.entries[name]
            return
        for below in [*node.entries]:
            self._remove(node, below, removed)

    def _of_this_layer(self, node: Node) -> bool:
        return node.layer == self._layer or any(map(self._of_this_layer, node.entries.values()))


def _word(node: Node) -> str:
    return "link" if node.header.kind == "link" else "file"
