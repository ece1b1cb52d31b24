"""A .deb as entries, read as a stream: an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`.

A member keeps what Debian means by it, owner, group and full mode; what reaches the disk is decided where
it is written. Memory does not grow with the size of a file. Source: deb(5), ar(5), tar(5).
"""

from __future__ import annotations

import os
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import IO, TYPE_CHECKING, Literal, Protocol

from hotdesk.errors import UnsafeArchiveError
from hotdesk.layers.entries import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MERGED = ("bin", "lib", "lib64", "sbin")
"""The names at the top that are links to their like below `usr` in every supported release."""

_CHUNK = 1 << 20
_BLOCK = 512
_MAX_CONTROL = 16 << 20
_MAX_NAME = 4096
_MAX_MEMBERS = 1_000_000
_SURELY_NO_BOMB = 1 << 30
_MOST_IT_INFLATES = 200


@dataclass(frozen=True, slots=True)
class Ownership:
    """Owner and mode as the package means them; `mode` has the setuid, setgid and sticky bits."""

    uid: int
    gid: int
    mode: int


def disk_mode(owner: Ownership, *, directory: bool) -> int:
    """The mode on disk of what should have the mode in `owner`.

    The owner can always read, write and remove it, and the kernel never sees setuid, setgid or sticky.
    """
    return (owner.mode & 0o777) | (0o700 if directory else 0o600)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of `data.tar`, its path rewritten to merged /usr.

    `target` is what readlink(2) answers for a link, and the path of an earlier file for a hard link.
    `listed` is the path as the package itself spells it, which is how dpkg lists it.
    """

    path: str
    kind: Literal["directory", "file", "link", "hardlink"]
    owner: Ownership
    listed: str
    size: int = 0
    target: str = ""


class Deb:
    """An open .deb: `control` holds the files of `control.tar` by name, `members` streams `data.tar`."""

    def __init__(self, name: str, control: Mapping[str, bytes], data: _Tar) -> None:
        self.name = name
        self.control = control
        self._data = data

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Every member once, in order, with its bytes, which must be read before the next is asked for.

        `UnsafeArchiveError` for whatever could leave the tree: `..`, absolute paths, a name that comes
        twice, a path through a link or a file of the same package, a device, a hard link to something
        that did not come before.
        """
        seen: dict[str, str] = {"": "directory"}
        for header, content in self._data.members():
            member = self._member(header, seen)
            if member is not None:
                yield member, content
        self._data.finish()

    def _member(self, header: tarfile.TarInfo, seen: dict[str, str]) -> Member | None:
        if header.name in (".", "./", "/"):
            return None
        kind = _KINDS.get(header.type)
        if kind is None:
            raise _unsafe(self.name, f"{header.name!r} is a device, a pipe or something unknown")
        listed = self._path(header.name)
        path = merged_path(listed)
        target = header.linkname
        if listed in MERGED and kind == "link":
            if target.rstrip("/") != path:
                raise _unsafe(self.name, f"it makes {listed!r} a link to {target!r}")
            path = listed
        elif listed in MERGED and kind != "directory":
            raise _unsafe(self.name, f"{listed!r} is not a directory in it")
        self._claim(path, kind, seen)
        if kind == "hardlink":
            target = merged_path(self._path(target))
            if seen.get(target) != "file":
                raise _unsafe(self.name, f"{path!r} is a hard link to {target!r}, which is not a file in it")
        if kind == "link" and (not target or "\0" in target or len(target) > _MAX_NAME):
            raise _unsafe(self.name, f"{path!r} is a link to nothing")
        owner = Ownership(header.uid, header.gid, 0o777 if kind == "link" else header.mode & 0o7777)
        return Member(path, kind, owner, listed, header.size if kind == "file" else 0, target)

    def _path(self, name: str) -> str:
        return safe_path(name.removeprefix("./"), self.name)

    def _claim(self, path: str, kind: str, seen: dict[str, str]) -> None:
        before = seen.get(path)
        if before is not None and (before, kind) != ("directory", "directory"):
            raise _unsafe(self.name, f"it holds {path!r} twice")
        parent = path.rpartition("/")[0]
        while parent not in seen:
            seen[parent] = "directory"
            parent = parent.rpartition("/")[0]
        if seen[parent] != "directory":
            raise _unsafe(self.name, f"{path!r} is below {parent!r}, which is not a directory in it")
        seen[path] = kind


