"""Killed at any moment, or eight at once: nothing is lost, half there, or fetched twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.support.commandline import Hotdesk

from hotdesk.project import find_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.locked_index import LockedIndex

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

KILLS = int(os.environ.get("HOTDESK_TEST_KILLS", "100"))
LONGEST_LIFE = {
    "lock": 3.0,
    "up": 9.0,
    "gc": 0.6,
    "rm": 0.3,
}  # seconds after which the command has usually ended


def test_a_hundred_kills_lose_nothing(jupyter: Hotdesk, jupyter_index: LockedIndex, tmp_path: Path) -> None:
    seed = random.Random(20260101)
    with jupyter_index.running() as addresses:
        desk = Hotdesk(jupyter.folder, tmp_path / "store", tmp_path / "data", addresses)
        locker = Hotdesk(jupyter.folder, desk.store, desk.data)  # locking asks the real indexes
        killed = 0
        for number in range(KILLS):
            kind = seed.choice(("lock", "up", "up", "gc", "rm"))
            if kind == "up" and seed.random() < 0.3:
                desk.run("stop", "--all")
                _forget_a_part(desk.store, seed)
            command = {
                "lock": ("lock", "--upgrade"),
                "up": ("up",),
                "gc": ("cache", "gc"),
                "rm": ("rm", "-f", "jupyter"),
            }[kind]
            before = (jupyter.folder / "hotdesk.lock").read_bytes()
            killed += _kill(locker if kind == "lock" else desk, command, seed.random() * LONGEST_LIFE[kind])
            find_project(jupyter.folder).read_fresh_lock()
            # What upgrading found is of no interest here, and the index serves what was locked before.
            (jupyter.folder / "hotdesk.lock").write_bytes(before)
            assert desk.json("cache", "verify") == {"problems": [], "repaired": False}, f"kill {number}"
            if number % 10 == 9:
                _answers(desk.json("up")["url"])
                desk.run("stop", "--all")
        assert killed > KILLS / 3  # else the test has killed too late to mean anything
        desk.run("up")
        desk.run("stop", "--all")
        desk.run("cache", "gc")
        assert list((desk.store / "tmp").iterdir()) == []
        assert desk.json("cache", "verify")["problems"] == []


def _kill(desk: Hotdesk, command: tuple[str, ...], after: float) -> bool:
    """Whether the command was still at work when it was killed."""
    process = desk.start(*command)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    return False


def _forget_a_part(store: Path, seed: random.Random) -> None:
    """Something has to be made again."""
    kinds = sorted((store / "items").glob("*"))
    if kinds:
        shutil.rmtree(seed.choice(kinds))


def _answers(url: str) -> None:
    with urllib.request.urlopen(url, timeout=20) as response:
        assert response.status == 200


def test_eight_at_once_on_an_empty_store_fetch_each_file_once(
    jupyter: Hotdesk, jupyter_index: LockedIndex, tmp_path: Path
) -> None:
    with jupyter_index.running() as addresses:
        jupyter_index.served.clear()
        folders = [tmp_path / f"student{number}" for number in range(8)]
        desks = []
        for folder in folders:
            folder.mkdir()
            for name in ("hotdesk.toml", "hotdesk.lock"):
                shutil.copy(jupyter.folder / name, folder)
            desks.append(Hotdesk(folder, tmp_path / "store", tmp_path / "data", addresses))
        processes = [desk.start("up", "--json") for desk in desks]
        try:
            outputs = [process.communicate(timeout=600) for process in processes]
            assert [process.returncode for process in processes] == [0] * 8, outputs
            listed = desks[0].json("ls")
        finally:
            desks[0].run("stop", "--all")

    assert {desk["folder"] for desk in listed if desk["state"] == "running"} == {str(f) for f in folders}
    assert {desk["name"] for desk in listed} == {"jupyter", *(f"jupyter-{number}" for number in range(2, 9))}
    assert len({desk["port"] for desk in listed}) == 8
    fetched_twice = {file for file, count in jupyter_index.served.items() if count > 1}
    assert fetched_twice == set()
    assert set(jupyter_index.served) == {artifact.file for artifact in jupyter_index.files.values()}


def test_the_next_up_goes_on_where_a_killed_one_was(
    jupyter: Hotdesk, jupyter_index: LockedIndex, tmp_path: Path
) -> None:
    with jupyter_index.running() as addresses:
        jupyter_index.served.clear()
        desk = Hotdesk(jupyter.folder, tmp_path / "store", tmp_path / "data", addresses)
        process = desk.start("run", "--", "true")
        while not any((tmp_path / "store" / "downloads").glob("*")):
            time.sleep(0.01)
            assert process.poll() is None
        process.kill()
        process.communicate()
        there = {path.name for path in (tmp_path / "store" / "downloads").iterdir()}
        jupyter_index.served.clear()

        desk.run("run", "--", "true")

    assert there
    fetched = {item.sha256 for item in jupyter_index.files.values() if item.file in jupyter_index.served}
    assert fetched & there == set()
