"""Locked artifacts → verified files in the store: many at once, resumed after a break."""

from __future__ import annotations

from hotdesk.fetch.fetcher import Fetcher
from hotdesk.fetch.hints import remember

__all__ = ["Fetcher", "remember"]
