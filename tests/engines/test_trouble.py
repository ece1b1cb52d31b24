"""What keeps an engine from working, seen with sockets and files of the test's own."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from hotdesk.engines.client import DOCKER, PODMAN, Client, Server
from hotdesk.engines.request import Display
from hotdesk.engines.trouble import (
    program_missing,
    refuse_displays,
    refuse_other_machines,
    without_daemon,
    without_user_ids,
)
from hotdesk.errors import EngineError


def test_a_program_that_is_not_there_can_be_installed() -> None:
    error = program_missing(PODMAN, FileNotFoundError())

    assert error.what == "Podman is not installed"
    assert "apt install podman" in error.hint
    assert "--engine" in error.hint


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(left))

    for path, why in ((left, "Connection refused"), (tmp_path / "none", "No such file or directory")):
        error = without_daemon(f"unix://{path}")
        assert error
        assert error.what == "Docker's daemon does not run"
        assert error.why == f"nobody listens on {path}: {why}"


def test_a_socket_that_answers_is_not_the_cause(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()

        assert without_daemon(f"unix://{tmp_path}/socket") is None
    assert without_daemon("npipe:////./pipe/docker_engine") is None
    assert without_daemon("") is None


@pytest.mark.parametrize("address", ["tcp://docker.example:2376", "ssh://me@docker.example"])
def test_an_engine_elsewhere_cannot_mount_our_folders(address: str) -> None:
    for engine, variable in ((DOCKER, "DOCKER_HOST"), (PODMAN, "CONTAINER_HOST")):
        with pytest.raises(EngineError, match="runs on another machine") as caught:
            refuse_other_machines(Client(engine, {variable: address}))
        assert "docker.example" in caught.value.why


@pytest.mark.parametrize("address", ["", "unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"])
def test_an_engine_here_can(address: str) -> None:
    refuse_other_machines(Client(DOCKER, {"DOCKER_HOST": address}))


def test_user_ids_are_looked_for_by_name_and_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    (tmp_path / "etc").mkdir()

    first = without_user_ids(tmp_path)
    for name in ("newuidmap", "newgidmap"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    (tmp_path / "etc" / "subuid").write_text(f"{os.geteuid()}:100000:65536\n")
    second = without_user_ids(tmp_path)
    (tmp_path / "etc" / "subgid").write_text(f"{os.geteuid()}:100000:65536\n")

    assert first
    assert first.why == "what hands out user ids is missing: `newuidmap`, `newgidmap`"
    assert second
    assert "/etc/subgid" in second.why
    assert "--add-subgids" in second.hint
    assert without_user_ids(tmp_path) is None


def test_a_display_that_no_container_reaches() -> None:
    here, elsewhere = Server(rootless=False), Server(rootless=False, virtual=True)
    socket = Display({"/tmp/.X11-unix/X500": Path("/tmp/.X11-unix/X0")}, environment={"DISPLAY": ":500"})
    network = Display(environment={"DISPLAY": "localhost:10"}, address="localhost:10")

    refuse_displays(Client(DOCKER), here, socket)
    with pytest.raises(EngineError, match="Docker cannot show windows") as virtual:
        refuse_displays(Client(DOCKER), elsewhere, socket)
    with pytest.raises(EngineError, match="`localhost:10` is out of reach for a container"):
        refuse_displays(Client(DOCKER), here, network)
    assert "Docker Desktop" in virtual.value.why