_KINDS: Mapping[bytes, Literal["directory", "file", "link", "hardlink"]] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hardlink",
}


def merged_path(path: str) -> str:
    """Where `path` really is in a tree whose `bin`, `lib`, `lib64` and `sbin` are links into `usr`."""
    top = path.partition("/")[0]
    return f"usr/{path}" if top in MERGED or path in MERGED else path


@contextmanager
def open_deb(path: Path, name: str = "") -> Iterator[Deb]:
    """The .deb at `path`, its control part read; `name` is what errors call it."""
    name = name or path.name
    with path.open("rb") as file:
        archive = _ar_members(file, name)
        version, _ = next(archive, ("", 0))
        if version != "debian-binary" or not file.read(4).startswith(b"2."):
            raise _unsafe(name, "it is not a .deb of format 2")
        control: dict[str, bytes] | None = None
        for member, size in archive:
            base = member.removesuffix("/")
            if base.startswith("control.tar") and control is None:
                control = _read_control(_Tar(_decompressed(file, size, base, name), name, size))
            elif base.startswith("data.tar") and control is not None:
                yield Deb(name, control, _Tar(_decompressed(file, size, base, name), name, size))
                return
            elif not base.startswith("_"):  # deb(5): a name with an underscore is to be skipped
                raise _unsafe(name, f"its part {base!r} comes where it must not")
    raise _unsafe(name, "it ends before its data")


def _ar_members(file: IO[bytes], name: str) -> Iterator[tuple[str, int]]:
    """(name, size) of each member, with `file` at its first byte; the caller may read it or leave it."""
    if file.read(8) != b"!<arch>\n":
        raise _unsafe(name, "it is not an ar archive")
    total = os.fstat(file.fileno()).st_size
    position = 8
    while position < total:
        file.seek(position)
        header = file.read(60)
        digits = header[48:58].strip()
        if len(header) != 60 or header[58:] != b"`\n" or not digits.isdigit():
            raise _unsafe(name, "the header of one of its parts is broken")
        size = int(digits)
        position += 60
        if position + size > total:
            raise _unsafe(name, "it is cut off")
        yield header[:16].decode("ascii", "replace").strip(), size
        position += size + size % 2


def _read_control(tar: _Tar) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = 0
    for header, content in tar.members():
        if header.name in (".", "./") or header.type == tarfile.DIRTYPE:
            continue
        name = header.name.removeprefix("./")
        total += header.size
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or name in files or not _is_plain(name):
            raise _unsafe(tar.name, f"its control part holds {header.name!r}")
        if total > _MAX_CONTROL:
            raise _unsafe(tar.name, "its control part is too large")
        files[name] = b"".join(content)
    tar.finish()
    if "control" not in files:
        raise _unsafe(tar.name, "its control part has no `control`")
    return files


def _is_plain(name: str) -> bool:
    return name.replace("-", "").replace("_", "").isalnum() and name.isascii()


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the manners of lzma's."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        result = self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))
        self.eof = self._inner.eof
        self.unused_data = self._inner.unused_data
        self.needs_input = not self._inner.unconsumed_tail
        return result


class _Plain:
    """No compression."""

    eof = False
    needs_input = True
    unused_data = b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:  # noqa: ARG002
        return data


def _decompressor(member: str, name: str) -> _Decompressor:
    suffix = member.partition(".tar")[2]
    if suffix == ".xz":
        import lzma

        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 << 20)
    if suffix == ".gz":
        return _Gzip()
    if suffix == ".zst":
        return _zstd(member, name)
    if suffix == "":
        return _Plain()
    raise _unsafe(name, f"its part {member!r} is compressed in an unknown way")


def _zstd(member: str, name: str) -> _Decompressor:
    """As Ubuntu compresses: in Python's library from 3.14 on, in a package of its own for older ones."""
    for library in ("compression.zstd", "backports.zstd"):
        try:
            decompressor: _Decompressor = import_module(library).ZstdDecompressor()
        except ImportError:
            continue
        return decompressor
    raise UnsafeArchiveError(
        f"`{name}` cannot be unpacked",
        why=f"its part `{member}` is compressed with zstd, which needs Python 3.14 or newer",
        hint="install `backports.zstd` beside hotdesk, run it with a newer Python, or use Debian as base",
    )


