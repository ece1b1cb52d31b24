"""What the store holds and for whom, what nobody needs any more, and whether it is all intact."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.desk import data_path, end_abandoned
from hotdesk.errors import HotdeskError, LockError, StoreError
from hotdesk.keys import IMAGE_NAME, Needs, needs_of, unpacked_key
from hotdesk.layers.contents import verify_tree
from hotdesk.lock import LOCK_NAME, read_lock
from hotdesk.oci.pulled import blobs_of
from hotdesk.portable.files import size_on_disk
from hotdesk.portable.locks import open_folder, try_lock
from hotdesk.progress import SILENT
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hotdesk.progress import Progress
    from hotdesk.store import Kind, Store

# What reading a record of the store raises where that is damaged.
_DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


@dataclass(frozen=True, slots=True)
class User:
    """A lock file or a desk, and what of the store it needs; `problem` says why that is not known."""

    name: str
    needs: Needs
    problem: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk; a file that several items share by hard links counts once, for the first."""

    kind: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What in the store is not as it was made, in words, and whether it was removed."""

    text: str
    removed: bool


def users(store: Store) -> list[User]:
    """Every lock that was opened with this store and still is there, and every desk of this user."""
    return [*_desks(), *(_user(str(path), path, f"mend or remove {path}") for path in _opened_locks(store))]


def _desks() -> Iterator[User]:
    """By their folders alone: what a damaged desk needs may not go either."""
    for folder in _children(data_path() / "desks"):
        kept = folder / "keep" / LOCK_NAME
        if folder.name.startswith(".") or not kept.parent.exists():  # it was never opened
            continue
        if (image := kept.with_name(IMAGE_NAME)).exists():
            yield _user_of_image(f"desk {folder.name}", image)
        else:
            yield _user(f"desk {folder.name}", kept, f"remove it: `hotdesk rm {folder.name}`")


def _user_of_image(name: str, kept: Path) -> User:
    try:
        key = unpacked_key(str(json.loads(kept.read_bytes())["id"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        cure = f"remove it: `hotdesk rm {name.partition(' ')[2]}`"
        return User(name, Needs(frozenset(), frozenset()), f"{kept}: {error}", cure)
    return User(name, Needs(frozenset(), frozenset({("unpacked", key)})))


def _opened_locks(store: Store) -> Iterator[Path]:
    for record in _records(store):
        if path := _recorded(record):
            yield path


def _recorded(record: Path) -> Path | None:
    """Its lock file, None where that is gone, or where a power failure emptied the record."""
    with suppress(FileNotFoundError):  # forgotten a moment ago
        name = os.fsdecode(record.read_bytes())
        return Path(name) if name and Path(name).exists() else None
    return None


def _records(store: Store) -> list[Path]:
    return sorted((store.root / "users").glob("[0-9a-f]*"))


def _user(name: str, lock: Path, cure: str) -> User:
    try:
        return User(name, needs_of(read_lock(lock)))
    except LockError as error:
        problem = ": ".join(part for part in (error.what, error.why) if part)
    except OSError as error:
        problem = f"{lock}: {error.strerror}"
    return User(name, Needs(frozenset(), frozenset()), problem, cure)


def usage(store: Store, progress: Progress = SILENT) -> list[Usage]:
    """How much of each kind the store holds."""
    seen: set[int] = set()
    kinds = {"downloads": store.root / "downloads", "partial downloads": store.root / "partial"}
    kinds["blobs of pulled images"] = store.root / "blobs"
    # Environments last: their files are wheels' and bytecode's.
    items = sorted(_children(store.root / "items"), key=lambda kind: kind.name in ("environment", "spare"))
    kinds |= {f"{path.name} trees": path for path in items}
    kinds |= {"index cache": store.root / "uv", "unfinished": store.root / "tmp"}
    found = {kind: _children(folder) for kind, folder in kinds.items() if folder.is_dir()}
    with progress.task("measuring the store", sum(len(paths) for paths in found.values())) as task:

        def size(path: Path) -> int:
            task.advance(1)
            return _size(path, seen)

        return [Usage(kind, len(paths), sum(size(path) for path in paths)) for kind, paths in found.items()]


def _size(path: Path, seen: set[int]) -> int:
    """Bytes on disk of a file or of all that is in a folder, but for what was `seen`."""
    total = _blocks(path, seen)
    for folder, directories, files in os.walk(path):
        total += sum(_blocks(f"{folder}/{name}", seen) for name in (*directories, *files))
    return total


def _blocks(path: Path | str, seen: set[int]) -> int:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0
    if status.st_ino in seen:
        return 0
    seen.add(status.st_ino)
    return size_on_disk(status)


def collect_garbage(store: Store, progress: Progress = SILENT) -> int:
    """Remove what no lock or desk of this user needs, and no process uses; the bytes freed.

    Waits for commands that make something. What the locks need must be known: `StoreError` else.
    """
    with store.unused():
        end_abandoned()  # what they run on is about to be removed
        needed = users(store)
        for user in needed:
            if user.problem:
                raise StoreError(
                    f"nothing was removed: what {user.name} needs is not known",
                    why=user.problem,
                    hint=user.cure,
                )
        before = sum(kind.size for kind in usage(store, progress))
        _remove_unneeded_items(store, {item for user in needed for item in user.needs.items}, progress)
        _remove_unneeded_files(store, {sha256 for user in needed for sha256 in user.needs.downloads})
        _forget_users(store)
        _remove_abandoned(store)
        return before - sum(kind.size for kind in usage(store, progress))


def _remove_unneeded_items(store: Store, needed: set[tuple[Kind, str]], progress: Progress) -> None:
    """Environments first: one that is in use stays whole, with what it was made of.

    The spare of one that is needed stays: it has little of its own, and nothing would make it again.
    """
    from hotdesk.build.environment import made_of

    kept: set[tuple[str, str]] = {*needed, *(("spare", key) for kind, key in needed if kind == "environment")}
    items = sorted(
        (item for kind in _children(store.root / "items") for item in _children(kind)),
        key=lambda item: item.parent.name != "environment",
    )
    with progress.task("removing what nobody needs", len(items)) as task:
        for item in items:
            kind = item.parent.name
            if (kind, item.name) not in kept and not store.remove(kind, item.name) and kind == "environment":
                with suppress(
                    HotdeskError, *_DAMAGED
                ):  # it has its files by links of its own, and `verify` tells
                    kept |= made_of(item)
            task.advance(1)


def _remove_unneeded_files(store: Store, needed: set[str]) -> None:
    images = _children(store.root / "items" / "pulled")  # those that are left
    blobs = set().union(*(_blobs(image) for image in images))
    kept = {"blobs": blobs, "pulled": set(), "origins": set()}
    for name in ("downloads", "partial", "locations", *kept):
        for path in _children(store.root / name):
            if path.name.partition(".")[0] not in kept.get(name, needed):
                if name == "downloads":
                    store.remove("download", path.name)
                else:
                    path.unlink(missing_ok=True)
    if (uv := store.root / "uv").is_dir():
        with store.scratch() as scratch:  # in two steps, so that a process killed half way leaves nothing
            uv.rename(scratch / "removed")


def _blobs(image: Path) -> set[str]:
    try:
        return blobs_of(image)
    except (HotdeskError, *_DAMAGED):
        return set()  # `verify` tells


def _forget_users(store: Store) -> None:
    """Forget the locks that are gone: their packages went with this collection."""
    for record in _records(store):
        if _recorded(record) is None:
            record.unlink(missing_ok=True)


def _remove_abandoned(store: Store) -> None:
    """Remove what killed processes were making: its folder's lock is free."""
    for folder in _children(store.root / "tmp"):
        if not folder.is_dir():
            continue
        handle = open_folder(folder)
        try:
            if try_lock(handle):
                remove_tree(folder)
        finally:
            os.close(handle)


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def verify(store: Store, *, repair: bool = False, progress: Progress = SILENT) -> list[Problem]:
    """Compare everything with its hash; what is not what it should be.

    With `repair` what is corrupt is removed, unless a process uses it; when needed it is made again.
    """
    problems = []
    with store.unused() if repair else store.in_use():
        for path, difference in _corrupt(store, progress):
            removed = repair and _remove_corrupt(store, path)
            problems.append(Problem(f"{path.relative_to(store.root)}: {difference}", removed))
    return problems


