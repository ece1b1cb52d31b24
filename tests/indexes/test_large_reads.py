from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.support.certificates import speaking_tls

from hotdesk.indexes.large_reads import by_large_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECORD = 1 << 14
CONTENT = os.urandom(20 * RECORD)


@contextmanager
def connected(folder: Path, serve: Callable[[ssl.SSLSocket], None]) -> Iterator[ssl.SSLSocket]:
    """The client's end of a connection to `serve`."""
    context, certificate = speaking_tls(folder)
    ours, theirs = socket.socketpair()

    def answer() -> None:
        with closing(context.wrap_socket(theirs, server_side=True)) as connection:
            serve(connection)

    server = threading.Thread(target=answer)
    server.start()
    client = by_large_reads(ssl.create_default_context(cafile=certificate))
    with closing(client.wrap_socket(ours, server_hostname="127.0.0.1")) as connection:
        connection.settimeout(10)
        yield connection
    server.join()


def test_one_read_gives_many_records(tmp_path: Path) -> None:
    sent = threading.Event()

    def serve(connection: ssl.SSLSocket) -> None:
        connection.sendall(CONTENT[: 4 * RECORD])
        sent.set()
        connection.recv(1)

    with connected(tmp_path, serve) as connection:
        sent.wait(10)
        assert connection.recv(1 << 20) == CONTENT[: 4 * RECORD]


def test_all_of_it_comes_in_order_and_then_the_end(tmp_path: Path) -> None:
    with connected(tmp_path, lambda connection: connection.sendall(CONTENT)) as connection:
        read = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        assert connection.recv(1 << 20) == b""

    assert read == CONTENT


def test_no_read_gives_more_than_was_asked_for(tmp_path: Path) -> None:
    pieces = []
    with connected(tmp_path, lambda connection: connection.sendall(CONTENT)) as connection:
        while piece := connection.recv(RECORD + 100):
            pieces.append(piece)

    assert b"".join(pieces) == CONTENT
    assert max(map(len, pieces)) <= RECORD + 100


def test_what_is_there_is_given_without_waiting_for_more(tmp_path: Path) -> None:
    def serve(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"some")
        connection.recv(1)  # the rest never comes

    with connected(tmp_path, serve) as connection:
        assert connection.recv(1 << 20) == b"some"
        assert connection.gettimeout() == 10
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1 << 20)


def test_what_came_before_an_error_is_given_first(tmp_path: Path) -> None:
    broken = threading.Event()

    def serve(connection: ssl.SSLSocket) -> None:
        connection.sendall(CONTENT[: 2 * RECORD])
        os.write(connection.fileno(), bytes(100))  # no record of TLS
        broken.set()

    with connected(tmp_path, serve) as connection:
        broken.wait(10)
        assert connection.recv(1 << 20) == CONTENT[: 2 * RECORD]
        with pytest.raises(ssl.SSLError):
            connection.recv(1 << 20)
