"""A registry in a few lines that does what the specification allows and the real one of the tests does not.

It keeps what arrived of an upload that broke off, tells where that stands, and wants parts in order; it sends
blobs from another host, and asks for whatever login it is told to.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import socket
import struct
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLOOD = 500


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    length: int


@dataclass
class SmallRegistry:
    host: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    breaks_after: list[int] = field(default_factory=list)  # bytes of the next request bodies
    least_part: int = 0
    largest_request: int = 1 << 40
    elsewhere: str = ""  # where blobs are sent from
    wants: str = ""  # the only Authorization that is good
    challenge: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # headers of every answer
    turns: list[tuple[str, Callable[[Handler], None]]] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=itertools.count)  # no two uploads at once share one

    def of(self, method: str, part: str = "") -> list[Request]:
        return [request for request in self.requests if request.method == method and part in request.path]

    def sent(self) -> int:
        """Bytes that came in bodies."""
        return sum(request.length for request in self.requests)


class Handler(BaseHTTPRequestHandler):
    registry: SmallRegistry

    def handle_any(self) -> None:
        known = self.registry
        self.request_ = Request(self.command, self.path, dict(self.headers), 0)
        known.requests.append(self.request_)
        assert len(known.requests) < _FLOOD
        for number, (pattern, turn) in enumerate(known.turns):
            if re.search(pattern, f"{self.command} {self.path}"):
                del known.turns[number]
                return turn(self)
        if known.wants and self.headers.get("Authorization") != known.wants:
            self.body()
            return self.send(401, WWW_Authenticate=known.challenge)
        path = urlsplit(self.path).path.removeprefix("/v2/")
        if "/blobs/uploads/" in path:
            return self.upload(path.rpartition("/")[2])
        if "/blobs/" in path:
            return self.blob(path.rpartition("/")[2])
        if "/manifests/" in path:
            return self.manifest(path.rpartition("/")[2])
        return self.send(200)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815

    def upload(self, name: str) -> None:
        uploads = self.registry.uploads
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if self.command == "POST":
            name = f"upload{next(self.registry.names)}"
            uploads[name] = bytearray()
            return self.send(
                202, Location=f"{name}?_state=a%2Fb&x=1", OCI_Chunk_Min_Length=str(self.registry.least_part)
            )
        if name not in uploads:
            self.body()
            return self.send(404)
        assert query["_state"] == "a/b"
        there = uploads[name]
        where = f"/v2/desk/blobs/uploads/{name}?_state=a%2Fb&x=1"
        if self.command == "GET":
            return self.send(204, Location=where, Range=f"0-{max(len(there) - 1, 0)}")
        start = self.headers.get("Content-Range", f"{len(there)}-").partition("-")[0]
        if int(self.headers["Content-Length"]) > self.registry.largest_request:
            self.body()
            return self.send(413)
        if int(start) != len(there):
            self.body()
            return self.send(416, Location=where, Range=f"0-{max(len(there) - 1, 0)}")
        if not self.body(there):
            return None
        if self.command == "PATCH":
            return self.send(202, Location=where, Range=f"0-{len(there) - 1}")
        if f"sha256:{hashlib.sha256(there).hexdigest()}" != query["digest"]:
            return self.send(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
        self.registry.blobs[query["digest"]] = bytes(uploads.pop(name))
        return self.send(201, Location=f"/v2/desk/blobs/{query['digest']}")

    def body(self, into: bytearray | None = None) -> bool:
        """Read the request's body; false where it was told to break off."""
        left = int(self.headers.get("Content-Length") or 0)
        most = (
            self.registry.breaks_after.pop(0)
            if left and self.registry.breaks_after and into is not None
            else left
        )
        while left and most and (piece := self.rfile.read(min(left, most, 1 << 16))):
            self.request_.length += len(piece)
            left, most = left - len(piece), most - len(piece)
            if into is not None:
                into += piece
        if left:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        return not left

    def blob(self, digest: str) -> None:
        content = self.registry.blobs.get(digest)
        if content is None:
            return self.send(404)
        if self.registry.elsewhere and self.command == "GET":
            return self.send(307, Location=f"{self.registry.elsewhere}/{digest}?signed=yes")
        return self.send(200, content)

    def manifest(self, version: str) -> None:
        if self.command == "PUT":
            content = bytearray()
            self.body(content)
            kind = self.headers["Content-Type"]
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            self.registry.manifests[version] = self.registry.manifests[digest] = (kind, bytes(content))
            return self.send(201, Docker_Content_Digest=digest)
        if version not in self.registry.manifests:
            return self.send(404)
        kind, found = self.registry.manifests[version]
        return self.send(200, found, Content_Type=kind)

    def send(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        if status != 204:
            headers["Content-Length"] = str(len(content))
        for name, value in {**headers, **self.registry.extra}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def endless(handler: Handler, status: int = 200) -> None:
    """An answer that never ends, as long as somebody listens."""
    handler.send_response(status)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    for _ in range(10_000):
        handler.wfile.write(bytes(1 << 16))


@contextmanager
def small_registry() -> Iterator[SmallRegistry]:
    server = Server(Handler)
    registry = SmallRegistry(server.host)
    with server.serving(registry=registry):
        yield registry


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with small_registry() as started:
        yield started


def offer(registry: SmallRegistry, document: object, kind: str, tag: str = "1") -> None:
    """Put a manifest there without asking."""
    registry.manifests[tag] = (kind, json.dumps(document).encode())
