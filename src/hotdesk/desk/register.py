"""Which desks there are, and whose: a name belongs to one project folder and one variant.

A name is claimed before anything is built, under one lock for all of them, so that two folders with the
same spec cannot end up with one desk or one home.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotdesk.desk import folder as folders
from hotdesk.desk.folder import Desk
from hotdesk.errors import DeskError
from hotdesk.portable.locks import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a desk is: its project folder, seen through one variant of its spec."""

    project: Path | None
    variant: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """A desk's folder that cannot be used, and why."""

    name: str
    folder: Path
    why: str


def claim(name: str, owner: Owner, *, fixed: bool) -> Desk:
    """The desk of this owner, registered where there is none yet.

    With `fixed` its name is `name`, or `DeskError`; else `name`, with a number where others have that.
    """
    with _names():
        return _claim(name, owner, fixed=fixed)


@contextmanager
def occupied(name: str, owner: Owner) -> Iterator[Desk]:
    """Claim the desk, and keep it from being removed meanwhile: something uses its home."""
    with _names():
        desk = _claim(name, owner, fixed=False)
        desk.home.mkdir(mode=0o700, exist_ok=True)
        descriptor = folders.open_private(desk.folder / "used")
        lock(descriptor, "shared")  # nobody holds it alone, so this does not wait
    try:
        yield desk
    finally:
        os.close(descriptor)


def release(name: str) -> Path:
    """Take the folder of this name out of the register in one step; where it is now."""
    folder = folders.desk_folder(name)
    with _names():
        if folders.is_locked(folder / "used", "alone"):
            raise DeskError(
                f"a command runs in the home of the desk `{name}`",
                hint="end what `hotdesk run` or `hotdesk shell` started there",
            )
        removed = folder.with_name(f".{name}~{os.urandom(8).hex()}")
        folder.rename(removed)
    return removed


def survey() -> tuple[list[Desk], list[Damaged]]:
    """All desks of this user, by name, and what cannot be read."""
    found: list[Desk] = []
    damaged: list[Damaged] = []
    for entry in _entries():
        try:
            desk = folders.read_desk(entry)
        except DeskError as error:
            damaged.append(Damaged(entry.name, entry, error.why))
        else:
            if desk:
                found.append(desk)
    return found, damaged


def desks() -> list[Desk]:
    """All desks of this user that can be read, by name."""
    return survey()[0]


def find(name: str) -> Desk:
    """The desk of this name, or `DeskError`."""
    desk = folders.read_desk(folders.desk_folder(name))
    if desk is None:
        known = ", ".join(f"`{other.name}`" for other in desks())
        raise DeskError(
            f"there is no desk `{name}`",
            why=f"yours are {known}" if known else "you have none",
            hint="`hotdesk up` opens one",
        )
    return desk


def _claim(name: str, owner: Owner, *, fixed: bool) -> Desk:
    folder = folders.desk_folder(name)
    if fixed:
        desk = folders.read_desk(folder) or _register(name, owner)
        if _owner(desk) != owner:
            raise DeskError(
                f"the desk `{name}` belongs to another folder or variant",
                why=f"it was opened on {desk.project} ({_owner(desk).variant})",
                hint=f"choose another --name, or remove it: `hotdesk rm {name}`",
            )
        return desk
    found, damaged = survey()
    own = {desk.name: desk for desk in found if _owner(desk) == owner}
    taken = {desk.name for desk in found} | {desk.name for desk in damaged}
    numbered = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
    for candidate in numbered:
        if candidate in own:
            return own[candidate]
    return _register(next(candidate for candidate in numbered if candidate not in taken), owner)


def _register(name: str, owner: Owner) -> Desk:
    folder = folders.desk_folder(name)
    folders.make_folder(folder)
    desk = Desk(name, folder, None, owner.project, 0, "", 0.0, "", labels={"variant": owner.variant})
    desk.home.mkdir(mode=0o700, exist_ok=True)
    folders.write_desk(desk)
    return desk


def _owner(desk: Desk) -> Owner:
    return Owner(desk.project, desk.labels.get("variant", ""))


def _entries() -> list[Path]:
    """The folders of all desks; what begins with a dot is being removed."""
    try:
        found = sorted((folders.data_path() / "desks").iterdir())
    except FileNotFoundError:
        return []
    return [entry for entry in found if not entry.name.startswith(".")]


@contextmanager
def _names() -> Iterator[None]:
    folder = folders.data_path() / "desks"
    folders.make_folder(folder, private=False)  # what is in it is private, each by itself
    with folders.exclusive(folder / ".names"):
        yield
