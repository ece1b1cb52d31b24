from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotdesk.desk.ports import is_free, listener, reserved_port, reserved_ports
from hotdesk.errors import DeskError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_had_as_wanted(taken: int) -> None:
    wanted = next(port for port in range(taken + 1, 65536) if is_free(port))

    with reserved_port(wanted, fixed=False) as port:
        assert port == wanted


def test_a_taken_port_gives_the_next(taken: int) -> None:
    with reserved_port(taken, fixed=False) as port:
        assert port > taken


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_fixed_one_that_is_taken_is_an_error_with_its_owner(address: str) -> None:
    with closing(socket.create_server((address, 0))) as server:
        port = server.getsockname()[1]

        with (
            pytest.raises(DeskError, match=f"port {port} is taken") as caught,
            reserved_port(port, fixed=True),
        ):
            pass

    assert f"(process {os.getpid()}) listens on it" in caught.value.why


def test_several_ports_are_had_at_once_and_each_once(taken: int) -> None:
    wanted = {"simulator": taken, "tensorboard": taken, "third": taken}

    with reserved_ports(wanted, others={taken + 1}) as ports:
        assert len({*ports.values()}) == 3
        assert min(ports.values()) > taken + 1


def test_a_port_that_another_desk_is_about_to_take_is_left_to_it(taken: int) -> None:
    with reserved_port(taken, fixed=False) as first, reserved_port(taken, fixed=False) as second:
        assert first != second
        with pytest.raises(DeskError), reserved_port(first, fixed=True):
            pass

    with reserved_port(first, fixed=True) as again:
        assert again == first


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each user's desks have names of their own")
def test_it_is_left_to_a_desk_of_another_user_too(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reserved_port(taken, fixed=False) as theirs:
        monkeypatch.setenv("HOTDESK_DATA", str(tmp_path / "ours"))
        with reserved_port(taken, fixed=False) as ours:
            assert ours != theirs


def test_a_port_that_is_roots_alone_is_not_called_taken() -> None:
    script = (
        "import os\n"
        "from hotdesk.desk.ports import is_free\n"
        "from hotdesk.errors import DeskError\n"
        "os.setgroups([]); os.setresgid(1001, 1001, 1001); os.setresuid(1001, 1001, 1001)\n"
        "try: is_free(80)\n"
        "except DeskError as error: print(error)\n"
    )
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if os.geteuid() != 0 or first <= 80:
        pytest.skip("every user may listen on port 80 here, or this one cannot become another")

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "you may not listen on port 80" in done.stdout


def test_only_the_user_is_named_where_the_process_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1234        0 55 1 0\n"
        "   1: 0100007F:22B9 00000000:0000 01 00000000:00000000 00:00000000 00000000  1234        0 56 1 0\n"
    )

    assert listener(8888, tmp_path) == "a program of user 1234"
    assert listener(8889, tmp_path) == ""  # a connection, not a listener
    assert listener(8890, tmp_path) == ""
