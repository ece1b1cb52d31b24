"""Jupyter starts while large libraries are still on their way, and nobody is let in before they are there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.layers.wheelhouse import write_wheel
from tests.support.commandline import Hotdesk
from tests.support.waiting import eventually

from hotdesk.keys import wheel_tree_key
from hotdesk.lock import LOCK_NAME
from hotdesk.project import find_project
from hotdesk.spec import SPEC_NAME
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SIZE = 9 << 20
IMPORTED = ("run", "--", "python", "-c", "import large; print(len(large.read()))")


@pytest.fixture
def desk(jupyter: Hotdesk, tmp_path: Path) -> Iterator[Hotdesk]:
    """A project with Jupyter, all of which is in the store but for one large library."""
    index = tmp_path / "index" / "large"
    index.mkdir(parents=True)
    name = "large-1-py3-none-any.whl"
    read = b"from pathlib import Path\ndef read(): return Path(__file__).with_name('data').read_bytes()\n"
    noise = random.Random(0).randbytes(SIZE)
    metadata = b"Metadata-Version: 2.1\nName: large\nVersion: 1\n"
    held = {"large-1.dist-info/METADATA": metadata, "large/__init__.py": read, "large/data": noise}
    write_wheel(index / name, held)
    (index / "index.html").write_text(f'<!DOCTYPE html><a href="{name}">{name}</a>\n')
    folder = tmp_path / "project"
    folder.mkdir()
    spec = (jupyter.folder / "hotdesk.toml").read_text().replace('"numpy"', '"numpy", "large"')
    (folder / "hotdesk.toml").write_text(spec)
    (folder / "hotdesk.lock").write_bytes((jupyter.folder / "hotdesk.lock").read_bytes())
    desk = Hotdesk(folder, jupyter.store, tmp_path / "data", {"UV_INDEX": index.parent.as_uri()})
    desk.run("lock")
    forget(desk)  # where a session was killed that had its store kept
    yield desk
    desk.kill()  # else it goes on to open the desk that is stopped here
    desk.run("stop", "--all")
    forget(desk)


def library(desk: Hotdesk) -> str:
    """The key of the large library's tree."""
    locked = find_project(desk.folder).select(None)
    [sha256] = [package.artifact.sha256 for package in locked.pypi if package.name == "large"]
    return wheel_tree_key(sha256, locked.python)


def forget(desk: Hotdesk) -> None:
    """The large library and what it was linked into are to be made again, and with no spare to begin with."""
    store = Store(desk.store)
    with store.unused():
        for spare in (store.root / "items" / "spare").glob("*"):
            store.remove("spare", spare.name)
        store.remove("wheel", library(desk))
        environments = store.root / "items" / "environment"
        for made_of in environments.glob("*/made-of.json"):
            if library(desk) in made_of.read_text():
                assert store.remove("environment", made_of.parent.name)


@contextmanager
def held_up(desk: Hotdesk) -> Iterator[None]:
    """As long as inside, the large library is not unpacked."""
    with Store(desk.store).exclusive(f"wheel-{library(desk)}"):
        yield


def record(desk: Hotdesk) -> dict[str, object]:
    [path] = desk.data.glob("desks/*/desk.json")
    found: dict[str, object] = json.loads(path.read_bytes())
    return found


def started_early(desk: Hotdesk) -> bool:
    """Whether Jupyter answers already, which only its log tells: nobody knows its address yet."""
    opening = any(json.loads(path.read_bytes())["early"] for path in desk.data.glob("desks/*/desk.json"))
    return opening and any("is running at" in path.read_text() for path in desk.data.glob("desks/*/log"))


def test_the_url_comes_when_everything_is_there(desk: Hotdesk) -> None:
    with held_up(desk):
        opening = desk.start("up")
        eventually(lambda: started_early(desk))
        assert [found["state"] for found in desk.json("ls")] == ["starting"]
        assert "is being opened" in desk.try_("url").stderr
        with pytest.raises(subprocess.TimeoutExpired):
            opening.communicate(timeout=1)  # it goes on waiting

    printed, said = opening.communicate(timeout=300)

    assert opening.returncode == 0, said
    assert "/lab?token=" in printed
    assert [found["state"] for found in desk.json("ls")] == ["running"]
    assert printed.strip().endswith(desk.run("url").strip())
    assert all("/items/" in path for path in record(desk)["root"])  # type: ignore[attr-defined]
    assert desk.run(*IMPORTED) == f"{SIZE}\n"
    # The desk that started without it has it as well.
    assert python_inside(desk, "import large; print(len(large.read()))") == f"{SIZE}\n"
    assert desk.json("cache", "verify")["problems"] == []


