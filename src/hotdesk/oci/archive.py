"""A tar archive whose files are read in any order: where each begins is found by walking over its headers."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from hotdesk.errors import ImageError, UnsafeArchiveError
from hotdesk.oci.tar import BLOCK
from hotdesk.oci.untar import Stream, next_header, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 1 << 20
_MOST_FILES = 10_000


class Archive:
    """The regular files of the archive at `path`; `ImageError` where it is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        try:
            with path.open("rb") as file:
                self._walk(file)
        except UnsafeArchiveError as error:
            raise ImageError(
                f"{path} is no image that can be read",
                why=f"as a tar archive it is damaged, or it is none: {error.why}",
                hint="one that is compressed as a whole has to be decompressed first",
            ) from None

    def size(self, name: str) -> int:
        return self._place(name)[1]

    def chunks(self, name: str) -> Iterator[bytes]:
        at, left = self._place(name)
        with self._path.open("rb") as file:
            file.seek(at)
            while left and (chunk := file.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._places:
            raise FileNotFoundError(2, "there is no such file in the archive", name)
        return self._places[name]

    def _walk(self, file: IO[bytes]) -> None:
        end = os.fstat(file.fileno()).st_size
        stream = _OnDisk(file)
        while header := next_header(stream):
            at = file.tell()
            if at + header.size > end:
                refuse("its archive is cut short", f"in {header.path!r}")
            if header.kind == "file":
                if header.path in self._places or len(self._places) == _MOST_FILES:
                    refuse("it has a file twice, or too many", repr(header.path))
                self._places[header.path] = at, header.size
            file.seek(at + header.size + -header.size % BLOCK)


class _OnDisk(Stream):
    """A stream of which contents are passed over rather than read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(())
        self._file = file

    def block(self) -> bytes:
        found = self._file.read(BLOCK)
        if found and len(found) < BLOCK:
            refuse("its archive is cut short", "in a header")
        return found

    def pieces(self, size: int) -> Iterator[memoryview]:
        if size:
            yield memoryview(self._file.read(size))

    def must_be_over(self) -> None:
        """Whatever comes behind an archive's end, nobody looks there."""
