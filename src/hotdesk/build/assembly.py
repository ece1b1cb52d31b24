"""The whole recipe: locked packages to the items that a root is made of.

    .debs   → base system                               ┐
    wheels  → one tree each → one linked environment    ├→ Root
    sdists  → wheels, built on that base system         ┘

Everything starts as soon as what it needs has arrived. Bytecode is not part of it: a desk opens without,
and `hotdesk.build.background` adds it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING

from hotdesk.build.environment import make_environment
from hotdesk.build.sdist import Workshop, built_wheel
from hotdesk.build.system import make_system
from hotdesk.fetch import Fetcher
from hotdesk.keys import wheel_sha256
from hotdesk.layers.contents import TREE
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hotdesk.keys import Keys
    from hotdesk.lock import Artifact, DebianPackage, LockedVariant, PythonPackage
    from hotdesk.progress import Progress, Task
    from hotdesk.store import Store

_UNPACKERS = 2  # unpacking is bound by the disk and by inflating, which runs outside the interpreter's lock


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
        artifacts = [package.artifact for package in packages]
        arrived = {artifact.sha256: path for artifact, path in fetcher.fetch(artifacts)}
    item = make_system(store, packages, lambda package: arrived[package.artifact.sha256], progress)
    return item / TREE


class Assembly:
    """One root on its way: artifacts come in, and each wakes what waits for it."""

    def __init__(
        self, store: Store, locked: LockedVariant, keys: Keys, fetcher: Fetcher, progress: Progress
    ) -> None:
        self.store = store
        self.locked = locked
        self.keys = keys
        self.fetcher = fetcher
        self.progress = progress
        self.files: dict[str, Future[Path]] = {}

    def make(self) -> None:
        artifacts = list(self._missing())
        self.files = {artifact.sha256: Future() for artifact in artifacts}
        wheels = [package for package in self.locked.pypi if package.artifact.sha256 in self.files]
        size = sum(package.artifact.size for package in wheels)
        with (
            self.progress.task("unpacking packages", size, "bytes") if wheels else nullcontext(None) as task,
            ThreadPoolExecutor(1, "system") as system_thread,
            ThreadPoolExecutor(_UNPACKERS, "wheel") as unpackers,
        ):
            try:
                system = system_thread.submit(self._make_system)
                unpacked = [
                    unpackers.submit(self._unpack, package, task) for package in self._by_arrival(artifacts)
                ]
                for future in unpacked:
                    future.result()
                self._build_sdists(system)
                self._make_environment()
                system.result()
            except BaseException as error:
                unpackers.shutdown(wait=False, cancel_futures=True)
                for file in self.files.values():  # wakes whoever waits for what will not come
                    if not file.done():
                        file.set_exception(error)
                raise

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

    def _by_arrival(self, artifacts: Sequence[Artifact]) -> Iterator[PythonPackage]:
        """Each package that is locked as a wheel, when its wheel has arrived."""
        wheels = {package.artifact.sha256: package for package in self.locked.pypi if not package.build}
        for artifact, path in self.fetcher.fetch(artifacts):
            file = self.files[artifact.sha256]
            if not file.done():
                file.set_result(path)
                if artifact.sha256 in wheels:
                    yield wheels[artifact.sha256]

    def _make_system(self) -> Path:
        return make_system(
            self.store,
            self.locked.debian,
            lambda package: self.files[package.artifact.sha256].result(),
            self.progress,
        )

    def _unpack(self, package: PythonPackage, task: Task | None) -> None:
        self._make_wheel_tree(package, self.files[package.artifact.sha256].result())
        if task:
            task.advance(package.artifact.size)

    def _build_sdists(self, system: Future[Path]) -> None:
        def workshop() -> Workshop:
            label = f"Python {self.locked.python} on {self.locked.platform} ({self.locked.base})"
            return Workshop(system.result() / TREE, label)

        for package, key in zip(self.locked.pypi, self.keys.wheels, strict=True):
            if package.build and not self.store.item("wheel", key).exists():
                with self.progress.task(f"building {package.name}", 1) as task:
                    wheel = built_wheel(self.store, package, workshop, self.keys.system)
                    self._make_wheel_tree(package, wheel)
                    task.advance(1)

    def _make_wheel_tree(self, package: PythonPackage, wheel: Path) -> None:
        name = package.build.wheel if package.build else package.artifact.name
        make_wheel_tree(self.store, wheel, wheel_sha256(package), self.locked.python, name)

    def _make_environment(self) -> None:
        bytecode = (self.store.item("bytecode", key) for key in self.keys.bytecode)
        make_environment(
            self.store,
            [self.store.item("wheel", key) for key in self.keys.wheels],
            self.locked.python,
            bytecode=[item for item in bytecode if item.exists()],
            progress=self.progress,
        )
