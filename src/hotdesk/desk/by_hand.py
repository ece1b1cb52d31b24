"""What was installed by hand in a desk, outside its lock: `pip install` puts it below the desk's own home.

The desk's programs wrote what is read here, and may have written anything: no link is followed, no more than
a little is read, and nothing counts but what looks like a package.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from hotdesk.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from hotdesk.desk.folder import Desk

_LIBRARIES = (".local", "lib")
_PYTHON = re.compile(r"python(3\.[0-9]{1,3})", re.ASCII)
_PACKAGE = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)-(v?[0-9][A-Za-z0-9.!+_]{0,60})\.dist-info", re.ASCII
)
_MOST_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class ByHand:
    """A package that `pip install` put in a desk.

    `requested`: the user named it, it is not there for another's sake alone. `from_index`: an index had it,
    so that it can be locked; else it came from a folder, a file or a repository. `hidden`: the lock has a
    package of this name, and that is the one which counts.
    """

    name: str
    version: str
    requested: bool = True
    from_index: bool = True
    hidden: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def installed_by_hand(home: Path, python: str | None, locked: Collection[str] = ()) -> list[ByHand]:
    """The packages by name, for one version of Python or for every one; `locked` are names in a lock.

    Empty where there are none, and where what is there cannot be read.
    """
    found = {}
    for folder in _site_folders(home, python):
        from hotdesk.spec.requirements import normalized_name  # 15 ms, and most homes have no such folder

        for entry in _entries(folder):
            match = _PACKAGE.fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False) and _is_version(match[2]):
                package = _package(folder / entry.name, normalized_name(match[1]), match[2], locked)
                found[package.name, package.version] = package
    return [found[key] for key in sorted(found)]


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _package(info: Path, name: str, version: str, locked: Collection[str]) -> ByHand:
    return ByHand(
        name,
        version,
        requested=os.path.lexists(info / "REQUESTED"),
        from_index=not os.path.lexists(info / "direct_url.json"),
        hidden=name in locked,
    )


def _site_folders(home: Path, python: str | None) -> Iterator[Path]:
    folder = home
    for name in _LIBRARIES:
        folder /= name
        if not _is_folder(folder):
            return
    for entry in _entries(folder):
        match = _PYTHON.fullmatch(entry.name)
        if match and python in (None, match[1]):
            site = folder / entry.name / "site-packages"
            if _is_folder(site.parent) and _is_folder(site):
                yield site


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(islice(entries, _MOST_ENTRIES))
    except OSError:
        return []


def outside_lock(desk: Desk) -> list[ByHand]:
    """What was installed by hand in a desk, beside the lock that it was opened with last.

    All of it, for every Python, where that lock is not known: a desk from an image has none.
    """
    found = installed_by_hand(desk.home, None)
    if not found:  # the usual case, and reading a lock takes longer
        return found
    from hotdesk.lock import LOCK_NAME, read_lock
    from hotdesk.project import host_platform

    try:
        lock = read_lock(desk.folder / "keep" / LOCK_NAME)
        locked = lock.select(host_platform(), desk.labels.get("variant", ""))
    except (LockError, OSError):
        return found
    return installed_by_hand(desk.home, locked.python, {package.name for package in locked.pypi})
