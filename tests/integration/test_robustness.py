"""Killed at any moment, or eight at once: nothing is lost, half there, or fetched twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.commandline import Hotdesk

from hotdesk.errors import LockStaleError
from hotdesk.lock import LOCK_NAME
from hotdesk.project import find_project
from hotdesk.spec import SPEC_NAME
from hotdesk.store import Store

if TYPE_CHECKING:
    from tests.support.locked_index import LockedIndex

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2400)]

KILLS = int(os.environ.get("HOTDESK_TEST_KILLS", "100"))
COMMANDS = {
    "lock": ("lock", "--upgrade"),
    "up": ("up",),
    "run": ("run", "--", "true"),
    "add": ("add", "tabulate"),
    "gc": ("cache", "gc"),
    "rm": ("rm", "-f", "jupyter"),
}
# Seconds after which the command has usually ended, or the compiler that `up` leaves behind.
LONGEST_LIFE = {"lock": 2.0, "up": 6.0, "run": 4.0, "add": 2.0, "gc": 0.6, "rm": 0.3, "compiler": 3.0}


def test_kills_lose_nothing(jupyter: Hotdesk, jupyter_index: LockedIndex, tmp_path: Path) -> None:
    seed = random.Random(20260101)
    with jupyter_index.running() as addresses:
        desk = Hotdesk(jupyter.folder, tmp_path / "store", tmp_path / "data", addresses)
        locker = Hotdesk(jupyter.folder, desk.store, desk.data)  # locking asks the real indexes
        killed = 0
        for number in range(KILLS):
            kind = seed.choice(("lock", "up", "up", "up", "run", "add", "gc", "rm", "compiler"))
            if kind in ("up", "run") and seed.random() < 0.3:
                desk.run("stop", "--all")
                _forget_a_part(desk.store, seed)
            before = {name: (jupyter.folder / name).read_bytes() for name in (SPEC_NAME, LOCK_NAME)}
            after = seed.random() * LONGEST_LIFE[kind]
            if kind == "compiler":
                desk.run("up")
                time.sleep(after)
                killed += _kill_compiler(desk.store)
            else:
                killed += _kill(locker if kind in ("lock", "add") else desk, COMMANDS[kind], after)
            _check_lock(jupyter.folder, before)
            # What was found is of no interest here, and the index serves what was locked before.
            for name, content in before.items():
                (jupyter.folder / name).write_bytes(content)
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


def _check_lock(folder: Path, before: dict[str, bytes]) -> None:
    """It is of this spec or, where `add` was killed after writing the spec, still the one from before."""
    try:
        find_project(folder).read_fresh_lock()
    except LockStaleError:
        assert (folder / LOCK_NAME).read_bytes() == before[LOCK_NAME]


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


def _kill_compiler(store: Path) -> bool:
    """Kill the process that compiles bytecode for this store's environments, where there is one."""
    wanted = [os.fsencode(part) for part in ("-m", "hotdesk.build.background", store)]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")[1:] == wanted:
                os.kill(int(process.name), signal.SIGKILL)
                return True
    return False


def _forget_a_part(path: Path, seed: random.Random) -> None:
    """One kind of item has to be made again, and the environments, which hold parts of all the others."""
    _kill_compiler(path)
    with Store(path).unused():
        kinds = sorted((path / "items").glob("*"))
        for kind in {path / "items" / "environment", seed.choice(kinds)} if kinds else ():
            shutil.rmtree(kind, ignore_errors=not kind.exists())


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
            for desk in desks:
                desk.kill()
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
