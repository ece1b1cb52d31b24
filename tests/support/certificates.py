"""A certificate of the tests' own, for servers on the loopback."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

from tests.support.host import lacking

if TYPE_CHECKING:
    from pathlib import Path


def speaking_tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """How a server speaks TLS, and the certificate that vouches for it."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(argv, check=True, capture_output=True)
    except FileNotFoundError:
        lacking("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
