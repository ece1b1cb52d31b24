"""What gives tokens for a registry that asks for them: signed, for some actions, and for a while."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ISSUER, SERVICE = "tests", "registry of tests"


@dataclass
class TokenServer:
    """`logins` may do everything, everybody may pull from `public/`. `expired` tokens are given first."""

    realm: str
    certificate: Path
    key: Path
    logins: dict[str, str] = field(default_factory=dict)
    identity_tokens: set[str] = field(default_factory=set)
    expired: int = 0
    asked: list[tuple[str, list[str]]] = field(default_factory=list)  # who, for which scopes
    lock: threading.Lock = field(default_factory=threading.Lock)

    def token(self, who: str, scopes: list[str]) -> str:
        with self.lock:
            self.asked.append((who, scopes))
            late = self.expired > 0
            self.expired -= late
        now = int(time.time()) - 3600 * late
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            public = ["pull"] if name.startswith("public/") else []
            granted = (
                actions.split(",") if who else [action for action in actions.split(",") if action in public]
            )
            access.append({"type": kind, "name": name, "actions": granted})
        pem = self.certificate.read_text()
        chain = pem.split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0].replace("\n", "")
        head = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
        claims = {"iss": ISSUER, "sub": who, "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + 300,
                  "jti": str(time.monotonic_ns()), "access": access}  # fmt: skip
        signed = f"{_part(head)}.{_part(claims)}"
        command = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        signature = subprocess.run(command, input=signed.encode(), capture_output=True, check=True).stdout
        return f"{signed}.{_encoded(signature)}"


def _part(content: object) -> str:
    return _encoded(json.dumps(content).encode())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class _Handler(BaseHTTPRequestHandler):
    tokens: TokenServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        who = ""
        if login := self.headers.get("Authorization", "").removeprefix("Basic "):
            who, _, password = base64.b64decode(login).decode().partition(":")
            if self.tokens.logins.get(who) != password:
                return self._send(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]})
        assert query["service"] == [SERVICE]
        return self._send(200, {"token": self.tokens.token(who, query.get("scope", [])), "expires_in": 300})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if form["grant_type"] != "refresh_token" or form["refresh_token"] not in self.tokens.identity_tokens:
            return self._send(401, {})
        token = self.tokens.token(f"token of {form['client_id']}", form["scope"].split())
        return self._send(200, {"access_token": token, "expires_in": 300})

    def _send(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def token_server(folder: Path) -> Iterator[TokenServer]:
    folder.mkdir(parents=True, exist_ok=True)
    new = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tokens"
    command = [*new.split(), "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    server = Server(_Handler)
    tokens = TokenServer(f"http://{server.host}/token", folder / "certificate.pem", folder / "key.pem")
    with server.serving(tokens=tokens):
        yield tokens
