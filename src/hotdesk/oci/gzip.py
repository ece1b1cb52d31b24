"""A gzip file out of many members, the same bytes everywhere.

What an archive holds as a DEFLATE stream is copied into a member of its own; no compressor has a say. What
is not compressed yet is, by one pinned version of one encoder that is the same code on every processor
(libdeflate), in pieces; so are the headers between copied members. Source: RFC 1951, RFC 1952.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, cast

import deflate
from isal import isal_zlib

from hotdesk.errors import ImageError, UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed import WriteableBuffer

    from hotdesk.layers.entries import Deflated

PIECE = 1 << 20
LEVEL = 1
"""Part of every digest, like PIECE: changing one changes the blobs of all images, though not their IDs."""

HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no flags, no name, no time, no operating system
_TRAILER = struct.Struct("<LL")
_INFLATED = 1 << 18


def spliced(content: Deflated, size: int) -> Iterator[bytes]:
    """A member whose DEFLATE stream is the archive's own; it inflates to `size` bytes."""
    yield HEADER
    yield from content.chunks()
    yield trailer(content.crc32, size)


def packed(data: bytes) -> bytes:
    """A member that holds `data` compressed."""
    return b"".join([HEADER, deflate.deflate_compress(data, LEVEL), _trailer_of(data)])


def trailer(crc32: int, size: int) -> bytes:
    """The end of a member that inflates to `size` bytes."""
    return _TRAILER.pack(crc32, size & 0xFFFFFFFF)


def inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What a gzip file holds, all its members; `UnsafeArchiveError` where it is cut short or damaged.

    Its members are followed in C: there may be a hundred thousand, and Python's own `gzip.decompress` takes
    the square of their number.
    """
    from gzip import BadGzipFile  # 5 ms

    from isal.igzip import IGzipFile

    damaged = cast("type[Exception]", isal_zlib.error)  # its annotation says that it is an instance
    with IGzipFile(fileobj=_Readable(chunks), mode="rb") as stream:  # type: ignore[no-untyped-call]
        while True:
            try:
                piece = stream.read(_INFLATED)
            except (EOFError, BadGzipFile, damaged) as error:
                raise UnsafeArchiveError("a layer cannot be read", why=f"its gzip stream: {error}") from None
            if not piece:
                return
            yield piece


def archive(media_type: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The archive in a layer's blob; `ImageError` where no way to it is known."""
    if media_type.endswith(("tar+gzip", "tar.gzip")):
        return inflated(chunks)
    if media_type.endswith(("layer.v1.tar", "diff.tar")):
        return iter(chunks)
    raise ImageError(
        "a layer of the image cannot be read",
        why=f"it is of the type {media_type!r}",
        hint="have it pushed again with layers that are tar archives, plain or compressed with gzip",
    )


class _Readable(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        space = memoryview(buffer).cast("B")
        count = min(len(space), len(self._left))
        space[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _trailer_of(data: bytes) -> bytes:
    return trailer(isal_zlib.crc32(data), len(data))
