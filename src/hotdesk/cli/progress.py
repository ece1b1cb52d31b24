"""Progress for people: bars in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as RichProgress

    from hotdesk.progress import Progress, Task, Unit


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """What fits where stderr goes; bars disappear at the end, so that only results stay on the screen."""
    if quiet:
        from hotdesk.progress import SILENT

        yield SILENT
    elif sys.stderr.isatty():
        bars = _Bars()
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield _Lines()


class _Bars:
    """Bars that start with the first task: a command that has nothing to wait for does not load rich."""

    def __init__(self) -> None:
        self._rich: RichProgress | None = None
        self._lock = threading.Lock()

    @contextmanager
    def task(self, label: str, total: int, unit: Unit = "items") -> Iterator[Task]:
        rich = self._started()
        identity = rich.add_task(label, total=total, is_bytes=unit == "bytes")
        try:
            yield _Bar(rich, identity, total)
        finally:
            rich.remove_task(identity)

    def note(self, message: str) -> None:
        if self._rich:
            self._rich.console.print(message, markup=False, highlight=False)
        else:
            click.echo(message, err=True)

    def close(self) -> None:
        if self._rich:
            self._rich.stop()

    def _started(self) -> RichProgress:
        with self._lock:
            if self._rich is None:
                self._rich = _rich_progress()
                self._rich.start()
            return self._rich


def _rich_progress() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            if not task.fields["is_bytes"]:
                return Text(f"{task.completed:.0f}/{task.total:.0f}" if task.total else "")
            speed = task.speed or 0
            rate = f"  {speed / 1e6:.1f} MB/s" if speed else ""
            return Text(f"{task.completed / 1e6:.1f}/{(task.total or 0) / 1e6:.1f} MB{rate}")

    return Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=32),
        Amount(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


class _Bar:
    def __init__(self, rich: RichProgress, identity: object, total: int) -> None:
        self._rich = rich
        self._identity = identity
        self._total = total
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        self._rich.advance(self._identity, amount)  # type: ignore[arg-type]

    def grow(self, amount: int) -> None:
        with self._lock:
            self._total += amount
            self._rich.update(self._identity, total=self._total)  # type: ignore[arg-type]


class _Lines:
    """A line when a task begins, every five seconds while it lasts, and when it ends."""

    @contextmanager
    def task(self, label: str, total: int, unit: Unit = "items") -> Iterator[Task]:
        line = _Line(label, total, unit)
        begin = time.monotonic()
        click.echo(f"{label}…", err=True)
        yield line
        seconds = time.monotonic() - begin
        if seconds >= 0.5:
            click.echo(f"{label}: {line.amount()} in {seconds:.1f} s", err=True)

    def note(self, message: str) -> None:
        click.echo(message, err=True)


class _Line:
    def __init__(self, label: str, total: int, unit: Unit) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._next = time.monotonic() + 5
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        with self._lock:
            self._done += amount
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + 5
        click.echo(f"{self._label}: {self.amount()}", err=True)

    def grow(self, amount: int) -> None:
        with self._lock:
            self._total += amount

    def amount(self) -> str:
        if self._unit == "bytes":
            return f"{self._done / 1e6:.1f} of {self._total / 1e6:.1f} MB"
        return f"{self._done} of {self._total}"
