"""Reading a zip that nobody vouches for: every member is checked against all that the zip says of it.

The central directory counts; a local header that tells another story is refused. Nothing larger than
a piece of 1 MiB is held in memory, and reading needs no position, so that threads share an archive.
"""

from __future__ import annotations

import os
import stat
import struct
import weakref
import zipfile
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from isal import igzip_lib, isal_zlib

from hotdesk.errors import UnsafeArchiveError
from hotdesk.layers.entries import safe_path
from hotdesk.portable.files import OURS, read_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PIECE = 1 << 20
_READ_AT_ONCE = PIECE // 2  # with its local header it is surely in one piece
_LOCAL_HEADER = struct.Struct("<4s2B4HL2L2H")
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_DATA_DESCRIPTOR = 0x8
_UTF8_NAME = 0x800
_UNIX = 3
_IN_ZIP64_EXTRA = 0xFFFFFFFF
# DEFLATE cannot do better than 1:1032; real wheels stay below 1:30 as a whole.
_MOST_A_MEMBER_INFLATES = 1040
_MOST_AN_ARCHIVE_INFLATES = 200
_SURELY_NO_BOMB = 1 << 30
_MOST_METADATA = 32 << 20
_MOST_MEMBERS = 1_000_000
_LONGEST_NAME, _LONGEST_PATH = 255, 2048


class Member(NamedTuple):
    """A file of the archive; `offset` is its local header's, `end` where the next thing begins."""

    name: str
    size: int
    packed_size: int
    crc32: int
    deflated: bool
    executable: bool
    offset: int
    end: int


