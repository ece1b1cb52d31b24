"""The `hotdesk` command: its groups of commands, loaded when needed, and the printing of errors."""

from __future__ import annotations

import errno
import gc
import importlib
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from hotdesk import COLLECTS_AFTER, __version__
from hotdesk.cli.encoding import restart_in_utf8
from hotdesk.cli.output import plain
from hotdesk.errors import HotdeskError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "init": "specs",
    "templates": "specs",
    "lock": "specs",
    "add": "specs",
    "remove": "specs",
    "up": "desks",
    "run": "running",
    "shell": "running",
    "ls": "desks",
    "logs": "desks",
    "url": "desks",
    "stop": "desks",
    "start": "desks",
    "rm": "desks",
    "check": "running",
    "build": "images",
    "push": "registry",
    "pull": "registry",
    "image": "inspect",
    "verify": "inspect",
    "cache": "cache",
    "doctor": "host",
    "completion": "host",
}


_RUN = {"run", "shell"}  # as with `docker run`: any other code is the command's own
_OWN_FAILURE = 125
_KEEPS_DOWNLOADS = {*_RUN, "build", "push", "pull", "up", "start", "check", "lock", "add", "remove"}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSALS = {*_FULL, errno.EACCES, errno.EPERM, errno.EROFS}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"hotdesk.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            import difflib

            close = difflib.get_close_matches(args[0], _COMMANDS, 1)
            meant = f" Did you mean `{close[0]}`?" if close else ""
            ctx.fail(f"there is no command `{args[0]}`.{meant}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: `hotdesk up sdcnd-term1` opens the self-driving-car desk on the folder you are in.",
)
@click.version_option(__version__, message="hotdesk %(version)s")
def hotdesk() -> None:
    """One file, one command: the same deep-learning desk on any machine.

    A spec (hotdesk.toml) says what is on the desk, a lock (hotdesk.lock) says it exactly, and
    `hotdesk up` opens it in Jupyter: isolated, without root and without a container engine.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    restart_in_utf8()
    gc.set_threshold(COLLECTS_AFTER)
    words = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in words if not word.startswith("-")), "")

    def failed(code: int) -> NoReturn:
        sys.exit(_OWN_FAILURE if command in _RUN else code)

    try:
        code = hotdesk.main(args=arguments, prog_name="hotdesk", standalone_mode=False)
    except HotdeskError as error:
        _print_error(error)
        failed(error.exit_code)
    except click.exceptions.Abort:
        kept = "; what was downloaded is kept, and the same command goes on from there"
        click.echo(f"interrupted{kept if command in _KEEPS_DOWNLOADS else ''}", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        failed(error.exit_code)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _print_error(_refused(error))
        failed(1)
    sys.exit(code if isinstance(code, int) else 0)


def _refused(error: OSError) -> HotdeskError:
    """What the system said no to, where no part of hotdesk says it better."""
    hint = "mend its permissions, or set HOTDESK_STORE (downloads) or HOTDESK_DATA (desks) to another folder"
    if error.errno in _FULL:
        hint = "free some space, with `hotdesk cache gc` among others, or set HOTDESK_STORE to another disk"
    where = f" at {error.filename}" if error.filename else ""
    return HotdeskError(f"the system refuses{where}", why=error.strerror or str(error), hint=hint)


def _print_error(error: HotdeskError) -> None:
    label = click.style("error:", fg="red", bold=True)
    click.echo(f"{label} {plain(error.what)}", err=True)
    if error.why:
        click.echo(f"  {click.style('why:', bold=True)} {_indent(error.why)}", err=True)
    if error.hint:
        click.echo(f" {click.style('hint:', fg='green', bold=True)} {_indent(error.hint)}", err=True)


def _indent(text: str) -> str:
    return plain(text).replace("\n", "\n       ")
