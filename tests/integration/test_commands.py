"""Whole commands on real packages, from an empty folder to a removed desk."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.commandline import PROGRAM, Hotdesk
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.locked_index import LockedIndex

pytestmark = pytest.mark.integration


def test_a_package_is_added_and_imported_and_removed(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    spec = desk.folder / "hotdesk.toml"
    spec.write_text(spec.read_text().replace("[packages]", "# what we all need\n[packages]"))
    assert desk.try_("run", "--", "python", "-c", "import tabulate").returncode == 1

    added = desk.run("add", "tabulate")
    imported = desk.run("run", "--", "python", "-c", "import tabulate; print(tabulate.__file__)")
    desk.run("remove", "tabulate")

    assert "+ tabulate" in added
    assert imported.strip().startswith("/opt/desk/lib/python3.13/site-packages/tabulate")
    assert "# what we all need" in spec.read_text()
    assert desk.try_("run", "--", "python", "-c", "import tabulate").returncode == 1


def test_a_package_that_does_not_exist_changes_nothing(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    before = {path.name: path.read_bytes() for path in desk.folder.iterdir()}

    refused = desk.try_("add", "there-is-no-such-package-anywhere")

    assert refused.returncode == 1
    assert "there-is-no-such-package-anywhere" in refused.stderr
    assert {path.name: path.read_bytes() for path in desk.folder.iterdir()} == before


def test_a_stale_lock_is_refused_with_what_changed(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    spec = desk.folder / "hotdesk.toml"
    spec.write_text(spec.read_text().replace('"jupyterlab"', '"jupyterlab", "attrs"'))

    up, check = desk.try_("up"), desk.try_("lock", "--check")

    assert (up.returncode, check.returncode) == (1, 1)
    assert "`attrs` was added to `[packages] pypi`" in up.stderr
    assert "run `hotdesk lock`" in up.stderr


NOTEBOOK = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}


def test_the_checks_of_a_spec_are_run_on_the_desk(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    sources = {
        "good": "import os; os.system('echo noise'); print('6 times 7 is', 6 * 7)",
        "bad": "print(1); 1 / 0",
        "dead": "import os; os._exit(9)",
    }
    for name, source in sources.items():
        cell: dict[str, object] = {
            "cell_type": "code",
            "id": "a",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        cells = [cell | {"source": [source]}]
        (desk.folder / f"{name}.ipynb").write_text(json.dumps(NOTEBOOK | {"cells": cells}))
    desk.run("run", "--", "touch", "../mine")
    with (desk.folder / "hotdesk.toml").open("a") as spec:
        spec.write('[checks]\nimports = ["numpy"]\ncommands = ["ls ..; false"]\n')
        spec.write('notebooks = ["good.ipynb", "bad.ipynb", "dead.ipynb"]\n')

    done = desk.try_("check")
    told = desk.try_("check", "--json", "-o", "pages")

    assert done.returncode == told.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith(("ok", "FAIL"))]
    assert [tuple(re.split(" {2,}", line)[:2]) for line in lines] == [
        ("ok", "import numpy"),
        ("FAIL", "ls ..; false"),
        ("ok", "good.ipynb"),
        ("FAIL", "bad.ipynb"),
        ("FAIL", "dead.ipynb"),
    ]
    assert "2 of 5 passed, 3 failed" in done.stdout
    assert "the kernel ended" in done.stdout
    assert "ZeroDivisionError: division by zero" in done.stdout
    assert "mine" not in done.stdout  # the home is another one
    assert done.stderr == ""
    numpy, _, good, bad, dead = json.loads(told.stdout)
    assert numpy["version"]
    assert 0 < numpy["seconds"] < 60
    assert "6 times 7 is 42" in Path(good["page"]).read_text()
    assert Path(good["page"]).read_text().startswith("<!DOCTYPE html>")
    assert "_exit" in Path(dead["page"]).read_text()
    assert "ZeroDivisionError" in Path(bad["page"]).read_text()
    assert {path.name for path in (desk.folder / "pages").iterdir()} == {"good.html", "bad.html", "dead.html"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_a_check_ends_all_of_them(jupyter: Hotdesk, tmp_path: Path, number: int) -> None:
    desk = _copy(jupyter, tmp_path)
    with (desk.folder / "hotdesk.toml").open("a") as spec:
        spec.write('[checks]\ncommands = ["touch first; sleep 100", "touch second"]\n')
    process = desk.start("check")
    eventually((desk.folder / "first").exists)
    process.send_signal(number)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert not (desk.folder / "second").exists()


def test_where_pages_cannot_go_is_told_before_anything_is_run(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    with (desk.folder / "hotdesk.toml").open("a") as spec:
        spec.write('[checks]\ncommands = ["touch first"]\n')

    done = desk.try_("check", "-o", "/proc/pages")

    assert done.returncode == 2
    assert "/proc/pages" in done.stderr
    assert not (desk.folder / "first").exists()


def test_a_spec_without_checks_is_not_taken_for_one_that_passes(jupyter: Hotdesk, tmp_path: Path) -> None:
    done = _copy(jupyter, tmp_path).try_("check")

    assert done.returncode == 2
    assert "says nothing about what to check" in done.stderr


def test_blanks_and_line_ends_do_not_make_a_lock_stale(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    spec = desk.folder / "hotdesk.toml"
    spec.write_bytes(spec.read_bytes().replace(b"\n", b"\r\n").replace(b" = ", b"   =  "))

    desk.run("lock", "--check")


def test_the_life_of_a_desk(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    opened = desk.json("up", "--name", "life")
    again = desk.json("up", "--name", "life")
    try:
        assert (opened["already"], again["already"]) == (False, True)
        assert opened["url"] == again["url"]
        assert _status(opened["url"]) == 200
        assert desk.run("url", "life").strip() == opened["url"]
        assert [(row["name"], row["state"]) for row in desk.json("ls")] == [("life", "running")]
        assert "is running at" in desk.run("logs", "life")
        assert desk.try_("rm", "life").returncode == 1
        assert opened["url"].partition("token=")[2] not in _process_list()
    finally:
        desk.run("stop", "life")
    assert desk.json("ls")[0]["state"] == "stopped"
    with pytest.raises(urllib.error.URLError):
        _status(opened["url"])

    (desk.folder / "hotdesk.toml").unlink()  # the desk keeps what it was opened with
    started = desk.json("start", "life", "--offline")
    assert _status(started["url"]) == 200
    desk.run("stop", "life")
    desk.run("rm", "life")

    assert desk.json("ls") == []
    assert (desk.folder / "hotdesk.lock").exists()


def test_a_crashed_desk_shows_as_such_with_the_end_of_its_log(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    url = desk.json("up", "--name", "crash")["url"]
    request = urllib.request.Request(
        url.replace("/lab?", "/api/terminals?"), method="POST"
    )  # a terminal, from which Jupyter is killed, as the kernel does where memory runs out
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 200
    pids = subprocess.run(
        ["pgrep", "-f", f"ServerApp.port={url.split(':')[2].split('/')[0]}"],
        capture_output=True,
        text=True,
        check=False,
    )
    for pid in pids.stdout.split():
        if "jupyter" in _command_line(pid):
            os.kill(int(pid), 9)
    eventually(lambda: desk.json("ls")[0]["state"] != "running")

    listed = desk.try_("ls")

    assert desk.json("ls")[0]["state"] == "crashed"
    assert "crash crashed; its log ends:" in listed.stderr
    desk.run("rm", "crash")


def test_what_is_in_the_store_needs_no_network(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    nowhere = Hotdesk(
        desk.folder, desk.store, desk.data, dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    )

    assert nowhere.run("run", "--offline", "--", "echo", "here").strip() == "here"


def test_offline_with_an_empty_store_names_what_is_missing(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = Hotdesk(jupyter.folder, tmp_path / "store", tmp_path / "data")

    refused = desk.try_("up", "--offline")

    assert refused.returncode == 1
    assert "jupyterlab" in refused.stderr
    assert "hint:" in refused.stderr


def test_without_network_the_error_says_so(jupyter: Hotdesk, tmp_path: Path) -> None:
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    desk = Hotdesk(jupyter.folder, tmp_path / "store", tmp_path / "data", proxies)

    refused = desk.try_("up", timeout=120)

    assert refused.returncode == 1
    assert "hint:" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_corrupt_store_is_found_repaired_and_filled_again(
    jupyter: Hotdesk, jupyter_index: LockedIndex, tmp_path: Path
) -> None:
    with jupyter_index.running() as addresses:
        desk = Hotdesk(jupyter.folder, tmp_path / "store", tmp_path / "data", addresses)
        desk.run("run", "--", "true")
        victim = next(
            (desk.store / "items" / "wheel").glob(
                "*/tree/lib/python3.13/site-packages/jupyterlab/__init__.py"
            )
        )
        victim.write_text("raise SystemExit('corrupt')\n")

        found = desk.try_("cache", "verify")
        repaired = desk.try_("cache", "verify", "--repair")
        desk.run("run", "--", "python", "-c", "import jupyterlab")

    assert found.returncode == 1
    assert "jupyterlab/__init__.py" in found.stdout
    assert repaired.returncode == 0
    assert desk.json("cache", "verify")["problems"] == []


def test_garbage_collection_keeps_what_a_lock_or_a_desk_needs(
    jupyter: Hotdesk, jupyter_index: LockedIndex, tmp_path: Path
) -> None:
    with jupyter_index.running() as addresses:
        desk = Hotdesk(tmp_path / "project", tmp_path / "store", tmp_path / "data", addresses)
        shutil.copytree(jupyter.folder, desk.folder)
        desk.run("up", "--name", "kept")
        desk.run("stop", "kept")
        shutil.rmtree(desk.folder)
        desk.folder.mkdir()

        desk.run("cache", "gc")
        desk.run("start", "kept", "--offline")
        desk.run("stop", "kept")
        desk.run("rm", "kept")
        freed = desk.json("cache", "gc")["freed"]

    assert freed > 100_000_000
    assert list((desk.store / "downloads").iterdir()) == []
    assert [path for kind in (desk.store / "items").iterdir() for path in kind.iterdir()] == []


def test_exit_codes_and_output_are_the_commands_own(jupyter: Hotdesk) -> None:
    done = jupyter.try_("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")

    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_command_starts_in_the_subfolder_that_its_caller_is_in(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    (desk.folder / "src").mkdir()

    assert replace(desk, folder=desk.folder / "src").run("run", "--", "pwd") == "/home/desk/work/src\n"


def test_folders_with_the_same_spec_do_not_share_a_home(jupyter: Hotdesk, tmp_path: Path) -> None:
    one = _copy(jupyter, tmp_path)
    shutil.copytree(one.folder, tmp_path / "two")
    two = replace(one, folder=tmp_path / "two")

    one.run("run", "--", "touch", "/home/desk/of-one")
    seen = two.run("run", "--", "ls", "/home/desk")

    assert "of-one" not in seen
    assert "of-one" in one.run("run", "--", "ls", "/home/desk")
    assert {row["name"]: row["state"] for row in one.json("ls")} == {
        "jupyter": "never opened",
        "jupyter-2": "never opened",
    }


def test_a_home_is_not_removed_under_a_command(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    with desk.start("run", "--", "sh", "-c", "echo ready; sleep 60") as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"

        refused = desk.try_("rm", "--force", "jupyter")
        process.terminate()

    assert refused.returncode == 1
    assert "a command runs in the home" in refused.stderr
    desk.run("rm", "jupyter")


def test_a_desk_starts_again_on_the_port_that_was_asked_for(jupyter: Hotdesk, tmp_path: Path) -> None:
    desk = _copy(jupyter, tmp_path)
    first, second = _free_ports()
    assert desk.json("up", "--port", str(first))["port"] == first
    try:
        refused = desk.try_("up", "--port", str(second))
        desk.run("stop", "jupyter")
        assert desk.json("start", "jupyter")["port"] == first
        desk.run("stop", "jupyter")
        moved = desk.try_("start", "jupyter", "--port", str(second))
    finally:
        desk.run("stop", "--all")

    assert refused.returncode == 1
    assert f"is open already, on port {first}" in refused.stderr
    assert moved.returncode == 0
    assert "is taken" not in moved.stderr
    assert f":{second}/" in moved.stdout


def test_a_host_without_namespaces_is_told_before_anything_is_fetched(
    jupyter: Hotdesk, no_namespaces: list[str], tmp_path: Path
) -> None:
    desk = replace(_copy(jupyter, tmp_path), store=tmp_path / "empty")

    done = subprocess.run(
        [*no_namespaces, *PROGRAM, "run", "--", "true"],
        cwd=desk.folder,
        env=desk.variables(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 125
    assert "the sandbox cannot be set up on this host" in done.stderr
    assert not list((desk.store / "downloads").glob("*"))


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


def test_bookworm_with_python_3_11_works_as_well(tmp_path: Path) -> None:
    desk = Hotdesk(tmp_path / "project", tmp_path / "store", tmp_path / "data")
    desk.folder.mkdir()
    (desk.folder / "hotdesk.toml").write_text(
        '[desk]\nname = "old"\npython = "3.11"\nbase = "debian:bookworm"\nplatforms = ["linux/amd64"]\n'
        '[packages]\npypi = ["numpy", "six"]\n'
    )

    desk.run("lock")
    printed = desk.run(
        "run", "--", "python", "-c", "import numpy, sys; print(sys.version_info[:2], sys.prefix)"
    )

    assert printed.strip() == "(3, 11) /opt/desk"
    assert sys.version_info[:2] >= (3, 11)


def _copy(desk: Hotdesk, tmp_path: Path) -> Hotdesk:
    """The same project and store, another folder and other desks."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("hotdesk.toml", "hotdesk.lock"):
        shutil.copy(desk.folder / name, folder)
    return Hotdesk(folder, desk.store, tmp_path / "data")


def _status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=20) as response:
        return int(response.status)


def _process_list() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def _command_line(pid: str) -> str:
    return subprocess.run(["ps", "-o", "args=", pid], capture_output=True, text=True, check=False).stdout
