"""The whole recipe: locked packages to the items that a root is made of.

    .debs   → base system                               ┐
    wheels  → one tree each → one linked environment    ├→ Root
    sdists  → wheels, built on that base system         ┘

Everything starts as soon as what it needs has arrived. Bytecode is not part of it: a desk opens without,
and `hotdesk.build.background` adds it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from hotdesk.build.environment import make_environment
from hotdesk.build.processes import SystemBuilder, Unpackers
from hotdesk.build.sdist import Workshop, built_wheel
from hotdesk.build.system import make_system
from hotdesk.fetch import Fetcher
from hotdesk.keys import interpreter_hashes, wheel_sha256
from hotdesk.layers.contents import TREE
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from hotdesk.keys import Keys
    from hotdesk.lock import Artifact, DebianPackage, LockedVariant
    from hotdesk.progress import Progress
    from hotdesk.store import Store


def make_base_system(
    store: Store,
    packages: tuple[DebianPackage, ...],
    snapshot: str,
    *,
    offline: bool = False,
    progress: Progress = SILENT,
) -> Path:
    """The tree of a base system alone: what locking needs where a package has to be built."""
    with Fetcher(store, offline=offline, snapshot=snapshot, progress=progress) as fetcher:
        by_hash = {package.artifact.sha256: package for package in packages}
        arrivals = fetcher.fetch([package.artifact for package in packages])
        debs = ((by_hash[artifact.sha256], path) for artifact, path in arrivals)
        return make_system(store, packages, debs, progress) / TREE


class Assembly:
    """One root on its way: artifacts come in, and each goes to the process that waits for it."""

    def __init__(
        self, store: Store, locked: LockedVariant, keys: Keys, fetcher: Fetcher, progress: Progress
    ) -> None:
        self.store = store
        self.locked = locked
        self.keys = keys
        self.fetcher = fetcher
        self.progress = progress

    def make(self) -> None:
        with ExitStack() as stack:
            unpackers = stack.enter_context(Unpackers(self.store, self.locked.python))
            system = None
            if not self.store.item("system", self.keys.system).exists():
                system = stack.enter_context(SystemBuilder(self.store, self.locked.debian, self.progress))
            for unpacked in [*self._unpack_each(system, unpackers)]:
                unpacked.result()
            if system:
                system.finish()
        self._build_sdists()
        self._make_environment()

    def _missing(self) -> Iterator[Artifact]:
        """What has to be there for the items that are not."""
        if not self.store.item("system", self.keys.system).exists():
            yield from (package.artifact for package in self.locked.debian)
        for package, wheel in zip(self.locked.pypi, self.keys.wheels, strict=True):
            if self.store.item("wheel", wheel).exists():
                continue
            if package.build and self.store.item("built", self.keys.built[package.name]).exists():
                continue
            yield package.artifact
            if package.build:
                yield from package.build.requires

    def _unpack_each(self, system: SystemBuilder | None, unpackers: Unpackers) -> Iterator[Future[None]]:
        """Fetch everything; hand over each artifact when it has arrived."""
        wheels = {package.artifact.sha256 for package in self.locked.pypi if not package.build}
        for artifact, path in self.fetcher.fetch([*self._missing()]):
            if artifact.sha256 in wheels:
                yield unpackers.submit(path, artifact.sha256, artifact.name)
            elif artifact.kind == "debian" and system:
                system.arrived(artifact.sha256)

    def _build_sdists(self) -> None:
        label = f"Python {self.locked.python} on {self.locked.platform} ({self.locked.base})"
        workshop = Workshop(self.store.item("system", self.keys.system) / TREE, label)
        for package, key in zip(self.locked.pypi, self.keys.wheels, strict=True):
            if package.build and not self.store.item("wheel", key).exists():
                with self.progress.task(f"building {package.name}", 1) as task:
                    wheel = built_wheel(self.store, package, lambda: workshop, self.keys.system)
                    make_wheel_tree(self.store, wheel, wheel_sha256(package), self.locked.python, wheel.name)
                    task.advance(1)

    def _make_environment(self) -> None:
        bytecode = (self.store.item("bytecode", key) for key in self.keys.bytecode)
        make_environment(
            self.store,
            [self.store.item("wheel", key) for key in self.keys.wheels],
            self.locked.python,
            interpreter=interpreter_hashes(self.locked),
            bytecode=[item for item in bytecode if item.exists()],
            progress=self.progress,
        )
