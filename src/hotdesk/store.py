"""The content-addressed cache on disk.

    downloads/HEX            an artifact, verified; HEX is its SHA-256
    partial/HEX              the beginning of one that is on its way
    items/KIND/KEY/          something made from artifacts, complete: a tree, a wheel built from an sdist
    tmp/                     what is being made; a crash leaves rubbish here and nowhere else
    locks/                   one lock file for each thing that two processes must not make at once
    users/                   who needs what: the lock files that were opened with this store

Everything arrives by rename, so that what has its final name is whole. The kernel releases locks with
the process that held them, so a killed process leaves nothing to clean up by hand.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hotdesk.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["wheel", "bytecode", "system", "environment", "built"]


def default_store_path() -> Path:
    """`HOTDESK_STORE`, else the user's cache folder."""
    if configured := os.environ.get("HOTDESK_STORE"):
        return Path(configured).absolute()
    from platformdirs import user_cache_path  # 15 ms, and not needed with HOTDESK_STORE

    return user_cache_path("hotdesk")


def item_key(recipe: str, *parts: str) -> str:
    """The name of what `recipe` makes of `parts`; a recipe whose result changes needs a new name."""
    digest = hashlib.sha256()
    for part in (recipe, *parts):
        digest.update(len(part).to_bytes(4, "big") + part.encode())
    return digest.hexdigest()[:40]


class Store:
    """The store below `root`, which is made when first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def download(self, sha256: str) -> Path:
        """Where the artifact of this hash is, or will be."""
        return self.root / "downloads" / sha256

    def partial(self, sha256: str) -> Path:
        """Where the beginning of a download is kept until it is whole."""
        return self.root / "partial" / sha256

    def item(self, kind: Kind, key: str) -> Path:
        """Where the item is, or will be."""
        return self.root / "items" / kind / key

    def make(self, kind: Kind, key: str, fill: Callable[[Path], None]) -> Path:
        """The item's folder, filled by `fill` where it is not there yet, once among all processes.

        `fill` gets an empty folder in the store; it is renamed to its place when `fill` returns, and
        removed when it raises.
        """
        final = self.item(kind, key)
        if final.exists():
            return final
        with self.exclusive(f"{kind}-{key}"):
            if final.exists():
                return final
            with self.scratch() as scratch:
                filled = scratch / "item"
                filled.mkdir()
                fill(filled)
                final.parent.mkdir(parents=True, exist_ok=True)
                filled.rename(final)
        return final

    def record_user(self, lock: Path) -> None:
        """Remember that the lock file `lock` was opened with this store, so that its packages are kept."""
        record = self._folder("users") / hashlib.sha256(os.fsencode(lock)).hexdigest()[:32]
        if not record.exists():
            partial = record.with_name(f".{record.name}.{os.getpid()}")
            partial.write_bytes(os.fsencode(lock))
            partial.replace(record)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder on the store's file system, removed at the end; a lock on it marks it alive."""
        parent = self._folder("tmp")
        folder = Path(tempfile.mkdtemp(dir=parent))
        folder.chmod(0o700)
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(handle)
            remove_tree(folder)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock `name` alone; waits for whoever holds it."""
        with self._locked(name, fcntl.LOCK_EX):
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep garbage collection away while artifacts and items are made and taken; many may hold it."""
        with self._locked("store", fcntl.LOCK_SH):
            yield

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Wait until no process makes or takes anything, and keep the store to ourselves."""
        with self._locked("store", fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[None]:
        path = self._folder("locks") / name
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store at {self.root} cannot be written",
                why=f"{error.strerror}: {error.filename}",
                hint="free some space or mend its permissions, or set HOTDESK_STORE to another folder",
            ) from error
        return folder


def remove_tree(path: Path) -> None:
    """Remove the folder `path` and all below it, also where directories lack write permission."""
    if not path.exists():
        return
    os.chmod(path, 0o700)
    for folder, directories, _ in os.walk(path):
        for name in directories:
            directory = f"{folder}/{name}"
            if not os.path.islink(directory):  # chmod would follow it out of the tree
                os.chmod(directory, 0o700)
    shutil.rmtree(path)
