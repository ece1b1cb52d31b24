"""A base system on an image that somebody else made: that unpacked, and Debian packages installed on it.

Beside what every base system has (`hotdesk.build.system`):

    changes.json     what differs from the image's own layers: the layer on top of them

The image's own dpkg installs the packages, since nobody else knows what is there: diversions, conffiles,
packages that others replace. It runs as in `hotdesk.build.configure`, as an emulated root. Nothing of the
image's configuration counts, neither its environment nor its entrypoint.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from hotdesk.build.changes import changes_of, write_changes
from hotdesk.build.configure import configure, open_for_scripts, unpack_with_dpkg
from hotdesk.build.system import finish_system
from hotdesk.build.unpack import control_fields
from hotdesk.engines.request import HOME, MOUNT_POINTS, PREFIX, WORK
from hotdesk.errors import ImageError
from hotdesk.layers.contents import TREE
from hotdesk.layers.debian import MERGED, open_deb
from hotdesk.layers.debian_relations import parse_relations
from hotdesk.oci.unpack import unpack
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hotdesk.build.configure import OwnerChange
    from hotdesk.layers.debian import Member, Ownership
    from hotdesk.lock import DebianPackage
    from hotdesk.oci.model import Image
    from hotdesk.progress import Progress

_NEEDED = ("usr/bin/sh", "usr/bin/dpkg")
_FOLDERS = ("etc", "opt", "usr/bin", "usr/lib", "usr/sbin", "var/lib/dpkg")


class SystemOnImage:
    """A base system on its way in `folder`, as `SystemBuild`; the image is unpacked at once."""

    def __init__(self, folder: Path, image: Image, progress: Progress = SILENT) -> None:
        self.folder = folder
        self.tree = folder / TREE
        self.root = str(self.tree)
        self.tree.mkdir()
        self.tree.chmod(0o755)  # whatever the umask
        self._image = unpack(image, self.tree, progress)
        check_tree(self.tree)
        self._packages: dict[str, _Package] = {}
        self._lock = Lock()

    def unpack(self, package: DebianPackage, deb: Path) -> None:
        """Read whose each file of a .deb is to be; dpkg unpacks it, when all are there."""
        with open_deb(deb, package.name) as archive:
            fields = control_fields(archive.control["control"])
            found = _Package(deb, fields, tuple(member for member, _ in archive.members()))
        with self._lock:
            self._packages[package.name] = found

    @property
    def ownership(self) -> Mapping[str, Ownership]:
        """By the image and by the packages; a directory that is there stays as it is, as dpkg has it."""
        owners = dict(self._image.owners)
        for _, package in sorted(self._packages.items()):
            for member in package.members:
                if member.kind == "directory":
                    owners.setdefault(member.path, member.owner)
                else:
                    owners[member.path] = member.owner
        return owners

    def configure(self, progress: Progress = SILENT) -> None:
        """Once all are there: install them, and make the result canonical."""
        debs = {name: self._packages[name].deb for name in unpacking_order(self._fields())}
        tools = self.folder / "tools"
        with progress.task("installing on the image", len(debs)) as task:
            before: list[OwnerChange] = []
            if debs:
                with open_for_scripts(self.tree) as inside:
                    before = unpack_with_dpkg(inside, debs, tools)
            contents, owners = finish_system(
                self.folder,
                self,
                lambda inside: [*before, *configure(inside, self.tree, (), tools, task.advance)],
            )
        write_changes(changes_of(self._image, contents, owners), self.folder)

    def _fields(self) -> dict[str, dict[str, str]]:
        return {name: package.fields for name, package in self._packages.items()}


@dataclass(frozen=True, slots=True)
class _Package:
    """A .deb, the fields of its control file, and what is in it."""

    deb: Path
    fields: dict[str, str]
    members: tuple[Member, ...]


def check_tree(tree: Path) -> None:
    """`ImageError` where the tree is no Debian system, or not one in which a desk has its place."""
    for top in MERGED:
        place = tree / top
        if os.path.lexists(place) and not (
            place.is_symlink() and os.readlink(place).strip("/") == f"usr/{top}"
        ):
            raise _unfit(
                f"its /{top} is no link to /usr/{top}, which it is in every release that hotdesk knows"
            )
    for path in (*_FOLDERS, *MOUNT_POINTS, WORK.strip("/"), PREFIX.strip("/")):
        _check_place(tree, path)
    for path in _NEEDED:
        if not os.path.lexists(tree / path):
            raise _unfit(f"it has no /{path}")
    for path, ours in ((HOME, ["work"]), (WORK, []), (PREFIX, [])):
        place = tree / path.strip("/")
        if place.is_dir() and os.listdir(place) not in ([], ours):
            raise _unfit(f"its {path} is not empty, and belongs to the desk")


def _check_place(tree: Path, path: str) -> None:
    """A link would lead elsewhere what is mounted or looked for there; those in /etc are to be files."""
    parts = path.split("/")
    for count in range(1, len(parts) + 1):
        place = tree.joinpath(*parts[:count])
        if not os.path.lexists(place):
            return
        is_file = count == len(parts) and path.startswith("etc/")
        if stat.S_ISDIR(place.lstat().st_mode) == is_file:
            raise _unfit(f"its /{'/'.join(parts[:count])} is {'a' if is_file else 'no'} directory")


def _unfit(why: str) -> ImageError:
    return ImageError(
        "the image cannot be the base of a desk", why=why, hint="use an image of Debian as `base`"
    )


def unpacking_order(packages: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The packages by name, each after those of them that it must find unpacked: its Pre-Depends.

    `packages` are the fields of their control files, in lower case.
    """
    providers: dict[str, set[str]] = {}
    for name, fields in packages.items():
        for provided in (name, *_names(fields.get("provides", ""))):
            providers.setdefault(provided, set()).add(name)
    ordered: dict[str, None] = {}
    entered: set[str] = set()

    def visit(name: str) -> None:
        if name in entered:
            return
        entered.add(name)
        for needed in _names(packages[name].get("pre-depends", "")):
            for provider in sorted(providers.get(needed, ())):
                visit(provider)
        ordered[name] = None

    for name in sorted(packages):
        visit(name)
    return list(ordered)


def _names(field: str) -> list[str]:
    return [relation.name for group in parse_relations(field) for relation in group]
