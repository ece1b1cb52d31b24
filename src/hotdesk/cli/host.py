"""What concerns the host: the doctor, and completion for its shell."""

from __future__ import annotations

import sys

import click

from hotdesk.cli.output import json_option, mark, print_json


@click.command(
    "doctor",
    short_help="Check whether this host can open desks.",
    epilog="Example: `hotdesk doctor` before the first desk on a new machine.",
)
@json_option
def doctor_command(as_json: bool) -> None:
    """Check whether this host can open desks; each problem comes with its cure."""
    from dataclasses import asdict  # 2 ms, and not for --help

    from hotdesk.desk import data_path
    from hotdesk.doctor import check_host
    from hotdesk.store import default_store_path

    results = check_host(default_store_path(), data_path())
    if as_json:
        print_json([asdict(check) for check in results])
    else:
        for check in results:
            begin = mark(ok=check.ok, needed=check.needed)
            click.echo(f"{begin}{check.name}" + (f": {check.why}" if check.why else ""))
            if check.cure and not check.ok:
                click.echo("      cure: " + check.cure.replace("\n", "\n            "))
    sys.exit(0 if all(check.ok or not check.needed for check in results) else 1)


@click.command(
    "completion",
    short_help="Print the completion script of a shell.",
    epilog='Example: `eval "$(hotdesk completion bash)"` in ~/.bashrc.',
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from hotdesk.cli.main import hotdesk

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(hotdesk, {}, "hotdesk", "_HOTDESK_COMPLETE").source())
