"""The desks' commands where there is no desk, or only one that was stopped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.commandline import PROGRAM
from tests.support.terminal import on_a_terminal
from tests.support.waiting import eventually

from hotdesk.desk.folder import Desk, make_folder, write_desk
from hotdesk.engines.request import Root

if TYPE_CHECKING:
    from tests.support.commandline import Hotdesk

TOKEN = "very-secret-token"


def a_desk(
    hotdesk: Hotdesk, name: str, project: Path | None = None, *, log: str = "", status: str = ""
) -> Desk:
    """A desk that ended in this run of the machine, as `hotdesk up` left it."""
    folder = hotdesk.data / "desks" / name
    make_folder(folder)
    (folder / "home").mkdir(exist_ok=True)
    (folder / "log").write_text(log)
    (folder / "status").write_text(status)
    desk = Desk(
        name=name,
        folder=folder,
        root=Root(hotdesk.store / "system", hotdesk.store / "environment"),
        project=project or hotdesk.folder,
        port=8888,
        token=TOKEN,
        started=time.time() - 7300,
        boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        stopped=not status,
        labels={"variant": "cpu", "port": "8888"},
    )
    write_desk(desk)
    return desk


def test_without_desks_the_list_says_how_to_open_one(hotdesk: Hotdesk) -> None:
    done = hotdesk.try_("ls")

    assert (done.returncode, done.stdout) == (0, "")
    assert "`hotdesk up sdcnd-term1` opens one" in done.stderr
    assert hotdesk.json("ls") == []


@pytest.mark.parametrize("command", [["url"], ["stop"], ["rm"], ["start"], ["logs"]])
def test_an_unknown_desk_is_said_to_be_unknown(hotdesk: Hotdesk, command: list[str]) -> None:
    a_desk(hotdesk, "mine")

    done = hotdesk.try_(*command, "other")

    assert done.returncode == 1
    assert "there is no desk `other`" in done.stderr
    assert "yours are `mine`" in done.stderr


@pytest.mark.parametrize("name", ["../mine", "/etc", ".", "a/b", "-x"])
def test_a_name_is_no_path(hotdesk: Hotdesk, name: str) -> None:
    a_desk(hotdesk, "mine")

    done = hotdesk.try_("rm", "--force", "--", name)

    assert done.returncode == 1
    assert "cannot be the name of a desk" in done.stderr
    assert (hotdesk.data / "desks" / "mine").is_dir()


def test_without_a_name_nothing_but_this_folders_desk_is_removed(hotdesk: Hotdesk, tmp_path: Path) -> None:
    elsewhere = a_desk(hotdesk, "elsewhere", tmp_path / "other")

    done = hotdesk.try_("rm", "--force")

    assert done.returncode == 2
    assert "which desk?" in done.stderr
    assert elsewhere.folder.is_dir()


def test_in_a_subfolder_of_the_project_its_desk_is_meant(hotdesk: Hotdesk, tmp_path: Path) -> None:
    a_desk(hotdesk, "elsewhere", tmp_path / "other")
    here = a_desk(hotdesk, "here")
    (hotdesk.folder / "src" / "deep").mkdir(parents=True)

    removed = replace(hotdesk, folder=hotdesk.folder / "src" / "deep").json("rm")

    assert removed == {"removed": "here"}
    assert not here.folder.exists()


def test_the_page_is_opened_through_a_file_that_hides_the_token(hotdesk: Hotdesk, tmp_path: Path) -> None:
    programs, said = tmp_path / "bin", tmp_path / "said"
    programs.mkdir()
    (programs / "xdg-open").write_text(f'#!/bin/sh\necho "$@" > {said}\n')
    (programs / "xdg-open").chmod(0o755)
    desk = a_desk(hotdesk, "mine")
    code = (
        "import sys; from hotdesk.cli.desks import browse_to; from hotdesk.desk import find; "
        "browse_to(find(sys.argv[1]))"
    )
    environment = {**hotdesk.variables(), "PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-c", code, "mine"], env=environment, check=True)

    eventually(lambda: said.exists() and bool(said.read_text()))
    assert TOKEN not in said.read_text()
    page = Path(said.read_text().strip().removeprefix("file://"))
    assert page == desk.folder / "open.html"
    assert desk.url in page.read_text()


@pytest.mark.parametrize("command", ["url", "stop", "rm", "logs"])
def test_without_a_name_and_without_desks_the_question_is_which(hotdesk: Hotdesk, command: str) -> None:
    done = hotdesk.try_(command)

    assert done.returncode == 2
    assert "which desk?" in done.stderr
    assert "you have none" in done.stderr


def test_without_a_name_it_is_the_desk_of_this_folder(hotdesk: Hotdesk, tmp_path: Path) -> None:
    a_desk(hotdesk, "elsewhere", tmp_path, log="not this one\n")
    a_desk(hotdesk, "here", log="Jupyter said this\n")

    assert hotdesk.run("logs") == "Jupyter said this\n"


def test_without_a_name_two_desks_of_this_folder_are_one_too_many(hotdesk: Hotdesk) -> None:
    a_desk(hotdesk, "one")
    a_desk(hotdesk, "two")

    done = hotdesk.try_("url")

    assert done.returncode == 2
    assert "yours are `one`, `two`" in done.stderr


def test_a_stopped_desk_has_no_url(hotdesk: Hotdesk) -> None:
    a_desk(hotdesk, "mine")

    done = hotdesk.try_("url", "mine")

    assert (done.returncode, done.stdout) == (1, "")
    assert "`hotdesk start mine`" in done.stderr


def test_the_list_tells_stopped_from_crashed_with_the_end_of_the_log(hotdesk: Hotdesk) -> None:
    a_desk(hotdesk, "mine")
    a_desk(hotdesk, "broken", log="first\nout of luck\n", status='{"child-pid": 1}\n{"exit-code": 3}\n')

    done = hotdesk.try_("ls")

    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "stopped" in lines["mine"]
    assert "2 hours" in lines["mine"]
    assert "crashed (3)" in lines["broken"]
    assert "out of luck" in done.stderr


def test_the_list_for_programs_has_all_but_the_token(hotdesk: Hotdesk) -> None:
    a_desk(hotdesk, "mine")

    said = hotdesk.run("ls", "--json")

    [row] = json.loads(said)
    assert {
        "name": "mine",
        "variant": "cpu",
        "state": "stopped",
        "folder": str(hotdesk.folder),
    }.items() <= row.items()
    assert TOKEN not in said


def test_removing_a_desk_keeps_the_project_folder(hotdesk: Hotdesk) -> None:
    desk = a_desk(hotdesk, "mine")
    (hotdesk.folder / "notebook.ipynb").write_text("work")

    hotdesk.run("rm", "mine")

    assert not desk.folder.exists()
    assert (hotdesk.folder / "notebook.ipynb").read_text() == "work"
    assert hotdesk.json("ls") == []


def test_stopping_a_stopped_desk_is_no_error(hotdesk: Hotdesk) -> None:
    a_desk(hotdesk, "mine")

    assert hotdesk.run("stop", "mine") == "mine is stopped\n"
    assert hotdesk.run("stop", "--all") == "mine is stopped\n"


def test_a_damaged_desk_is_listed_as_such_with_its_cure(hotdesk: Hotdesk) -> None:
    desk = a_desk(hotdesk, "mine")
    a_desk(hotdesk, "sound")
    (desk.folder / "desk.json").write_text("{")

    done = hotdesk.try_("ls")

    assert done.returncode == 0
    assert "damaged" in next(line for line in done.stdout.splitlines() if line.startswith("mine "))
    assert str(desk.home) in done.stderr
    assert "hotdesk rm mine" in done.stderr
    assert [(row["name"], row["state"]) for row in hotdesk.json("ls")] == [
        ("sound", "stopped"),
        ("mine", "damaged"),
    ]
    assert "cut short or overwritten" in done.stderr
    assert "Error" not in done.stderr
    assert hotdesk.json("stop", "--all") == {"stopped": ["sound", "mine"]}
    assert "what is known of the desk `mine` cannot be read" in hotdesk.try_("start", "mine").stderr
    hotdesk.run("rm", "--force", "mine")
    assert [row["name"] for row in hotdesk.json("ls")] == ["sound"]


def test_what_a_log_says_to_the_terminal_does_not_reach_it(hotdesk: Hotdesk) -> None:
    a_desk(hotdesk, "broken", log="\x1b[c\x07bad\n", status='{"child-pid": 1}\n{"exit-code": 3}\n')

    listed = hotdesk.try_("ls").stderr
    screen = on_a_terminal([*PROGRAM, "logs", "broken"], hotdesk.variables())

    assert "bad" in listed
    assert "bad" in screen
    assert "\x1b" not in listed + screen
    assert "\x07" not in listed + screen
    assert "\x1b[c" in hotdesk.run("logs", "broken")  # in a pipe it is what it is


@pytest.mark.parametrize("arguments", [["--time", "-1", "mine"], ["--all", "mine"]])
def test_stop_takes_no_nonsense(hotdesk: Hotdesk, arguments: list[str]) -> None:
    a_desk(hotdesk, "mine")

    assert hotdesk.try_("stop", *arguments).returncode == 2


def test_a_desk_that_was_never_opened_cannot_be_started(hotdesk: Hotdesk) -> None:
    hotdesk.try_("up", "sdcnd-term1", "--offline", "--name", "new")

    [row] = hotdesk.json("ls")
    done = hotdesk.try_("start", "new")

    assert (row["name"], row["state"], row["port"]) == ("new", "never opened", None)
    assert done.returncode == 1
    assert "the desk `new` was never opened" in done.stderr


def test_the_whole_home_folder_as_a_project_gets_a_note(hotdesk: Hotdesk) -> None:
    at_home = replace(hotdesk, folder=Path(hotdesk.environment["HOME"]))
    note = "your whole home folder is the project"

    assert note in at_home.try_("up", "sdcnd-term1", "--offline").stderr
    assert note not in hotdesk.try_("up", "sdcnd-term1", "--offline").stderr


def test_what_cannot_be_is_refused_before_anything_is_fetched(hotdesk: Hotdesk) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        taken = hotdesk.try_("up", "sdcnd-term1", "--port", str(server.getsockname()[1]))
    named = hotdesk.try_("up", "sdcnd-term1", "--name", "a/b")
    placed = replace(hotdesk, folder=Path("/usr")).try_("run", "--desk", "sdcnd-term1", "true")

    assert "is taken" in taken.stderr
    assert "cannot be the name of a desk" in named.stderr
    assert "belongs to the system" in placed.stderr
    assert placed.returncode == 125
    assert not list((hotdesk.store / "downloads").glob("*"))
    assert not (hotdesk.store / "users").exists()


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_what_is_no_port_is_refused(hotdesk: Hotdesk, port: str) -> None:
    done = hotdesk.try_("up", "--port", port)

    assert done.returncode == 2
    assert "--port" in done.stderr


def test_what_is_neither_a_folder_nor_a_template_is_said_so(hotdesk: Hotdesk) -> None:
    done = hotdesk.try_("up", "sdcnd-term2")

    assert done.returncode == 2
    assert "neither a folder nor a template" in done.stderr
    assert "did you mean `sdcnd-term1`?" in done.stderr


def test_a_folder_without_a_spec_is_said_so(hotdesk: Hotdesk, tmp_path: Path) -> None:
    done = hotdesk.try_("up", str(tmp_path))

    assert done.returncode == 2
    assert f"there is no `hotdesk.toml` in {tmp_path}" in done.stderr


def test_the_gpu_variant_is_not_opened_without_a_gpu(hotdesk: Hotdesk) -> None:
    for command in (["up", "sdcnd-term1"], ["run", "--desk", "sdcnd-term1"]):
        done = hotdesk.try_(*command, "--variant", "gpu", *(["true"] if command[0] == "run" else []))

        assert done.returncode == (125 if command[0] == "run" else 1)
        assert "the variant `gpu` needs a GPU" in done.stderr
        assert "--variant" in done.stderr
        assert not hotdesk.store.exists()


def test_a_name_that_another_folder_has_is_refused(hotdesk: Hotdesk, tmp_path: Path) -> None:
    a_desk(hotdesk, "mine", tmp_path)

    done = hotdesk.try_("up", "sdcnd-term1", "--name", "mine")

    assert done.returncode == 1
    assert "the desk `mine` belongs to another folder or variant" in done.stderr
    assert not hotdesk.store.exists()


def test_offline_with_an_empty_store_downloads_nothing_and_lists_what_is_missing(hotdesk: Hotdesk) -> None:
    done = hotdesk.try_("up", "sdcnd-term1", "--offline")

    assert (done.returncode, done.stdout) == (1, "")
    assert "files of this desk are not in the store" in done.stderr
    assert "tensorflow_cpu-" in done.stderr
    assert "run it once without `--offline`" in done.stderr
    assert not list((hotdesk.store / "downloads").glob("*"))
    assert not (hotdesk.store / "users").exists()  # the template's lock is hotdesk's own
    assert [row["state"] for row in hotdesk.json("ls")] == ["never opened"]
