"""The whole recipe: locked packages to the items that a root is made of.

    .debs   → base system                               ┐
    wheels  → one tree each → one linked environment    ├→ Root
    sdists  → wheels, built on that base system         ┘

Everything starts as soon as what it needs has arrived. Bytecode is not part of it: a desk opens without,
and `hotdesk.build.background` adds it.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from hotdesk.build.base import bring_base
from hotdesk.build.environment import EnvironmentBuild
from hotdesk.build.processes import SystemBuilder, Unpackers
from hotdesk.build.sdist import Workshop, built_wheel
from hotdesk.build.spare import take_spare
from hotdesk.build.system import make_system
from hotdesk.engines.request import Root
from hotdesk.keys import Keys, wheel_sha256
from hotdesk.layers.contents import TREE
from hotdesk.layers.wheels import is_library, make_wheel_tree
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from hotdesk.fetch import Fetcher
    from hotdesk.lock import Artifact, DebianPackage, LockedVariant, PythonPackage
    from hotdesk.lock_base import LockedBase
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_LARGE = 8 << 20  # bytes; what is smaller is unpacked in a moment
_OWN_EXTENSIONS = {
    "jupyter_lsp", "jupyter_server_terminals", "jupyterlab", "nbclassic", "notebook", "notebook_shim",
}  # fmt: skip


def make_base_system(
    store: Store,
    packages: tuple[DebianPackage, ...],
    fetcher: Fetcher,
    progress: Progress = SILENT,
    *,
    base: LockedBase | None = None,
) -> Path:
    """The tree of a base system alone: what locking needs where a package has to be built.

    `base` is the image that it is built on, which must be in the store.
    """
    by_hash = {package.artifact.sha256: package for package in packages}
    arrivals = fetcher.fetch([package.artifact for package in packages])
    debs = ((by_hash[artifact.sha256], path) for artifact, path in arrivals)
    return make_system(store, packages, debs, progress, base=base) / TREE


class Assembly:
    """One root on its way: artifacts come in, and each goes to the process that waits for it.

    `enough` is told the root as soon as Jupyter can start on it, where that is before it is complete: the
    base system and all wheels are there but large libraries, which nothing asks for before a notebook runs.
    """

    def __init__(
        self,
        store: Store,
        locked: LockedVariant,
        fetcher: Fetcher,
        *,
        progress: Progress = SILENT,
        enough: Callable[[Root], None] | None = None,
    ) -> None:
        self.store = store
        self.locked = locked
        self.keys = Keys.of(locked)
        self.fetcher = fetcher
        self.progress = progress
        self.enough = enough
        self.system = store.item("system", self.keys.system)
        self.wheels = [store.item("wheel", key) for key in self.keys.wheels]

    def make(self) -> None:
        self.store.make("environment", self.keys.environment, self._fill)
        if not self.system.exists():
            self._bring_base()
            make_base_system(
                self.store, self.locked.debian, self.fetcher, self.progress, base=self.locked.base_image
            )

    def make_parts(self) -> None:
        """What an image is made from: the base system and the wheels' trees, without an environment."""
        there = {
            wheel
            for package, wheel in zip(self.locked.pypi, self.wheels, strict=True)
            if wheel.exists() and not (package.build and not self._built(package).exists())
        }
        if self.system.exists() and len(there) == len(self.wheels):
            return
        with self._at_work() as (system, unpackers):
            unpacked = [job for job, _ in self._unpack_each(_nothing, there, system, unpackers)]
            if system:
                system.finish()
                unpackers.take_core()
            self._build_sdists(_nothing, there)
            for wheel in unpacked:
                wheel.result()

    @contextmanager
    def _at_work(self) -> Iterator[tuple[SystemBuilder | None, Unpackers]]:
        with ExitStack() as stack:
            system = None
            if not self.system.exists():
                self._bring_base()
                system = stack.enter_context(
                    SystemBuilder(self.store, self.locked.debian, self.progress, base=self.locked.base_image)
                )
            spared = 1 if system else 0
            yield system, stack.enter_context(Unpackers(self.store, self.locked.python, spared=spared))

    def _bring_base(self) -> None:
        bring_base(self.store, self.locked, offline=self.fetcher.offline, progress=self.progress)

    def _fill(self, item: Path) -> None:
        spare = take_spare(self.store, item, set(self.keys.items()))
        build = EnvironmentBuild(item, self.locked.python, spare)
        # Seen once: what another process makes meanwhile is made here as well, and found to be there then.
        there = {wheel for wheel in self.wheels if wheel.exists()}
        # One thread links: two would mostly wait for each other.
        with self._at_work() as (system, unpackers), ThreadPoolExecutor(1, "linker") as linker:
            rest = there - build.spare
            linked = [linker.submit(build.link, wheel) for wheel in self.wheels if wheel in rest]
            late: list[Future[None]] = []
            for unpacked, waits in self._unpack_each(build.link, there, system, unpackers):
                (late if waits else linked).append(unpacked)
            if system:
                system.finish()
                unpackers.take_core()
            self._build_sdists(build.link, there)
            for wheel in linked:
                wheel.result()
            if self.enough and not build.spare and not all(wheel.done() for wheel in late):
                build.settle([wheel for wheel in self.wheels if wheel in build.linked])
                if starts_alone(build.tree):
                    self.enough(Root(self.system / TREE, build.tree))
            for wheel in late:
                wheel.result()
        bytecode = (self.store.item("bytecode", key) for key in self.keys.bytecode)
        build.finish(self.wheels, [item for item in bytecode if item.exists()], self.progress)

    def _built(self, package: PythonPackage) -> Path:
        return self.store.item("built", self.keys.built[package.name])

    def _missing(self, there: set[Path]) -> Iterator[Artifact]:
        """What has to be there for the items that are not."""
        if not self.system.exists():
            yield from (package.artifact for package in self.locked.debian)
        for package, wheel in zip(self.locked.pypi, self.wheels, strict=True):
            if wheel in there:
                continue
            if package.build and self._built(package).exists():
                continue
            yield package.artifact
            if package.build:
                yield from package.build.requires

    def _unpack_each(
        self,
        link: Callable[[Path], None],
        there: set[Path],
        system: SystemBuilder | None,
        unpackers: Unpackers,
    ) -> Iterator[tuple[Future[None], bool]]:
        """Fetch everything and hand it over as it arrives. Gives each wheel, and whether it may be late."""
        wheels = {
            package.artifact.sha256: wheel
            for package, wheel in zip(self.locked.pypi, self.wheels, strict=True)
            if not package.build and wheel not in there
        }
        for artifact, path in self.fetcher.fetch([*self._missing(there)]):
            if wheel := wheels.get(artifact.sha256):
                late = artifact.size >= _LARGE and is_library(path)
                then = partial(link, wheel)
                yield unpackers.submit(path, artifact.sha256, artifact.name, late=late, then=then), late
            elif artifact.kind == "debian" and system:
                system.arrived(artifact.sha256)

    def _build_sdists(self, link: Callable[[Path], None], there: set[Path]) -> None:
        label = f"Python {self.locked.python} on {self.locked.platform} ({self.locked.base})"
        workshop = Workshop(self.system / TREE, label, f"/usr/bin/python{self.locked.python}")
        for package, item in zip(self.locked.pypi, self.wheels, strict=True):
            if package.build and item not in there:
                with self.progress.task(f"building {package.name}", 1) as task:
                    wheel = built_wheel(self.store, package, lambda: workshop, self.keys.system)
                    sha256 = wheel_sha256(package)
                    link(make_wheel_tree(self.store, wheel, sha256, self.locked.python, wheel.name))
                    task.advance(1)


def _nothing(_: Path) -> None:
    """An image links no wheel."""


def starts_alone(environment: Path) -> bool:
    """Whether Jupyter's server starts with its own extensions only: others may import any library."""
    folder = environment / "etc" / "jupyter"
    for path in folder.rglob("*"):
        if path.is_dir() or path.relative_to(folder).parts[0] in ("labconfig", "nbconfig"):  # for the page
            continue
        try:
            settings: Any = json.loads(path.read_bytes())
            apps = [settings[app] for app in settings]
            extensions = {name for app in apps for table in app.values() for name in table}
        except (ValueError, AttributeError, TypeError, RecursionError):
            return False
        if not extensions <= _OWN_EXTENSIONS:
            return False
    return True
