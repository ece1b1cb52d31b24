from __future__ import annotations

import base64
import errno
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import httpx2
import pytest
from tests.support.certificates import speaking_tls
from tests.support.servers import Server

from hotdesk.errors import FetchError, GoneError, IndexConfigurationError
from hotdesk.indexes.http import Retry, StatusError, certificate_file, explain, get, make_client, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = Retry(tries=3, first=0.001, longest=60)
NETWORK_VARIABLES = (
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC", "PIP_PROXY", "PIP_CERT"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CLIENT_CERT"),
    *("UV_INSECURE_HOST", "PIP_TRUSTED_HOST"),
)


@pytest.fixture(autouse=True)
def plain_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One where nothing about the network is configured."""
    for variable in NETWORK_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path))


def ask(respond: Callable[[httpx2.Request], httpx2.Response], url: str = "https://index.example/a") -> bytes:
    with make_client(httpx2.MockTransport(respond)) as client:
        return get(client, url, retry=QUICK, pause=lambda _: None).body


def authorization(request: httpx2.Request) -> httpx2.Response:
    scheme, _, value = request.headers.get("Authorization", "none ").partition(" ")
    return httpx2.Response(200, content=scheme.encode() + b" " + base64.b64decode(value))


def test_credentials_in_the_address_are_sent() -> None:
    assert ask(authorization, "https://me:a%40b@index.example/a") == b"Basic me:a@b"


def test_credentials_of_netrc_are_sent_to_their_host_alone(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine index.example login me password secret\n")

    assert ask(authorization) == b"Basic me:secret"
    assert ask(authorization, "https://other.example/") == b"none "
    assert ask(authorization, "https://you:pass@index.example/") == b"Basic you:pass"


def test_netrc_may_be_elsewhere_and_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "elsewhere"
    monkeypatch.setenv("NETRC", str(path))
    path.write_text("machine index.example login me password secret\n")
    assert ask(authorization) == b"Basic me:secret"

    path.write_text("nonsense \0")
    assert ask(authorization) == b"none "


def test_a_redirect_takes_no_credentials_to_another_host() -> None:
    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "index.example":
            return httpx2.Response(302, headers={"Location": "https://cdn.example/a"})
        return authorization(request)

    assert ask(respond, "https://me:secret@index.example/a") == b"none "


def test_a_redirect_leads_to_no_local_file() -> None:
    with pytest.raises(FetchError, match="may not redirect to a local file"):
        ask(lambda _: httpx2.Response(302, headers={"Location": "file:///etc/hostname"}))


def test_what_may_pass_is_tried_again_and_the_rest_is_not() -> None:
    def asked(status: int) -> int:
        requests: list[httpx2.Request] = []

        def respond(request: httpx2.Request) -> httpx2.Response:
            requests.append(request)
            return httpx2.Response(status)

        with pytest.raises(FetchError):
            ask(respond)
        return len(requests)

    assert {status: asked(status) for status in (400, 401, 404, 408, 429, 500, 501, 503)} == {
        **dict.fromkeys((400, 401, 404, 501), 1),
        **dict.fromkeys((408, 429, 500, 503), 3),
    }


def test_an_answer_without_end_is_refused() -> None:
    with (
        make_client(httpx2.MockTransport(lambda _: httpx2.Response(200, content=bytes(2 << 20)))) as client,
        pytest.raises(FetchError, match="larger than 1 MiB"),
    ):
        get(client, "https://index.example/a", most=1 << 20)


def test_waits_double_and_end() -> None:
    retry = Retry(tries=4, first=1.0, longest=3.0)

    bounds = [(0.5, 1.0), (1.0, 2.0), (1.5, 3.0)]
    for failures, (low, high) in enumerate(bounds, 1):
        delay = retry.delay(failures)
        assert delay is not None
        assert low <= delay <= high
    assert retry.delay(4) is None


def test_a_server_may_ask_for_a_wait_but_not_for_any_wait() -> None:
    retry = Retry(tries=5, first=0.1, longest=60)

    assert retry.delay(1, asked=7) == 7
    assert retry.delay(1, asked=3600) is None


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, FetchError, "UV_INDEX_NAME_"),
        (403, FetchError, "access is denied"),
        (404, GoneError, "has no such file"),
        (407, FetchError, "HTTPS_PROXY"),
        (410, GoneError, "hotdesk lock --upgrade"),
        (429, FetchError, "too many requests"),
        (500, FetchError, "index.example answers 500"),
    ],
)
def test_every_refusal_has_its_cure(status: int, kind: type[FetchError], words: str) -> None:
    error = explain(StatusError("https://me:secret@index.example/a?token=t", status), "")

    assert type(error) is kind
    assert words in str(error)
    assert "https://index.example/a" in error.what
    assert error.hint
    assert "secret" not in str(error)
    assert "token" not in str(error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx2.ProxyError("403 Forbidden"), "check `HTTPS_PROXY`"),
        (httpx2.ConnectTimeout(""), "did not answer within"),
        (httpx2.ReadTimeout(""), "sent nothing for"),
        (httpx2.TooManyRedirects("too many"), "check the address"),
        (OSError(errno.ECONNRESET, "reset"), "what has arrived is kept"),
    ],
)
def test_every_failure_has_its_cure(error: Exception, words: str) -> None:
    assert words in str(explain(error, "https://index.example/a"))


def test_secrets_are_not_shown() -> None:
    assert shown("https://me:secret@index.example:8/a/b?sig=x#y") == "https://index.example:8/a/b"
    assert "secret" not in shown("https://me:secret@[index.example/")


def test_certificates_are_sought_in_every_usual_place() -> None:
    assert certificate_file({"PIP_CONFIG_FILE": os.devnull}) is None
    for variable in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        assert certificate_file({"PIP_CONFIG_FILE": os.devnull, variable: "/ca.pem"}) == (variable, "/ca.pem")
    assert certificate_file({"SSL_CERT_DIR": "/etc/ssl", "PIP_CERT": "/ca.pem"}) is None


def test_a_certificate_file_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")

    with pytest.raises(IndexConfigurationError, match=r"(?s)/nowhere/ca\.pem.*`REQUESTS_CA_BUNDLE`"):
        make_client()


class Echo(BaseHTTPRequestHandler):
    """Answers with the address as it was asked for: a proxy gets the whole of it."""

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    listening = Server(Echo)
    with listening.serving():
        yield listening


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "PIP_PROXY"])
def test_the_machines_proxy_is_used(server: Server, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, f"http://{server.host}")

    with make_client() as client:
        assert get(client, "http://index.invalid/a").body == b"http://index.invalid/a"


def test_hosts_without_proxy_are_reached_directly(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with make_client() as client:
        assert get(client, f"http://{server.host}/a").body == b"/a"


@pytest.fixture
def authority(server: Server, tmp_path: Path) -> Path:
    """Makes the server speak TLS; the certificate that vouches for it."""
    context, certificate = speaking_tls(tmp_path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return certificate


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_private_authority_is_trusted_where_it_is_configured(
    server: Server, authority: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(authority))

    with make_client() as client:
        assert get(client, f"https://{server.host}/a").body == b"/a"


def test_a_private_authority_is_told_with_its_cure(server: Server, authority: Path) -> None:
    before = time.monotonic()

    with make_client() as client, pytest.raises(FetchError) as raised:
        get(client, f"https://{server.host}/a")

    assert "the certificate of 127.0.0.1 is not trusted: self" in raised.value.why
    assert "SSL_CERT_FILE" in raised.value.hint
    assert time.monotonic() - before < 2, "trying again cannot help"


@pytest.mark.parametrize(("no_proxy", "asks"), [("", True), ("index.invalid", False)])
def test_a_host_that_the_user_trusts_is_reached_through_the_proxy_too(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, *, asks: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as pool:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        monkeypatch.setenv("PIP_TRUSTED_HOST", "index.invalid")
        proxy.settimeout(1)

        def first_line() -> bytes:
            try:
                connection, _ = proxy.accept()
            except TimeoutError:
                return b""
            with connection:
                return connection.recv(1 << 16).partition(b"\r")[0]

        asked = pool.submit(first_line)
        with make_client() as client, pytest.raises(httpx2.TransportError):
            client.get("https://index.invalid/")

        assert asked.result() == (b"CONNECT index.invalid:443 HTTP/1.1" if asks else b"")


def test_a_host_that_the_user_trusts_needs_no_certificate(
    server: Server, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")

    with make_client() as client:
        assert get(client, f"https://{server.host}/a").body == b"/a"
