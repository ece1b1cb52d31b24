"""How a base system differs from the image that it is built on: what the layer on top of it holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotdesk.errors import StoreError
from hotdesk.layers.debian import Ownership

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hotdesk.layers.contents import Contents
    from hotdesk.oci.unpack import Unpacked

CHANGES = "changes.json"


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths that differ from what the image has, and those that are gone with all that was below them."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]


def changes_of(image: Unpacked, now: Contents, owners: Mapping[str, Ownership]) -> Changes:
    """What makes the tree as it is `now`, with its owners, out of what the image holds."""
    before = {written.path: (written.content, image.owners[written.path]) for written in image.written}
    found = {
        entry.path: (entry.content, owners.get(entry.path, Ownership(0, 0, entry.mode)))
        for entry in now.entries
    }
    folders = {path for path, (content, _) in found.items() if content == "directory"}
    gone = [path for path in before if path not in found]
    return Changes(
        changed=tuple(sorted(path for path, value in found.items() if before.get(path) != value)),
        removed=tuple(sorted(path for path in gone if _parent(path) in folders or "/" not in path)),
    )


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def with_parents(paths: Iterable[str]) -> set[str]:
    """The paths, and all directories above them."""
    found: set[str] = set()
    for path in paths:
        here = path
        while here and here not in found:
            found.add(here)
            here = _parent(here)
    return found


def write_changes(changes: Changes, item: Path) -> None:
    text = json.dumps([changes.changed, changes.removed], separators=(",", ":"), ensure_ascii=False)
    (item / CHANGES).write_text(text, encoding="utf-8", errors="surrogatepass", newline="\n")


def read_changes(item: Path) -> Changes | None:
    """What differs from the image that the system at `item` was built on; None where there is none."""
    try:
        changed, removed = json.loads((item / CHANGES).read_bytes().decode("utf-8", "surrogatepass"))
        return Changes(tuple(changed), tuple(removed))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"the store's item {item} is damaged",
            why=f"{CHANGES}: {error}",
            hint="remove this folder; it is made anew when it is needed",
        ) from None
