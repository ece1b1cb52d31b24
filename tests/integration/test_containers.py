"""Commands in real containers: what they may, what they see, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.container_engines import Containers, Engine
from tests.support.busybox import busybox_image, note
from tests.support.folders import open_folder
from tests.support.terminal import terminal
from tests.support.waiting import eventually

from hotdesk.engines.loading import load
from hotdesk.engines.request import Limits, LoadedImage

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def loaded(either_engine: Engine) -> LoadedImage:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in either_engine.environment.items():
            patch.setenv(name, value)
        return load(either_engine.name, busybox_image(note("containers")), "localhost/hotdesk/test:run")


@pytest.fixture
def containers(engine: Engine, loaded: LoadedImage, tmp_path: Path) -> Containers:
    for name in ("home", "project", "inside"):
        (tmp_path / name).mkdir()
    return Containers(engine, loaded, tmp_path)


def test_exit_code_input_and_both_outputs_pass_through(containers: Containers) -> None:
    done = containers.run("sh", "-c", "cat; echo bad >&2; exit 7", stdin="from outside")

    assert (done.returncode, done.stdout, done.stderr) == (7, "from outside", "bad\n")
    assert containers.run("sh", "-c", "kill -9 $$").returncode == 128 + 9
    missing = containers.run("no-such-program")
    assert missing.returncode == 127
    assert "no-such-program: not found" in missing.stderr


def test_nothing_is_left_of_it(containers: Containers) -> None:
    containers.run("true")

    assert "hotdesk-test" not in containers.engine.ask("ps", "--all", "--format", "{{.Names}}")


def test_it_has_no_power_over_the_host(containers: Containers) -> None:
    said = containers.run("sh", "-c", "cat /proc/self/status; echo processes: `ps | wc -l`; hostname").stdout
    fields = {line.partition(":")[0]: line.partition(":")[2].strip() for line in said.splitlines()}

    assert {fields[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    assert int(fields["processes"]) < 8  # its own, and a heading
    assert said.endswith("\ndesk\n")


def test_the_system_cannot_be_written_but_what_is_temporary_can(containers: Containers) -> None:
    refused = "for path in /made /opt/desk/bin/made /etc/made /bin/made; do touch $path && echo $path; done"
    folders = ["/tmp", "/var/tmp", "/home/desk", "/home/desk/work"]
    allowed = f"for at in {' '.join(folders)}; do cp /bin/busybox $at/echo && $at/echo $at; done"

    done = containers.run("sh", "-c", f"{refused}; {allowed}; touch /dev/shm/made")

    assert done.stdout.split() == folders
    assert done.stderr.count("Read-only file system") == 4
    assert done.returncode == 0


def test_home_and_project_are_the_hosts(containers: Containers) -> None:
    (containers.project / "sub").mkdir()
    (containers.project / "sub" / "data").write_text("data")

    done = containers.run(
        "sh", "-c", "cat data; echo out >made; echo kept >~/kept", directory="/home/desk/work/sub"
    )

    assert done.stdout == "data"
    assert (containers.project / "sub" / "made").read_text() == "out\n"
    assert (containers.folder / "home" / "kept").read_text() == "kept\n"


def test_whatever_the_project_is_called(containers: Containers) -> None:
    project = containers.folder / 'a, "b":ä $x'
    project.mkdir()

    done = containers.run("touch", "made", project=project)

    assert (done.returncode, done.stderr) == (0, "")
    assert (project / "made").exists()


def test_hotdesks_own_files_in_the_project_are_covered(containers: Containers) -> None:
    store = containers.project / "store"
    (store / "items").mkdir(parents=True)

    done = containers.run("ls", "store", hidden=(store, containers.project / "not there"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_variables_and_files_arrive(containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy.example")
    monkeypatch.setenv("SECRET", "not passed")
    script = "echo $http_proxy $SECRET $HOME $USER $GREETING; cat /run/hotdesk/token"

    done = containers.run(
        "sh", "-c", script, environment={"GREETING": "hello"}, files={"hotdesk/token": b"the token"}
    )

    assert done.stdout == "http://me:secret@proxy.example /home/desk desk hello\nthe token"


def test_limits_hold(containers: Containers) -> None:
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"  # of both versions
    script = f"cat {files} 2>/dev/null; df -k /dev/shm"

    done = containers.run("sh", "-c", script, limits=Limits(memory=256 << 20, processors=0.5))

    words = done.stdout.split()
    assert str(256 << 20) in words
    assert str(128 << 10) in words


def test_without_a_network_there_is_only_the_loopback(containers: Containers) -> None:
    script = "cat /proc/net/dev"

    alone = containers.run("sh", "-c", script, network="none").stdout.splitlines()[2:]

    assert [line.split(":")[0].strip() for line in alone] == ["lo"]


@pytest.mark.parametrize("user", [1000, 2_000_000_001])
def test_what_it_writes_belongs_to_the_caller(
    docker: Engine, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker.environment["DOCKER_HOST"])
    socket = Path(docker.environment["DOCKER_HOST"].removeprefix("unix://"))
    socket.chmod(0o666)
    socket.parent.chmod(0o711)
    image = load("docker", busybox_image(note("containers")), "localhost/hotdesk/test:run")
    with open_folder() as folder:
        theirs = Containers(docker, image, folder)
        for name in ("home", "project", "inside"):
            (folder / name).mkdir()
            os.chown(folder / name, user, user)
        monkeypatch.setenv("HOME", str(folder / "home"))

        done = theirs.run("sh", "-c", "touch made; mkdir ~/made; whoami; id -u", user=user)

        assert (done.stderr, done.stdout.split()) == ("", ["desk", str(user)])
        for made in (folder / "project" / "made", folder / "home" / "made"):
            assert (made.stat().st_uid, made.stat().st_gid) == (user, user)


def test_a_signal_reaches_the_command(containers: Containers) -> None:
    ready = containers.project / "ready"
    script = "trap 'echo caught; exit 5' TERM; touch ready; while true; do sleep 0.1; done"
    with started(containers, "sh", "-c", script) as (process, _):
        eventually(ready.exists)

        process.send_signal(signal.SIGTERM)

        assert process.communicate(timeout=20)[0] == "caught\n"
        assert process.returncode == 5


def test_a_command_that_does_not_catch_a_signal_ends_with_it(containers: Containers) -> None:
    with started(containers, "sh", "-c", "touch ready; exec sleep 60") as (process, _):
        eventually((containers.project / "ready").exists)

        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 128 + signal.SIGTERM


def test_whatever_ends_the_caller_ends_the_container(containers: Containers) -> None:
    with started(containers, "sh", "-c", "touch ready; exec sleep 60") as (process, running):
        eventually((containers.project / "ready").exists)
        assert running()

        process.kill()

        eventually(lambda: not running())


def test_on_a_terminal_it_has_one(containers: Containers) -> None:
    sized = "until stty size 2>&1 | grep '33 77'; do sleep 0.1; done"  # Docker tells it a little later
    caught = "trap 'echo caught; exit 3' INT; echo ready; while true; do sleep 0.1; done"
    script = f"{sized}; read line; echo got $line; {caught}"
    with terminal(containers.argv(containers.request("sh", "-c", script))) as screen:
        screen.expect("33 77")
        screen.send("typed\r")
        screen.expect("got typed")
        screen.expect("ready")
        screen.send("\x03")
        screen.expect("caught")
        assert screen.exit_code() == 3


class started:  # noqa: N801
    """The command in a process of its own, and whether its container runs."""

    def __init__(self, containers: Containers, *command: str) -> None:
        self._containers = containers
        self._request = containers.request(*command)

    def __enter__(self) -> tuple[subprocess.Popen[str], Callable[[], bool]]:
        self._process = subprocess.Popen(
            self._containers.argv(self._request), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        return self._process, self.running

    def running(self) -> bool:
        engine = self._containers.engine
        return self._request.name in engine.ask("ps", "--format", "{{.Names}}").split()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._containers.engine.try_("rm", "--force", self._request.name)
