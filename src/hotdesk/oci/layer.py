"""The one layer writer: members in, a tar archive or its gzip blob out, the same bytes wherever it runs.

    members ─→ pieces ─┬→ tar_chunks   the uncompressed archive, whose SHA-256 is the diff ID
                       └→ blob_chunks  the blob, whose SHA-256 is the digest

A layer is a recipe: nothing is kept of it but what `measure` found, and it is written anew when somebody
wants its bytes.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hotdesk.errors import UnsafeArchiveError
from hotdesk.layers.entries import Directory, File, Link
from hotdesk.oci import gzip, tar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hotdesk.layers.entries import Entry

_WHITEOUT = ".wh."


class Member(NamedTuple):
    """An entry as a layer has it: with its mode and its owner."""

    entry: Entry
    mode: int
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What there is to know of a layer's bytes: the SHA-256 of both forms, in hex, and their sizes.

    `files` has a mark for each member that is not copied from an archive: see `marks`.
    """

    digest: str
    size: int
    diff_id: str
    tar_size: int
    files: str


def roots(entries: Iterable[Entry]) -> list[Member]:
    """Entries as root's, with plain modes."""
    return [Member(entry, _plain_mode(entry)) for entry in entries]


def _plain_mode(entry: Entry) -> int:
    match entry:
        case Link():
            return 0o777
        case File(executable=False):
            return 0o644
        case _:
            return 0o755


def in_order(members: Iterable[Member], removed: Iterable[str] = ()) -> list[Member]:
    """The members with all their parents, by path in UTF-8; `removed` are paths of lower layers to be gone.

    `UnsafeArchiveError` for a path that comes twice as anything but a directory, for one below something that
    is no directory, and for one that an engine would take as a word to remove another layer's file.
    """
    found: dict[str, Member] = {}
    for member in members:
        path = member.entry.path
        before = found.get(path)
        if before and not (isinstance(before.entry, Directory) and isinstance(member.entry, Directory)):
            raise _refused(path, "it comes twice")
        if f"/{path}".find(f"/{_WHITEOUT}") >= 0:
            raise _refused(path, "engines take such a name as a word to remove a file of another layer")
        found[path] = member
    for path in list(found):
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found[parent] = Member(Directory(parent), 0o755)
            parent = parent.rpartition("/")[0]
        if parent and not isinstance(found[parent].entry, Directory):
            raise _refused(path, f"{parent} is no directory")
    for path in removed:
        folder, slash, name = path.rpartition("/")
        marker = f"{folder}{slash}{_WHITEOUT}{name}"
        found[marker] = Member(File(marker, 0, lambda: iter(())), 0o644)
    return [found[path] for path in sorted(found, key=_encoded)]


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _refused(path: str, why: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(f"no layer can hold `{path}`", why=why)


def tar_chunks(members: Iterable[Member]) -> Iterator[bytes]:
    """The layer's uncompressed archive; every file is checked while it is read."""
    for piece in _pieces(members):
        if isinstance(piece, File):
            yield from piece.chunks()
        else:
            yield piece


def blob_chunks(members: Iterable[Member]) -> Iterator[bytes]:
    """The layer's gzip blob; what is copied from archives is not inflated, and so not checked."""
    plain = _Plain()
    for piece in _pieces(members):
        if not isinstance(piece, File):
            yield from plain.add(piece)
        elif piece.deflated:
            yield from plain.flush()
            yield from gzip.spliced(piece.deflated, piece.size)
        else:
            for chunk in piece.chunks():
                yield from plain.add(chunk)
    yield from plain.flush()


def measure(members: Sequence[Member]) -> Measured:
    """Write both forms to nowhere, and every file checked."""
    blob, archive, plain = _Sum(), _Sum(), _Plain()
    for piece in _pieces(members):
        if not isinstance(piece, File):
            archive.add(piece)
            blob.add_each(plain.add(piece))
        elif piece.deflated:
            blob.add_each(plain.flush())
            blob.add(gzip.HEADER)
            archive.add_each(piece.deflated.inflated(blob.adding(piece.deflated.chunks())))
            blob.add(gzip.trailer(piece.deflated.crc32, piece.size))
        else:
            for chunk in archive.adding(piece.chunks()):
                blob.add_each(plain.add(chunk))
    blob.add_each(plain.flush())
    return Measured(blob.hexdigest(), blob.size, archive.hexdigest(), archive.size, marks(members))


def made(members: Iterable[Member]) -> Iterator[Member]:
    """The files and links that are not copied from an archive, which says by itself what they are."""
    for member in members:
        entry = member.entry
        if isinstance(entry, Link) or (isinstance(entry, File) and not entry.deflated):
            yield member


def marks(members: Iterable[Member]) -> str:
    """Two characters for each member that was `made`, by which two layers that differ can be told where.

    Twelve bits each: short enough for a lock, and one in 4,096 differences goes unseen, next to a digest
    of the whole that misses none.
    """
    found = []
    for member in made(members):
        digest = hashlib.sha256(_header(member))
        if isinstance(member.entry, File):
            known = member.entry.sha256
            for chunk in (known.encode(),) if known else member.entry.chunks():
                digest.update(chunk)
        found.append(base64.b64encode(digest.digest()[:2])[:2].decode())
    return "".join(found)


def _pieces(members: Iterable[Member]) -> Iterator[bytes | File]:
    """Headers and padding as bytes, and the files between them."""
    after = b""
    for member in members:
        entry = member.entry
        yield after + _header(member)
        after = b""
        if isinstance(entry, File) and entry.size:
            yield entry
            after = tar.padding(entry.size)
    yield after + tar.END


def _header(member: Member) -> bytes:
    mode, uid, gid = member.mode, member.uid, member.gid
    match member.entry:
        case Directory(path):
            return tar.header("directory", path, mode=mode, uid=uid, gid=gid)
        case Link(path, target):
            return tar.header("link", path, mode=mode, uid=uid, gid=gid, target=target)
        case File(path, size):
            return tar.header("file", path, mode=mode, uid=uid, gid=gid, size=size)


class _Plain:
    """What is not in any archive yet: headers, and what was made; collected, and compressed in pieces."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def add(self, data: bytes) -> Iterable[bytes]:
        self._waiting += data
        return self._full() if len(self._waiting) >= gzip.PIECE else ()

    def _full(self) -> Iterator[bytes]:
        while len(self._waiting) >= gzip.PIECE:
            yield gzip.packed(bytes(self._waiting[: gzip.PIECE]))
            del self._waiting[: gzip.PIECE]

    def flush(self) -> Iterable[bytes]:
        if not self._waiting:
            return ()
        last = gzip.packed(bytes(self._waiting))
        self._waiting.clear()
        return (last,)


class _Sum:
    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes) -> None:
        self._sha256.update(data)
        self.size += len(data)

    def add_each(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            self.add(chunk)

    def adding(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, each added when it is taken."""
        for chunk in chunks:
            self.add(chunk)
            yield chunk

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()
