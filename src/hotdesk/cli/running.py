"""Commands in the same isolation as a desk: run, shell, check."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotdesk.cli.progress import show_progress

if TYPE_CHECKING:
    from hotdesk.engines.request import Network

_variant_option = click.option("--variant", help="Which variant of the spec; its first by default.")
_network_option = click.option(
    "--network",
    type=click.Choice(["host", "none"]),
    default="host",
    show_default=True,
    help="Which network it sees.",
)
_offline_option = click.option(
    "--offline",
    is_flag=True,
    help="Promise to use no network for preparing: fail where something is missing.",
)
_template_option = click.option(
    "--desk", "what", metavar="TEMPLATE or FOLDER", help="Not this folder's spec, but that one's."
)


@click.command(
    "run",
    short_help="Run a command on the desk's packages.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: `hotdesk run -- python train.py --epochs 3`.",
)
@_variant_option
@_network_option
@_template_option
@_offline_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(
    variant: str | None, network: Network, what: str | None, offline: bool, command: tuple[str, ...]
) -> None:
    """Run COMMAND on the desk's packages, with this folder at ~/work; exits with its exit code."""
    sys.exit(_run(command, variant, network, what, offline))


@click.command(
    "shell",
    short_help="Open a shell on the desk's packages.",
    epilog="Example: `hotdesk shell --variant gpu`.",
)
@_variant_option
@_network_option
@_template_option
@_offline_option
def shell_command(variant: str | None, network: Network, what: str | None, offline: bool) -> None:
    """Open a shell on the desk's packages, with this folder at ~/work."""
    sys.exit(_run(("bash", "-i"), variant, network, what, offline))


def _run(
    command: tuple[str, ...], variant: str | None, network: Network, what: str | None, offline: bool
) -> int:
    from hotdesk.opening import Preparation, prepare_run
    from hotdesk.project import open_project

    project = open_project(what, Path.cwd())
    with show_progress() as progress:
        prepared = prepare_run(
            project, command, Preparation(offline, progress), variant=variant, network=network
        )
    return prepared()


@click.command(
    "check",
    short_help="Run the spec's checks on the desk.",
    epilog="Example: `hotdesk check --variant cpu` in a course's continuous integration.",
)
@_variant_option
@_template_option
@_offline_option
def check_command(variant: str | None, what: str | None, offline: bool) -> None:
    """Run the spec's `[checks]` on the desk: its imports, then its commands."""
    from hotdesk.project import open_project

    spec = open_project(what, Path.cwd()).spec
    commands = [("python", "-c", f"import {name}") for name in spec.imports]
    commands += [("bash", "-c", command) for command in spec.commands]
    failed = 0
    for command in commands:
        code = _run(command, variant, "host", what, offline)
        mark = click.style("ok   ", fg="green") if code == 0 else click.style("FAIL ", fg="red", bold=True)
        click.echo(f"{mark}{command[2]}")
        failed += code != 0
    sys.exit(1 if failed else 0)
