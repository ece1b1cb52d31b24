"""Stores of a test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other store")
