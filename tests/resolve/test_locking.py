"""The whole recipe on a folder of tiny wheels; Debian's side is what was locked before."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.resolve.index_folder import add_wheel, settings_for

from hotdesk.lock import Artifact, DebianPackage, Lock, PlatformLock
from hotdesk.resolve.locking import make_lock
from hotdesk.resolve.uv import Uv
from hotdesk.spec import PLATFORMS, parse_spec
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hotdesk.progress import Task, Unit
    from hotdesk.resolve.locking import Locking
    from hotdesk.spec import Spec

DEB = DebianPackage(
    "libc6", "1", "amd64", Artifact("debian", "debian", "pool/main/libc6.deb", 1, "0" * 64), ("default",)
)


class Counting:
    """Progress that counts; it is its own task."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0

    @contextmanager
    def task(self, label: str, total: int, unit: Unit = "items") -> Iterator[Task]:  # noqa: ARG002
        self.total += total
        yield self

    def advance(self, amount: int) -> None:
        self.done += amount

    def grow(self, amount: int) -> None:
        self.total += amount

    def note(self, message: str) -> None:
        raise NotImplementedError


def spec(*pypi: str) -> Spec:
    listed = ", ".join(f'"{name}"' for name in pypi)
    desk = '[desk]\nname = "x"\npython = "3.13"\nbase = "debian:trixie"\n'
    return parse_spec(f"{desk}[packages]\npypi = [{listed}]\n")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("a", "b", "c"):
        add_wheel(folder, name, "1.0")
    return folder


def lock(
    index: Path,
    wanted: Spec,
    previous: Lock | None,
    progress: Counting,
    preferred: Mapping[str, str] | None = None,
) -> Locking:
    store = Store(index.parent / "store")
    uv = Uv(store, settings_for(index))
    return make_lock(wanted, previous, store=store, progress=progress, preferred=preferred, uv=uv)


@pytest.fixture
def locked(index: Path) -> Lock:
    base = Lock(
        replace(spec().inputs(), pypi=("gone",)),
        "20260101T000000Z",
        {platform: PlatformLock((DEB,), ()) for platform in PLATFORMS},
    )
    return lock(index, spec("a"), base, Counting()).lock


@pytest.mark.parametrize("pypi", [("a",), ("a", "b"), ("b",), ()])
def test_every_way_to_lock_reports_each_platform(pypi: tuple[str, ...], index: Path, locked: Lock) -> None:
    progress = Counting()

    made = lock(index, spec(*pypi), locked, progress).lock

    assert {package.name for package in made.platforms["linux/amd64"].pypi} == set(pypi)
    assert progress.done == progress.total == len(PLATFORMS)


def test_why_a_platform_is_missing_is_the_same_from_run_to_run(index: Path, locked: Lock) -> None:
    add_wheel(index, "half", "1.0", 'a>=2; platform_machine == "aarch64"')

    made = lock(index, spec("a", "half"), locked, Counting())

    unavailable = made.lock.platforms["linux/arm64"].unavailable
    assert unavailable == {"default": "no set of versions fits Python 3.13.5 on linux/arm64"}
    assert lock(index, spec("a", "half"), made.lock, Counting()).lock == made.lock


def test_what_is_new_gets_the_versions_that_are_preferred_where_it_can(index: Path, locked: Lock) -> None:
    """As those that were tried by hand; what is locked stays as it was."""
    add_wheel(index, "a", "2.0")
    add_wheel(index, "b", "2.0", "c>=2")
    add_wheel(index, "c", "2.0")
    add_wheel(index, "c", "3.0")

    def versions(**preferred: str) -> dict[str, str]:
        made = lock(index, spec("a", "b"), locked, Counting(), preferred).lock
        return {package.name: package.version for package in made.platforms["linux/amd64"].pypi}

    assert versions() == {"a": "1.0", "b": "2.0", "c": "3.0"}
    assert versions(a="2.0", b="2.0", c="2.0") == {"a": "1.0", "b": "2.0", "c": "2.0"}
    assert versions(b="1.0") == {"a": "1.0", "b": "1.0"}
    assert versions(b="9.9") == {"a": "1.0", "b": "2.0", "c": "3.0"}
