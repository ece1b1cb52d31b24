"""Layers that others made, read as a stream of tar members: nothing in them is believed.

What two tools could understand in two ways is refused rather than interpreted, because one of them would
check what the other unpacks. Source: POSIX.1-2017, pax; the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

from hotdesk.errors import UnsafeArchiveError
from hotdesk.oci.tar import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["file", "directory", "link", "hardlink"]

MOST_MEMBERS = 1_000_000
_LONGEST_PATH, _LONGEST_NAME, _DEEPEST = 4096, 255, 128
_LARGEST_HEADER = 1 << 20
_MOST_HEADERS = 8
"""In a row, for one member."""
_UNDERSTOOD = {"path", "linkpath", "size", "uid", "gid", "mtime"}
_LARGEST_ID = 1 << 32
_LATEST = 1 << 40  # seconds since 1970
_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "link",
    b"5": "directory",
}
_NOTHING_A_DESK_NEEDS = {b"3": "a device", b"4": "a device", b"6": "a pipe", b"S": "a sparse file"}
_OCTAL = re.compile(rb"[ ]*([0-7]*)[ \0]*")
_DECIMAL = re.compile(rb"[0-9]{1,20}")
_TIME = re.compile(rb"(-?[0-9]{1,20})(\.[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Header:
    """One member. `path` is normal and relative, empty for the root of the tree.

    `target` is what readlink(2) answers for a link, and for a hard link the path of the other name.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: str = ""


def members(chunks: Iterable[bytes]) -> Iterator[tuple[Header, Iterator[memoryview]]]:
    """Each member with its content, which can be read until the next one is asked for.

    `UnsafeArchiveError` for what no layer may hold: a path that leaves the tree, a device, a field that is
    no number, an archive that is cut short or goes on after its end.
    """
    stream = Stream(chunks)
    count = 0
    while (header := next_header(stream)) is not None:
        count += 1
        if count > MOST_MEMBERS:
            refuse("it has too many members", f"more than {MOST_MEMBERS}")
        content = stream.pieces(header.size)
        yield header, content
        for _ in content:
            pass
        stream.skip_padding(header.size)


