"""A Python index on the loopback that wants a login, and tells the sizes of no file."""

from __future__ import annotations

import base64
import hashlib
import threading
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

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

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

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

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()


def _link(file: Path) -> str:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return f'<a href="/files/{escape(file.name)}#sha256={sha256}">{escape(file.name)}</a>'
