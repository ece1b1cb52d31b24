"""The content-addressed cache on disk.

    downloads/HEX            an artifact, verified; HEX is its SHA-256
    blobs/HEX                a part of an image that was pulled, verified
    origins/HEX              where such a part, or one that was pushed, was last seen
    pulled/HEX               which image a reference led to, when it was last asked for
    partial/HEX              the beginning of one that is on its way
    items/KIND/KEY/          something made from artifacts, complete: a tree, a wheel built from an sdist
    tmp/                     what is being made; a crash leaves rubbish here and nowhere else
    locks/                   one lock file for each thing that two processes must not make at once, and for
                             each item that some process runs from
    users/                   who needs what: the lock files that were opened with this store
    unsettled/               a mark for each item that may not be on the disk yet, with the boot that made it

Everything arrives by rename, so that what has its final name is whole. The kernel releases locks with
the process that held them, so a killed process leaves nothing to clean up by hand.

Nothing waits for the disk. After a power failure a renamed item could hold files whose bytes never arrived,
so a process in the background waits for the disk instead (`settle`); what another boot left unsettled is
removed before it is used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hotdesk.errors import StoreError
from hotdesk.portable.files import SAFELY, flush_disks
from hotdesk.portable.locks import lock, open_folder, try_lock
from hotdesk.portable.machine import boot, user_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hotdesk.portable.locks import Hold

Kind = Literal["wheel", "bytecode", "system", "environment", "spare", "built", "image", "pulled", "unpacked"]
Shelf = Literal["download", "blob"]
_SHELVES: dict[str, str] = {"download": "downloads", "blob": "blobs"}

_WAITS_SILENTLY = 1.0  # seconds
_OTHERS_WRITE = 0o022


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
    """The store below `root`, which is made when first needed, private to its user.

    `waiting` is told, once, what we wait for when it takes longer than a second; from another thread.
    """

    def __init__(self, root: Path, waiting: Callable[[str], None] | None = None) -> None:
        self.root = root
        self._waiting = waiting
        self._told: set[str] = set()

    def download(self, sha256: str) -> Path:
        """Where the artifact of this hash is, or will be."""
        return self.root / "downloads" / sha256

    def place(self, shelf: Shelf, sha256: str) -> Path:
        """Where a verified file is, or will be."""
        return self.root / _SHELVES[shelf] / sha256

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
        with self._locked(f"{kind}-{key}", "alone", f"another process that makes the same {kind}"):
            if final.exists():
                return final
            with self.scratch() as scratch:
                filled = scratch / "item"
                filled.mkdir()
                fill(filled)
                final.parent.mkdir(parents=True, exist_ok=True)
                self.mark_unsettled(kind, key)  # before it has its name: the file system keeps their order
                filled.rename(final)
        return final

    @contextmanager
    def using(self, items: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Keep `items` from being removed, whether they are there yet or not; any number may hold them."""
        self.remove_unsettled()
        with ExitStack() as stack:
            for kind, key in sorted(items):
                what = f"the process that removes this {kind}"
                stack.enter_context(self._locked(_in_use(kind, key), "shared", what))
            yield

    def remove(self, kind: str, key: str) -> bool:
        """Remove the item, or the file, unless some process uses it; false where one does.

        In two steps, so that a process killed half way leaves nothing that looks whole.
        """
        place = self.root / _SHELVES.get(kind, f"items/{kind}") / key
        with self.scratch() as scratch, self.try_exclusive(_in_use(kind, key)) as ours:
            if ours:
                with suppress(FileNotFoundError):
                    place.rename(scratch / "removed")
            return ours

    def mark_unsettled(self, kind: str, key: str) -> None:
        """The item or file is about to change; it is in memory only until the next `settle`."""
        (self._folder("unsettled") / f"{boot()}.{kind}.{key}").touch()

    def settle(self) -> None:
        """Wait until all that was made so far is on the disk."""
        before = self._unsettled()
        if not before:
            return
        flush_disks()
        now = self._unsettled()
        for name in before.keys() & now.keys():
            if before[name] == now[name]:  # else it was marked again meanwhile
                (self.root / "unsettled" / name).unlink(missing_ok=True)

    def is_unsettled(self) -> bool:
        """Whether something was made that may not be on the disk yet."""
        return bool(self._unsettled())

    def remove_unsettled(self) -> None:
        """Remove what was not on the disk for certain when the machine went down; it is made again."""
        if not self._left_by_another_boot():
            return
        with self._locked("unsettled", "alone", "another process that looks after a power failure"):
            for name in self._left_by_another_boot():
                _, kind, key = name.split(".", 2)
                if self.remove(kind, key):
                    (self.root / "unsettled" / name).unlink(missing_ok=True)

    def _left_by_another_boot(self) -> list[str]:
        if not (names := self._unsettled()):
            return []
        ours = boot()
        return [name for name in names if not name.startswith(ours)]

    def _unsettled(self) -> dict[str, int]:
        """Each mark with the time when it was made, in nanoseconds."""
        marks = {}
        with suppress(FileNotFoundError), os.scandir(self.root / "unsettled") as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    marks[entry.name] = entry.stat().st_mtime_ns
        return marks

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
        handle = open_folder(folder)
        try:
            lock(handle)
            yield folder
        finally:
            os.close(handle)
            remove_tree(folder)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock `name` alone; waits for whoever holds it."""
        with self._locked(name, "alone", "another hotdesk process that does the same"):
            yield

    @contextmanager
    def try_exclusive(self, name: str) -> Iterator[bool]:
        """Hold the lock `name` alone where nobody holds it; tells whether we do, and never waits."""
        handle = self._open_lock(name)
        try:
            yield try_lock(handle)
        finally:
            os.close(handle)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep garbage collection away while artifacts and items are made and taken; many may hold it."""
        with self._locked("store", "shared", "`hotdesk cache gc` or `verify` of this store to end"):
            self.remove_unsettled()
            yield

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Wait until no process makes or takes anything, and keep the store to ourselves."""
        with self._locked("store", "alone", "other hotdesk processes that work on this store"):
            yield

    @contextmanager
    def _locked(self, name: str, hold: Hold, what: str) -> Iterator[None]:
        """`what` is whoever holds the lock, in words."""
        handle = self._open_lock(name)
        try:
            if not try_lock(handle, hold):
                with self._telling(what):
                    lock(handle, hold)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Say what we wait for where it takes long, once for all the threads that wait for such a thing."""
        if self._waiting is None or what in self._told:
            yield
            return
        from threading import Timer

        self._told.add(what)
        timer = Timer(_WAITS_SILENTLY, self._waiting, (f"waiting for {what}",))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _open_lock(self, name: str) -> int:
        path = self._folder("locks") / name
        return os.open(path, os.O_RDWR | os.O_CREAT | SAFELY, 0o600)

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        try:
            self._check_root()
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store at {self.root} cannot be written",
                why=f"{error.strerror}: {error.filename}",
                hint="free some space or mend its permissions, or set HOTDESK_STORE to another folder",
            ) from error
        return folder

    def _check_root(self) -> None:
        """What is in the store gets executed: nobody else may put something there."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.root.mkdir(mode=0o700)
        found = self.root.stat()
        if found.st_uid != user_ids()[0]:
            raise StoreError(
                f"the store at {self.root} is somebody else's",
                why=f"it belongs to user {found.st_uid}, who could change what runs on your desks",
                hint="set HOTDESK_STORE to a folder of your own",
            )
        if found.st_mode & _OTHERS_WRITE:
            raise StoreError(
                f"others may write to the store at {self.root}",
                why=f"its mode is {found.st_mode & 0o7777:o}: they could change what runs on your desks",
                hint=f"chmod 700 {self.root}, and remove what is in it where you do not trust them",
            )


def _in_use(kind: str, key: str) -> str:
    return f"in-use-{kind}-{key}"


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
