"""An entry: one file, directory or link of a layer, and how entries become a tree on disk.

What is made for each of a desk's 50,000 files is a named tuple: a frozen dataclass takes four times as long.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from hotdesk.errors import UnsafeArchiveError
from hotdesk.portable.files import SAFELY, set_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_DEEPEST = 128
_NEVER_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f\\]")


class Directory(NamedTuple):
    """A directory; its parents are implied."""

    path: str


class Deflated(NamedTuple):
    """A file's content as the raw DEFLATE stream of an archive; `chunks` gives it anew at each call.

    `inflated` makes the file's content of those chunks, checked as `File.chunks` checks it: who wants both
    reads the archive once.
    """

    size: int
    crc32: int
    chunks: Callable[[], Iterator[bytes]]
    inflated: Callable[[Iterable[bytes]], Iterator[bytes]]


class File(NamedTuple):
    """A regular file.

    `chunks` gives its bytes anew at each call, in pieces of at most a few MiB, and raises
    `UnsafeArchiveError` at its end where they are not what the archive claimed. `sha256` is the hex
    digest where the archive states one; `chunks` checks it, so that nobody need hash the bytes again.
    `deflated` is there where the archive holds these very bytes compressed.
    """

    path: str
    size: int
    chunks: Callable[[], Iterator[bytes]]
    executable: bool = False
    sha256: str | None = None
    deflated: Deflated | None = None


class Link(NamedTuple):
    """A symbolic link; `target` is what readlink(2) answers."""

    path: str
    target: str


Entry = Directory | File | Link


class Written(NamedTuple):
    """What was written to disk for one entry; `content` is `sha256:HEX`, `link:TARGET` or `directory`."""

    path: str
    mode: int
    size: int
    content: str


def safe_path(name: str, archive: str) -> str:
    """`name` as a normal relative path, or `UnsafeArchiveError` where it could leave the tree.

    Refused: absolute paths, `..`, backslashes, NUL and other control characters, an empty name,
    and one so deep that walking there would fail.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or _NEVER_IN_A_NAME.search(name):
        raise UnsafeArchiveError(
            f"`{archive}` holds a member that would land outside its tree: {name!r}",
            hint="do not use this file; report it to those who published it",
        )
    if len(parts) > _DEEPEST:
        raise UnsafeArchiveError(
            f"`{archive}` holds a member in more than {_DEEPEST} folders, one in another: {name[:80]!r}…",
            hint="do not use this file; report it to those who published it",
        )
    return "/".join(parts)


def write_tree(entries: Iterable[Entry], tree: Path) -> list[Written]:
    """Write `entries` below `tree`, which exists; every file is 0644 or 0755, every directory 0755.

    A path that comes twice is refused, and so is one that passes through a link or a file of the same
    source: either would let an archive write outside the tree.
    """
    return _TreeWriter(tree).write(entries)


class _TreeWriter:
    def __init__(self, tree: Path) -> None:
        self.tree = os.fspath(tree)
        self.directories: set[str] = {""}
        self.others: set[str] = set()
        self.written: list[Written] = []
        self._as_asked = False  # whether files that are made here have the mode that was asked for

    def write(self, entries: Iterable[Entry]) -> list[Written]:
        for entry in entries:
            match entry:
                case Directory(path):
                    self._directory(path)
                case File():
                    self._file(entry)
                case Link(path, target):
                    self._claim(path)
                    os.symlink(target, f"{self.tree}/{path}")
                    self.written.append(Written(path, 0o777, 0, f"link:{target}"))
        return self.written

    def _directory(self, path: str) -> None:
        if path in self.directories:
            return
        if path in self.others:
            raise _twice(path)
        self._directory(path.rpartition("/")[0])
        full = f"{self.tree}/{path}"
        os.mkdir(full)
        if stat.S_IMODE(os.lstat(full).st_mode) == 0o755:
            self._as_asked = True
        else:  # the umask, an ACL, or a folder above that hands its group on
            os.chmod(full, 0o755)
        self.directories.add(path)
        self.written.append(Written(path, 0o755, 0, "directory"))

    def _claim(self, path: str) -> None:
        if path in self.others or path in self.directories:
            raise _twice(path)
        self._directory(path.rpartition("/")[0])
        self.others.add(path)

    def _file(self, entry: File) -> None:
        self._claim(entry.path)
        mode = 0o755 if entry.executable else 0o644
        digest = None if entry.sha256 else hashlib.sha256()
        full = f"{self.tree}/{entry.path}"
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, mode)
        try:
            for chunk in entry.chunks():
                if digest:
                    digest.update(chunk)
                _write_all(descriptor, chunk)
            if not self._as_asked:
                set_mode(descriptor, mode)
        finally:
            os.close(descriptor)
        content = digest.hexdigest() if digest else entry.sha256
        self.written.append(Written(entry.path, mode, entry.size, f"sha256:{content}"))


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def _twice(path: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"an archive holds `{path}` twice, or as a file and a directory at once",
        hint="do not use this file; report it to those who published it",
    )
