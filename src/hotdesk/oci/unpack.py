"""An image's layers, one over another, as a tree on disk; safely, whoever made them.

Nothing in an image can name a path outside of the tree: every parent is a directory that this made, which
`Stack` knows without asking the disk. On disk all belongs to the caller, with plain modes; who should own
what is told besides.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.layers.debian import Ownership, disk_mode
from hotdesk.layers.entries import Written
from hotdesk.oci.stack import Stack
from hotdesk.oci.validate import MOST_UNPACKED, LayerReader
from hotdesk.portable.files import SAFELY, set_mode
from hotdesk.progress import SILENT
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.oci.model import Image
    from hotdesk.oci.stack import Change, Node
    from hotdesk.progress import Progress


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was written, as it is on disk, and whose each path is meant to be, with which mode."""

    written: tuple[Written, ...]
    owners: dict[str, Ownership]


def unpack(image: Image, tree: Path, progress: Progress = SILENT) -> Unpacked:
    """Write what the image holds into `tree`, an empty folder.

    `UnsafeArchiveError` where a layer is not what the image says, or holds what no layer may; what is in
    the tree then is to be thrown away.
    """
    writer = _Writer(tree)
    left = MOST_UNPACKED
    size = sum(layer.blob.descriptor.size for layer in image.layers)
    with progress.task("unpacking the image", size, "bytes") as task:
        for layer in image.layers:
            reader = LayerReader(layer, left)
            writer.begin()
            for header, content in reader.members():
                writer.write(writer.stack.add(header), content)
            left -= reader.unpacked
            task.advance(layer.blob.descriptor.size)
    return writer.finish()


class _Writer:
    def __init__(self, tree: Path) -> None:
        self.stack = Stack()
        self._tree = os.fspath(tree)

    def begin(self) -> None:
        self.stack.begin()

    def write(self, change: Change, content: Iterator[memoryview]) -> None:
        for path in change.removed:
            self._remove(f"{self._tree}/{path}")
        for path in change.parents:
            self._make_directory(path, 0o755)
        node = change.node
        if node is None or not node.header.path:
            return
        full = f"{self._tree}/{node.header.path}"
        match node.header.kind:
            case _ if change.linked:
                os.link(f"{self._tree}/{change.linked}", full, follow_symlinks=False)
            case "directory":
                self._make_directory(node.header.path, _mode(node))
            case "link":
                os.symlink(node.header.target, full)
                node.content = f"link:{node.header.target}"
            case _:
                self._file(node, full, content)

    def _remove(self, full: str) -> None:
        if os.path.isdir(full) and not os.path.islink(full):
            remove_tree(Path(full))
        else:
            os.unlink(full)

    def _make_directory(self, path: str, mode: int) -> None:
        full = f"{self._tree}/{path}"
        with suppress(FileExistsError):  # of a lower layer, or a parent that is named only now
            os.mkdir(full)
        os.chmod(full, mode)

    def _file(self, node: Node, full: str, content: Iterator[memoryview]) -> None:
        digest = hashlib.sha256()
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o600)
        try:
            for piece in content:
                digest.update(piece)
                left = piece
                while left:
                    left = left[os.write(descriptor, left) :]
            set_mode(descriptor, _mode(node))
            os.utime(descriptor, (node.header.mtime, node.header.mtime))
        finally:
            os.close(descriptor)
        node.content = f"sha256:{digest.hexdigest()}"

    def finish(self) -> Unpacked:
        """Give directories their times, which every change in them touched."""
        written, owners = [], {}
        for node in self.stack.nodes():
            header = node.header
            if header.kind == "directory":
                os.utime(f"{self._tree}/{header.path}", (header.mtime, header.mtime))
                node.content = "directory"
            written.append(Written(header.path, _mode(node), header.size, node.content))
            owners[header.path] = _owner(node)
        return Unpacked(tuple(written), owners)


def _owner(node: Node) -> Ownership:
    header = node.header
    return Ownership(header.uid, header.gid, 0o777 if header.kind == "link" else header.mode)


def _mode(node: Node) -> int:
    if node.header.kind == "link":
        return 0o777
    return disk_mode(_owner(node), directory=node.header.kind == "directory")
