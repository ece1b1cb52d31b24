"""A Python index on the loopback that wants a login, and tells the sizes of no file."""

from __future__ import annotations

import base64
import hashlib
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def login_index(
    wheels: Path, user: str, password: str, *, without: int = 401, missing: int = 404
) -> Iterator[str]:
    """Serve this folder's files to that user alone; the index's address, without the login.

    `without` the login, and for a `missing` project, it answers with these.
    """
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != wanted:
                self._send(without, b"", "WWW-Authenticate", 'Basic realm="index"')
                return
            folder, _, name = unquote(self.path).strip("/").partition("/")
            file = wheels / name
            if folder == "simple":
                page = "".join(_link(file) for file in sorted(wheels.glob(f"{name}-*")))
                self._send(200 if page else missing, page.encode(), "Content-Type", "text/html")
            elif folder == "files" and file.is_file():
                self._send(200, file.read_bytes(), "Content-Type", "application/octet-stream")
            else:
                self._send(404, b"", "Content-Type", "text/plain")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _send(self, status: int, body: bytes, header: str, value: str) -> None:
            self.send_response(status)
            self.send_header(header, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = Server(Index)
    with server.serving():
        yield f"http://{server.host}/simple"


def _link(file: Path) -> str:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return f'<a href="/files/{escape(file.name)}#sha256={sha256}">{escape(file.name)}</a>'
