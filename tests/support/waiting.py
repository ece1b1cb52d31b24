"""Waiting for what happens in another process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(happens: Callable[[], bool], within: float = 120) -> None:
    """Return when it happens; it must, `within` so many seconds."""
    give_up = time.monotonic() + within
    while not happens():
        assert time.monotonic() < give_up, f"it did not happen within {within} seconds"
        time.sleep(0.01)
