"""The beginning of an artifact on disk, hashed as it grows. Killed at any time, it can be resumed."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from hotdesk.errors import HashMismatchError, StoreError
from hotdesk.portable.files import SAFELY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotdesk.lock import Artifact
    from hotdesk.store import Shelf, Store

_CHUNK = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def writing(folder: Path, needed: int) -> Iterator[None]:
    """Turns the file system's refusals into a `StoreError` that says how many bytes were needed."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise full(folder, needed, error.strerror or "no space left") from error
        raise StoreError(
            f"the store at {folder} cannot be written",
            why=f"{error.strerror}: {error.filename or folder}",
            hint="mend its permissions, or set HOTDESK_STORE to another folder",
        ) from error


def full(folder: Path, needed: int, why: str) -> StoreError:
    return StoreError(
        f"there is no room in the store at {folder}: {needed / 1e6:,.1f} MB more are needed",
        why=why,
        hint="free some space, run `hotdesk cache gc`, or set HOTDESK_STORE to a folder on another disk",
    )


class Partial:
    """For one artifact, whose download lock the caller holds; `position` bytes are there and hashed."""

    def __init__(self, store: Store, artifact: Artifact, shelf: Shelf = "download") -> None:
        self._root = store.root
        self._store = store
        self._artifact = artifact
        self._shelf = shelf
        self._path = store.partial(artifact.sha256)
        self._final = store.place(shelf, artifact.sha256)
        self._handle = -1
        self._hash = hashlib.sha256()
        self.position = 0

    def __enter__(self) -> Self:
        with writing(self._root, self._artifact.size):
            for folder in (self._path.parent, self._final.parent):
                folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | SAFELY, 0o644)
            try:
                self._take_up()
            except BaseException:
                os.close(self._handle)
                raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def _take_up(self) -> None:
        if os.fstat(self._handle).st_size > self._artifact.size:
            os.ftruncate(self._handle, 0)
        while chunk := os.read(self._handle, _CHUNK):
            self._hash.update(chunk)
            self.position += len(chunk)

    @property
    def missing(self) -> int:
        """Bytes still to come."""
        return self._artifact.size - self.position

    def append(self, chunk: bytes | bytearray) -> None:
        """`HashMismatchError` where the file would become larger than it was locked."""
        if len(chunk) > self.missing:
            raise mismatch(self._artifact, f"it is larger than the {self._artifact.size:,} bytes locked")
        view = memoryview(chunk)
        with writing(self._root, self.missing):
            while view:
                view = view[os.write(self._handle, view) :]
        self._hash.update(chunk)
        self.position += len(chunk)

    def restart(self) -> None:
        """Forget what is there."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.position = 0

    def finish(self) -> Path:
        """Move the file to its place; where its hash is wrong, forget it and raise `HashMismatchError`."""
        got = self._hash.hexdigest()
        if got != self._artifact.sha256:
            self.restart()
            raise mismatch(self._artifact, f"expected SHA-256 {self._artifact.sha256}, got {got}")
        with writing(self._root, 0):
            self._store.mark_unsettled(self._shelf, self._artifact.sha256)
            self._path.replace(self._final)
        return self._final

    def discard(self) -> None:
        """Remove it from disk."""
        self.restart()
        self._path.unlink(missing_ok=True)


def mismatch(artifact: Artifact, why: str) -> HashMismatchError:
    return HashMismatchError(
        f"what was downloaded as `{artifact.name}` is not the file that was locked",
        why=why,
        hint="try another index or mirror; if the file was replaced on purpose, run `hotdesk lock --upgrade`",
    )
