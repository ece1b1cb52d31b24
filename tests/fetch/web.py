"""A real web server on the loopback that misbehaves as told."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest
from tests.support.network import forget
from tests.support.servers import Server
from tests.support.stores import store

from hotdesk.indexes.http import Retry, make_client
from hotdesk.lock import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

__all__ = ["store"]

FLOOD = 300
Turn = Callable[["Handler", bytes], None]
QUICK = Retry(tries=5, first=0.005, longest=3.0)


@dataclass
class Request:
    path: str
    start: int
    headers: dict[str, str]


@dataclass
class Web:
    """Serves `files`; the next requests for a path are answered by its `turns`, one each, in order."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    turns: defaultdict[str, list[Turn]] = field(default_factory=lambda: defaultdict(list))
    requests: list[Request] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    closing: threading.Event = field(default_factory=threading.Event)

    def serve(self, name: str, content: bytes, *turns: Turn) -> str:
        path = f"/{name}"
        self.files[path] = content
        self.turns[path].extend(turns)
        return self.address + path

    def starts(self, name: str) -> list[int]:
        """Where each request for the file asked to begin."""
        return [request.start for request in self.requests if request.path == f"/{name}"]


class Handler(BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        requested = self.headers.get("Range", "").removeprefix("bytes=").rstrip("-")
        start = int(requested) if requested else 0
        self.web.requests.append(Request(self.path, start, dict(self.headers)))
        count = sum(request.path == self.path for request in self.web.requests)
        assert count <= FLOOD, f"{self.path} was asked for {count} times"
        content = self.web.files.get(self.path)
        if content is None:
            return answer(404)(self, b"")
        turns = self.web.turns[self.path]
        return (turns.pop(0) if turns else whole)(self, content)

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is None:
            headers["Connection"] = "close"
            self.close_connection = True
        else:
            headers["Content-Length"] = str(length)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def body(self, content: bytes) -> None:
        self.wfile.write(content)
        self.web.sent[self.path] += len(content)

    @property
    def start(self) -> int:
        return next(request.start for request in reversed(self.web.requests) if request.path == self.path)


def begin(handler: Handler, content: bytes) -> bytes:
    """Answer as a good server does, parts included; the body still to be sent."""
    start, size = handler.start, len(content)
    if start:
        handler.head(206, size - start, Content_Range=f"bytes {start}-{size - 1}/{size}")
    else:
        handler.head(200, size)
    return content[start:]


def whole(handler: Handler, content: bytes) -> None:
    if handler.start and handler.start >= len(content):
        return answer(416)(handler, content)
    return handler.body(begin(handler, content))


def answer(status: int, **headers: str) -> Turn:
    def turn(handler: Handler, _: bytes) -> None:
        handler.head(status, 0, **headers)

    return turn


def ignores_range(handler: Handler, content: bytes) -> None:
    handler.head(200, len(content))
    handler.body(content)


def lies_about_range(handler: Handler, content: bytes) -> None:
    size = len(content)
    handler.head(206, size, Content_Range=f"bytes 7-{size - 1}/{size}")
    handler.body(content)


def breaks_off(after: int, *, reset: bool = False) -> Turn:
    """Promise all, send `after` bytes, and end the connection."""

    def turn(handler: Handler, content: bytes) -> None:
        handler.body(begin(handler, content)[:after])
        handler.wfile.flush()
        if reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True

    return turn


def other(content: bytes, *, tell_length: bool = True) -> Turn:
    def turn(handler: Handler, _: bytes) -> None:
        handler.head(200, len(content) if tell_length else None)
        handler.body(content)

    return turn


def endless(handler: Handler, _: bytes) -> None:
    handler.head(200, None)
    for _number in range(1000):
        handler.body(bytes(1 << 16))


def slowly(after: int, seconds: float = 60.0) -> Turn:
    """Send `after` bytes, then fall silent for a while or until the test is over."""

    def turn(handler: Handler, content: bytes) -> None:
        body = begin(handler, content)
        handler.body(body[:after])
        handler.wfile.flush()
        if not handler.web.closing.wait(seconds):
            handler.body(body[after:])

    return turn


@pytest.fixture
def web() -> Iterator[Web]:
    server = Server(Handler)
    site = Web(f"http://{server.host}")
    with server.serving(web=site):
        yield site
        site.closing.set()
    floods = Counter(request.path for request in site.requests)
    assert not floods or max(floods.values()) <= FLOOD


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx2.Client]:
    forget(monkeypatch)
    with make_client() as made:
        yield made


def artifact(content: bytes, file: str = "demo-1-py3-none-any.whl", size: int | None = None) -> Artifact:
    sha256 = hashlib.sha256(content).hexdigest()
    size = len(content) if size is None else size
    if file.endswith(".deb"):
        return Artifact("debian", "debian", file, size, sha256)
    return Artifact("pypi", file.partition("-")[0], file, size, sha256)