def _decompressed(file: IO[bytes], size: int, member: str, name: str) -> Iterator[bytes]:
    """The bytes of the next `size` bytes of `file`, in pieces of at most a mebibyte."""
    decompressor = _decompressor(member, name)
    left = size
    while not decompressor.eof:
        data = b""
        if decompressor.needs_input:
            data = file.read(min(left, _CHUNK // 4))
            left -= len(data)
            if not data:
                break
        try:
            piece = decompressor.decompress(data, _CHUNK)
        except Exception as error:  # noqa: BLE001 - each library has its own class, and none other is raised here
            raise _unsafe(name, f"{member} is corrupt: {error}") from None
        if piece:
            yield piece
    if left or decompressor.unused_data or (not decompressor.eof and not isinstance(decompressor, _Plain)):
        raise _unsafe(name, f"{member} does not end where it should")


class _Tar:
    """A tar archive as dpkg accepts it (ustar and GNU's long names), read forward only."""

    def __init__(self, chunks: Iterator[bytes], name: str, packed: int) -> None:
        self.name = name
        self._most = max(_SURELY_NO_BOMB, packed * _MOST_IT_INFLATES)
        self._chunks = chunks
        self._buffer = memoryview(b"")
        self._read = 0

    def members(self) -> Iterator[tuple[tarfile.TarInfo, Iterator[bytes]]]:
        for _ in range(_MAX_MEMBERS):
            header = self._header()
            if header is None:
                return
            size = header.size if header.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else 0
            content = self._content(size)
            yield header, content
            for _piece in content:  # what the caller left unread
                pass
        raise _unsafe(self.name, "it holds too many members")

    def finish(self) -> None:
        """Read to the end, so that a corrupt tail does not pass unnoticed."""
        self._buffer = memoryview(b"")
        for chunk in self._chunks:
            self._count(len(chunk))

    def _header(self) -> tarfile.TarInfo | None:
        long: dict[bytes, str] = {}
        while True:
            block = self._exactly(_BLOCK)
            if not block.strip(b"\0"):
                return None
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise _unsafe(self.name, f"a tar header is broken: {error}") from None
            if header.type not in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
                break
            long[header.type] = self._long_name(header.size)
        if header.size > self._most:
            raise self._bomb(header.size)
        header.name = long.get(tarfile.GNUTYPE_LONGNAME, header.name)
        header.linkname = long.get(tarfile.GNUTYPE_LONGLINK, header.linkname)
        if header.size < 0 or header.uid < 0 or header.gid < 0 or header.mode < 0:
            raise _unsafe(self.name, f"{header.name!r} has an absurd size, owner or mode")
        return header

    def _long_name(self, size: int) -> str:
        if not 0 < size <= _MAX_NAME:
            raise _unsafe(self.name, "it holds a name that is too long")
        padded = self._exactly(size + -size % _BLOCK)
        return padded[:size].rstrip(b"\0").decode("utf-8", "surrogateescape")

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            self._fill()
            piece = self._buffer[:left]
            self._buffer = self._buffer[len(piece) :]
            left -= len(piece)
            yield bytes(piece)
        if padding := -size % _BLOCK:
            self._exactly(padding)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            self._fill()
            piece = self._buffer[:size]
            self._buffer = self._buffer[len(piece) :]
            size -= len(piece)
            parts.append(piece)
        return b"".join(parts)

    def _fill(self) -> None:
        if not self._buffer:
            chunk = next(self._chunks, b"")
            if not chunk:
                raise _unsafe(self.name, "its tar archive is cut off")
            self._count(len(chunk))
            self._buffer = memoryview(chunk)

    def _count(self, size: int) -> None:
        self._read += size
        if self._read > self._most:
            raise self._bomb(self._read)

    def _bomb(self, size: int) -> UnsafeArchiveError:
        return _unsafe(self.name, f"it unpacks to {size} bytes or more: this is a bomb")


def _unsafe(name: str, why: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"`{name}` is not a .deb that can be unpacked",
        why=why,
        hint="do not use this file; report it to those who published it",
    )
