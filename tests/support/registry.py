"""A real registry on the loopback, with a folder of its own: plain, with a login, or with TLS."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.host import lacking
from tests.support.token_server import ISSUER, SERVICE
from tests.support.waiting import eventually

from hotdesk.oci.registry.reference import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.token_server import TokenServer

_PROGRAM = "docker-registry"


@dataclass(frozen=True)
class Certificates:
    """A server's certificate and key, and the authority that signed it."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class DockerRegistry:
    """`host` is what references begin with."""

    host: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


def install(*packages: str) -> None:
    """Debian packages, for whoever may install them; what else cannot be tested says so."""
    if os.geteuid() or not shutil.which("apt-get"):
        lacking(f"{', '.join(packages)} cannot be installed")
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "--quiet"], capture_output=True, check=False)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lacking(f"{', '.join(packages)} cannot be installed: {done.stderr.strip()}")


def require(program: str, package: str = "") -> None:
    if not shutil.which(program):
        install(package or program)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def docker_registry(
    folder: Path,
    *,
    login: tuple[str, str] | None = None,
    tls: Certificates | None = None,
    tokens: TokenServer | None = None,
    relative: bool = False,
) -> Iterator[DockerRegistry]:
    require(_PROGRAM)
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": host, "secret": "of this test"},
    }
    if tls:
        config["http"]["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    if relative:
        config["http"]["relativeurls"] = True
    if tokens:
        config["auth"] = {
            "token": {
                "realm": tokens.realm,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(tokens.certificate),
            }
        }
    if login:
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(_htpasswd(folder, *login))}}
    (folder / "config.yml").write_text(json.dumps(config))  # which is YAML too
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [_PROGRAM, "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    registry = DockerRegistry(host, folder, process)
    try:
        eventually(lambda: _answers(registry))
        yield registry
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def reference(registry: DockerRegistry, request: pytest.FixtureRequest) -> Reference:
    """Of a repository of the test's own, in which there is nothing yet."""
    return own_reference(registry.host, request)


def own_reference(host: str, request: pytest.FixtureRequest) -> Reference:
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    return parse_reference(f"{host}/{name}/desk:1")


def _answers(registry: DockerRegistry) -> bool:
    assert registry.process.poll() is None, registry.log
    name, _, port = registry.host.partition(":")
    try:
        socket.create_connection((name, int(port)), 1).close()
    except OSError:
        return False
    return True


def _htpasswd(folder: Path, user: str, password: str) -> Path:
    require("htpasswd", "apache2-utils")
    path = folder / "htpasswd"
    command = ["htpasswd", "-Bbn", user, password]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    return path


def certificates(folder: Path) -> Certificates:
    """An authority of its own, and what it signed for 127.0.0.1."""
    require("openssl")
    folder.mkdir(parents=True, exist_ok=True)
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    new = ["req", "-x509", "-newkey", "ec", *curve, "-nodes", "-days", "2"]
    authority = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"]
    server = ["basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1"]
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key"]
    for name, extensions, signer in (("ca", authority, []), ("server", server, signed)):
        added = [word for extension in extensions for word in ("-addext", extension)]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        command = ["openssl", *new, "-subj", f"/CN={name} of tests", *files, *signer, *added]
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