class ZipArchive:
    """An open zip; `files` and `directories` are what its central directory lists.

    `UnsafeArchiveError`, here and while reading, names the archive by `label` and the member. The file
    stays open as long as something refers to this object.
    """

    def __init__(self, path: Path, label: str = "") -> None:
        self.label = label or path.name
        try:
            with zipfile.ZipFile(path) as archive:
                listed = archive.infolist()
                end = archive.start_dir
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError) as error:
            raise UnsafeArchiveError(f"`{self.label}` is not a zip archive", why=str(error)) from None
        for info in listed:
            self._check_name(info)
        self.directories = [info.filename.removesuffix("/") for info in listed if info.is_dir()]
        self.files = self._members(listed, end)
        self._descriptor = os.open(path, os.O_RDONLY | OURS)
        weakref.finalize(self, os.close, self._descriptor)

    def refuse(self, member: str, why: str) -> NoReturn:
        raise UnsafeArchiveError(
            f"`{self.label}` holds a member that cannot be trusted: {member!r}",
            why=why,
            hint="do not use this file; report it to those who published it",
        )

    def _check_name(self, info: zipfile.ZipInfo) -> None:
        name = safe_path(info.orig_filename, self.label)
        if name != info.orig_filename.removesuffix("/"):
            self.refuse(info.orig_filename, f"its name is another way to write {name!r}")
        if len(os.fsencode(name)) > _LONGEST_NAME and (
            len(name) > _LONGEST_PATH
            or max(len(os.fsencode(part)) for part in name.split("/")) > _LONGEST_NAME
        ):
            self.refuse(name, "its name is longer than a file system takes")

    def _members(self, listed: list[zipfile.ZipInfo], end: int) -> list[Member]:
        """The files, checked as far as the directory alone allows, in the order in which they lie."""
        if len(listed) > _MOST_MEMBERS:
            raise UnsafeArchiveError(f"`{self.label}` holds {len(listed)} members", why="that is absurd")
        members: list[Member] = []
        for info in sorted(listed, key=lambda info: info.header_offset, reverse=True):
            self._check_listed(info, end)
            if not info.is_dir():
                members.append(self._member(info, end))
            end = info.header_offset
        seen: set[str] = set()
        for member in members:
            if member.name in seen:
                self.refuse(member.name, "the archive holds it twice")
            seen.add(member.name)
        self._check_total(members)
        members.reverse()
        return members

    def _check_total(self, members: list[Member]) -> None:
        size = sum(member.size for member in members)
        packed = sum(member.packed_size for member in members)
        if size > max(_SURELY_NO_BOMB, packed * _MOST_AN_ARCHIVE_INFLATES):
            raise UnsafeArchiveError(
                f"`{self.label}` would unpack to {size} bytes", why=f"it has {packed}: this is a bomb"
            )

    def _check_listed(self, info: zipfile.ZipInfo, end: int) -> None:
        name = info.filename
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == _UNIX else 0
        if info.flag_bits & _ENCRYPTED:
            self.refuse(name, "it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self.refuse(name, f"its compression method is {info.compress_type}, not DEFLATE")
        if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
            self.refuse(name, "it is a link or a special file")
        if info.is_dir() and info.file_size:
            self.refuse(name, "it is a directory with content")
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            self.refuse(name, "it is stored, but its two sizes differ")
        if info.file_size > info.compress_size * _MOST_A_MEMBER_INFLATES:
            self.refuse(name, f"it claims to inflate from {info.compress_size} to {info.file_size} bytes")
        if info.header_offset < 0 or info.header_offset + _LOCAL_HEADER.size + info.compress_size > end:
            self.refuse(name, "it overlaps another member or the archive's end")

    def _member(self, info: zipfile.ZipInfo, end: int) -> Member:
        return Member(
            name=info.filename,
            size=info.file_size,
            packed_size=info.compress_size,
            crc32=info.CRC,
            deflated=info.compress_type == zipfile.ZIP_DEFLATED,
            executable=info.create_system == _UNIX and bool(info.external_attr >> 16 & 0o111),
            offset=info.header_offset,
            end=end,
        )

    def read(self, member: Member) -> bytes:
        """The whole content, in memory: for metadata, and refused where that cannot be it."""
        if member.size > _MOST_METADATA:
            self.refuse(member.name, f"it has {member.size} bytes, which no metadata have")
        return b"".join(self.chunks(member))

    def packed(self, member: Member) -> Iterator[bytes]:
        """The member's bytes as they lie in the archive: raw DEFLATE, or the content itself."""
        start, first = self._first(member)
        yield first
        position, left = member.offset + start + len(first), member.packed_size - len(first)
        while left:
            piece = read_at(self._descriptor, min(PIECE, left), position)
            if not piece:
                self.refuse(member.name, "the archive ends before it does")
            yield piece
            position += len(piece)
            left -= len(piece)

    def _first(self, member: Member) -> tuple[int, bytes]:
        """Where the data begin after the local header, and those of them that are in the first piece."""
        whole = min(member.end - member.offset, PIECE)
        head = read_at(self._descriptor, whole, member.offset)
        start = self._check_local_header(member, head)
        return start, head[start : start + member.packed_size]

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The content, in pieces of at most 1 MiB; raises at the end where size or CRC do not match."""
        return self.inflated(member, self.packed(member))

    def inflated(self, member: Member, packed: Iterable[bytes]) -> Iterator[bytes]:
        """The same out of what `packed` gave."""
        if member.size <= PIECE and member.packed_size <= _READ_AT_ONCE:
            return iter((self._at_once(member, b"".join(packed)),))
        return self._piece_by_piece(member, packed)

    def _at_once(self, member: Member, content: bytes) -> bytes:
        """Most members are small: half of the time for one would go into handing its only piece along."""
        if member.deflated:
            inflater = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE)
            try:
                content = inflater.decompress(content, member.size + 1)
            except (igzip_lib.IsalError, EOFError) as error:  # type: ignore[misc]  # its stub lacks the base
                self.refuse(member.name, f"its DEFLATE stream is broken: {error}")
            if len(content) <= member.size:
                self._check_end(member, inflater)
        self._check(member, len(content), isal_zlib.crc32(content))
        return content

    def _piece_by_piece(self, member: Member, packed: Iterable[bytes]) -> Iterator[bytes]:
        size = crc = 0
        for piece in self._inflate(member, packed) if member.deflated else packed:
            size += len(piece)
            if size > member.size:
                break
            crc = isal_zlib.crc32(piece, crc)
            yield piece
        self._check(member, size, crc)

    def _check(self, member: Member, size: int, crc: int) -> None:
        if size > member.size:
            self.refuse(member.name, f"it holds more than the {member.size} bytes it claims")
        if size != member.size:
            self.refuse(member.name, f"it holds {size} bytes and claims {member.size}")
        if crc != member.crc32:
            self.refuse(member.name, "its CRC-32 does not match")

    def _check_end(self, member: Member, inflater: igzip_lib.IgzipDecompressor) -> None:
        if not inflater.eof:
            self.refuse(member.name, "its DEFLATE stream has no end")
        if inflater.unused_data:
            self.refuse(member.name, "bytes follow its DEFLATE stream")

    def _inflate(self, member: Member, packed: Iterable[bytes]) -> Iterator[bytes]:
        inflater = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE)
        # One byte more than claimed, so that a longer stream shows without being inflated.
        most = min(PIECE, member.size + 1)
        try:
            for piece in packed:
                if inflater.eof:
                    self.refuse(member.name, "bytes follow its DEFLATE stream")
                yield inflater.decompress(piece, most)
                while not inflater.needs_input and not inflater.eof:
                    yield inflater.decompress(b"", most)
        except (igzip_lib.IsalError, EOFError) as error:  # type: ignore[misc]  # its stub lacks the base
            self.refuse(member.name, f"its DEFLATE stream is broken: {error}")
        self._check_end(member, inflater)

    def _check_local_header(self, member: Member, head: bytes) -> int:
        """Where the data starts after the local header; refused where the two headers disagree."""
        if len(head) < _LOCAL_HEADER.size:
            self.refuse(member.name, "the archive ends before it does")
        header = _LOCAL_HEADER.unpack_from(head)
        signature, _, _, flags, method, _, _, crc32, packed, size, name_length, extra_length = header
        start: int = _LOCAL_HEADER.size + name_length + extra_length
        name = head[_LOCAL_HEADER.size : _LOCAL_HEADER.size + name_length]
        if signature != b"PK\3\4" or start + member.packed_size > member.end - member.offset:
            self.refuse(member.name, "it is not where the archive's directory says")
        encoding = "utf-8" if flags & _UTF8_NAME else "cp437"
        if name.decode(encoding, "replace").rstrip("/") != member.name:
            self.refuse(member.name, f"its own header names it {name!r}")
        same = method == (zipfile.ZIP_DEFLATED if member.deflated else zipfile.ZIP_STORED)
        if not flags & _DATA_DESCRIPTOR:
            same = same and crc32 == member.crc32
            same = same and packed in (member.packed_size, _IN_ZIP64_EXTRA)
            same = same and size in (member.size, _IN_ZIP64_EXTRA)
        if not same:
            self.refuse(member.name, "its own header and the archive's directory disagree")
        return start
