"""Writes what the documentation takes from elsewhere: `python docs/generate.py`.

`docs/commands.md` comes from the commands themselves, `docs/measured.md` and the README's table from
`docs/measured.json`, a copy of what `make bench` kept. A test compares what it would write with what is
there.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import report
from hotdesk.cli.main import hotdesk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.samples import RowResult

FOLDER = Path(__file__).parent
COMMANDS = FOLDER / "commands.md"
MEASURED = FOLDER / "measured.md"
README = FOLDER.with_name("README.md")
_RESULTS = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)
# By the benchmark's row and the claim in it: what is done, and with what else.
_SHOWN = {
    (1, 0): ("nothing → Jupyter answers, downloads included", "BuildKit with uv, `docker run`"),
    (1, 1): ("the same", "Dockerfile with pip, `docker run`"),
    (2, 0): ("opened before → Jupyter answers", "`jupyter lab` in a plain uv environment"),
    (3, 1): ("one more small package → imported", "a line more in the Dockerfile, BuildKit with uv"),
    (4, 1): ("the isolation's start alone", ""),
    (4, 2): ("a command in the desk, whole process", "`docker run --rm`"),
    (5, 1): ("disk for a second desk that shares all but one package", "a second image"),
    (7, 1): ("all wheels → an image's ID and blobs to push", "BuildKit with uv, `docker push`"),
    (8, 0): ("an image that is there already, found again", ""),
    (8, 1): ("one more small package → the new image, less its download", ""),
    (1, 2): ("memory of all of hotdesk's processes together, first opening", ""),
    (6, 0): ("the same, with a wheel of 700 MB", ""),
    (6, 1): ("`hotdesk --help`", ""),
}
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


def measured() -> tuple[str, str]:
    """The text of measured.md, and that of README.md with its table of results."""
    results, facts = report.from_json(json.loads((FOLDER / "measured.json").read_text(encoding="utf-8")))
    table = "\n".join(_table({result.number: result for result in results}))
    readme = _RESULTS.sub(lambda _: f"{table}\n", README.read_text(encoding="utf-8"))
    return report.markdown(results, facts), readme


def _table(results: dict[int, RowResult]) -> Iterator[str]:
    yield "| job, on the course's desk | hotdesk | another tool, same packages by hash | ratio |"
    yield "| --- | --- | --- | --- |"
    for (number, which), (job, other) in _SHOWN.items():
        if number not in results:
            raise SystemExit(f"docs/measured.json lacks row {number}: `make bench` measures all of them")
        result = results[number]
        claim = result.claims[which]
        ours = report.median(result, claim.arm, claim.metric)
        if not claim.against:
            yield f"| {job} | {ours} | | |"
            continue
        theirs = report.median(result, claim.against, claim.against_metric or claim.metric)
        yield f"| {job} | {ours} | {other}: {theirs} | {result.judge(claim)[0].value:.2f} |"


if __name__ == "__main__":
    COMMANDS.write_text(reference(), encoding="utf-8")
    for file, text in zip((MEASURED, README), measured(), strict=True):
        file.write_text(text, encoding="utf-8")
