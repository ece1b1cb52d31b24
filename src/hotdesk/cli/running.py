"""Commands in the same isolation as a desk: run, shell, check."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotdesk.cli.options import ChosenEngine, engine_options, offline_option, variant_option
from hotdesk.cli.output import json_option, mark, print_json
from hotdesk.cli.progress import show_progress

if TYPE_CHECKING:
    from hotdesk.engines.request import Network

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
    from hotdesk.opening import prepared_run
    from hotdesk.project import open_project

    current = Path.cwd()
    project = open_project(what, current)
    with ExitStack() as held:
        with show_progress() as progress:
            preparation = engine.preparation(progress, offline=offline)
            run = held.enter_context(
                prepared_run(project, command, preparation, current=current, variant=variant, network=network)
            )
        return run()


@click.command(
    "check",
    short_help="Run the spec's checks on the desk.",
    epilog="Example: `hotdesk check --variant cpu` in a course's continuous integration.",
)
@variant_option
@_template_option
@engine_options
@offline_option
@json_option
def check_command(
    *, variant: str | None, what: str | None, engine: ChosenEngine, offline: bool, as_json: bool
) -> None:
    """Run the spec's `[checks]` on the desk: its imports, then its commands."""
    from hotdesk.project import open_project

    spec = open_project(what, Path.cwd()).spec
    commands = [("python", "-c", f"import {name}") for name in spec.imports]
    commands += [("bash", "-c", command) for command in spec.commands]
    results = []
    for command in commands:
        code = _run(command, variant, "host", what, engine, offline=offline)
        results.append({"check": command[2], "ok": code == 0, "exit_code": code})
        if not as_json:
            click.echo(f"{mark(ok=code == 0)}{command[2]}")
    if as_json:
        print_json(results)
    sys.exit(0 if all(result["ok"] for result in results) else 1)
