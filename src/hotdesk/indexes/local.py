"""`file:` addresses answered like a web server would, so that a folder can be an index."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.request import url2pathname

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 18


class LocalFiles(httpx2.BaseTransport):
    """Serves files, a folder's `index.html`, or a page of links to what is in the folder."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host not in ("", "localhost"):
            raise httpx2.UnsupportedProtocol(
                f"{request.url} names a file on another host; write file:///… for one on this host",
                request=request,
            )
        path = Path(url2pathname(request.url.raw_path.decode("ascii").partition("?")[0]))
        try:
            return _answer(path)
        except (FileNotFoundError, NotADirectoryError):
            return httpx2.Response(404)
        except PermissionError:
            return httpx2.Response(403)


def _answer(path: Path) -> httpx2.Response:
    if path.is_dir():
        index = path / "index.html"
        if index.is_file():
            return httpx2.Response(200, html=index.read_text(encoding="utf-8", errors="replace"))
        return httpx2.Response(200, html=_listing(path))
    content = _Content(path)
    kind = "text/html" if path.suffix in (".html", ".htm") else "application/octet-stream"
    headers = {"Content-Length": str(content.size), "Content-Type": kind}
    return httpx2.Response(200, headers=headers, stream=content)


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return "\n".join(f'<a href="{escape(quote(name))}">{escape(name)}</a>' for name in names)


class _Content(httpx2.SyncByteStream):
    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.size = path.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(CHUNK):
            yield chunk

    def close(self) -> None:
        self._file.close()
