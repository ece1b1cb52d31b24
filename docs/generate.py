"""Writes docs/commands.md from the commands themselves: `python docs/generate.py`.

A test compares what it would write with what is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotdesk.cli.main import hotdesk

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = Path(__file__).with_name("commands.md")
_HEAD = """# Commands

Written by `docs/generate.py` from what the commands say of themselves with `--help`.

Every command has `--help`. It exits with 0 when it did what it was asked, with 1 when it could not, and with
2 when the command line makes no sense. `hotdesk run` and `hotdesk shell` exit with the code of what they ran,
and with 125 where hotdesk itself fails. Results go to stdout, everything else to stderr.
"""


def reference() -> str:
    """The text of commands.md."""
    context = click.Context(hotdesk, info_name="hotdesk")
    sections = [_HEAD, _index(context)]
    sections += [_section(command, parent) for command, parent in _commands(hotdesk, context)]
    return "\n".join(sections)


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command, context
        if isinstance(command, click.Group):
            yield from _commands(command, click.Context(command, info_name=name, parent=context))


def _index(context: click.Context) -> str:
    rows = ["| command | does |", "| --- | --- |"]
    for command, parent in _commands(hotdesk, context):
        path = f"{parent.command_path} {command.name}"
        rows.append(f"| [`{path}`](#{path.replace(' ', '-')}) | {_plain(command.help)} |")
    return "\n".join(rows) + "\n"


def _section(command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## {context.command_path}", "", _plain(command.help), ""]
    lines += ["```text", f"{context.command_path} {usage}", "```", ""]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    if records:
        lines += ["| option | does |", "| --- | --- |"]
        lines += [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records]
        lines.append("")
    return "\n".join([*lines, _plain(command.epilog), ""])


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return _plain(text).replace("|", r"\|")


if __name__ == "__main__":
    COMMANDS.write_text(reference(), encoding="utf-8")
