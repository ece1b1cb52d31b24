"""Commands in the same isolation as a desk: run, shell, check."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotdesk.cli.options import ChosenEngine, engine_options, offline_option, variant_option
from hotdesk.cli.output import json_option, mark, plain, print_json
from hotdesk.cli.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotdesk.checking import Check, Result
    from hotdesk.engines.request import Network
    from hotdesk.opening import Ready
    from hotdesk.project import Project

_SHOWN_LINES = 15

_network_option = click.option(
    "--network",
    type=click.Choice(["host", "none"]),
    default="host",
    show_default=True,
    help="Which network it sees.",
)
_template_option = click.option(
    "--desk", "what", metavar="TEMPLATE or FOLDER", help="Not this folder's spec, but that one's."
)


@click.command(
    "run",
    short_help="Run a command on the desk's packages.",
    context_settings={"allow_interspersed_args": False},
    epilog="Example: `hotdesk run -- python train.py --epochs 3`.",
)
@variant_option
@_network_option
@_template_option
@engine_options
@offline_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(
    *,
    variant: str | None,
    network: Network,
    what: str | None,
    engine: ChosenEngine,
    offline: bool,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND on the desk's packages, with this folder at ~/work; exits with its exit code.

    Where hotdesk itself fails, the exit code is 125.
    """
    sys.exit(_run(command, variant, network, what, engine, offline=offline))


@click.command(
    "shell",
    short_help="Open a shell on the desk's packages.",
    epilog="Example: `hotdesk shell --variant gpu`.",
)
@variant_option
@_network_option
@_template_option
@engine_options
@offline_option
def shell_command(
    *, variant: str | None, network: Network, what: str | None, engine: ChosenEngine, offline: bool
) -> None:
    """Open a shell on the desk's packages, with this folder at ~/work; exits with its exit code.

    Where hotdesk itself fails, the exit code is 125.
    """
    sys.exit(_run(("bash", "-i"), variant, network, what, engine, offline=offline))


def _run(
    command: tuple[str, ...],
    variant: str | None,
    network: Network,
    what: str | None,
    engine: ChosenEngine,
    *,
    offline: bool,
) -> int:
    from hotdesk.project import open_project

    current = Path.cwd()
    project = open_project(what, current)
    with _ready(project, current, variant, network, engine, offline=offline) as ready:
        return ready.run(command)


@contextmanager
def _ready(
    project: Project,
    current: Path,
    variant: str | None,
    network: Network,
    engine: ChosenEngine,
    *,
    offline: bool,
    empty_home: bool = False,
) -> Iterator[Ready]:
    """As `ready_to_run` gives it; what is shown meanwhile is gone from the terminal by then."""
    from hotdesk.opening import ready_to_run

    with ExitStack() as held:
        with show_progress() as progress:
            preparation = engine.preparation(progress, offline=offline)
            ready = held.enter_context(
                ready_to_run(
                    project,
                    preparation,
                    current=current,
                    variant=variant,
                    network=network,
                    empty_home=empty_home,
                )
            )
        yield ready


@click.command(
    "check",
    short_help="Run the spec's checks on the desk.",
    epilog="Example: `hotdesk check --variant cpu` before a course begins, or in its continuous integration.",
)
@variant_option
@_template_option
@engine_options
@click.option(
    "-o",
    "--output",
    "pages",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where executed notebooks go, as HTML; beside the desk's home by default.",
)
@offline_option
@json_option
def check_command(
    *,
    variant: str | None,
    what: str | None,
    engine: ChosenEngine,
    pages: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Run the spec's `[checks]` on the desk: its imports, its commands, its notebooks.

    The desk's home is an empty one, so that nothing counts that was installed or set by hand. Exits with 1
    where a check fails.
    """
    from hotdesk.checking import checks_of, run_check
    from hotdesk.errors import UsageError
    from hotdesk.project import open_project

    project = open_project(what, Path.cwd())
    checks = checks_of(project.spec.checks)
    if not checks:
        raise UsageError(
            f"`{project.spec_path.name}` says nothing about what to check",
            hint='add `[checks]` with `imports = ["numpy"]`, `commands` or `notebooks`',
        )
    if pages:
        _make_folder(pages)
    table = _CheckTable(checks, silent=as_json)
    with _ready(project, project.folder, variant, "host", engine, offline=offline, empty_home=True) as ready:
        folder = (pages or ready.desk.folder / "checks").absolute()
        results = []
        for check in checks:
            table.begin(check)
            results.append(run_check(ready, check, folder))
            table.end(results[-1])
    if as_json:
        print_json([_as_json(result) for result in results])
    else:
        table.finish(results)
    sys.exit(0 if all(result.ok for result in results) else 1)


def _make_folder(folder: Path) -> None:
    from hotdesk.errors import UsageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be made", why=error.strerror or str(error), hint="choose another one"
        ) from None


class _CheckTable:
    """A line for each check as soon as it is over; on a terminal also one for that which runs."""

    def __init__(self, checks: Sequence[Check], *, silent: bool) -> None:
        self._width = min(max(len(_label(check)) for check in checks), 60)
        self._silent = silent
        self._live = not silent and sys.stdout.isatty()

    def begin(self, check: Check) -> None:
        if self._live:
            click.echo(f"...   {_label(check):{self._width}}", nl=False)

    def end(self, result: Result) -> None:
        if self._silent:
            return
        line = f"{_label(result.check):{self._width}}  {result.seconds:7.2f} s  {plain(result.version)}"
        click.echo(("\r" if self._live else "") + mark(ok=result.ok) + line.rstrip())
        if not result.ok:
            for text in plain(result.output).rstrip().splitlines()[-_SHOWN_LINES:]:
                click.echo(f"      | {text}")
        if result.page:
            click.echo(f"      {result.page}")

    def finish(self, results: Sequence[Result]) -> None:
        failed = sum(not result.ok for result in results)
        passed = len(results) - failed
        click.echo(f"{passed} of {len(results)} passed" + (f", {failed} failed" if failed else ""))


def _label(check: Check) -> str:
    return f"import {check.name}" if check.kind == "import" else plain(check.name)


def _as_json(result: Result) -> dict[str, object]:
    return {
        "kind": result.check.kind,
        "check": result.check.name,
        "ok": result.ok,
        "exit_code": result.exit_code,
        "seconds": round(result.seconds, 3),
        "version": result.version or None,
        "output": result.output,
        "page": None if result.page is None else str(result.page),
    }
