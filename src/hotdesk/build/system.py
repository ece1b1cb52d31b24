"""The base system of a desk from its locked .debs, without root, the same bits everywhere.

    tree/            what the sandbox mounts at `/`: the caller's files with plain modes
    contents.json    every entry of it, to verify and to compare
    ownership.json   the owners and modes that the disk does not have

Three steps, which may overlap with the download: unpack each .deb as it comes, register them all with dpkg,
and let dpkg configure them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

from hotdesk.build.configure import configure
from hotdesk.build.dpkg import write_database
from hotdesk.build.normalise import normalise, settle_times
from hotdesk.build.ownership import settle_ownership, write_ownership
from hotdesk.build.unpack import SystemTree
from hotdesk.layers.contents import TREE, scan_tree, write_contents
from hotdesk.progress import SILENT
from hotdesk.store import item_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from hotdesk.build.unpack import Unpacked
    from hotdesk.lock import DebianPackage
    from hotdesk.progress import Progress
    from hotdesk.store import Store

RECIPE = "system-1"
"""Its number goes up whenever this package makes something else of the same .debs."""

_UNPACKERS = 2


class SystemBuild:
    """A base system on its way in `folder`, which is empty: `unpack` each package, then `configure`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / TREE
        self.tree.mkdir()
        self._system = SystemTree(self.tree)
        self._unpacked: list[Unpacked] = []
        self._lock = Lock()

    def unpack(self, package: DebianPackage, deb: Path) -> None:
        """Write the data of one .deb, which was verified; in any order, from any thread."""
        unpacked = self._system.unpack(deb, package.name)
        with self._lock:
            self._unpacked.append(unpacked)

    def configure(self, progress: Progress = SILENT) -> None:
        """Once all are unpacked: let Debian's scripts do their work, and make the result canonical."""
        with progress.task("configuring the base system", len(self._unpacked)) as task:
            self._system.finish()
            write_database(self.tree, self._unpacked)
            changes = configure(self.tree, self._unpacked)
            normalise(self._system)
            owners = settle_ownership(self._system, changes)
            settle_times(self.tree)
            write_ownership(owners, self.folder)
            write_contents(scan_tree(self.tree), self.folder)
            task.advance(len(self._unpacked))


def system_key(packages: Iterable[DebianPackage]) -> str:
    """The name of the base system in the store; only what is locked has a part in it."""
    return item_key(RECIPE, *sorted(f"{package.name} {package.artifact.sha256}" for package in packages))


def make_system(
    store: Store,
    packages: Iterable[DebianPackage],
    deb: Callable[[DebianPackage], Path],
    progress: Progress = SILENT,
) -> Path:
    """The base system's item in the store, made where it is not there yet; `deb` gives a package's file."""
    # The largest first, so that none of them is left alone at the end.
    ordered = sorted(packages, key=lambda package: -package.artifact.size)

    def fill(folder: Path) -> None:
        build = SystemBuild(folder)
        with (
            progress.task(
                "unpacking the base system", sum(item.artifact.size for item in ordered), "bytes"
            ) as task,
            ThreadPoolExecutor(_UNPACKERS) as pool,
        ):

            def unpack(package: DebianPackage) -> None:
                build.unpack(package, deb(package))
                task.advance(package.artifact.size)

            for _ in pool.map(unpack, ordered):
                pass
        build.configure(progress)

    return store.make("system", system_key(ordered), fill)
