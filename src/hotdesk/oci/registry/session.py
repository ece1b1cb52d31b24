"""Requests to one registry: encrypted, with the login it asks for, and that login for nobody else."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urljoin, urlsplit

from hotdesk import __version__
from hotdesk.errors import RegistryError
from hotdesk.indexes import http
from hotdesk.oci.registry.auth import Authority, is_safe
from hotdesk.oci.registry.certificates import context_for
from hotdesk.oci.registry.logins import find_login
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import httpx2

    from hotdesk.oci.registry.reference import Reference

T = TypeVar("T")
CONNECTIONS = 4
_MOST_HOPS = 8
_LONG = 5.0  # seconds
_MOST_RENEWALS = 2
_MOST_WORDS = 1 << 16  # of an error or a token
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds without any sign of the registry; `commit` is for the end of an upload, which it may hash."""

    connect: float = http.SECONDS_TO_CONNECT
    silence: float = http.SECONDS_OF_SILENCE
    commit: float = 300.0
    retry: http.Retry = field(default_factory=lambda: http.Retry(tries=4, first=0.5))


PATIENT = Patience()


class RefusedError(http.StatusError):
    """The registry answered, and not with what was asked for; `detail` are its own words."""

    def __init__(self, url: str, status: int, waiting: float | None, detail: str) -> None:
        super().__init__(url, status, waiting)
        self.detail = detail


