from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.oci.registry.small_registry import SmallRegistry, small_registry

from hotdesk.indexes.http import PROXY_VARIABLES, Retry
from hotdesk.oci.registry.session import Patience
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No logins, no certificates and no proxies but those of the test."""
    for variable in (
        *PROXY_VARIABLES,
        "REGISTRY_AUTH_FILE",
        "DOCKER_CONFIG",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
    ):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with small_registry() as started:
        yield started


@pytest.fixture
def patience() -> Patience:
    return Patience(connect=2, silence=2, commit=2, retry=Retry(tries=4, first=0.005, longest=1))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