def python_inside(desk: Hotdesk, code: str) -> str:
    """What the desk's own Python prints, in the namespaces of the running desk."""
    [status] = desk.data.glob("desks/*/status")
    reported = [json.loads(line) for line in status.read_text().splitlines()]
    [pid] = [document["child-pid"] for document in reported if "child-pid" in document]
    enter = ["nsenter", "-t", str(pid), "-U", "-m", "-p", "--preserve-credentials"]
    done = subprocess.run(
        [*enter, "/opt/desk/bin/python", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_where_it_fails_all_is_as_it_was_before(desk: Hotdesk, jupyter: Hotdesk) -> None:
    small = [(desk.folder / name, (jupyter.folder / name).read_bytes()) for name in (SPEC_NAME, LOCK_NAME)]
    large = [(path, path.read_bytes()) for path, _ in small]
    for path, content in small:
        path.write_bytes(content)
    desk.run("up")
    desk.run("stop")
    for path, content in large:
        path.write_bytes(content)

    with held_up(desk):
        opening = desk.start("up")
        eventually(lambda: started_early(desk))
        locked = find_project(desk.folder).select(None)
        [artifact] = [package.artifact for package in locked.pypi if package.name == "large"]
        download = Store(desk.store).download(artifact.sha256)
        download.unlink()  # as a disk does that goes bad

    _, said = opening.communicate(timeout=300)

    assert opening.returncode == 1
    assert "error:" in said
    assert [found["state"] for found in desk.json("ls")] == ["stopped"]
    desk.run("start", "jupyter", "--offline")  # on the packages that it was last opened with
    desk.run("stop")
    desk.run("up")
    assert desk.run(*IMPORTED) == f"{SIZE}\n"


def kill_half_way(desk: Hotdesk) -> None:
    with held_up(desk):
        opening = desk.start("up")
        eventually(lambda: started_early(desk))
        opening.send_signal(signal.SIGKILL)
        opening.wait()
    opening.communicate()  # its workers end by themselves


def test_killed_half_way_the_next_up_opens_it_whole(desk: Hotdesk) -> None:
    kill_half_way(desk)
    assert [found["state"] for found in desk.json("ls")] == ["starting"]

    again = desk.json("up")

    assert again["already"] is False
    assert [found["state"] for found in desk.json("ls")] == ["running"]
    assert desk.run(*IMPORTED) == f"{SIZE}\n"


def test_what_a_killed_one_left_running_is_ended_before_its_files_are_collected(desk: Hotdesk) -> None:
    kill_half_way(desk)

    desk.run("cache", "gc")

    assert [found["state"] for found in desk.json("ls")] == ["never opened"]
    assert list((desk.store / "tmp").iterdir()) == []


def test_stopped_while_it_is_opened_it_stays_stopped(desk: Hotdesk) -> None:
    with held_up(desk):
        opening = desk.start("up")
        eventually(lambda: started_early(desk))
        desk.run("stop")

    _, said = opening.communicate(timeout=300)

    assert opening.returncode == 1
    assert "was stopped while it was opened" in said
    assert [found["state"] for found in desk.json("ls")] != ["running"]


def test_an_extension_of_the_server_may_import_any_library(desk: Hotdesk) -> None:
    home = desk.data / "desks" / "jupyter" / "home"
    desk.run(
        "run", "--", "sh", "-c", "mkdir ~/.jupyter; echo > ~/.jupyter/jupyter_server_config.py import large"
    )
    assert home.is_dir()
    forget(desk)

    with held_up(desk):
        opening = desk.start("up")
        with pytest.raises(subprocess.TimeoutExpired):
            opening.communicate(timeout=6)
        assert not started_early(desk)

    assert opening.communicate(timeout=300)
    assert opening.returncode == 0


def test_two_at_once_open_one_desk(desk: Hotdesk) -> None:
    with held_up(desk):
        both = [desk.start("up", "--json") for _ in "ab"]
        eventually(lambda: started_early(desk))

    said = [process.communicate(timeout=300) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    answers = [json.loads(printed) for printed, _ in said]
    assert answers[0]["url"] == answers[1]["url"]
    assert sorted(answer["already"] for answer in answers) == [False, True]
