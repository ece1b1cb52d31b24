"""The base system of a desk from its locked .debs, without root, the same bits everywhere.

    tree/            what the sandbox mounts at `/`: the caller's files with plain modes
    contents.json    every entry of it, to verify and to compare
    ownership.json   the owners and modes that the disk does not have

Three steps, which may overlap with the download: unpack each .deb as it comes, register them all with dpkg,
and let dpkg configure them, while Python's own modules are compiled.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

from hotdesk.build.configure import configure, open_for_scripts
from hotdesk.build.dpkg import write_database
from hotdesk.build.normalise import normalise, settle_times
from hotdesk.build.ownership import settle_ownership, write_ownership
from hotdesk.build.standard_library import compile_standard_library, install_bytecode
from hotdesk.build.unpack import SystemTree
from hotdesk.engines.request import HOME, USER_ID, WORK
from hotdesk.keys import system_key
from hotdesk.layers.contents import TREE, scan_tree, write_contents
from hotdesk.layers.debian import Ownership
from hotdesk.oci.pulled import pulled_image
from hotdesk.progress import SILENT
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from hotdesk.build.configure import OwnerChange
    from hotdesk.build.on_image import SystemOnImage
    from hotdesk.build.ownership import Declared
    from hotdesk.build.unpack import Unpacked
    from hotdesk.engines.programs import Inside
    from hotdesk.layers.contents import Contents
    from hotdesk.lock import DebianPackage
    from hotdesk.lock_base import LockedBase
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_UNPACKERS = 2
_DESK = {folder.strip("/"): Ownership(USER_ID, USER_ID, 0o755) for folder in (HOME, WORK)}


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
            finish_system(
                self.folder,
                self._system,
                lambda inside: configure(
                    inside, self.tree, self._unpacked, self.folder / "tools", task.advance
                ),
            )


def finish_system(
    folder: Path, declared: Declared, run_scripts: Callable[[Inside], Sequence[OwnerChange]]
) -> tuple[Contents, dict[str, Ownership]]:
    """Let Debian's scripts do their work in the tree, and make the result canonical; what it holds then."""
    tree, bytecode = folder / TREE, folder / "bytecode"
    with open_for_scripts(tree) as inside, ThreadPoolExecutor(1) as pool:
        compiled = pool.submit(compile_standard_library, tree, bytecode)
        changes = run_scripts(inside)
        compiled.result()
    owners = settle_ownership(declared, changes)
    normalise(tree)
    install_bytecode(bytecode, tree)
    remove_tree(bytecode)
    settle_times(tree)
    owners = {path: owner for path, owner in owners.items() if os.path.lexists(tree / path)} | _DESK
    contents = scan_tree(tree)
    write_ownership(owners, folder)
    write_contents(contents, folder)
    return contents, owners


def make_system(
    store: Store,
    packages: Sequence[DebianPackage],
    debs: Iterable[tuple[DebianPackage, Path]],
    progress: Progress = SILENT,
    *,
    base: LockedBase | None = None,
) -> Path:
    """The base system's item in the store, made where it is not there yet.

    `debs` gives each of `packages` with its verified file, in any order, as they arrive. `base` is the image
    that they are installed on, which is in the store.
    """

    def fill(folder: Path) -> None:
        build = _begin(store, folder, base, progress)
        size = sum(package.artifact.size for package in packages)
        with (
            progress.task("unpacking the base system", size, "bytes") as task,
            ThreadPoolExecutor(_UNPACKERS) as pool,
        ):

            def unpack(package: DebianPackage, deb: Path) -> None:
                build.unpack(package, deb)
                task.advance(package.artifact.size)

            for unpacked in [pool.submit(unpack, package, deb) for package, deb in debs]:
                unpacked.result()
        build.configure(progress)

    return store.make("system", system_key(packages, base), fill)


def _begin(
    store: Store, folder: Path, base: LockedBase | None, progress: Progress
) -> SystemBuild | SystemOnImage:
    if base is None:
        return SystemBuild(folder)
    from hotdesk.build.on_image import SystemOnImage

    return SystemOnImage(folder, pulled_image(store, base.digest), progress)
