"""What the store holds and for whom, what nobody needs any more, and whether it is all intact."""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.desk import desks
from hotdesk.errors import HotdeskError, LockError, StoreError
from hotdesk.keys import Needs, needs_of
from hotdesk.layers.contents import verify_tree
from hotdesk.lock import LOCK_NAME, read_lock
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hotdesk.store import Store


@dataclass(frozen=True, slots=True)
class User:
    """A lock file or a desk, and what of the store it needs."""

    name: str
    needs: Needs


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk; a file that several items share by hard links counts once, for the first."""

    kind: str
    count: int
    size: int


def users(store: Store) -> list[User]:
    """Every lock that was opened with this store and still is there, and every desk of this user.

    A lock that is there but cannot be read is an error: what it needs is not known, so nothing may go.
    """
    found = [User(f"desk {desk.name}", _needs_of_lock(desk.folder / "keep" / LOCK_NAME)) for desk in desks()]
    for record in sorted((store.root / "users").glob("[0-9a-f]*")):
        path = Path(os.fsdecode(record.read_bytes()))
        if path.exists():
            found.append(User(str(path), _needs_of_lock(path)))
        else:
            record.unlink(missing_ok=True)
    return found


def _needs_of_lock(path: Path) -> Needs:
    try:
        lock = read_lock(path)
    except LockError as error:
        raise StoreError(
            "nothing was removed: what one of the locks needs is not known",
            why=str(error),
            hint=f"mend or remove {path}",
        ) from error
    return needs_of(lock)


def usage(store: Store) -> list[Usage]:
    """How much of each kind the store holds."""
    seen: set[int] = set()
    kinds = {"downloads": store.root / "downloads", "partial downloads": store.root / "partial"}
    # Environments last: their files are wheels' and bytecode's.
    items = sorted(_children(store.root / "items"), key=lambda kind: kind.name == "environment")
    kinds |= {f"{path.name} trees": path for path in items}
    kinds |= {"index cache": store.root / "uv", "unfinished": store.root / "tmp"}
    return [
        Usage(kind, len(list(folder.iterdir())), _size(folder, seen))
        for kind, folder in kinds.items()
        if folder.is_dir()
    ]


def _size(path: Path, seen: set[int]) -> int:
    total = 0
    for folder, directories, files in os.walk(path):
        for name in (*directories, *files):
            try:
                status = os.lstat(f"{folder}/{name}")
            except FileNotFoundError:
                continue
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_blocks * 512
    return total


def collect_garbage(store: Store) -> int:
    """Remove what no lock or desk of this user needs; the bytes freed. Waits for other commands."""
    with store.unused():
        needed = users(store)
        downloads = {sha256 for user in needed for sha256 in user.needs.downloads}
        items = {(str(kind), key) for user in needed for kind, key in user.needs.items}
        before = sum(kind.size for kind in usage(store))
        for path in _unneeded(store, downloads, items):
            _remove(store, path)
        _remove_abandoned(store)
        return before - sum(kind.size for kind in usage(store))


def _unneeded(store: Store, downloads: set[str], items: set[tuple[str, str]]) -> Iterator[Path]:
    for name in ("downloads", "partial", "locations"):
        yield from (
            path for path in _children(store.root / name) if path.name.partition(".")[0] not in downloads
        )
    for kind in _children(store.root / "items"):
        yield from (path for path in _children(kind) if (kind.name, path.name) not in items)
    yield from _children(store.root / "uv")


def _remove(store: Store, path: Path) -> None:
    """Remove in two steps, so that a process killed half way leaves nothing that looks whole."""
    if path.is_dir() and not path.is_symlink():
        with store.scratch() as scratch:
            path.rename(scratch / "removed")
    else:
        path.unlink(missing_ok=True)


def _remove_abandoned(store: Store) -> None:
    """Remove what killed processes were making: its folder's lock is free."""
    for folder in _children(store.root / "tmp"):
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            remove_tree(folder)
        finally:
            os.close(handle)


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def verify(store: Store, *, repair: bool = False) -> list[str]:
    """Compare everything with its hash; one line for each thing that is not what it should be.

    With `repair` what is corrupt is removed: the next `up` fetches or makes it again.
    """
    problems = []
    with store.unused() if repair else store.in_use():
        for path, difference in _corrupt(store):
            problems.append(f"{path.relative_to(store.root)}: {difference}")
            if repair:
                _remove(store, path)
    return problems


def _corrupt(store: Store) -> Iterator[tuple[Path, str]]:
    for path in _children(store.root / "downloads"):
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != path.name:
            yield path, f"its SHA-256 is {actual}"
    damaged: set[str] = set()
    for kind in sorted(_children(store.root / "items"), key=lambda kind: kind.name == "environment"):
        for item in _children(kind):
            try:
                found = _differences(store, item, damaged)
            except (HotdeskError, OSError, ValueError, KeyError) as error:
                found = [str(error)]
            if found:
                damaged.add(item.name)
                yield item, _summary(found)


def _differences(store: Store, item: Path, damaged: set[str]) -> list[str]:
    """What is wrong with an item; `damaged` are the ones found so far, environments come last."""
    match item.parent.name:
        case "built":
            return [f"{wheel.name} is damaged" for wheel in item.iterdir() if not _is_sound_zip(wheel)]
        case "environment":
            from hotdesk.build.environment import linked_bytecode, verify_item

            # One file with two names: what is wrong there is wrong here.
            shared = sorted(linked_bytecode(item) & damaged)
            return [f"it shares the bytecode {key}" for key in shared] + verify_item(store, item)
    return verify_tree(item)


def _is_sound_zip(path: Path) -> bool:
    import zipfile  # 10 ms, and `hotdesk run` needs none of it
    import zlib

    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error):
        return False


def _summary(found: Iterable[str]) -> str:
    lines = list(found)
    return "; ".join(lines[:3]) + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")
