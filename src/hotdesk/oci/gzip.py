"""A gzip file out of many members, the same bytes everywhere.

What an archive holds as a DEFLATE stream is copied into a member of its own; no compressor has a say. What
is not compressed yet is, by one pinned version of one encoder that is the same code on every processor
(libdeflate), in pieces; headers between copied members are stored. Source: RFC 1951, RFC 1952.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import deflate
from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.layers.entries import Deflated

PIECE = 1 << 20
LEVEL = 1
"""Part of every digest, like PIECE: changing one changes the blobs of all images, though not their IDs."""

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no flags, no name, no time, no operating system
_TRAILER = struct.Struct("<LL")
_STORED_BLOCK = struct.Struct("<BHH")
_MOST_STORED = 0xFFFF


def spliced(content: Deflated, size: int) -> Iterator[bytes]:
    """A member whose DEFLATE stream is the archive's own; it inflates to `size` bytes."""
    yield _HEADER
    yield from content.chunks()
    yield _TRAILER.pack(content.crc32, size & 0xFFFFFFFF)


def stored(data: bytes) -> bytes:
    """A member that holds `data` as they are."""
    blocks = [_HEADER]
    for start in range(0, len(data) or 1, _MOST_STORED):
        piece = data[start : start + _MOST_STORED]
        last = start + _MOST_STORED >= len(data)
        blocks += [_STORED_BLOCK.pack(last, len(piece), len(piece) ^ 0xFFFF), piece]
    return b"".join([*blocks, _trailer(data)])


def packed(data: bytes) -> bytes:
    """A member that holds `data` compressed."""
    return b"".join([_HEADER, deflate.deflate_compress(data, LEVEL), _trailer(data)])


def _trailer(data: bytes) -> bytes:
    return _TRAILER.pack(isal_zlib.crc32(data), len(data) & 0xFFFFFFFF)
