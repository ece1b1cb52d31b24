"""Results for people and for programs."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, for programs."
)


def print_answer(value: object, text: str, *, as_json: bool) -> None:
    """`value` for programs, else `text` for people."""
    if as_json:
        print_json(value)
    else:
        click.echo(text)


def mark(*, ok: bool, needed: bool = True) -> str:
    """What a line about something that was checked begins with."""
    if ok:
        return click.style("ok    ", fg="green")
    return click.style("FAIL  ", fg="red", bold=True) if needed else click.style("note  ", fg="yellow")


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one is cut at the terminal's edge, never in a pipe."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for number, row in enumerate((headings, *rows)):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()[:limit]
        click.echo(click.style(line, bold=True) if number == 0 else line)


def plain(text: str) -> str:
    """The text without what a terminal obeys: no program in a desk may type into the caller's shell."""
    return "".join(
        sign if sign in "\n\t" or sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


def human_bytes(amount: float) -> str:
    """Bytes in decimal units, as disks and networks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def human_age(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{int(seconds)} seconds"
