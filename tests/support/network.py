"""What the caller's environment says of the network is not the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.indexes.http import PROXY_VARIABLES

if TYPE_CHECKING:
    from pathlib import Path

_LOGINS = ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")


def forget(monkeypatch: pytest.MonkeyPatch, *variables: str) -> None:
    """Unset the variables that lead to proxies, and these."""
    for variable in (*PROXY_VARIABLES, *variables):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No logins, no certificates and no proxies but those of the test."""
    forget(monkeypatch, "SSL_CERT_FILE", *_LOGINS)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"
