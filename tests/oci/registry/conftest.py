from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.network import home
from tests.support.small_registry import registry
from tests.support.stores import store

from hotdesk.indexes.http import Retry
from hotdesk.oci.registry.session import Patience

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["home", "registry", "store"]


@pytest.fixture(autouse=True)
def _on_its_own(home: Path) -> None:
    """No test sees the caller's logins and proxies."""


@pytest.fixture
def patience() -> Patience:
    return Patience(connect=2, silence=2, commit=2, retry=Retry(tries=4, first=0.005, longest=1))