class Session:
    """Talks to the registry of `reference`, for `actions` (`pull`, `pull,push`) on its repository.

    A context manager. `others` are repositories of the same registry that blobs may be mounted from.
    """

    def __init__(
        self,
        reference: Reference,
        actions: str,
        *,
        others: Sequence[str] = (),
        patience: Patience = PATIENT,
        note: Callable[[str], None] = SILENT.note,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.reference = reference
        self.patience = patience
        self._note = note
        self._pause = pause
        self._scheme = "https"
        self.authority = Authority(
            self._ask,
            lambda: find_login(reference.registry, reference.repository),
            [f"repository:{reference.repository}:{actions}"],
            [f"repository:{other}:pull" for other in others],
        )

    def __enter__(self) -> Self:
        import httpx2

        self._client = httpx2.Client(
            auth=lambda request: request,  # else the client looks for one in netrc
            verify=context_for(self.reference),
            limits=httpx2.Limits(max_connections=4 * CONNECTIONS, keepalive_expiry=30),
            headers={"User-Agent": f"hotdesk/{__version__}", "Accept-Encoding": "identity"},
            trust_env=not self.reference.is_loopback,  # no proxy leads back to this machine
        )
        if self.reference.is_loopback:
            self._scheme = self.persist(self._plain_or_not)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _plain_or_not(self) -> str:
        import ssl

        import httpx2

        try:
            with self._stream_once("GET", f"https://{self.reference.registry}/v2/", {}):
                return "https"
        except httpx2.HTTPError as error:
            trouble = http.cause(error, ssl.SSLError)
            if trouble and not isinstance(trouble, ssl.SSLCertVerificationError):
                return "http"
            raise

    def url(self, path: str) -> str:
        """The address of something of the repository."""
        return f"{self._scheme}://{self.reference.registry}/v2/{self.reference.repository}/{path}"

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        commits: bool = False,
    ) -> Iterator[httpx2.Response]:
        """The answer, once the registry knows who asks and redirects have been followed.

        `content` is iterated anew for each try, so a generator will not do.
        """
        renewals = 0
        for _ in range(_MOST_HOPS):
            ours = self._is_ours(url)
            known = self.authority.header() if ours else ""
            sent = {**(headers or {}), **({"Authorization": known} if known else {})}
            with self._stream_once(method, url, sent, content, commits=commits) as response:
                status = response.status_code
                if status == 401 and ours and renewals < _MOST_RENEWALS:
                    renewals += 1
                    challenges = response.headers.get_list("WWW-Authenticate")
                    if self.authority.renew(challenges, known, loopback=self.reference.is_loopback):
                        continue
                elif status in _REDIRECTS and (status > 303 or method in ("GET", "HEAD")):
                    url = self.target(url, response.headers.get("Location", ""))
                    continue
                yield response
                return
        raise RegistryError(f"{http.shown(url)} cannot be had", why="the registry redirects again and again")

    def expect(self, response: httpx2.Response, *statuses: int) -> None:
        """`RefusedError` unless the answer has one of these."""
        if response.status_code not in statuses:
            waiting = http.seconds_to_wait(response.headers.get("Retry-After", ""))
            raise RefusedError(str(response.url), response.status_code, waiting, _words(response))

    def persist(self, work: Callable[[], T]) -> T:
        """What `work` gives, tried again where its failure may pass."""
        import httpx2

        failures = 0
        while True:
            try:
                return work()
            except (httpx2.HTTPError, http.StatusError, http.CutShortError) as error:
                failures += 1
                self.wait_after(error, failures)

    def wait_after(self, error: Exception, failures: int, *, anyway: bool = False) -> None:
        """Raise `error` where it will not pass (if not `anyway`), or came too often."""
        retry = self.patience.retry
        passes = anyway or http.may_pass(error)
        delay = retry.delay(failures, http.retry_after(error)) if passes else None
        if delay is None:
            raise error
        if delay > _LONG:
            self._note(f"{error}; trying again in {delay:.0f} s")
        self._pause(delay)

    def _is_ours(self, url: str) -> bool:
        return urlsplit(url).scheme == self._scheme and self._is_registry(url)

    def _is_registry(self, url: str) -> bool:
        return _without_port(urlsplit(url).netloc) == _without_port(self.reference.registry)

    def target(self, url: str, location: str) -> str:
        """Where `location` leads that the answer of `url` names; `RegistryError` where we do not follow."""
        target = urljoin(url, location)
        if self._is_registry(target):  # one that does not know of the proxy before it says http:
            target = urlsplit(target)._replace(scheme=self._scheme).geturl()
        if not location or not is_safe(target, loopback=self.reference.is_loopback):
            raise RegistryError(
                f"{http.shown(url)} cannot be had",
                why=f"the registry sends us on to `{http.shown(target)}`, and hotdesk follows to HTTPS alone",
            )
        return target

    def follow(self, response: httpx2.Response) -> str:
        """Where the registry says to go on with an upload: relative or not, its query kept."""
        return self.target(str(response.url), response.headers.get("Location", ""))

    @contextmanager
    def _stream_once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes] | None = None,
        *,
        commits: bool = False,
    ) -> Iterator[httpx2.Response]:
        import httpx2

        silence = self.patience.commit if commits else self.patience.silence
        timeout = httpx2.Timeout(
            self.patience.silence, connect=self.patience.connect, read=silence, pool=None
        )
        request = self._client.build_request(method, url, headers=headers, content=content, timeout=timeout)
        response = self._client.send(request, stream=True, follow_redirects=False)
        try:
            yield response
        finally:
            response.close()

    def _ask(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> bytes:
        """For tokens."""

        def work() -> bytes:
            with self._stream_once(method, url, headers, content) as response:
                self.expect(response, 200)
                return read_at_most(response, 16 * _MOST_WORDS)

        return self.persist(work)


def read_at_most(response: httpx2.Response, most: int) -> bytes:
    """The body; `RegistryError` where it is longer."""
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > most:
            raise RegistryError(
                f"the answer of {http.shown(str(response.url))} is longer than {most:,} bytes",
                why="nothing that was asked for is",
            )
    return bytes(body)


def _without_port(host: str) -> str:
    return host.lower().removesuffix(":443")


def _words(response: httpx2.Response) -> str:
    """What the registry says of its refusal, on one line; empty where it says nothing that can be read."""
    import httpx2

    try:
        errors = json.loads(read_at_most(response, _MOST_WORDS))["errors"]
        words = [str(error.get("message") or error.get("code") or "") for error in errors]
    except (httpx2.HTTPError, RegistryError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return " ".join("; ".join(dict.fromkeys(word for word in words if word)).split())[:300]
