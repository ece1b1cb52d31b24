"""What `hotdesk run` promises to whoever calls it: exit codes, signals, the terminal, files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.folders import open_folder
from tests.support.processes import sleeping
from tests.support.terminal import terminal
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Sandbox
    from tests.support.terminal import Screen


pytestmark = pytest.mark.integration


def test_output_and_exit_code_are_the_commands(sandbox: Sandbox) -> None:
    result = sandbox.run("sh", "-c", "echo out; echo err >&2; exit 7")

    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_arguments_arrive_as_they_are(sandbox: Sandbox) -> None:
    result = sandbox.run("printf", "[%s]", "a b", "", "$HOME", "--", "é\n")

    assert result.stdout == "[a b][][$HOME][--][é\n]"


def test_a_missing_command_is_127_and_named(sandbox: Sandbox) -> None:
    result = sandbox.run("no-such-command")

    assert result.returncode == 127
    assert "no-such-command: not found" in result.stderr


def test_a_command_killed_by_a_signal_is_128_and_its_number(sandbox: Sandbox) -> None:
    assert sandbox.run("sh", "-c", "kill -9 $$").returncode == 128 + 9
    assert sandbox.run("sh", "-c", "kill -USR1 $$").returncode == 128 + signal.SIGUSR1


def test_the_desk_looks_the_same_for_everybody(sandbox: Sandbox) -> None:
    result = sandbox.run("sh", "-c", "id -u; id -un; uname -n; pwd; echo $HOME; which python")

    expected = ["1000", "desk", "desk", "/home/desk/work", "/home/desk", "/opt/desk/bin/python"]
    assert result.stdout.split() == expected


def test_the_home_persists_and_temporary_folders_do_not(sandbox: Sandbox) -> None:
    sandbox.run("sh", "-c", "echo kept > ~/kept; echo gone > /tmp/gone; echo gone > /var/tmp/gone")

    result = sandbox.run("sh", "-c", "cat ~/kept; ls -A /tmp /var/tmp")

    assert result.stdout == "kept\n/tmp:\n\n/var/tmp:\n"


def test_nothing_ordinary_is_lacking(sandbox: Sandbox) -> None:
    code = (
        "import multiprocessing, os, socket, tempfile, time\n"
        "multiprocessing.Queue().put(1)\n"
        "tempfile.TemporaryFile().close()\n"
        "assert socket.gethostbyname(socket.gethostname()).startswith('127.')\n"
        "assert socket.gethostbyname('localhost') == '127.0.0.1'\n"
        "assert os.path.exists('/sys/devices/system/cpu/possible')\n"
    )

    result = sandbox.run("python", "-c", code)

    assert (result.returncode, result.stderr) == (0, "")


def test_shared_memory_may_grow_to_half_of_the_memory(sandbox: Sandbox) -> None:
    # Data loaders hand their batches over in it; the 64 MB that containers often have are too little.
    code = (
        "from multiprocessing.shared_memory import SharedMemory; import os\n"
        "batch = SharedMemory(create=True, size=100_000_000); batch.buf[-1] = 7\n"
        "assert open('/dev/shm/' + batch.name.strip('/'), 'rb').read()[99_999_999] == 7\n"
        "shared = os.statvfs('/dev/shm'); print(shared.f_blocks * shared.f_frsize)\n"
        "batch.close(); batch.unlink()"
    )
    page = os.sysconf("SC_PAGE_SIZE")
    half = os.sysconf("SC_PHYS_PAGES") * page // 2

    result = sandbox.run("python", "-c", code)

    assert result.stderr == ""
    assert half <= int(result.stdout) < half + page


@pytest.mark.parametrize("number", [1, 2, 3, 10, 12, 15])
def test_signals_reach_the_command(sandbox: Sandbox, number: int) -> None:
    script = f"trap 'echo got; exit 41' {number}; echo ready; while :; do sleep 0.02; done"
    with started(sandbox.argv("sh", "-c", script)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        process.send_signal(number)

        assert process.stdout.read() == "got\n"
        assert process.wait(10) == 41


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.04])
def test_a_signal_that_comes_too_early_is_not_lost(sandbox: Sandbox, delay: float) -> None:
    with started(sandbox.argv("sleep", "30")) as process:
        wait_for_child(process.pid)
        time.sleep(delay)

        process.terminate()

        assert process.wait(10) == 128 + signal.SIGTERM


def test_a_hang_up_of_the_terminal_ends_the_command(sandbox: Sandbox) -> None:
    marker = f"985{os.getpid()}"
    with terminal(sandbox.argv("sleep", marker)) as screen:
        eventually(lambda: bool(sleeping(marker)))

        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), screen.descriptor)

        eventually(lambda: not sleeping(marker))


def test_what_the_caller_ignores_is_ignored_inside(sandbox: Sandbox) -> None:
    ignore_hangup = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    argv = [*ignore_hangup, *sandbox.argv("sh", "-c", "echo ready; kill -HUP $$; echo alive")]

    assert subprocess.run(argv, capture_output=True, text=True, check=False).stdout == "ready\nalive\n"


def test_kill_9_ends_everything_inside(sandbox: Sandbox) -> None:
    marker = f"987{os.getpid()}"
    script = f"(setsid sleep {marker} &); echo ready; sleep {marker}"
    with started(sandbox.argv("sh", "-c", script)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        eventually(lambda: len(sleeping(marker)) >= 2)

        process.kill()

        eventually(lambda: not sleeping(marker))


def test_the_end_of_the_command_ends_everything_inside(sandbox: Sandbox) -> None:
    marker = f"986{os.getpid()}"

    result = sandbox.run("sh", "-c", f"nohup setsid sleep {marker} >/dev/null 2>&1 & exit 3")

    assert result.returncode == 3
    eventually(lambda: not sleeping(marker))


def test_without_network_only_the_own_loopback_is_there(sandbox: Sandbox) -> None:
    code = "import socket; print([name for _, name in socket.if_nameindex()])"
    outside = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=True).stdout

    assert sandbox.run("python", "-c", code, network="host").stdout == outside
    assert sandbox.run("python", "-c", code, network="none").stdout == "['lo']\n"


@pytest.mark.parametrize("user", [0, 1000, 1001, 2_000_000_001])
def test_files_belong_to_the_caller(sandbox: Sandbox, user: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become other users")
    with open_folder() as folder:
        theirs = replace(sandbox, home=folder / "home", project=folder / "project")
        for path in (theirs.home, theirs.project):
            path.mkdir()
            os.chown(path, user, user)

        result = theirs.run("sh", "-c", "id -u; echo mine > ~/work/made; mkdir ~/folder; ls -ln", user=user)

        assert result.stderr == ""
        assert result.stdout.startswith("1000\n")
        assert " 1000 1000 " in result.stdout
        for path in (theirs.project / "made", theirs.home / "folder"):
            assert (path.stat().st_uid, path.stat().st_gid) == (user, user)


@pytest.mark.parametrize(
    ("project", "why"),
    [
        ("/", "whole machine"),
        ("/proc/self", "kernel"),
        ("/etc/passwd", "not a folder"),
        ("/none", "No such file"),
        ("/etc", "belongs to the system"),
        ("/usr", "belongs to the system"),
        ("/home", "belongs to the system"),
    ],
)
def test_nonsense_as_a_project_is_refused(sandbox: Sandbox, project: str, why: str) -> None:
    result = replace(sandbox, project=Path(project)).run("true")

    assert result.returncode == 99
    assert why in result.stderr


def test_the_callers_home_can_be_the_project(sandbox: Sandbox) -> None:
    nested = replace(sandbox, project=sandbox.home.parent)

    assert nested.run("ls").stdout.split("\n")[:2] == ["desk home", "project"]


def test_a_planted_link_is_not_followed(sandbox: Sandbox) -> None:
    (sandbox.home / "work").symlink_to("/etc")

    result = sandbox.run("true")

    assert result.returncode == 99
    assert "is a link" in result.stderr


def test_a_file_where_the_project_is_to_be_mounted_is_named(sandbox: Sandbox) -> None:
    (sandbox.home / "work").write_text("")

    result = sandbox.run("true")

    assert result.returncode == 99
    assert "work is not a folder" in result.stderr


def test_a_broken_root_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    broken = replace(sandbox, root=replace(sandbox.root, system=tmp_path))

    said = broken.run("true").stderr

    assert "is not whole" in said
    assert "cache verify --repair" in said


def test_a_host_without_namespaces_is_explained(sandbox: Sandbox, no_namespaces: list[str]) -> None:
    argv = [*no_namespaces, *sandbox.argv("true")]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert result.returncode == 99
    assert "the sandbox cannot be set up on this host" in result.stderr
    assert "user.max_user_namespaces is 0" in result.stderr
    assert "sysctl -w user.max_user_namespaces" in result.stderr


class TestTerminal:
    def test_the_command_sees_the_callers_terminal_and_its_size(self, sandbox: Sandbox) -> None:
        with terminal(sandbox.argv("sh", "-c", "stty size; test -t 0 && test -t 1 && echo yes")) as screen:
            screen.expect("33 77\r\nyes")

    def test_a_change_of_size_arrives(self, sandbox: Sandbox) -> None:
        script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
        with terminal(sandbox.argv("sh", "-c", script)) as screen:
            screen.expect("ready")
            screen.resize(44, 88)
            screen.expect("44 88")

    def test_control_c_reaches_the_command_once(self, sandbox: Sandbox) -> None:
        script = (
            "n=0; trap 'n=$((n+1)); echo caught $n' INT; echo ready; "
            "for i in $(seq 20); do sleep 0.05; done; exit 5"
        )
        with terminal(sandbox.argv("sh", "-c", script)) as screen:
            screen.expect("ready")
            screen.send("\x03")
            screen.expect("caught 1")
            assert screen.exit_code() == 5
            assert "caught 2" not in screen.seen

    def test_python_gets_its_keyboard_interrupt(self, sandbox: Sandbox) -> None:
        with terminal(sandbox.argv("python", "-c", "print('ready'); import time; time.sleep(30)")) as screen:
            screen.expect("ready")
            screen.send("\x03")
            screen.expect("KeyboardInterrupt")
            assert screen.exit_code() == 130

    def test_an_interactive_shell_has_job_control(self, sandbox: Sandbox) -> None:
        with terminal(sandbox.argv("bash", "--norc", "--noediting", "-i")) as screen:
            screen.send("PS1='in> '\r")
            screen.expect("in> ")
            assert "no job control" not in screen.seen
            screen.send(
                'sh -c \'trap "echo caught; exit" INT; echo be""gun; read x; echo went on; read x\'\r'
            )
            screen.expect("begun")
            screen.send("\x1a")
            screen.expect("Stopped")
            screen.send("fg\r\r")
            screen.expect("\nwent on")
            screen.send("\x03")
            screen.expect("caught")
            screen.send("exit 6\r")
            assert screen.exit_code() == 6

    def test_control_z_stops_hotdesk_and_fg_goes_on(self, sandbox: Sandbox) -> None:
        with job(sandbox.argv("sh", "-c", "echo ready; sleep 1; echo done")) as screen:
            screen.expect("ready")
            screen.send("\x1a")
            screen.expect("Stopped")
            screen.send("fg >/dev/null\r")
            screen.expect("done")

    def test_a_program_that_stops_itself_stops_hotdesk_too(self, sandbox: Sandbox) -> None:
        # As an editor does on Ctrl-Z: the key is a key, and the editor stops its process group.
        with job(sandbox.argv("python", "-c", "import os; os.kill(0, 20); print('went on')")) as screen:
            screen.expect("Stopped")
            screen.send("fg >/dev/null\r")
            screen.expect("went on")

    def test_the_terminal_is_the_callers_again_afterwards(self, sandbox: Sandbox) -> None:
        inner = quoted(sandbox.argv("bash", "--norc", "-i"))
        with terminal(["sh", "-c", f"{inner}; echo back; read answer; echo read $answer"]) as screen:
            screen.send("exit\r")
            screen.expect("back")
            screen.send("hello\r")
            screen.expect("read hello")


@contextmanager
def job(argv: list[str]) -> Iterator[Screen]:
    """A shell with job control in which the command runs."""
    with terminal(["bash", "--norc", "--noediting", "-i"]) as screen:
        screen.send("PS1='out> '\r")
        screen.expect("out> ")
        screen.send(f"{quoted(argv)}\r")
        yield screen


@contextmanager
def started(argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_child(pid: int) -> None:
    """Until hotdesk has forked: from here on it holds signals for the command."""
    eventually(lambda: bool(Path(f"/proc/{pid}/task/{pid}/children").read_text()))


def quoted(argv: list[str]) -> str:
    script = Path(tempfile.mkstemp(suffix=".sh")[1])
    words = " ".join("'" + re.sub("'", "'\\\\''", word) + "'" for word in argv)
    script.write_text(f"rm -f {script}\nexec {words}\n")
    return f"sh {script}"
