"""What an item of the store holds: written when it is made, compared when the store is verified."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.errors import StoreError
from hotdesk.layers.entries import Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTENTS = "contents.json"
TREE = "tree"


@dataclass(frozen=True, slots=True)
class Contents:
    """A tree's entries, by path."""

    entries: tuple[Written, ...]

    @classmethod
    def of(cls, written: Iterable[Written]) -> Contents:
        return cls(tuple(sorted(written, key=lambda entry: entry.path)))


def write_contents(contents: Contents, item: Path) -> None:
    rows = [[entry.path, entry.mode, entry.size, entry.content] for entry in contents.entries]
    text = json.dumps(rows, separators=(",", ":"), ensure_ascii=False)
    (item / CONTENTS).write_text(text, encoding="utf-8", errors="surrogatepass", newline="\n")


def read_contents(item: Path) -> Contents:
    """What the item was made to hold; `StoreError` where that cannot be read."""
    try:
        rows = json.loads((item / CONTENTS).read_bytes())
        return Contents(tuple(Written(*row) for row in rows))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"the store's item {item} is damaged",
            why=f"{CONTENTS}: {error}",
            hint="remove this folder; it is made anew when it is needed",
        ) from None


def verify_tree(item: Path) -> list[str]:
    """Each difference between what the item holds and what it was made to hold, as a sentence."""
    return differences(read_contents(item), scan_tree(item / TREE))


def differences(expected: Contents, found: Contents) -> list[str]:
    """Each difference as a sentence, by path."""
    wanted = {entry.path: entry for entry in expected.entries}
    held = {entry.path: entry for entry in found.entries}
    problems = [f"{path} is missing" for path in wanted.keys() - held.keys()]
    problems += [f"{path} does not belong here" for path in held.keys() - wanted.keys()]
    for path in wanted.keys() & held.keys():
        if wanted[path] != held[path]:
            problems.append(f"{path} is {_words(held[path])}, not {_words(wanted[path])}")
    return sorted(problems)


def scan_tree(tree: Path) -> Contents:
    """What a tree holds now, every file read and hashed."""
    return Contents.of(_scan(tree))


def _scan(tree: Path) -> Iterator[Written]:
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(tree / below) as listing:
            for entry in listing:
                path = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                yield _found(entry, path)


def _found(entry: os.DirEntry[str], path: str) -> Written:
    mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
    if entry.is_symlink():
        return Written(path, mode, 0, f"link:{Path(entry.path).readlink()}")
    if entry.is_dir(follow_symlinks=False):
        return Written(path, mode, 0, "directory")
    with Path(entry.path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return Written(path, mode, entry.stat().st_size, f"sha256:{digest.hexdigest()}")


def _words(entry: Written) -> str:
    return f"{entry.content} of {entry.size} bytes and mode {entry.mode:o}"
