"""The one place that makes an HTTP client, and that says what went wrong with one, and the cure."""

from __future__ import annotations

import os
import random
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from hotdesk import __version__
from hotdesk.errors import FetchError, GoneError, IndexConfigurationError
from hotdesk.indexes.pip import pip_settings

if TYPE_CHECKING:
    import netrc
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import httpx2

CONNECTIONS = 8
SECONDS_TO_CONNECT = 15
SECONDS_OF_SILENCE = 30
E = TypeVar("E", bound=BaseException)
LOGIN_HINT = (
    "put user and password into the address of the index or mirror, or a Python index's into its "
    "UV_INDEX_NAME_… variables; `~/.netrc` serves as well, but not where a package has to be built"
)
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_LOCAL = "file://localhost/"
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after how many seconds, something that failed in passing is tried again."""

    tries: int = 5
    first: float = 0.4
    longest: float = 60.0

    def delay(self, failures: int, asked: float | None = None) -> float | None:
        """Seconds to wait after so many failures; None to give up. `asked` is the server's Retry-After."""
        if failures >= self.tries or (asked or 0) > self.longest:
            return None
        ours = min(self.longest, self.first * 2.0 ** (failures - 1))
        # Jitter: many downloads fail at once, and should not come back at once.
        return max(asked or 0.0, ours * random.uniform(0.5, 1.0))  # noqa: S311


@dataclass(frozen=True, slots=True)
class Page:
    """An answer read whole; `url` is where redirects led."""

    url: str
    content_type: str
    body: bytes


class StatusError(Exception):
    """The server answered, and not with what was asked for."""

    def __init__(self, url: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"{shown(url)} answers {status}")
        self.url = url
        self.status = status
        self.retry_after = retry_after


class CutShortError(Exception):
    """The connection ended, in good order, before the file did."""


def make_client(transport: httpx2.BaseTransport | None = None) -> httpx2.Client:
    """A client set up as the machine says: proxies, netrc, certificate authorities; `file:` works too.

    Close it after use. `transport` answers instead of the network, in tests.
    """
    import httpx2  # 110 ms

    from hotdesk.indexes.local import LocalFiles

    return httpx2.Client(
        auth=_authorize(_netrc()),
        verify=tls() if transport is None else True,
        timeout=httpx2.Timeout(SECONDS_OF_SILENCE, connect=SECONDS_TO_CONNECT, pool=None),
        # A worker talks to an index and to the host of its files: both connections are worth keeping.
        limits=httpx2.Limits(
            max_connections=4 * CONNECTIONS, max_keepalive_connections=4 * CONNECTIONS, keepalive_expiry=30
        ),
        headers={"User-Agent": f"hotdesk/{__version__}"},
        follow_redirects=True,
        event_hooks={"response": [_refuse_local_redirect]},
        transport=transport,
        mounts={"file://": LocalFiles(), **(_trusting() if transport is None else {})},
        proxy=_proxy() if transport is None else None,
    )


def _proxy() -> str | None:
    """Pip's proxy where no variable names one; those the client reads itself."""
    configured = any(os.environ.get(name) or os.environ.get(name.lower()) for name in PROXY_VARIABLES)
    return None if configured else pip_settings().proxy or None


def _trusting() -> dict[str, httpx2.BaseTransport]:
    """Transports for the hosts whose certificates the user does not want checked: every file is, by hash."""
    import httpx2

    from hotdesk.indexes.large_reads import by_large_reads

    hosts = {*pip_settings().trusted_hosts, *os.environ.get("UV_INSECURE_HOST", "").split()}
    if not hosts:
        return {}
    unchecked = by_large_reads(httpx2.create_ssl_context(verify=False))
    return {
        f"https://{host}": httpx2.HTTPTransport(verify=unchecked, proxy=_proxy_for(host))
        for host in sorted(hosts)
    }


def _proxy_for(host: str) -> str | None:
    """What the client would find for itself; with a transport of its own a host has to be told."""
    from urllib.request import getproxies, proxy_bypass

    named = getproxies()
    proxy = named.get("https") or named.get("all")
    if proxy and proxy_bypass(host):
        return None
    proxy = proxy or _proxy()
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _refuse_local_redirect(response: httpx2.Response) -> None:
    import httpx2

    target = response.headers.get("Location", "")
    if target.lower().startswith("file:") and response.url.scheme != "file":
        raise httpx2.UnsupportedProtocol(
            "a server may not redirect to a local file", request=response.request
        )


