"""One artifact, from the first address that has it, to its place in the store."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hotdesk.errors import FetchError, GoneError, HashMismatchError
from hotdesk.fetch.partial import Partial, mismatch, writing
from hotdesk.indexes.http import (
    CutShortError,
    Retry,
    StatusError,
    explain,
    may_pass,
    raise_for_status,
    retry_after,
    shown,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import httpx2

    from hotdesk.indexes.http import Speaker
    from hotdesk.lock import Artifact
    from hotdesk.store import Shelf, Store

PROGRESS_WORTH_A_TRY = 1 << 20
_BLOCK = 1 << 18  # written at once; a server's pieces are the size of a TLS record
_SHOWN_AFTER = 0.2  # seconds


class StoppedError(Exception):
    """Nobody waits for this download any more."""


class Stop:
    """How downloads are called off, from another thread: `pull` ends them at once."""

    def __init__(self) -> None:
        self._now = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._surveying = False

    @property
    def now(self) -> bool:
        return self._now.is_set()

    def pull(self) -> None:
        """Stop, also what waits for a silent server."""
        self._now.set()
        self._hang_up()

    def survey(self) -> None:
        """Let a download end as soon as it is sure to begin.

        The command fails anyway, and all that is left to find out is what else is gone.
        """
        self._surveying = True
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            for connection in self._sockets:
                with suppress(OSError):
                    # Not SSLSocket.shutdown, which takes the TLS state from under the thread that reads.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def pause(self, seconds: float) -> None:
        if self._now.wait(seconds):
            raise StoppedError

    def check(self) -> None:
        if self._surveying or self.now:
            raise StoppedError

    @contextmanager
    def covers(self, response: httpx2.Response) -> Iterator[None]:
        """While inside, `pull` ends this connection."""
        carrier = response.extensions.get("network_stream")
        connection = carrier.get_extra_info("socket") if carrier else None
        if not isinstance(connection, socket.socket):
            yield
            return
        with self._lock:
            self._sockets.add(connection)
        try:
            if self.now:
                raise StoppedError
            yield
        finally:
            with self._lock:
                self._sockets.discard(connection)


class Transfer:
    """One artifact on its way. `report` is told how many bytes came on top of the most there ever were."""

    def __init__(
        self,
        store: Store,
        client: Speaker,
        artifact: Artifact,
        *,
        shelf: Shelf = "download",
        stop: Stop,
        retry: Retry,
        report: Callable[[int], None],
        note: Callable[[str], None],
    ) -> None:
        self._store = store
        self._client = client
        self._artifact = artifact
        self._shelf: Shelf = shelf
        self._stop = stop
        self._retry = retry
        self._report = report
        self._note = note
        self._reported = 0

    def run(self, addresses: Iterable[str], hint: str = "") -> Path:
        """The verified file; waits where another process is fetching it, and takes what that one got.

        `hint` is tried first, without much patience, and what goes wrong with it does not matter.
        """
        with ExitStack() as held:
            with writing(self._store.root, self._artifact.size):
                held.enter_context(self._store.exclusive(f"download-{self._artifact.sha256}"))
            final = self._store.place(self._shelf, self._artifact.sha256)
            if not is_whole(final, self._artifact):
                with Partial(self._store, self._artifact, self._shelf) as partial:
                    self._show(partial)
                    final = self._from_any(addresses, hint, partial)
        self._show_position(self._artifact.size)
        return final

    def _from_any(self, addresses: Iterable[str], hint: str, partial: Partial) -> Path:
        if not partial.missing:
            with suppress(HashMismatchError):
                return partial.finish()
        failure: FetchError | None = None
        tried: dict[str, None] = {}
        if hint:
            with suppress(FetchError):
                return self._from(hint, partial, replace(self._retry, tries=2))
        for url in addresses:
            if url in tried:
                continue
            tried[url] = None
            try:
                return self._from(url, partial, self._retry)
            except GoneError:
                continue
            except FetchError as error:
                failure = failure or error
        if not partial.position:
            partial.discard()
        # That some address had no such file says less than what went wrong at another.
        raise failure or _gone(self._artifact, tried)

    def _from(self, url: str, partial: Partial, retry: Retry) -> Path:
        """The file from this address; `FetchError` where it cannot be had from there."""
        while True:
            resumed = partial.position > 0
            try:
                self._receive_with_retries(url, partial, retry)
                return partial.finish()
            except HashMismatchError as error:
                partial.restart()
                if not resumed:
                    raise _at(error, url) from None
                # Perhaps what was there before was wrong; this address may still be right.

    def _receive_with_retries(self, url: str, partial: Partial, retry: Retry) -> None:
        import httpx2

        failures = 0
        while partial.missing:
            before = partial.position
            try:
                self._receive(url, partial)
            except (httpx2.HTTPError, httpx2.InvalidURL, StatusError, CutShortError) as error:
                if self._stop.now:
                    raise StoppedError from None
                # A long download over a bad line is not given up while it gets on.
                failures = 1 if partial.position - before >= PROGRESS_WORTH_A_TRY else failures + 1
                delay = retry.delay(failures, retry_after(error)) if may_pass(error) else None
                if delay is None:
                    raise explain(error, url) from error
                if delay > 5:
                    self._note(f"{self._artifact.name}: {error}; trying again in {delay:.0f} s")
                self._stop.pause(delay)

    def _receive(self, url: str, partial: Partial) -> None:
        """Append what the server sends.

        A part is asked for without If-Range: the hash decides what fits together, and a mirror's other
        machine may give the same file another ETag.
        """
        self._stop.pause(0)
        headers = {"Accept-Encoding": "identity"}
        if partial.position:
            headers["Range"] = f"bytes={partial.position}-"
        with stream(self._client, url, headers) as response, self._stop.covers(response):
            self._line_up(response, partial)
            self._stop.check()
            waiting = bytearray()
            due = time.monotonic() + _SHOWN_AFTER
            try:
                for chunk in response.iter_raw():
                    self._stop.check()
                    waiting += chunk
                    if len(waiting) >= _BLOCK or time.monotonic() > due:
                        block, waiting = waiting, bytearray()
                        partial.append(block)
                        self._show(partial)
                        due = time.monotonic() + _SHOWN_AFTER
            finally:
                partial.append(waiting)
                self._show(partial)
        if partial.missing:
            raise CutShortError(f"the connection ended {partial.missing:,} bytes early")

    def _line_up(self, response: httpx2.Response, partial: Partial) -> None:
        """Make what is there and what will come one file; refuse a file of the wrong size at once."""
        if response.status_code == 416:
            partial.restart()
            raise CutShortError("the server has less of this file than is here already")
        raise_for_status(response)
        start, total = _extent(response)
        if total is not None and total != self._artifact.size:
            raise mismatch(self._artifact, f"it has {total:,} bytes, and {self._artifact.size:,} were locked")
        if start != partial.position:
            partial.restart()
            if start:
                raise CutShortError("the server sent another part than was asked for")

    def _show(self, partial: Partial) -> None:
        self._show_position(partial.position)

    def _show_position(self, position: int) -> None:
        if position > self._reported:
            self._report(position - self._reported)
            self._reported = position


def is_whole(path: Path, artifact: Artifact) -> bool:
    """Whether the store has it. The size is compared because a power cut may leave a name without content."""
    try:
        return path.stat().st_size == artifact.size
    except OSError:
        return False


def _extent(response: httpx2.Response) -> tuple[int, int | None]:
    """The offset at which the body begins, and the size of the whole file where the server tells it."""
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if not found:
            return -1, None
        return int(found[1]), int(found[2]) if found[2] != "*" else None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _gone(artifact: Artifact, tried: Iterable[str]) -> GoneError:
    hosts = ", ".join(dict.fromkeys(urlsplit(url).hostname or "this machine" for url in tried))
    return GoneError(
        f"no index offers `{artifact.name}` any more",
        why=f"not to be found on {hosts}"
        if hosts
        else "none of the configured indexes lists this file with the locked hash",
        hint="run `hotdesk lock --upgrade`: it locks what is offered today",
    )


def _at(error: HashMismatchError, url: str) -> HashMismatchError:
    return HashMismatchError(error.what, why=f"{error.why}; it came from {shown(url)}", hint=error.hint)
