"""Desks in Docker and in Podman, by the commands that users give, with a real Jupyter."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.commandline import Hotdesk
from tests.support.folders import open_folder
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.container_engines import Engine

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def opened(
    jupyter: Hotdesk, either_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hotdesk]:
    """The command in a project of its own, whose desk is open in the engine."""
    hotdesk = project_of(jupyter, either_engine, tmp_path_factory.mktemp("project"))
    hotdesk.run("up", "--port", "18950", "--memory", "1G")
    yield hotdesk
    hotdesk.try_("rm", "--force")


@pytest.fixture
def hotdesk(jupyter: Hotdesk, either_engine: Engine, tmp_path: Path) -> Iterator[Hotdesk]:
    """The command in a project of its own; what it opened in the engine is gone at the end."""
    hotdesk = project_of(jupyter, either_engine, tmp_path)
    yield hotdesk
    hotdesk.try_("rm", "--force")


def project_of(jupyter: Hotdesk, engine: Engine, folder: Path) -> Hotdesk:
    for name in ("hotdesk.toml", "hotdesk.lock"):
        shutil.copy(jupyter.folder / name, folder)
    environment = {**engine.environment, "HOTDESK_ENGINE": engine.name}
    return Hotdesk(folder, jupyter.store, folder / "data", environment)


def containers_of(engine: Engine, hotdesk: Hotdesk) -> list[Any]:
    """The engine's containers, running or not, in which the project is mounted."""
    names = engine.ask("ps", "--all", "--filter", "label=org.hotdesk.desk", "--format", "{{.Names}}").split()
    rows = engine.inspect(*names) if names else []
    return [row for row in rows if str(hotdesk.folder) in [mount["Source"] for mount in row["Mounts"]]]


def get(url: str, path: str, token: str | None = None, **headers: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    token = parse_qs(parts.query)["token"][0] if token is None else token
    if token:
        headers["Authorization"] = f"token {token}"
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def answers(url: str) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return get(url, "/", token="") == http.client.OK
    return False


def test_it_answers_and_only_to_its_token(opened: Hotdesk) -> None:
    url = opened.run("url").strip()

    assert get(url, "/api/contents") == http.client.OK
    assert get(url, "/api/contents", token="wrong") == http.client.FORBIDDEN
    assert get(url, "/api/contents", token="") == http.client.FORBIDDEN
    assert get(url, "/api/contents", Host="attacker.example") == http.client.FORBIDDEN
    [row] = opened.json("ls")
    assert (row["state"], row["port"], row["engine"]) == (
        "running",
        18950,
        opened.environment["HOTDESK_ENGINE"],
    )


def test_what_listens_on_its_further_ports_is_reached(hotdesk: Hotdesk, either_engine: Engine) -> None:
    with (hotdesk.folder / "hotdesk.toml").open("a") as spec:
        spec.write("[ports]\nsimulator = 18945\n")
    with closing(socket.create_server(("127.0.0.1", 18945))):
        opened = hotdesk.json("up", "--port", "18944")
    url = hotdesk.run("url", "simulator").strip()

    [container] = containers_of(either_engine, hotdesk)
    serve = "python -m http.server -b $HOTDESK_ADDRESS $HOTDESK_PORT_SIMULATOR"
    either_engine.ask("exec", "--detach", container["Id"], "sh", "-c", serve)

    assert opened["ports"] == {"simulator": 18946}
    assert url == "http://127.0.0.1:18946"
    eventually(lambda: answers(url))


def test_nobody_but_the_host_itself_reaches_it(opened: Hotdesk, either_engine: Engine) -> None:
    [container] = containers_of(either_engine, opened)
    ports = container["NetworkSettings"]["Ports"]

    assert [(row["HostIp"], row["HostPort"]) for row in ports["8888/tcp"]] == [("127.0.0.1", "18950")]


def test_the_token_is_in_no_process_list_and_not_in_what_the_engine_shows(
    opened: Hotdesk, either_engine: Engine
) -> None:
    token = parse_qs(urlsplit(opened.run("url").strip()).query)["token"][0]
    shown = []
    for process in Path("/proc").iterdir():
        for file in ("cmdline", "environ"):
            with suppress(OSError):
                if token.encode() in (process / file).read_bytes():
                    shown.append(process.name)

    assert shown == []
    described = json.dumps(containers_of(either_engine, opened))
    assert "18950" in described
    assert token not in described
    inside = opened.data / "desks" / "jupyter" / "inside"
    assert inside.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in inside.iterdir() if path.is_file()} == {0o400}


def test_the_limits_are_the_engines(opened: Hotdesk, either_engine: Engine) -> None:
    [container] = containers_of(either_engine, opened)

    assert container["HostConfig"]["Memory"] == 1 << 30


def test_opened_again_it_is_the_same(opened: Hotdesk) -> None:
    url = opened.run("url")

    assert opened.run("up") == url
    refused = opened.try_("up", "--engine", "sandbox")
    assert refused.returncode == 1
    assert "is open already, in " in refused.stderr


def test_a_command_uses_the_same_packages_and_home(opened: Hotdesk) -> None:
    script = "import numpy, pathlib; pathlib.Path.home().joinpath('kept').write_text('kept')"

    opened.run("run", "--", "python", "-c", script)

    assert (opened.data / "desks" / "jupyter" / "home" / "kept").read_text() == "kept"
    assert opened.try_("run", "--", "sh", "-c", "exit 9").returncode == 9


