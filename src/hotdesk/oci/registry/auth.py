"""What a registry wants to know of who asks: its challenge, and the header that answers it.

Source: RFC 9110, section 11.6; the token and OAuth 2 specifications of the distribution project.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode, urlsplit

from hotdesk.errors import RegistryError
from hotdesk.indexes.http import StatusError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hotdesk.oci.registry.logins import Login, Logins

CLIENT = "hotdesk"
_SECONDS_OF_A_TOKEN = 60  # where the registry does not say
_SPARE_SECONDS = 5
_CHALLENGE = re.compile(r"(?i)(?:^|,)\s*(bearer|basic)(?=\s|,|$)")
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Ask(Protocol):
    """The body that comes from an address; `StatusError` where the answer is not 200."""

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` is `bearer` or `basic`."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    header: str = field(default="", repr=False)
    until: float = 0.0  # on the monotonic clock


class Authority:
    """The Authorization header for one registry, renewed when it says so; for any number of threads.

    `scopes` are what is going to be done, `extra` what would be nice to do.
    """

    def __init__(
        self, ask: Ask, find: Callable[[], Logins], scopes: Sequence[str], extra: Sequence[str] = ()
    ) -> None:
        self._ask = ask
        self._find = find
        self._scopes = tuple(scopes)
        self._extra = tuple(extra)
        self._logins: Logins | None = None
        self._answer = _Answer()
        self._lock = threading.Lock()

    def header(self) -> str:
        """What is known to be accepted; empty where nothing is."""
        answer = self._answer
        return answer.header if time.monotonic() < answer.until else ""

    def renew(self, challenges: Iterable[str], used: str, *, loopback: bool) -> bool:
        """Find another header than `used`, which was refused; whether there is one.

        Over the network nothing but HTTPS gets a login; `loopback` says that this registry is none.
        """
        with self._lock:
            if (current := self.header()) and current != used:
                return True  # another thread was here
            found = {challenge.scheme: challenge for challenge in parse_challenges(challenges)}
            if bearer := found.get("bearer"):
                self._answer = self._bearer(bearer, loopback=loopback)
            elif "basic" in found and (login := self._login()) and login.user:
                self._answer = _Answer(_basic(login), float("inf"))
            else:
                self._answer = _Answer()
            return bool(self._answer.header) and self._answer.header != used

    def why_denied(self, registry: str) -> str:
        """What a user needs to know about who asked."""
        logins = self._logins
        if logins and logins.login:
            name = f"of `{logins.login.user}` " if logins.login.user else ""
            return f"the login {name}from {logins.login.source} does not suffice"
        why = f"no login for {registry} is stored where Docker and Podman keep theirs"
        return "; ".join([why, *(logins.problems if logins else ())])

    def _login(self) -> Login | None:
        if self._logins is None:
            self._logins = self._find()
        return self._logins.login

    def _bearer(self, challenge: Challenge, *, loopback: bool) -> _Answer:
        realm = challenge.parameters.get("realm", "")
        if not is_safe(realm, loopback=loopback):
            raise RegistryError(
                f"the registry wants tokens to be fetched from `{shown(realm)}`",
                why="a login is sent over HTTPS, and to no other kind of address",
                hint="ask whoever runs the registry to mend its `realm`",
            )
        asked = challenge.parameters.get("scope", "").split()
        needed = list(dict.fromkeys([*self._scopes, *asked]))
        wider = list(dict.fromkeys([*needed, *self._extra]))
        service = challenge.parameters.get("service", "")
        begin = time.monotonic()
        try:
            answer = self._token(realm, service, wider)
        except StatusError as error:
            if error.status >= 500 or wider == needed:
                raise
            answer = self._token(realm, service, needed)
        token, seconds = _read_token(answer, realm)
        return _Answer(f"Bearer {token}", begin + max(seconds - _SPARE_SECONDS, 1.0))

    def _token(self, realm: str, service: str, scopes: Sequence[str]) -> bytes:
        login = self._login()
        if login and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": CLIENT,
                "scope": " ".join(scopes),
                "refresh_token": login.identity_token,
            }
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._ask("POST", realm, kind, urlencode(form).encode())
        query = [("service", service)] * bool(service) + [("scope", scope) for scope in scopes]
        separator = "&" if urlsplit(realm).query else "?"
        headers = {"Authorization": _basic(login)} if login else {}
        return self._ask("GET", f"{realm}{separator}{urlencode(query)}", headers)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """What is asked for in WWW-Authenticate headers; schemes that we do not know are left out."""
    found = []
    for header in headers:
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', lambda match: '"' + "x" * (len(match[0]) - 2) + '"', header)
        starts = [*_CHALLENGE.finditer(bare)]
        ends = [start.start() for start in starts[1:]] + [len(header)] * bool(starts)
        for start, end in zip(starts, ends, strict=True):
            values = {
                name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
                for name, quoted, plain in _PARAMETER.findall(header[start.end() : end])
            }
            found.append(Challenge(start[1].lower(), values))
    return found


def is_safe(url: str, *, loopback: bool) -> bool:
    """Whether something secret may go there."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and loopback and _is_here(host))
    )


def _is_here(host: str) -> bool:
    from hotdesk.oci.registry.reference import Reference

    return Reference(f"[{host}]" if ":" in host else host, "").is_loopback


def _read_token(answer: bytes, realm: str) -> tuple[str, float]:
    try:
        content: dict[str, Any] = json.loads(answer)
        token = content.get("token") or content.get("access_token")
        seconds = float(content.get("expires_in") or _SECONDS_OF_A_TOKEN)
    except (ValueError, TypeError, AttributeError, RecursionError):
        token, seconds = None, 0.0
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise RegistryError(f"{shown(realm)} gives no token", why="its answer holds none")
    return token, seconds


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
