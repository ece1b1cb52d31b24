"""The whole recipe: locked packages to the items that a root is made of.

    .debs   → base system                               ┐
    wheels  → one tree each → one linked environment    ├→ Root
    sdists  → wheels, built on that base system         ┘

Everything starts as soon as what it needs has arrived. Bytecode is not part of it: a desk opens without,
and `hotdesk.build.background` adds it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from hotdesk.build.environment import LINKERS, EnvironmentBuild
from hotdesk.build.processes import SystemBuilder, Unpackers
from hotdesk.build.sdist import Workshop, built_wheel
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
    from hotdesk.lock import Artifact, DebianPackage, LockedVariant
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_LARGE = 8 << 20  # bytes; what is smaller is unpacked in a moment


def make_base_system(
    store: Store, packages: tuple[DebianPackage, ...], fetcher: Fetcher, progress: Progress = SILENT
) -> Path:
    """The tree of a base system alone: what locking needs where a package has to be built."""
    by_hash = {package.artifact.sha256: package for package in packages}
    arrivals = fetcher.fetch([package.artifact for package in packages])
    debs = ((by_hash[artifact.sha256], path) for artifact, path in arrivals)
    return make_system(store, packages, debs, progress) / TREE


class Assembly:
    """One root on its way: artifacts come in, and each goes to the process that waits for it.

    `enough` is told the root as soon as Jupyter can start on it: the base system and all wheels are there but
    large libraries, which nothing asks for before a notebook runs.
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

    def make(self) -> None:
        self.store.make("environment", self.keys.environment, self._fill)
        if not self.system.exists():
            make_base_system(self.store, self.locked.debian, self.fetcher, self.progress)

    def _fill(self, item: Path) -> None:
        build = EnvironmentBuild(item, self.locked.python)
        with ExitStack() as stack:
            system = None
            if not self.system.exists():
                system = stack.enter_context(SystemBuilder(self.store, self.locked.debian, self.progress))
            unpackers = stack.enter_context(
                Unpackers(self.store, self.locked.python, spared=1 if system else 0)
            )
            self._link_those_there(build)
            linked, late = self._unpack_each(build, system, unpackers)
            if system:
                system.finish()
                unpackers.take_core()
            self._build_sdists(build)
            for wheel in linked:
                wheel.result()
            if self.enough and not all(wheel.done() for wheel in late):
                self.enough(Root(self.system / TREE, build.tree))
            for wheel in late:
                wheel.result()
        bytecode = (self.store.item("bytecode", key) for key in self.keys.bytecode)
        build.finish(
            [self.store.item("wheel", key) for key in self.keys.wheels],
            [item for item in bytecode if item.exists()],
            self.progress,
        )

    def _link_those_there(self, build: EnvironmentBuild) -> None:
        wheels = (self.store.item("wheel", key) for key in self.keys.wheels)
        with ThreadPoolExecutor(LINKERS) as pool:
            for _ in pool.map(build.link, [wheel for wheel in wheels if wheel.exists()]):
                pass

    def _missing(self) -> Iterator[Artifact]:
        """What has to be there for the items that are not."""
        if not self.system.exists():
            yield from (package.artifact for package in self.locked.debian)
        for package, wheel in zip(self.locked.pypi, self.keys.wheels, strict=True):
            if self.store.item("wheel", wheel).exists():
                continue
            if package.build and self.store.item("built", self.keys.built[package.name]).exists():
                continue
            yield package.artifact
            if package.build:
                yield from package.build.requires

    def _unpack_each(
        self, build: EnvironmentBuild, system: SystemBuilder | None, unpackers: Unpackers
    ) -> tuple[list[Future[None]], list[Future[None]]]:
        """Fetch everything; hand over each artifact when it has arrived. The wheels, and the late ones."""
        wheels = {
            package.artifact.sha256: self.store.item("wheel", key)
            for package, key in zip(self.locked.pypi, self.keys.wheels, strict=True)
            if not package.build
        }
        linked: list[Future[None]] = []
        late: list[Future[None]] = []
        for artifact, path in self.fetcher.fetch([*self._missing()]):
            if wheel := wheels.get(artifact.sha256):
                waits = artifact.size >= _LARGE and is_library(path, artifact.name)
                unpacked = unpackers.submit(
                    path, artifact.sha256, artifact.name, late=waits, then=partial(build.link, wheel)
                )
                (late if waits else linked).append(unpacked)
            elif artifact.kind == "debian" and system:
                system.arrived(artifact.sha256)
        return linked, late

    def _build_sdists(self, build: EnvironmentBuild) -> None:
        label = f"Python {self.locked.python} on {self.locked.platform} ({self.locked.base})"
        workshop = Workshop(self.system / TREE, label)
        for package, key in zip(self.locked.pypi, self.keys.wheels, strict=True):
            if package.build and not self.store.item("wheel", key).exists():
                with self.progress.task(f"building {package.name}", 1) as task:
                    wheel = built_wheel(self.store, package, lambda: workshop, self.keys.system)
                    made = make_wheel_tree(
                        self.store, wheel, wheel_sha256(package), self.locked.python, wheel.name
                    )
                    build.link(made)
                    task.advance(1)
