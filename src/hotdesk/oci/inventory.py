"""What an image's layers hold, by package: from what Python and Debian packages say of their own files.

Python's say it in RECORD, Debian's in dpkg's lists; both are in the layers themselves, so that any image can
be asked, whoever made it. Nothing of it is believed further than to draw a picture.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hotdesk.layers.debian import merged_path
from hotdesk.oci.untar import members
from hotdesk.oci.validate import examine, refuse_problems
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.oci.model import Image
    from hotdesk.oci.stack import Change
    from hotdesk.oci.untar import Header
    from hotdesk.progress import Progress

Ecosystem = Literal["python", "debian", ""]

_LARGEST_LIST = 16 << 20
_RECORD = re.compile(r"(?P<site>.*)/(?P<name>[^/]+?)-(?P<version>[^/-]+)\.dist-info/RECORD")
_LIST = re.compile(r"var/lib/dpkg/info/(?P<name>[^/:]+)(:[a-z0-9]+)?\.list")
_STATUS = "var/lib/dpkg/status"
_BYTECODE = re.compile(r"(?P<folder>(.*/)?)__pycache__/(?P<name>[^/.]+)\.[^/]*\.pyc")


@dataclass(frozen=True, slots=True)
class Package:
    """A package by its name; the one with an empty name is what belongs to no package."""

    ecosystem: Ecosystem
    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip() or "files of no package"


@dataclass(frozen=True, slots=True)
class Holding:
    """What of a package is in a layer; `size` in bytes, unpacked."""

    package: Package
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Contents:
    """A layer's holdings, the largest first, and the size of its archive."""

    holdings: tuple[Holding, ...]
    tar_size: int


_NOBODY = Package("", "")


def take_inventory(image: Image, progress: Progress = SILENT) -> list[Contents]:
    """What is in each layer of an image that others made; `ImageError` where it is not what it claims."""
    inventory = _Inventory()

    def visit(number: int, change: Change, content: Iterator[memoryview]) -> None:
        if change.node and not change.linked:
            inventory.add(number, change.node.header, content)

    problems, sizes = examine(image, visit, progress)
    refuse_problems(problems)
    return [Contents(inventory.holdings(number), size) for number, size in enumerate(sizes)]


def own_inventory(image: Image, progress: Progress = SILENT) -> list[Contents]:
    """The same of one that was built here: its layers are not compressed for it, nor hashed."""
    inventory = _Inventory()
    with progress.task("reading layers", sum(layer.tar_size for layer in image.layers), "bytes") as task:
        for number, layer in enumerate(image.layers):
            for header, content in members(layer.tar_chunks()):
                inventory.add(number, header, content)
            task.advance(layer.tar_size)
    return [Contents(inventory.holdings(number), layer.tar_size) for number, layer in enumerate(image.layers)]


class _Inventory:
    def __init__(self) -> None:
        self._files: dict[int, list[tuple[str, int]]] = defaultdict(list)
        self._owners: dict[str, Package] = {}
        self._versions: dict[str, str] = {}

    def add(self, number: int, header: Header, content: Iterator[memoryview]) -> None:
        path, size = header.path, header.size
        if header.kind != "file":
            return
        self._files[number].append((path, size))
        if size > _LARGEST_LIST:
            return
        if record := _RECORD.fullmatch(path):
            package = Package("python", record["name"], record["version"])
            for row in _rows(content):
                self._owners[posixpath.normpath(posixpath.join(record["site"], row))] = package
        elif listed := _LIST.fullmatch(path):
            package = Package("debian", listed["name"])
            for line in _text(content).splitlines():
                self._owners[merged_path(line.strip("/"))] = package
        elif path == _STATUS:
            self._versions = dict(_versions(_text(content)))

    def holdings(self, number: int) -> tuple[Holding, ...]:
        files: Counter[Package] = Counter()
        sizes: Counter[Package] = Counter()
        for path, size in self._files[number]:
            owner = self._owner(path)
            files[owner] += 1
            sizes[owner] += size
        found = [Holding(owner, files[owner], sizes[owner]) for owner in files]
        return tuple(sorted(found, key=lambda row: (-row.size, str(row.package))))

    def _owner(self, path: str) -> Package:
        if (compiled := _BYTECODE.fullmatch(path)) and path not in self._owners:
            path = f"{compiled['folder']}{compiled['name']}.py"
        owner = self._owners.get(path, _NOBODY)
        if owner.ecosystem == "debian":
            return Package("debian", owner.name, self._versions.get(owner.name, ""))
        return owner


def _rows(content: Iterator[memoryview]) -> Iterator[str]:
    try:
        for row in csv.reader(_text(content).splitlines()):
            if row and row[0]:
                yield row[0]
    except csv.Error:
        return


def _text(content: Iterator[memoryview]) -> str:
    return b"".join(content).decode("utf-8", "replace")


def _versions(status: str) -> Iterator[tuple[str, str]]:
    name = ""
    for line in status.splitlines():
        if line.startswith("Package: "):
            name = line.removeprefix("Package: ").strip()
        elif line.startswith("Version: "):
            yield name, line.removeprefix("Version: ").strip()