def normal_path(name: str) -> str:
    """`name` relative to the tree and without detours, or `UnsafeArchiveError` where it leads out of it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        refuse("a member would land outside of its tree", repr(name))
    if len(name) > _LONGEST_PATH or len(parts) > _DEEPEST:
        refuse("a path is too long", f"{name[:80]!r}…")
    if any(len(part) > 63 and len(_encoded(part)) > _LONGEST_NAME for part in parts):
        refuse("a name is too long", f"{name[:80]!r}…")
    return "/".join(parts)


def refuse(what: str, detail: str) -> NoReturn:
    raise UnsafeArchiveError(
        f"a layer cannot be used: {what}",
        why=detail,
        hint="do not use this image; report it to those who published it",
    )


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


class Stream:
    """Chunks, read in the sizes that the archive has."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = memoryview(b"")

    def block(self) -> bytes:
        """The next block; empty at a clean end."""
        if len(self._left) >= BLOCK:
            block, self._left = self._left[:BLOCK].tobytes(), self._left[BLOCK:]
            return block
        found = b"".join(self._some(BLOCK))
        if found and len(found) < BLOCK:
            refuse("its archive is cut short", "in a header")
        return found

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes; `UnsafeArchiveError` where there are fewer."""
        left = size
        for piece in self._some(size):
            left -= len(piece)
            yield piece
        if left:
            refuse("its archive is cut short", f"{left} bytes of a member are missing")

    def whole(self, size: int) -> bytes:
        """A small content, with the padding after it gone."""
        content = b"".join(self.pieces(size))
        self.skip_padding(size)
        return content

    def skip_padding(self, size: int) -> None:
        for _ in self.pieces(-size % BLOCK):
            pass

    def must_be_over(self) -> None:
        """What comes after the end is zeros: anything else would be there for nobody to see."""
        while self._left or self._refill():
            if bytes(self._left).strip(b"\0"):
                refuse("its archive goes on after its end", "there is data that no tool unpacks")
            self._left = memoryview(b"")

    def _some(self, size: int) -> Iterator[memoryview]:
        while size and (self._left or self._refill()):
            piece = self._left[:size]
            self._left = self._left[size:]
            size -= len(piece)
            yield piece

    def _refill(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._left = memoryview(chunk)
                return True
        return False


def next_header(stream: Stream) -> Header | None:
    """The next member's header with what the headers before it add, None at the archive's end."""
    records: dict[str, bytes] = {}
    announced = False
    for _ in range(_MOST_HEADERS):
        block = stream.block()
        if not block:
            refuse("its archive is cut short", "it has no end")
        if not block.strip(b"\0"):
            if announced:
                refuse("its archive is cut short", "a header announces a member that does not come")
            stream.must_be_over()
            return None
        _check_sum(block)
        flag = block[156:157]
        if flag not in (b"x", b"g", b"L", b"K"):
            return _header(block, flag, records)
        size = _number(block[124:136], "size")
        if size > _LARGEST_HEADER:
            refuse("a header is too large", f"{size} bytes")
        _extend(records, flag, stream.whole(size))
        announced = announced or flag != b"g"
    refuse("a member has too many headers", f"more than {_MOST_HEADERS}")


def _extend(records: dict[str, bytes], flag: bytes, content: bytes) -> None:
    if flag in (b"L", b"K"):
        found = {"path" if flag == b"L" else "linkpath": content.rstrip(b"\0")}
    else:
        found = dict(_pax_records(content))
    if flag == b"g" and found.keys() - {"comment"}:
        refuse("a global header changes all members", ", ".join(sorted(found)))
    if twice := records.keys() & found.keys():
        refuse("two headers say different things of one member", ", ".join(sorted(twice)))
    records |= {name: value for name, value in found.items() if name in _UNDERSTOOD}


def _pax_records(content: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    seen = set()
    while at < len(content):
        space = content.find(b" ", at, at + 20)
        length = int(content[at:space]) if _DECIMAL.fullmatch(content, at, space) else 0
        key, equals, value = content[space + 1 : at + length].partition(b"=")
        if length < 5 or at + length > len(content) or not equals or not value.endswith(b"\n"):
            refuse("a PAX header is not well-formed", repr(content[at : at + 40]))
        name = key.decode("utf-8", "replace")
        if name.startswith("GNU.sparse") or name in seen:
            refuse("a PAX header has what no layer needs", name)
        seen.add(name)
        yield name, value[:-1]
        at += length


def _header(block: bytes, flag: bytes, records: dict[str, bytes]) -> Header:
    raw = records.get("path", _name(block))
    name = raw.decode("utf-8", "surrogateescape")
    kind = _KINDS.get(flag)
    if kind is None:
        refuse(
            f"it holds {_NOTHING_A_DESK_NEEDS.get(flag, 'something unknown')}", f"{name!r}, of type {flag!r}"
        )
    if flag == b"\0" and name.endswith("/"):
        kind = "directory"
    path = normal_path(name)
    if (not path or name.endswith("/")) and kind != "directory":
        refuse("something that is no directory has a directory's name", repr(name))
    size = _decimal(records["size"], "size") if "size" in records else _number(block[124:136], "size")
    if size and kind != "file":
        refuse("something that is no file has a content", f"{name!r}: {size} bytes")
    return Header(
        path,
        kind,
        _number(block[100:108], "mode") & 0o7777,
        _owner(records, "uid", block[108:116]),
        _owner(records, "gid", block[116:124]),
        size,
        _mtime(records, block[136:148]),
        _target(kind, records.get("linkpath", block[157:257].partition(b"\0")[0])),
    )


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _target(kind: Kind, raw: bytes) -> str:
    target = raw.decode("utf-8", "surrogateescape")
    if kind == "hardlink":
        return normal_path(target)
    if kind != "link":
        return ""
    if not target or "\0" in target or len(raw) >= _LONGEST_PATH:
        refuse("a link leads nowhere", repr(target[:80]))
    return target


def _check_sum(block: bytes) -> None:
    stated = _number(block[148:156], "checksum")
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != stated:
        refuse("a header is damaged", "its checksum does not match")


def _owner(records: dict[str, bytes], name: str, field: bytes) -> int:
    found = _decimal(records[name], name) if name in records else _number(field, name)
    if found >= _LARGEST_ID:
        refuse("a member's owner is no number of a user", str(found))
    return found


def _mtime(records: dict[str, bytes], field: bytes) -> int:
    if "mtime" not in records:
        found = _number(field, "mtime", signed=True)
    elif match := _TIME.fullmatch(records["mtime"]):
        found = int(match[1])
    else:
        refuse("a field is no number", f"mtime: {records['mtime'][:40]!r}")
    return min(max(found, 0), _LATEST)


def _decimal(value: bytes, what: str) -> int:
    if not _DECIMAL.fullmatch(value):
        refuse("a field is no number", f"{what}: {value[:40]!r}")
    return int(value)


def _number(field: bytes, what: str, *, signed: bool = False) -> int:
    """Octal digits, or GNU's binary form where the first bit is set."""
    if field[0] & 0x80:
        found = int.from_bytes(field, "big", signed=True) if field[0] == 0xFF else _binary(field)
        if found < 0 and not signed:
            refuse("a field is no number", f"{what}: {found}")
        return found
    match = _OCTAL.fullmatch(field)
    if not match:
        refuse("a field is no number", f"{what}: {field!r}")
    return int(match[1] or b"0", 8)


def _binary(field: bytes) -> int:
    return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
