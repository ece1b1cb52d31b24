from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.layers.wheelhouse import write_wheel

from hotdesk.build.processes import SystemBuilder, Unpackers
from hotdesk.errors import UnsafeArchiveError
from hotdesk.keys import system_key, wheel_tree_key
from hotdesk.progress import SILENT
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path


class Notes:
    """Progress that keeps what it is told."""

    task = staticmethod(SILENT.task)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_what_a_worker_waits_for_is_told(tmp_path: Path) -> None:
    store, progress = Store(tmp_path / "store"), Notes()
    store.make("system", system_key([]), lambda _: None)
    item = store.item("system", system_key([]))

    with ExitStack() as stack:
        with store.exclusive(f"system-{item.name}"):
            hidden = item.rename(tmp_path / "hidden")  # as while another process makes it
            builder = stack.enter_context(SystemBuilder(store, [], progress))
            waiting = threading.Thread(target=builder.finish)
            waiting.start()
            deadline = time.monotonic() + 20
            while not progress.notes and time.monotonic() < deadline:
                time.sleep(0.05)
            hidden.rename(item)
        waiting.join()

    assert progress.notes == ["waiting for another process that makes the same system"]


class TestUnpackers:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Store(tmp_path / "store")

    @pytest.fixture
    def unpackers(self, store: Store) -> Iterator[Unpackers]:
        """One of them, however many cores there are."""
        with Unpackers(store, "3.13", spared=1000) as unpackers:
            yield unpackers

    def wheel(self, folder: Path, name: str, size: int) -> tuple[Path, str, str]:
        noise = random.Random(name).randbytes(size)
        path = write_wheel(folder / f"{name}-1-py3-none-any.whl", {f"{name}.bin": noise})
        return path, hashlib.sha256(path.read_bytes()).hexdigest(), path.name

    def test_the_largest_comes_first_and_what_may_be_late_last(
        self, store: Store, unpackers: Unpackers, tmp_path: Path
    ) -> None:
        done: list[str] = []

        def submit(name: str, size: int, *, late: bool = False) -> Future[None]:
            wheel = self.wheel(tmp_path, name, size)
            return unpackers.submit(*wheel, late=late, then=lambda: done.append(name))

        first = self.wheel(tmp_path, "first", 10)
        with store.exclusive(f"wheel-{wheel_tree_key(first[1], '3.13')}"):
            jobs = [unpackers.submit(*first)]
            jobs += [submit("late", 9000, late=True), submit("small", 10), submit("large", 5000)]
        for job in jobs:
            job.result(30)

        assert done == ["large", "small", "late"]

    @pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one core")
    def test_another_core_helps_at_once(self, store: Store, unpackers: Unpackers, tmp_path: Path) -> None:
        first, second = self.wheel(tmp_path, "first", 10), self.wheel(tmp_path, "second", 10)

        with store.exclusive(f"wheel-{wheel_tree_key(first[1], '3.13')}"):
            waits = unpackers.submit(*first)
            goes = unpackers.submit(*second)
            unpackers.take_core()
            goes.result(30)
            assert not waits.done()
        waits.result(30)

    def test_what_goes_wrong_is_raised_where_it_is_waited_for(
        self, unpackers: Unpackers, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken-1-py3-none-any.whl"
        broken.write_bytes(b"no zip")

        with pytest.raises(UnsafeArchiveError, match="`broken-1-py3"):
            unpackers.submit(broken, "0" * 64, broken.name).result(30)

    def test_leaving_ends_them_whatever_they_wait_for(self, store: Store, tmp_path: Path) -> None:
        first = self.wheel(tmp_path, "first", 10)
        started = time.monotonic()

        with (
            store.exclusive(f"wheel-{wheel_tree_key(first[1], '3.13')}"),
            Unpackers(store, "3.13", spared=1000) as unpackers,
        ):
            job = unpackers.submit(*first)

        assert time.monotonic() - started < 10
        assert job.running() is False
