"""One blob into a repository: mounted from another repository, or sent.

It goes in one request where the registry takes it so, and in parts where it does not, or where some of it has
arrived already. Source: OCI distribution specification 1.1, "Push".
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode, urlsplit

from hotdesk.errors import StoreError
from hotdesk.indexes.http import CutShortError, StatusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2

    from hotdesk.fetch.transfer import Stop
    from hotdesk.oci.model import Blob, Descriptor
    from hotdesk.oci.registry.session import Session

Outcome = Literal["mounted", "sent"]
BLOCK = 1 << 20
PARTS = (32 << 20, 4 << 20, 512 << 10)
"""What is sent at once where a whole blob is too much for the registry; less each time it says so again."""
_PROGRESS_WORTH_A_TRY = 8 << 20
_OCTETS = {"Content-Type": "application/octet-stream"}
_TOO_LARGE = 413
_OUT_OF_STEP = frozenset({400, 404, 410, 416})  # the upload is not where we thought, or is no more


def is_there(session: Session, descriptor: Descriptor) -> bool:
    """Whether the repository has the blob."""

    def work() -> bool:
        with session.stream("HEAD", session.url(f"blobs/{descriptor.digest}")) as response:
            session.expect(response, 200, 404)
            return response.status_code == 200

    return session.persist(work)


class Upload:
    """One blob on its way. `report` is told how many bytes went on top of the most there ever were."""

    def __init__(self, session: Session, blob: Blob, *, stop: Stop, report: Callable[[int], None]) -> None:
        self._session = session
        self._descriptor = blob.descriptor
        self._content = Content(blob, self._show)
        self._stop = stop
        self._report = report
        self._reported = 0
        self._parts = list(PARTS)
        self._part = 0  # bytes a request; 0 for all that is left
        self._location = ""
        self._start = 0  # what the registry has of it, at that location

    def run(self, mount: str = "") -> Outcome:
        """Bring it there. `mount` is another repository of the registry that may have it."""
        mounted = bool(mount) and self._mounted(mount)
        if not mounted:
            self._send_with_retries()
        self._show(self._descriptor.size)
        return "mounted" if mounted else "sent"

    def _send_with_retries(self) -> None:
        import httpx2

        failures = 0
        while True:
            self._stop.pause(0)
            before = self._start
            try:
                return self._send()
            except (httpx2.HTTPError, StatusError, CutShortError) as error:
                if _status(error) == _TOO_LARGE and self._parts:
                    self._part = self._parts.pop(0)
                    self._forget()
                    continue
                failures = 1 if self._start - before >= _PROGRESS_WORTH_A_TRY else failures + 1
                self._session.wait_after(error, failures, anyway=_status(error) in _OUT_OF_STEP)
                # Perhaps all of it arrived, and the answer was lost.
                if is_there(self._session, self._descriptor):
                    return None
                if isinstance(error, httpx2.ReadTimeout):
                    self._forget()  # a registry that is still at work on it may not like to be asked
                else:
                    self._find_standing()

    def _send(self) -> None:
        if not self._location:
            self._begin()
        if self._part or self._start:
            while self._start < self._descriptor.size:
                self._send_part()
            self._put(self._location, 0, 0)
        else:
            self._put(self._location, 0, self._descriptor.size)

    def _mounted(self, repository: str) -> bool:
        def work() -> bool:
            query = urlencode({"mount": self._descriptor.digest, "from": repository})
            with self._session.stream("POST", self._session.url(f"blobs/uploads/?{query}")) as response:
                if response.status_code == 202:
                    self._location = self._session.follow(response)
                elif response.status_code not in (400, 403, 404, 405):
                    self._session.expect(response, 201)
                return response.status_code == 201

        return self._session.persist(work)

    def _begin(self) -> None:
        with self._session.stream("POST", self._session.url("blobs/uploads/")) as response:
            self._session.expect(response, 202)
            self._location = self._session.follow(response)
            self._start = 0
            least = response.headers.get("OCI-Chunk-Min-Length", "")
            if self._part and least.isdecimal():
                self._part = max(self._part, int(least))

    def _send_part(self) -> None:
        end = self._descriptor.size
        if self._part:
            end = min(end, self._start + self._part)
        headers = _OCTETS | {
            "Content-Length": str(end - self._start),
            "Content-Range": f"{self._start}-{end - 1}",
        }
        span = self._content.span(self._start, end)
        with self._session.stream("PATCH", self._location, headers=headers, content=span) as response:
            self._session.expect(response, 202, 201, 204)
            reached = _reached(response) or end
            if not self._start < reached <= end:
                raise CutShortError("the registry lost count of what it got")
            self._location, self._start = self._session.follow(response), reached

    def _put(self, location: str, start: int, end: int) -> None:
        """The request that ends the upload, with the blob or without."""
        query = urlencode({"digest": self._descriptor.digest})
        url = f"{location}{'&' if urlsplit(location).query else '?'}{query}"
        headers = _OCTETS | {"Content-Length": str(end - start)}
        span = self._content.span(start, end) if end else b""
        with self._session.stream("PUT", url, headers=headers, content=span, commits=True) as response:
            self._session.expect(response, 201, 200, 204)

    def _find_standing(self) -> None:
        """Ask how much has arrived; where the registry does not know, begin anew."""
        import httpx2

        location, reached = self._location, 0
        try:
            if location:
                with self._session.stream("GET", location) as response:
                    if response.status_code == 204:
                        reached = _reached(response) or 0
                        location = self._session.follow(response)
        except httpx2.HTTPError:
            reached = 0
        # "0-0" may stand for one byte or for none.
        if 1 < reached <= self._descriptor.size:
            self._location, self._start = location, reached
        else:
            self._forget()

    def _forget(self) -> None:
        self._location, self._start = "", 0

    def _show(self, position: int) -> None:
        self._stop.pause(0)
        if position > self._reported:
            self._report(position - self._reported)
            self._reported = position


class Content:
    """A blob's bytes in blocks, from any position on; checked against its digest while they are made.

    The last block is given only when all of them are what they should be.
    """

    def __init__(self, blob: Blob, passed: Callable[[int], None]) -> None:
        self._blob = blob
        self._passed = passed
        self._rewind()

    def span(self, start: int, end: int) -> Span:
        return Span(self, start, end)

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        if start < self._position:
            self._rewind()
        while self._position < start:
            self._take(min(BLOCK, start - self._position))
        while self._position < end:
            yield self._take(min(BLOCK, end - self._position))
            self._passed(self._position)

    def _rewind(self) -> None:
        self._source = self._blob.chunks()
        self._waiting = bytearray()
        self._hash = hashlib.sha256()
        self._made = 0
        self._position = 0

    def _take(self, count: int) -> bytes:
        size = self._blob.descriptor.size
        last = self._position + count == size
        while len(self._waiting) < count or last:
            chunk = next(self._source, None)
            if chunk is None:
                break
            self._hash.update(chunk)
            self._made += len(chunk)
            self._waiting += chunk
            if self._made > size:
                raise self._changed()
        if len(self._waiting) < count or (last and not self._is_right()):
            raise self._changed()
        block = bytes(self._waiting[:count])
        del self._waiting[:count]
        self._position += count
        return block

    def _is_right(self) -> bool:
        return f"sha256:{self._hash.hexdigest()}" == self._blob.descriptor.digest

    def _changed(self) -> StoreError:
        return StoreError(
            f"the layer {self._blob.descriptor.digest} cannot be made again as it was",
            why="what it is made of in the store has changed since it was measured",
            hint="`hotdesk cache verify --repair`, then run the command again",
        )


class Span:
    """A part of a content, made anew each time it is iterated: a request may have to be sent twice."""

    def __init__(self, content: Content, start: int, end: int) -> None:
        self._content, self._start, self._end = content, start, end

    def __iter__(self) -> Iterator[bytes]:
        return self._content.blocks(self._start, self._end)


def _reached(response: httpx2.Response) -> int | None:
    """How many bytes the registry says it has."""
    found = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", response.headers.get("Range", "").strip())
    return int(found[1]) + 1 if found else None


def _status(error: Exception) -> int:
    return error.status if isinstance(error, StatusError) else 0
