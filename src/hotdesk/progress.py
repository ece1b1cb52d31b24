"""What long work tells whoever is waiting: the seam between the work and the terminal."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

Unit = Literal["bytes", "items"]


class Task(Protocol):
    """One piece of work that is under way; safe to call from several threads."""

    def advance(self, amount: int) -> None: ...

    def grow(self, amount: int) -> None:
        """Add to the total: more work was found."""


class Progress(Protocol):
    """Shows tasks; `hotdesk.cli.progress` draws bars or prints plain lines."""

    def task(self, label: str, total: int, unit: Unit = "items") -> AbstractContextManager[Task]: ...

    def note(self, message: str) -> None:
        """One line that stays: a finding, a retry, a choice made for the user."""


class _SilentTask:
    def advance(self, amount: int) -> None:
        pass

    def grow(self, amount: int) -> None:
        pass


class _Silent:
    def task(self, label: str, total: int, unit: Unit = "items") -> AbstractContextManager[Task]:  # noqa: ARG002
        return nullcontext(_SilentTask())

    def note(self, message: str) -> None:
        pass


SILENT: Progress = _Silent()