def _authorize(known: netrc.netrc | None) -> Callable[[httpx2.Request], httpx2.Request]:
    """Credentials from the address, else from netrc. The client alone would let netrc win."""

    def authorize(request: httpx2.Request) -> httpx2.Request:
        import httpx2

        user, password = request.url.username, request.url.password
        if not user and not password and known and (entry := known.authenticators(request.url.host)):
            user, password = entry[0], entry[2] or ""
        if user or password:
            next(httpx2.BasicAuth(user, password).auth_flow(request))
        return request

    return authorize


def _netrc() -> netrc.netrc | None:
    import netrc

    path = Path(os.environ.get("NETRC") or Path("~/.netrc").expanduser())
    try:
        return netrc.netrc(path) if path.is_file() else None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None  # as pip and curl do: a netrc that cannot be read holds no credentials


def certificate_file(environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """The setting that names a file of certificate authorities, and that file; None for the system's own."""
    if environment.get("SSL_CERT_DIR") and not environment.get("SSL_CERT_FILE"):
        return None
    candidates = (
        ("SSL_CERT_FILE", environment.get("SSL_CERT_FILE")),
        ("PIP_CERT", environment.get("PIP_CERT")),
        ("cert in pip's configuration", pip_settings(environment).cert),
        ("REQUESTS_CA_BUNDLE", environment.get("REQUESTS_CA_BUNDLE")),
        ("CURL_CA_BUNDLE", environment.get("CURL_CA_BUNDLE")),
    )
    return next(((setting, file) for setting, file in candidates if file), None)


def tls() -> ssl.SSLContext:
    """How TLS connections are made: whose certificates are trusted follows from the machine's settings."""
    import ssl

    import httpx2

    from hotdesk.indexes.large_reads import by_large_reads

    named = certificate_file()
    if named is None:
        return by_large_reads(httpx2.create_ssl_context())  # SSL_CERT_DIR, else the system's
    setting, file = named
    try:
        if Path(file).is_dir():
            context = ssl.create_default_context(capath=file)
        else:
            context = ssl.create_default_context(cafile=file)
        if certificate := os.environ.get("SSL_CLIENT_CERT"):
            setting, file = "SSL_CLIENT_CERT", certificate
            context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise IndexConfigurationError(
            f"the certificates in {file} cannot be read",
            why=str(error),
            hint=f"`{setting}` names this file: mend the file, or remove the setting",
        ) from None
    return by_large_reads(context)


def get(
    client: httpx2.Client,
    url: str,
    *,
    accept: str = "*/*",
    most: int = 256 << 20,
    retry: Retry = Retry(),
    pause: Callable[[float], object] = time.sleep,
) -> Page:
    """The whole answer, tried again where the failure may pass; `FetchError` says what else happened.

    An answer of more than `most` bytes is refused.
    """
    import httpx2

    failures = 0
    while True:
        try:
            return _read(client, url, accept, most)
        except (httpx2.HTTPError, httpx2.InvalidURL, StatusError) as error:
            failures += 1
            delay = retry.delay(failures, retry_after(error)) if may_pass(error) else None
            if delay is None:
                raise explain(error, url) from error
            pause(delay)


class Speaker(Protocol):
    """Who makes requests: a client, or somebody who adds to each what a host asks for."""

    def stream(
        self, method: str, url: str, *, headers: Mapping[str, str]
    ) -> AbstractContextManager[httpx2.Response]: ...


def stream(client: Speaker, url: str, headers: Mapping[str, str]) -> AbstractContextManager[httpx2.Response]:
    """A GET whose body is read as it comes."""
    if url.startswith("file:///"):
        url = url.replace(
            "file:///", _LOCAL, 1
        )  # the client takes an address without a host for a relative one
    return client.stream("GET", url, headers=headers)


def _read(client: httpx2.Client, url: str, accept: str, most: int) -> Page:
    with stream(client, url, {"Accept": accept}) as response:
        raise_for_status(response)
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > most:
                raise FetchError(
                    f"{shown(url)} is larger than {most >> 20} MiB", why="no index is that large"
                )
        kind = response.headers.get("Content-Type", "")
        return Page(str(response.url), kind.partition(";")[0].strip().lower(), bytes(body))


def raise_for_status(response: httpx2.Response) -> None:
    """`StatusError` unless the answer carries what was asked for."""
    if response.status_code not in (200, 206):
        waiting = seconds_to_wait(response.headers.get("Retry-After", ""))
        raise StatusError(str(response.url), response.status_code, waiting)


def seconds_to_wait(value: str) -> float | None:
    """What a Retry-After header means."""
    if value.strip().isdecimal():
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def retry_after(error: Exception) -> float | None:
    """The seconds that the server asked to wait."""
    return error.retry_after if isinstance(error, StatusError) else None


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    import ssl

    import httpx2

    if isinstance(error, StatusError):
        return error.status in _TRANSIENT
    if cause(error, ssl.SSLCertVerificationError):
        return False
    final = (httpx2.UnsupportedProtocol, httpx2.ProxyError, httpx2.LocalProtocolError)
    return isinstance(error, (httpx2.TransportError, CutShortError)) and not isinstance(error, final)


def explain(error: Exception, url: str) -> FetchError:
    """What a user needs to know about a failed request; `GoneError` where the server has no such file."""
    import ssl

    import httpx2

    if isinstance(error, StatusError):
        return _explain_status(error)
    what = f"{shown(url)} cannot be downloaded"
    host = _host(url)
    why = _plain(error)
    hint = "check the network connection, then run the command again: what has arrived is kept"
    if isinstance(error, (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.TooManyRedirects)):
        hint = "check the address in the settings of your index or mirror"
    if untrusted := cause(error, ssl.SSLCertVerificationError):
        why = f"the certificate of {host} is not trusted: {untrusted.verify_message}"
        hint = _certificate_hint()
    elif isinstance(error, httpx2.ProxyError):
        why = f"the proxy refuses: {why}"
        hint = (
            "check `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`; `NO_PROXY` lists the hosts to reach directly"
        )
    elif cause(error, socket.gaierror):
        why = f"the name {host} cannot be resolved"
        hint = "check the network connection; behind a proxy, set `HTTPS_PROXY`"
    elif cause(error, ConnectionRefusedError):
        why = f"{host} refuses the connection"
        hint = "check the address in the settings of your index or mirror; behind a proxy, set `HTTPS_PROXY`"
    elif isinstance(error, httpx2.ConnectTimeout):
        why = f"{host} did not answer within {SECONDS_TO_CONNECT} s"
        hint = "check the network connection; behind a proxy, set `HTTPS_PROXY`"
    elif isinstance(error, httpx2.TimeoutException):
        why = f"{host} sent nothing for {SECONDS_OF_SILENCE} s"
    return FetchError(what, why=why, hint=hint)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the server"
    except ValueError:
        return "the server"


def _explain_status(error: StatusError) -> FetchError:
    what = f"{shown(error.url)} cannot be downloaded"
    why = f"{_host(error.url)} answers {error.status}"
    if error.status in (404, 410):
        return GoneError(
            what, why=f"{_host(error.url)} has no such file", hint="run `hotdesk lock --upgrade`"
        )
    if error.status in (401, 403):
        return FetchError(what, why=f"{why}: access is denied", hint=LOGIN_HINT)
    if error.status == 407:
        return FetchError(what, why=why, hint="put user and password into `HTTPS_PROXY`")
    if error.status == 429:
        return FetchError(what, why=f"{why}: too many requests", hint="wait some minutes and run it again")
    return FetchError(what, why=why, hint="run the command again in a while: what has arrived is kept")


def _certificate_hint() -> str:
    if named := certificate_file():
        return f"`{named[0]}` names {named[1]}: it must hold the authority that signed the certificate"
    return (
        "behind a proxy that reads the traffic, set `SSL_CERT_FILE` to a file with its certificate authority"
    )


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def cause(error: BaseException, kind: type[E]) -> E | None:
    """What lies behind `error`, itself included, of this kind."""
    return next((found for found in _chain(error) if isinstance(found, kind)), None)


def shown(url: str) -> str:
    """The address without what must stay secret: user, password, and the signature in a query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl().replace(_LOCAL, "file:///")


def without_credentials(text: str) -> str:
    """A message of whatever form, with what stands before the host in its addresses left out."""
    return re.sub(r"//[^'\"`\n]*@", "//", text)
