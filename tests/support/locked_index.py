"""A Python index and a Debian mirror on the loopback that serve what one lock holds, and count."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotdesk.lock import Artifact, LockedVariant


class LockedIndex:
    """`downloads` holds artifacts by SHA-256, as a store does; `served` counts whole files sent."""

    def __init__(self, locked: LockedVariant, downloads: Path) -> None:
        self.downloads = downloads
        self.served: Counter[str] = Counter()
        self.files: dict[str, Artifact] = {}
        self.pages: dict[str, list[Artifact]] = {}
        for artifact in locked.artifacts():
            if artifact.kind == "debian":
                self.files[f"/{artifact.project}/{artifact.file}"] = artifact
            else:
                self.files[f"/files/{artifact.file}"] = artifact
                self.pages.setdefault(artifact.project, []).append(artifact)

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        """Serve; the environment that makes hotdesk use it."""
        server = Server(_Answers)
        address = f"http://{server.host}"
        with server.serving(index=self):
            yield {
                "UV_DEFAULT_INDEX": f"{address}/simple/",
                "HOTDESK_DEBIAN_MIRROR": f"{address}/debian",
                "HOTDESK_DEBIAN_SECURITY_MIRROR": f"{address}/debian-security",
                "NO_PROXY": "127.0.0.1",
            }

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = request.path.strip("/").split("/")
        if request.path in self.files:
            self._send_file(request, self.files[request.path])
        elif parts[0] == "simple" and len(parts) == 2 and parts[1] in self.pages:
            links = (
                f'<a href="/files/{escape(item.file)}#sha256={item.sha256}">{escape(item.file)}</a>'
                for item in self.pages[parts[1]]
            )
            self._send(request, f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode())
        else:
            request.send_response(404)
            request.send_header("Content-Length", "0")
            request.end_headers()

    def _send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _send_file(self, request: BaseHTTPRequestHandler, artifact: Artifact) -> None:
        content = (self.downloads / artifact.sha256).read_bytes()
        begin = 0
        if wanted := request.headers.get("Range"):
            begin = int(wanted.removeprefix("bytes=").split("-")[0])
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(content) - begin))
        request.end_headers()
        try:
            request.wfile.write(content[begin:])
        except (BrokenPipeError, ConnectionResetError):
            return
        self.served[artifact.file] += 1


class _Answers(BaseHTTPRequestHandler):
    index: LockedIndex

    def do_GET(self) -> None:
        self.index.answer(self)
