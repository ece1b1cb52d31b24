"""The headers of a tar archive, the same bytes everywhere: ustar, with a PAX record only where one must be.

Packed here rather than by a library, whose bytes have changed from version to version. Source: POSIX.1-2017,
pax, "ustar Interchange Format" and "pax Header Block".
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Literal

BLOCK = 512
END = bytes(2 * BLOCK)
MTIME = 315532800
"""1980-01-01 in UTC, the time of every file: zip, and so Python's own `zipfile`, knows none before."""

Kind = Literal["file", "directory", "link"]

_FLAGS: dict[str, bytes] = {"file": b"0", "link": b"2", "directory": b"5"}
# Name, mode with owner and group, size, time, checksum, kind, link, what is the same always, prefix.
_HEADER = struct.Struct("100s24s12s12s8sc100s88s155s12x")
_END_OF_BLOCK = b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
_LONGEST_NAME, _LONGEST_PREFIX = 100, 155
_LARGEST = 8**11 - 1
_LARGEST_ID = 8**7 - 1
_BLANK_CHECKSUM = b" " * 8
_MTIME_FIELD = b"%011o\0" % MTIME


def header(
    kind: Kind, path: str, *, mode: int, uid: int = 0, gid: int = 0, size: int = 0, target: str = ""
) -> bytes:
    """The blocks before the content of a member; `path` and `target` are as on a POSIX file system."""
    name = path.encode("utf-8", "surrogateescape") + (b"/" if kind == "directory" else b"")
    link = target.encode("utf-8", "surrogateescape")
    records: dict[str, bytes] = {}
    prefix, short = _split(name)
    if not short or not name.isascii():
        records["path"] = name
        prefix, short = b"", name[:_LONGEST_NAME]
    if len(link) > _LONGEST_NAME or not link.isascii():
        records["linkpath"] = link
    if size > _LARGEST:
        records["size"] = b"%d" % size
    for key, number in (("uid", uid), ("gid", gid)):
        if number > _LARGEST_ID:
            records[key] = b"%d" % number
    owner = (mode, min(uid, _LARGEST_ID), min(gid, _LARGEST_ID))
    plain = _block(
        _FLAGS[kind], short, min(size, _LARGEST), owner=owner, link=link[:_LONGEST_NAME], prefix=prefix
    )
    return _pax(records) + plain if records else plain


def padding(size: int) -> bytes:
    """What follows a content of `size` bytes, up to the next block."""
    return bytes(-size % BLOCK)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """The prefix and the rest, each as long as ustar allows; both empty where there is no such place."""
    if len(name) <= _LONGEST_NAME:
        return b"", name
    slash = name.rfind(b"/", 0, min(_LONGEST_PREFIX + 1, len(name) - 1))
    prefix, rest = name[:slash], name[slash + 1 :]
    return (prefix, rest) if slash > 0 and len(rest) <= _LONGEST_NAME else (b"", b"")


def _pax(records: dict[str, bytes]) -> bytes:
    content = b"".join(_record(key, value) for key, value in sorted(records.items()))
    block = _block(b"x", b"PaxHeaders", len(content), owner=(0o644, 0, 0))
    return block + content + padding(len(content))


def _record(key: str, value: bytes) -> bytes:
    """A line of its own length, the key and the value."""
    rest = b" %s=%s\n" % (key.encode(), value)
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return b"%d%s" % (length, rest)


def _block(
    flag: bytes,
    name: bytes,
    size: int,
    *,
    owner: tuple[int, int, int],
    link: bytes = b"",
    prefix: bytes = b"",
) -> bytes:
    # What fills up the fields is zero, and most of the rest is the same for every member.
    size_field = b"%011o\0" % size
    fields, total = _usual(owner, flag)
    checksum = b"%06o\0 " % (total + sum(name) + sum(size_field) + sum(link) + sum(prefix))
    return _HEADER.pack(name, fields, size_field, _MTIME_FIELD, checksum, flag, link, _END_OF_BLOCK, prefix)


@lru_cache(256)
def _usual(owner: tuple[int, int, int], flag: bytes) -> tuple[bytes, int]:
    """The fields of the owner, and the sum of the bytes of all fields that are the same for many members."""
    fields = b"".join(b"%07o\0" % number for number in owner)
    return fields, sum(fields + _MTIME_FIELD + _BLANK_CHECKSUM + flag + _END_OF_BLOCK)