def test_stopped_and_started_it_is_as_it_was(hotdesk: Hotdesk, either_engine: Engine) -> None:
    first = hotdesk.run("up", "--port", "18955", "--memory", "900M", "--cpus", "0.9")
    with hotdesk.start("logs", "--follow") as following:
        try:
            assert "is running" in hotdesk.try_("rm").stderr
            hotdesk.run("stop")
            assert "received signal 15" in following.communicate(timeout=300)[0]
        finally:
            following.kill()

    assert [row["state"] for row in hotdesk.json("ls")] == ["stopped"]
    assert containers_of(either_engine, hotdesk) == []
    elsewhere = replace(hotdesk, environment={**either_engine.environment, "HOTDESK_ENGINE": "sandbox"})
    again = elsewhere.run("start", "jupyter")

    [found] = containers_of(either_engine, hotdesk)
    assert found["HostConfig"]["Memory"] == 900 << 20
    assert (urlsplit(again).port, again != first) == (18955, True)
    hotdesk.run("rm", "--force")
    assert hotdesk.json("ls") == []
    assert containers_of(either_engine, hotdesk) == []


def test_a_crash_shows_and_the_next_start_clears_up(hotdesk: Hotdesk, either_engine: Engine) -> None:
    hotdesk.run("up", "--port", "18960")

    [container] = containers_of(either_engine, hotdesk)
    either_engine.ask("kill", container["Id"])
    eventually(lambda: hotdesk.json("ls")[0]["state"] == "crashed")

    listed = hotdesk.try_("ls")
    assert "crashed (137)" in listed.stdout
    assert "is running at" in listed.stderr
    assert "is not running" in hotdesk.try_("url").stderr
    hotdesk.run("up")
    assert hotdesk.json("ls")[0]["state"] == "running"


def test_a_taken_port_is_left_to_who_has_it(hotdesk: Hotdesk) -> None:
    with closing(socket.create_server(("127.0.0.1", 18965))):
        refused = hotdesk.try_("up", "--port", "18965")

    assert f"(process {os.getpid()})" in refused.stderr
    assert [row["state"] for row in hotdesk.json("ls")] == ["never opened"]


def test_an_engine_that_is_gone_is_no_reason_to_list_nothing(hotdesk: Hotdesk, tmp_path: Path) -> None:
    hotdesk.run("run", "true")
    record = hotdesk.data / "desks" / "jupyter" / "container"
    written = json.loads((record.parent / "desk.json").read_bytes()) | {"root": ["/", "/"]}
    (record.parent / "desk.json").write_text(json.dumps(written))
    record.write_text(json.dumps({"engine": "docker", "chosen": {"DOCKER_HOST": f"unix://{tmp_path}/gone"}}))
    record.chmod(0o600)

    listed = hotdesk.try_("ls")
    stopped = hotdesk.try_("stop")

    assert (listed.returncode, listed.stdout.splitlines()[1].split()[3]) == (0, "unknown")
    assert "Docker's daemon does not run" in listed.stderr
    assert stopped.returncode == 1
    assert "sudo systemctl start docker" in stopped.stderr
    hotdesk.run("rm", "--force")
    assert hotdesk.json("ls") == []


@pytest.mark.parametrize("command", [("up",), ("run", "true")])
class TestTrouble:
    """An engine that cannot be had is explained before anything is built."""

    def refused(self, hotdesk: Hotdesk, command: tuple[str, ...], **environment: str) -> str:
        theirs = replace(hotdesk, environment={**hotdesk.environment, **environment})
        done = theirs.try_(*command[:1], "--engine", environment.get("ENGINE", "docker"), *command[1:])
        assert done.returncode == (125 if command[0] == "run" else 1)
        assert "hint:" in done.stderr
        assert "writing layers" not in done.stderr
        return done.stderr

    @pytest.fixture
    def hotdesk(self, jupyter: Hotdesk, tmp_path: Path) -> Hotdesk:
        return replace(jupyter, data=tmp_path / "data", store=tmp_path / "store")

    @pytest.mark.parametrize("engine", ["docker", "podman"])
    def test_no_program(self, hotdesk: Hotdesk, command: tuple[str, ...], engine: str) -> None:
        said = self.refused(hotdesk, command, PATH="/nowhere", ENGINE=engine)

        assert f"there is no program `{engine}` in any folder of PATH" in said

    def test_no_daemon(self, hotdesk: Hotdesk, command: tuple[str, ...], tmp_path: Path) -> None:
        said = self.refused(hotdesk, command, DOCKER_HOST=f"unix://{tmp_path}/none")

        assert "Docker's daemon does not run" in said
        assert f"{tmp_path}/none" in said

    def test_another_machine(self, hotdesk: Hotdesk, command: tuple[str, ...]) -> None:
        said = self.refused(hotdesk, command, DOCKER_HOST="tcp://docker.example:2376")

        assert "Docker runs on another machine" in said


def test_a_socket_that_is_not_open_to_the_caller(docker: Engine) -> None:
    with open_folder() as folder:
        (folder / "socket").symlink_to(docker.environment["DOCKER_HOST"].removeprefix("unix://"))
        Path(docker.environment["DOCKER_HOST"].removeprefix("unix://")).chmod(0o660)
        code = (
            "import os, socket, subprocess, sys; from hotdesk.engines.loading import find_image; "
            "import hotdesk.engines.trouble, urllib.parse\n"
            "os.setgroups([]); os.setresgid(1001, 1001, 1001); os.setresuid(1001, 1001, 1001)\n"
            "find_image('docker', ['sha256:' + '0' * 64])"
        )
        import sys

        variables = {**os.environ, "DOCKER_HOST": f"unix://{folder}/socket", "HOME": str(folder)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False
        )

    assert "you may not use Docker" in done.stderr
    assert "usermod -aG docker" in done.stderr
