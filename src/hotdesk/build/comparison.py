"""Whether an image holds what a lock says: each file of the environment against the wheels' own RECORDs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotdesk.build.environment import own_entries
from hotdesk.engines.request import PREFIX
from hotdesk.keys import Keys
from hotdesk.layers.entries import File, Link
from hotdesk.layers.wheels import wheel_entries
from hotdesk.oci.validate import examine
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotdesk.layers.entries import Entry
    from hotdesk.lock import LockedVariant, PythonPackage
    from hotdesk.oci.model import Image
    from hotdesk.oci.stack import Change
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_BELOW = f"{PREFIX.strip('/')}/"
_MADE_HERE = re.compile(r"(.*/)?__pycache__/[^/]*\.pyc")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs from the lock, as sentences. Of `unlisted` files, the bytecode, no RECORD speaks."""

    differences: tuple[str, ...]
    compared: int
    unlisted: int


@dataclass(frozen=True, slots=True)
class _Expected:
    package: str
    contents: set[str]


class Environment:
    """What is below /opt/desk in an image while its layers are read: each path with its content."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def visit(self, _number: int, change: Change, content: Iterator[memoryview]) -> None:
        for path in change.removed:
            self._forget(path)
        node = change.node
        if node is None or not node.header.path.startswith(_BELOW):
            return
        header = node.header
        if header.kind == "link":
            self.found[header.path] = f"link:{header.target}"
        elif change.linked:
            self.found[header.path] = self.found.get(change.linked, "")
        elif header.kind == "file":
            digest = hashlib.sha256()
            for piece in content:
                digest.update(piece)
            self.found[header.path] = _content(digest.hexdigest(), executable=bool(header.mode & 0o100))

    def _forget(self, path: str) -> None:
        """A file, or a folder with all that is in it, is gone or about to be replaced."""
        if self.found.pop(path, None) is None and (path.startswith(_BELOW) or _BELOW.startswith(f"{path}/")):
            for below in [known for known in self.found if known.startswith(f"{path}/")]:
                del self.found[below]


def compare(
    image: Image, store: Store, locked: LockedVariant, progress: Progress = SILENT
) -> tuple[list[str], Comparison]:
    """What is wrong with `image` by itself, and where it differs from `locked`, whose wheels are there."""
    environment = Environment()
    problems, _ = examine(image, environment.visit, progress)
    return problems, _compared(environment.found, _expected(store, locked))


def _compared(found: dict[str, str], expected: dict[str, _Expected]) -> Comparison:
    differences = []
    for path, wanted in expected.items():
        content = found.get(f"{_BELOW}{path}")
        if content is None:
            differences.append(f"{PREFIX}/{path} of {wanted.package} is missing")
        elif content not in wanted.contents:
            differences.append(f"{PREFIX}/{path} is not as in {wanted.package}")
    extra = {path.removeprefix(_BELOW) for path in found} - expected.keys()
    made = {path for path in extra if _MADE_HERE.fullmatch(path)}
    differences += [f"{PREFIX}/{path} belongs to no package of the lock" for path in extra - made]
    return Comparison(tuple(sorted(differences)), len(expected), len(made))


def _expected(store: Store, locked: LockedVariant) -> dict[str, _Expected]:
    """Each path with what may be there: where several packages hold it, the content of any of them."""
    found: dict[str, _Expected] = {}
    for entry in own_entries(locked.python):
        _expect(found, entry, "the environment itself")
    for package in locked.pypi:
        name = package.build.wheel if package.build else package.artifact.name
        for entry in wheel_entries(_wheel(store, package, locked), locked.python, name):
            _expect(found, entry, f"{package.name} {package.version}")
    return found


def _expect(found: dict[str, _Expected], entry: Entry, package: str) -> None:
    if not isinstance(entry, (File, Link)) or _MADE_HERE.fullmatch(entry.path):
        return
    wanted = found.setdefault(entry.path, _Expected(package, set()))
    if isinstance(entry, Link):
        wanted.contents.add(f"link:{entry.target}")
    else:
        wanted.contents.add(_content(entry.sha256 or _hashed(entry), executable=entry.executable))


def _hashed(entry: File) -> str:
    digest = hashlib.sha256()
    for chunk in entry.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _content(sha256: str, *, executable: bool) -> str:
    return f"sha256:{sha256}{' executable' if executable else ''}"


def _wheel(store: Store, package: PythonPackage, locked: LockedVariant) -> Path:
    if package.build:
        return store.item("built", Keys.of(locked).built[package.name]) / package.build.wheel
    return store.download(package.artifact.sha256)


def missing_wheels(store: Store, locked: LockedVariant) -> list[PythonPackage]:
    """The packages whose wheels are not in the store."""
    return [package for package in locked.pypi if not _wheel(store, package, locked).exists()]
