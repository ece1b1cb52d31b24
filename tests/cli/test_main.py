"""The frame of the command line: help, unknown commands, errors, speed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from hotdesk.cli.main import hotdesk as program
from hotdesk.cli.main import main
from hotdesk.desk.folder import Desk, make_folder, write_desk
from hotdesk.engines.request import Root
from hotdesk.errors import LockStaleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Hotdesk

CONTAINERS = {"hotdesk.desk.in_container", "hotdesk.engines.containers", "hotdesk.engines.client"}
SLOW = {"rich", "httpx2", "tomlkit", "packaging", "pysequoia", "platformdirs", "psutil", "isal", "uv"}


def paths(group: click.Group = program, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append((*above, name))
        if isinstance(command, click.Group):
            found += paths(command, (*above, name))
    return found


@pytest.mark.parametrize("path", [(), *paths()], ids=" ".join)
def test_the_help_of_each_command_says_what_it_does_and_shows_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*path, "--help"])

    said = capsys.readouterr().out
    assert not ended.value.code
    assert f"Usage: {' '.join(('hotdesk', *path))}" in said
    assert "Example: `" in said


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    command: click.Command = program
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found
        command = found

    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("lst", None), ("lok", "lock"), ("strat", "start"), ("tempaltes", "templates"), ("shel", "shell")],
)
def test_an_unknown_command_is_named_with_the_nearest_one(
    hotdesk: Hotdesk, typed: str, meant: str | None
) -> None:
    done = hotdesk.try_(typed)

    assert done.returncode == 2
    assert done.stdout == ""
    assert f"there is no command `{typed}`" in done.stderr
    assert meant is None or f"Did you mean `{meant}`?" in done.stderr


def test_an_unknown_option_is_named_with_the_nearest_one(hotdesk: Hotdesk) -> None:
    done = hotdesk.try_("up", "--offlin")

    assert done.returncode == 2
    assert "--offline" in done.stderr


def test_an_error_says_what_why_and_what_to_do_and_goes_to_stderr(hotdesk: Hotdesk) -> None:
    (hotdesk.folder / "hotdesk.toml").write_text('[desk]\nnam = "x"\npython = "3.12"\n')

    done = hotdesk.try_("up")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == "error: `hotdesk.toml` has 3 problems:"
    assert "line 2: unknown key `nam` in `[desk]`; did you mean `name`?" in done.stderr
    assert done.stderr.splitlines()[-1] == " hint: correct `hotdesk.toml` and try again"


@pytest.fixture
def failing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str]]:
    """Give a command line whose command raises; its exit code, and what stands on stderr."""

    def run(error: BaseException, *words: str) -> tuple[object, str]:
        @click.command("fail")
        @click.argument("words", nargs=-1)
        def fail(words: tuple[str, ...]) -> None:
            raise error

        monkeypatch.setattr("hotdesk.cli.main.hotdesk", fail)
        with pytest.raises(SystemExit) as ended:
            main(words)
        return ended.value.code, capsys.readouterr().err

    return run


def test_the_three_parts_of_an_error_have_their_lines(failing: Callable[..., tuple[object, str]]) -> None:
    code, said = failing(LockStaleError("it happened", why="one\ntwo", hint="do this"))

    assert code == 1
    assert said == "error: it happened\n  why: one\n       two\n hint: do this\n"


@pytest.mark.parametrize("arguments", [["run", "true"], ["shell"], ["run", "--varient", "gpu", "--", "true"]])
def test_hotdesks_own_failures_are_no_exit_codes_of_the_command(
    hotdesk: Hotdesk, arguments: list[str]
) -> None:
    done = hotdesk.try_(*arguments)

    assert (done.returncode, done.stdout) == (125, "")


def test_a_misspelt_option_of_run_is_not_taken_for_the_command(hotdesk: Hotdesk) -> None:
    assert "--varient" in hotdesk.try_("run", "--varient", "gpu", "--", "true").stderr


def test_an_error_says_nothing_to_the_terminal(failing: Callable[..., tuple[object, str]]) -> None:
    _, said = failing(LockStaleError("one\x1b[c", why="two\x07", hint="three\x9b"))

    assert [sign for sign in said if not sign.isprintable() and sign != "\n"] == []
    assert "one" in said


def test_an_interrupted_command_says_that_it_can_go_on(failing: Callable[..., tuple[object, str]]) -> None:
    code, said = failing(KeyboardInterrupt(), "up")

    assert code == 130
    assert "interrupted; what was downloaded is kept" in said
    assert failing(KeyboardInterrupt(), "logs")[1].strip() == "interrupted"


@pytest.mark.parametrize(
    ("number", "cure"),
    [(errno.ENOSPC, "hotdesk cache gc"), (errno.EDQUOT, "hotdesk cache gc"), (errno.EROFS, "HOTDESK_STORE")],
)
def test_what_the_system_refuses_is_an_error_with_a_cure(
    failing: Callable[..., tuple[object, str]], number: int, cure: str
) -> None:
    code, said = failing(OSError(number, os.strerror(number), "/some/where"))

    assert code == 1
    assert said.startswith("error: the system refuses at /some/where\n")
    assert os.strerror(number) in said
    assert cure in said


def test_a_mistake_of_hotdesks_own_is_not_hidden(failing: Callable[..., tuple[object, str]]) -> None:
    with pytest.raises(FileNotFoundError):
        failing(FileNotFoundError(errno.ENOENT, "No such file", "/some/where"))


def test_a_reader_that_goes_away_is_no_error(hotdesk: Hotdesk) -> None:
    with hotdesk.start("--help") as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_the_doctor_tells_programs_which_checks_a_desk_cannot_do_without(hotdesk: Hotdesk) -> None:
    checks = {check["name"]: check for check in json.loads(hotdesk.try_("doctor", "--json").stdout)}

    assert checks["sandbox"]["needed"] is True
    assert checks["space for the store"]["needed"] is False or checks["space for the store"]["ok"]


def test_the_version_is_printed(hotdesk: Hotdesk) -> None:
    assert hotdesk.run("--version").startswith("hotdesk ")


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from hotdesk.cli.main import hotdesk\n"
        "try: hotdesk.main(['--help'], prog_name='hotdesk')\n"
        "except SystemExit: pass\n"
        "print('modules:', *sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    loaded = set(said.rpartition("modules:")[2].split())
    assert "hotdesk.cli.specs" in loaded
    assert loaded & SLOW == set()


def test_a_command_on_a_desk_that_is_there_imports_nothing_slow() -> None:
    code = "import sys, hotdesk.opening, hotdesk.cli.running, hotdesk.cli.desks; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert set(said.split()) & SLOW == set()


@pytest.mark.parametrize("command", [["ls"], ["stop", "mine"], ["logs", "-f", "mine"], ["rm", "mine"]])
def test_a_sandbox_desks_commands_know_nothing_of_containers(hotdesk: Hotdesk, command: list[str]) -> None:
    folder = hotdesk.data / "desks" / "mine"
    make_folder(folder)
    root = Root(hotdesk.store / "system", hotdesk.store / "environment")
    write_desk(Desk("mine", folder, root, hotdesk.folder, 8888, "token", 1.0, "another boot"))
    (folder / "log").touch()
    code = (
        "import sys; from hotdesk.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "print('modules:', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        env=hotdesk.variables(),
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(done.stdout.rpartition("modules:")[2].split())
    assert "hotdesk.desk.in_sandbox" in loaded
    assert (
        loaded & {"hotdesk.desk.in_container", "hotdesk.engines.containers", "hotdesk.engines.client"}
        == set()
    )


def test_help_is_there_in_a_blink(tmp_path: Path) -> None:
    """Beside a bare Python, in processor time, the least of twenty: a busy machine must not make it fail.

    With bytecode, which an installed hotdesk has and a clean checkout may be forbidden to write.
    """
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    bare = min(_processor_seconds(environment, "-c", "pass") for _ in range(20))
    ours = min(_processor_seconds(environment, "-m", "hotdesk", "--help") for _ in range(20))

    assert ours - bare < 0.08


def _processor_seconds(environment: dict[str, str], *arguments: str) -> float:
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = status
    assert status == 0
    return used.ru_utime + used.ru_stime
