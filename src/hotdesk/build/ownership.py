"""Who owns what in the base system: from the packages' own headers, and from what their scripts asked for.

On disk everything belongs to whoever made the tree, with plain modes; this is what an image is made from.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hotdesk.build.inside import read, resolved
from hotdesk.errors import StoreError
from hotdesk.layers.debian import Ownership, disk_mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotdesk.build.configure import OwnerChange

OWNERSHIP = "ownership.json"
_NUMBER = re.compile(r"[0-9]{1,10}")
_MOST_USERS = 1 << 32
_OVERRIDE = re.compile(r"(\S+) (\S+) ([0-7]{1,4}) (.+)")


class Declared(Protocol):
    """A tree, and whose each path is by what its packages or its image declare."""

    @property
    def root(self) -> str: ...

    @property
    def ownership(self) -> Mapping[str, Ownership]: ...


def settle_ownership(tree: Declared, changes: Sequence[OwnerChange]) -> dict[str, Ownership]:
    """The owner and mode of all that is in the tree now; modes on disk become plain ones on the way.

    A mode that a script changed wins over its package's, and so do the owners that `changes` name.
    """
    owners: dict[str, Ownership] = {}
    for folder, directories, files in os.walk(tree.root):
        for name in (*directories, *files):
            full = f"{folder}/{name}"
            path = full[len(tree.root) + 1 :]
            status = os.lstat(full)
            owners[path] = owner = _owner(tree.ownership.get(path), status.st_mode)
            if not stat.S_ISLNK(status.st_mode):
                # Before the walk goes on: only now is every folder one that may be entered.
                os.chmod(full, disk_mode(owner, directory=stat.S_ISDIR(status.st_mode)))
    for change in changes:
        _apply(change, Path(tree.root), owners)
    _apply_overrides(Path(tree.root), owners)
    return owners


def _owner(declared: Ownership | None, mode: int) -> Ownership:
    found = stat.S_IMODE(mode)
    if declared is None:
        return Ownership(0, 0, 0o777 if stat.S_ISLNK(mode) else found)
    if stat.S_ISLNK(mode):
        return Ownership(declared.uid, declared.gid, 0o777)
    if found == disk_mode(declared, directory=stat.S_ISDIR(mode)):
        return declared
    return Ownership(declared.uid, declared.gid, found)


def _apply(change: OwnerChange, root: Path, owners: dict[str, Ownership]) -> None:
    flags = [argument for argument in change.arguments if argument.startswith("-")]
    operands = [argument for argument in change.arguments if not argument.startswith("-")]
    reference = next((flag.partition("=")[2] for flag in flags if flag.startswith("--reference=")), "")
    if reference:
        model = owners.get(resolved(root, posixpath.join(change.directory, reference)))
        uid, gid = (model.uid, model.gid) if model else (None, None)
    elif operands:
        uid, gid = _parse_owner(operands.pop(0), root, group_only=change.command == "chgrp")
    else:
        return
    if change.command == "chgrp":
        uid = None
    recursive = any(flag == "--recursive" or (flag[1:2] != "-" and "R" in flag) for flag in flags)
    follow = not any(flag == "--no-dereference" or (flag[1:2] != "-" and "h" in flag) for flag in flags)
    for operand in operands:
        path = resolved(root, posixpath.join(change.directory, operand), follow=follow)
        below = f"{path}/" if path else ""
        for known in [path, *(known for known in owners if recursive and known.startswith(below))]:
            if known in owners:
                old = owners[known]
                owners[known] = Ownership(
                    old.uid if uid is None else uid, old.gid if gid is None else gid, old.mode
                )


def _apply_overrides(root: Path, owners: dict[str, Ownership]) -> None:
    """dpkg-statoverride changes owners by itself, and keeps a list of them."""
    for line in _lines(root, "var/lib/dpkg/statoverride"):
        if not (override := _OVERRIDE.fullmatch(line)):
            continue  # as an image may have it that no dpkg wrote
        user, group, mode, path = override.groups()
        uid, gid = _number(user, _lines(root, "etc/passwd")), _number(group, _lines(root, "etc/group"))
        known = resolved(root, path)
        if known in owners:
            owners[known] = Ownership(uid or 0, gid or 0, int(mode, 8))


def _parse_owner(text: str, root: Path, *, group_only: bool) -> tuple[int | None, int | None]:
    if group_only:
        return None, _number(text, _lines(root, "etc/group"))
    user, separator, group = text.partition(":" if ":" in text else ".")
    uid = _number(user, _lines(root, "etc/passwd"))
    if separator and not group:
        return uid, _number(user, _lines(root, "etc/passwd"), 3)  # `user:` means the user's login group
    return uid, _number(group, _lines(root, "etc/group")) if group else None


def _lines(root: Path, path: str) -> list[str]:
    return (read(root, path) or b"").decode("utf-8", "surrogateescape").splitlines()


def _number(name: str, table: Sequence[str], column: int = 2) -> int | None:
    """The number of a user or group, or None where it has none: Debian's script failed there as well."""
    found = name
    for line in table:
        fields = line.split(":")
        if fields[0] == name and len(fields) > column:
            found = fields[column]
            break
    return int(found) if _NUMBER.fullmatch(found) and int(found) < _MOST_USERS else None


def write_ownership(owners: Mapping[str, Ownership], item: Path) -> None:
    """Record every path that is not simply root's with the mode it has on disk."""
    rows = [
        [path, owner.uid, owner.gid, owner.mode]
        for path, owner in sorted(owners.items())
        if (owner.uid, owner.gid) != (0, 0)
        or owner.mode != disk_mode(owner, directory=owner.mode & 0o100 != 0)
    ]
    text = json.dumps(rows, separators=(",", ":"), ensure_ascii=False)
    (item / OWNERSHIP).write_text(text, encoding="utf-8", errors="surrogatepass", newline="\n")


def read_ownership(item: Path) -> dict[str, Ownership]:
    """The paths of the system at `item` that are not simply root's with the mode they have on disk."""
    try:
        rows = json.loads((item / OWNERSHIP).read_bytes())
        return {path: Ownership(uid, gid, mode) for path, uid, gid, mode in rows}
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"the store's item {item} is damaged",
            why=f"{OWNERSHIP}: {error}",
            hint="remove this folder; it is made anew when it is needed",
        ) from None
