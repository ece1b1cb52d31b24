"""When bytecode is compiled, by whom, and what happens where it cannot be."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from typing import TYPE_CHECKING

import pytest
from tests.layers.wheelhouse import WHEEL, write_wheel
from tests.support.environments import make_environment

from hotdesk.build.background import compile_bytecode, compile_in_background, failures
from hotdesk.errors import EngineError
from hotdesk.keys import Keys, wheel_tree_key
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.lock import Artifact, LockedVariant, PythonPackage
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def locked(store: Store, tmp_path: Path) -> LockedVariant:
    """One wheel, whose environment is in the store; the system has no Python, so compiling it fails."""
    wheel = write_wheel(tmp_path / "a-1-py3-none-any.whl", {"a-1.dist-info/WHEEL": WHEEL, "a.py": b"x = 1\n"})
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    artifact = Artifact("pypi", "a", wheel.name, wheel.stat().st_size, sha256)
    locked = LockedVariant(
        variant="default",
        platform="linux/amd64",
        python="3.13",
        base="debian:trixie",
        snapshot="20260101T000000Z",
        debian=(),
        pypi=(PythonPackage("a", "1", artifact, ("default",), 0),),
    )
    tree = make_wheel_tree(store, wheel, sha256, "3.13")
    assert tree.name == wheel_tree_key(sha256, "3.13")
    make_environment(store, [tree], "3.13")
    store.make("system", Keys.of(locked).system, lambda item: (item / "tree").mkdir())
    return locked


def environment(store: Store, locked: LockedVariant) -> Path:
    return store.item("environment", Keys.of(locked).environment)


def compile_and_fail(store: Store, locked: LockedVariant) -> None:
    with pytest.raises(EngineError):
        compile_bytecode(store, locked)


def _be_at_it(store: Store, name: str, begun: Path) -> None:
    with store.exclusive(name):
        begun.touch()
        time.sleep(60)


def test_where_one_process_compiles_the_others_leave(
    store: Store, locked: LockedVariant, tmp_path: Path
) -> None:
    name, begun = f"compile-{Keys.of(locked).environment}", tmp_path / "begun"
    process = multiprocessing.get_context("fork").Process(target=_be_at_it, args=(store, name, begun))
    process.start()
    while not begun.exists():
        time.sleep(0.01)
    try:
        started = time.monotonic()
        compile_bytecode(store, locked)

        assert time.monotonic() - started < 20
        assert failures(store) == []  # it did not even try
    finally:
        process.kill()
        process.join()


def test_a_failure_is_kept_where_doctor_finds_it(store: Store, locked: LockedVariant) -> None:
    compile_and_fail(store, locked)

    [failure] = failures(store)
    assert "could not compile" in failure
    assert "hint:" in failure


def test_what_failed_is_not_tried_again_for_a_day(store: Store, locked: LockedVariant) -> None:
    compile_and_fail(store, locked)
    mark = environment(store, locked) / "bytecode-failed"
    first = mark.stat().st_mtime_ns

    compile_in_background(store, locked)
    time.sleep(1)
    assert mark.stat().st_mtime_ns == first

    yesterday = time.time() - 90_000
    os.utime(mark, (yesterday, yesterday))
    compile_in_background(store, locked)
    deadline = time.monotonic() + 30
    while mark.stat().st_mtime < yesterday + 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mark.stat().st_mtime > yesterday + 1


def test_what_was_made_before_is_on_the_disk_afterwards(store: Store, locked: LockedVariant) -> None:
    assert list((store.root / "unsettled").iterdir())

    compile_and_fail(store, locked)

    assert list((store.root / "unsettled").iterdir()) == []
