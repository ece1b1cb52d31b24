"""Trees of files that go into a container and come back, as archives."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from hotdesk.errors import EngineError, UnsafeArchiveError
from hotdesk.oci import tar
from hotdesk.oci.untar import members

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from hotdesk.oci.untar import Header

_CHUNK = 1 << 20
MOST_BYTES = 16 << 30
"""Several times what a large desk's tree has, and less than a disk: a script may write without an end."""


def archived(
    place: Path, name: str, *, owner: int = 0, without: Collection[str] = (), needed: str = ""
) -> Iterator[bytes]:
    """The members of the file or folder at `place`, which is called `name` in the archive, without its end.

    `without` are names of folders whose contents are left out, as are files that do not end in `needed`.
    Where `place` itself is a link, what it leads to is meant, as for a mount.
    """
    yield from _members(place.resolve(), name, owner, without, needed)


def _members(place: Path, name: str, owner: int, without: Collection[str], needed: str) -> Iterator[bytes]:
    found = place.lstat()
    if stat.S_ISREG(found.st_mode) and not name.endswith(needed):
        return
    if name:
        yield from _member(place, name, found, owner)
    if not stat.S_ISDIR(found.st_mode) or name in without:
        return
    for entry in sorted(os.listdir(place)):
        inner = f"{name}/{entry}" if name else entry
        yield from _members(place / entry, inner, owner, without, needed)


def _member(place: Path, name: str, found: os.stat_result, owner: int) -> Iterator[bytes]:
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        yield tar.header("link", name, mode=0o777, uid=owner, gid=owner, target=os.readlink(place))
    elif stat.S_ISDIR(found.st_mode):
        yield tar.header("directory", name, mode=mode, uid=owner, gid=owner)
    elif stat.S_ISREG(found.st_mode):
        yield tar.header("file", name, mode=mode, uid=owner, gid=owner, size=found.st_size)
        left = found.st_size
        with place.open("rb") as file:
            while left and (chunk := file.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk
        if left:
            raise EngineError(
                f"{place} changed while it was read",
                why=f"it is {left} bytes shorter now",
                hint="run the same command again",
            )
        yield tar.padding(found.st_size)


def unpack(
    chunks: Iterable[bytes], tree: Path, *, without: Collection[str] = (), most: int = MOST_BYTES
) -> None:
    """Write an archive that others made into `tree`, an empty folder; all of it belongs to the caller then.

    `without` are names of folders whose contents are left out, and of files that are left out; the others
    have at most `most` bytes together.
    `EngineError` for what is no plain tree of files; what is in `tree` then is to be thrown away.
    """
    writer = _Writer(tree)
    left = most
    try:
        for header, content in members(chunks):
            is_folder = header.path in without and header.kind == "directory"
            if is_folder or header.path.partition("/")[0] not in without:
                left -= header.size
                if left < 0:
                    raise UnsafeArchiveError("it is too large", why=f"more than {most} bytes")
                writer.write(header, content)
    except UnsafeArchiveError as error:
        raise EngineError(
            "what programs left in a container cannot be taken over",
            why=f"{error.what}: {error.why}",
            hint="report it to those who published the packages",
        ) from None
    writer.finish()


def plain_place(tree: Path, path: str) -> Path:
    """Where `path` is below `tree`; `EngineError` where a link that somebody put there leads elsewhere."""
    place = tree
    for part in path.split("/")[:-1]:
        place = place / part
        if not stat.S_ISDIR(_mode(place)):
            raise _not_there(path)
    return tree / path


def plain_file(tree: Path, path: str) -> Path:
    """Where the file `path` is below `tree`; `EngineError` where it is gone, or a link took its place."""
    place = plain_place(tree, path)
    if not stat.S_ISREG(_mode(place)):
        raise _not_there(path)
    return place


def _mode(place: Path) -> int:
    """0 for what is not there."""
    try:
        return place.lstat().st_mode
    except FileNotFoundError:
        return 0


def _not_there(path: str) -> EngineError:
    return EngineError(
        "what programs left in a container cannot be taken over",
        why=f"/{path} is not where it was",
        hint="report it to those who published the packages",
    )


class _Writer:
    """Knows what it made: nothing is written through a link, and nothing over what is there."""

    def __init__(self, tree: Path) -> None:
        self._tree = os.fspath(tree)
        self._modes: dict[str, int] = {"": 0o755}
        self._files: set[str] = set()

    def write(self, header: Header, content: Iterator[memoryview]) -> None:
        path = header.path
        full = f"{self._tree}/{path}"
        if header.kind == "directory":
            self._directory(path)
            if path:  # an engine's idea of the mode of `/` is its own
                self._modes[path] = header.mode
            return
        self._directory(path.rpartition("/")[0])
        if path in self._modes or os.path.lexists(full):
            raise UnsafeArchiveError("an archive holds a path twice", why=path)
        if header.kind == "link":
            os.symlink(header.target, full)
        elif header.kind == "hardlink":
            if header.target not in self._files:
                raise UnsafeArchiveError("a hard link leads to no file", why=f"{path} → {header.target}")
            os.link(f"{self._tree}/{header.target}", full)
            self._files.add(path)
        else:
            self._file(full, header.mode, content)
            self._files.add(path)

    def _directory(self, path: str) -> None:
        if path in self._modes:
            return
        self._directory(path.rpartition("/")[0])
        if os.path.lexists(f"{self._tree}/{path}"):
            raise UnsafeArchiveError("an archive holds a path twice", why=path)
        os.mkdir(f"{self._tree}/{path}")
        self._modes[path] = 0o755

    def _file(self, full: str, mode: int, content: Iterator[memoryview]) -> None:
        with open(os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(content)
        os.chmod(full, mode)

    def finish(self) -> None:
        """Folders get their modes last: what is in them had to be written."""
        for path, mode in sorted(self._modes.items(), reverse=True):
            os.chmod(f"{self._tree}/{path}", mode)