def _remove_corrupt(store: Store, path: Path) -> bool:
    kind = {"downloads": "download", "blobs": "blob"}.get(path.parent.name, path.parent.name)
    return store.remove(kind, path.name)


def _corrupt(store: Store, progress: Progress) -> Iterator[tuple[Path, str]]:
    files = [*_children(store.root / "downloads"), *_children(store.root / "blobs")]
    # What is made of something else comes after it.
    order = {"bytecode": 1, "environment": 2, "spare": 2, "image": 3}
    kinds = sorted(_children(store.root / "items"), key=lambda kind: order.get(kind.name, 0))
    items = [item for kind in kinds for item in _children(kind)]
    damaged: set[str] = set()
    with progress.task("verifying", len(files) + len(items)) as task:
        for path in files:
            with path.open("rb") as stream:
                actual = hashlib.file_digest(stream, "sha256").hexdigest()
            if actual != path.name:
                yield path, f"its SHA-256 is {actual}"
            task.advance(1)
        for item in items:
            try:
                found = _differences(store, item, damaged)
            except HotdeskError as error:
                found = [error.what + (f" ({error.why})" if error.why else "")]
            except _DAMAGED as error:
                found = [str(error) or repr(error)]
            if found:
                damaged.add(item.name)
                yield item, _summary(found)
            task.advance(1)


def _differences(store: Store, item: Path, damaged: set[str]) -> list[str]:
    """What is wrong with an item; `damaged` are those found so far, and wheels come before their bytecode."""
    match item.parent.name:
        case "bytecode":
            from hotdesk.build.environment import bytecode_source

            # Perhaps it was compiled from what is damaged now: its own hashes would not tell.
            if (wheel := bytecode_source(item)) in damaged:
                return [f"it belongs to the damaged wheel {wheel}"]
        case "built":
            return [f"{wheel.name} is damaged" for wheel in item.iterdir() if not _is_sound_zip(wheel)]
        case "image":
            from hotdesk.build.image import verify_image

            return verify_image(store, item)
        case "pulled":
            from hotdesk.oci.pulled import differences

            return differences(store, item)
        case "environment" | "spare":
            from hotdesk.build.environment import verify_environment

            return verify_environment(store, item)
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
