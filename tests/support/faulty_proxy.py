"""A proxy before a registry that does harm as told, to those requests that it is told of."""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

Harm = Callable[["Handler"], None]
_PIECE = 1 << 16
_FLOOD = 20_000


@dataclass
class Fault:
    """Does `harm` to requests whose method and path match `pattern`, `times` of them."""

    pattern: str
    harm: Harm
    times: int = 1


@dataclass
class FaultyProxy:
    """`host` is what references begin with; `requests` are methods and paths in order, without queries."""

    host: str
    upstream: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)  # that were asked for
    limit: int = 1 << 40  # bytes of a request
    chance: float = 0.0  # of some harm to any request
    random: random.Random = field(default_factory=lambda: random.Random(1))
    done: int = 0  # harms
    lock: threading.Lock = field(default_factory=threading.Lock)

    def harm(self, pattern: str, harm: Harm, times: int = 1) -> None:
        self.faults.append(Fault(pattern, harm, times))

    def choose(self, request: str) -> Harm | None:
        with self.lock:
            self.requests.append(request.partition("?")[0])
            assert len(self.requests) < _FLOOD
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, request):
                    fault.times -= 1
                    self.done += 1
                    return fault.harm
            if self.random.random() < self.chance:
                self.done += 1
                return self.random.choice(ANY)
        return None

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, request) is not None for request in self.requests)


class Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    upstream: http.client.HTTPConnection | None = None

    def handle_any(self) -> None:
        harm = self.proxy.choose(f"{self.command} {self.path}")
        if wanted := self.headers.get("Range"):
            self.proxy.ranges.append(wanted)
        if self.length > self.proxy.limit:
            harm = answers(413)
        try:
            if harm:
                self.close_connection = True
                harm(self)
            else:
                self.answer(self.ask())
        finally:
            if self.upstream:
                self.upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815

    @property
    def length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def ask(self, most: int | None = None) -> http.client.HTTPResponse:
        """Pass the request on, its body up to `most` bytes."""
        upstream = self.upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders()
        left = self.length if most is None else min(most, self.length)
        while left:
            piece = self.rfile.read(min(_PIECE, left))
            upstream.send(piece)
            left -= len(piece)
        if most is not None:
            raise BrokenOffError
        return upstream.getresponse()

    def answer(self, response: http.client.HTTPResponse, most: int | None = None) -> None:
        """Pass the answer on, its body up to `most` bytes."""
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("date", "connection", "server"):
                self.send_header(name, value)
        self.end_headers()
        sent = 0
        while piece := response.read(_PIECE):
            if most is not None and sent + len(piece) > most:
                self.wfile.write(piece[: most - sent])
                break
            self.wfile.write(piece)
            sent += len(piece)
        response.close()

    def swallow(self, count: int) -> None:
        while count > 0 and (piece := self.rfile.read(min(_PIECE, count))):
            count -= len(piece)

    def reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closing a copy resets nothing: the files on the socket go first.
        self.rfile.close()
        self.connection.close()


class BrokenOffError(Exception):
    pass


def answers(status: int, body: bytes = b"", **headers: str) -> Harm:
    """Says so at once, whatever the client still sends."""

    def harm(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
        handler.swallow(handler.length)  # else the answer may be lost in a reset

    return harm


def resets(after: int = 0) -> Harm:
    """Takes so much of the request's body, passes nothing on, and hangs up."""

    def harm(handler: Handler) -> None:
        handler.swallow(min(after, handler.length))
        handler.reset()

    return harm


def passes_on(part: int) -> Harm:
    """The registry gets a part of the request's body, and then both connections end."""

    def harm(handler: Handler) -> None:
        try:
            handler.ask(part)
        except BrokenOffError:
            time.sleep(0.05)  # else the registry may not have read it yet
            handler.reset()

    return harm


def truncates(after: int) -> Harm:
    """The answer ends early, in good order."""

    def harm(handler: Handler) -> None:
        handler.answer(handler.ask(), after)

    return harm


def loses_answer(handler: Handler) -> None:
    """All is done, and nobody hears of it."""
    handler.ask().read()
    handler.reset()


def delays(seconds: float) -> Harm:
    def harm(handler: Handler) -> None:
        time.sleep(seconds)
        handler.answer(handler.ask())

    return harm


def delays_answer(seconds: float) -> Harm:
    """The registry is done at once, and the client hears of it later."""

    def harm(handler: Handler) -> None:
        response = handler.ask()
        time.sleep(seconds)
        handler.answer(response)

    return harm


ANY: list[Harm] = [
    answers(500),
    answers(503, Retry_After="0"),
    answers(429, Retry_After="0"),
    resets(),
    resets(100_000),
    passes_on(100_000),
    truncates(20_000),
    loses_answer,
    delays(0.05),
]


class _Server(Server):
    def shutdown_request(self, request: object) -> None:
        with suppress(OSError):
            super().shutdown_request(request)  # type: ignore[arg-type]


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    server = _Server(Handler)
    proxy = FaultyProxy(server.host, upstream)
    with server.serving(proxy=proxy):
        yield proxy
