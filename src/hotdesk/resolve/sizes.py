"""The size of files whose index does not state it: the old HTML pages do not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hotdesk.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx2


def sizes_of(urls: Sequence[str]) -> Mapping[str, int]:
    """The size in bytes of what is at each of `urls`; nothing is downloaded where the server states it."""
    sizes = {url: _size_of_file(url) for url in urls if url.startswith("file:")}
    remote = [url for url in urls if url not in sizes]
    if not remote:
        return sizes
    from hotdesk.indexes.http import CONNECTIONS, make_client

    with make_client() as client, ThreadPoolExecutor(max_workers=CONNECTIONS) as pool:
        return {**sizes, **dict(zip(remote, pool.map(lambda url: _ask(client, url), remote), strict=True))}


def _size_of_file(url: str) -> int:
    try:
        return Path(url2pathname(urlsplit(url).path)).stat().st_size
    except OSError as error:
        raise FetchError(f"{url} cannot be read", why=error.strerror or str(error)) from None


def _ask(client: httpx2.Client, url: str) -> int:
    import httpx2

    from hotdesk.indexes.http import StatusError, explain, raise_for_status, stream
    from hotdesk.indexes.pypi import authorized

    try:
        with stream(client, authorized(url), {"Accept-Encoding": "identity"}) as response:
            raise_for_status(response)
            stated = response.headers.get("Content-Length", "")
            return int(stated) if stated else sum(len(chunk) for chunk in response.iter_bytes())
    except (httpx2.HTTPError, StatusError) as error:
        raise explain(error, url) from error
