"""The desks of this user: up, ls, logs, url, stop, start, rm."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotdesk.cli.options import ChosenEngine, engine_options, offline_option, variant_option
from hotdesk.cli.output import human_age, json_option, plain, print_answer, print_json, print_table
from hotdesk.cli.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotdesk.desk import Condition, Damaged, Desk, Opened
    from hotdesk.desk.by_hand import ByHand
    from hotdesk.opening import Preparation


def _complete_desk(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from hotdesk.desk import survey

    found, damaged = survey()
    names = [*(desk.name for desk in found), *(desk.name for desk in damaged)]
    return [name for name in names if name.startswith(incomplete)]


@click.command(
    "up",
    short_help="Open a desk and print its URL.",
    epilog="Example: `hotdesk up sdcnd-term1 --open` opens the template on this folder, in the browser.",
)
@click.argument("what", metavar="[TEMPLATE, FOLDER or IMAGE]", required=False)
@variant_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Listen on this port, or fail. Default: 8888 or the next free one.",
)
@click.option("--name", help="The desk's name, for a second desk on the same spec.")
@engine_options
@click.option("--open", "browse", is_flag=True, help="Open the URL in a browser.")
@offline_option
@json_option
def up_command(
    what: str | None,
    *,
    variant: str | None,
    port: int | None,
    name: str | None,
    browse: bool,
    engine: ChosenEngine,
    offline: bool,
    as_json: bool,
) -> None:
    """Open a desk in Jupyter on this folder and print its URL; a desk that is open prints it again.

    An IMAGE is a reference such as registry.example/desk:1, or a file or folder that
    `hotdesk build -o PATH` wrote; it needs no spec.
    """
    open_it = _opener(what, variant, name=name, port=port)
    with show_progress() as progress:
        opened = open_it(engine.preparation(progress, offline=offline))
    _print_opened(opened, as_json)
    if browse:
        browse_to(opened.desk)


def _opener(
    what: str | None, variant: str | None, *, name: str | None, port: int | None
) -> Callable[[Preparation], Opened]:
    """How to open the desk that `hotdesk up WHAT` means."""
    if what is not None:
        from hotdesk.image_desks import find_source, open_image_desk

        if source := find_source(what, Path.cwd()):
            if variant is not None:
                raise click.UsageError("an image is of one variant: leave out --variant")
            return partial(open_image_desk, source, Path.cwd(), name=name, port=port)
    from hotdesk.opening import open_project_desk
    from hotdesk.project import open_project

    project = open_project(what, Path.cwd())
    return partial(open_project_desk, project, variant=variant, port=port, name=name)


def browse_to(desk: Desk) -> None:
    """Open the desk in a browser; its URL itself would show in a process list, with the token."""
    from hotdesk.desk import write_opener

    click.launch(write_opener(desk).as_uri())


@click.command(
    "start",
    short_help="Open a stopped desk as it was.",
    epilog="Example: `hotdesk start sdcnd-term1` after `hotdesk stop`, with the same packages.",
)
@click.argument("name", shell_complete=_complete_desk)
@click.option("--port", type=click.IntRange(1, 65535), help="Listen on this port, or fail.")
@offline_option
@json_option
def start_command(name: str, port: int | None, offline: bool, as_json: bool) -> None:
    """Open a stopped desk again, exactly as it was: same packages, same folder, same home."""
    from hotdesk.desk import find
    from hotdesk.image_desks import is_from_image, reopen_image_desk
    from hotdesk.opening import Preparation, reopen

    desk = find(name)
    with show_progress() as progress:
        open_again = reopen_image_desk if is_from_image(desk) else reopen
        opened = open_again(desk, Preparation(offline, progress), port=port)
    _print_opened(opened, as_json)


def _print_opened(opened: Opened, as_json: bool) -> None:
    from hotdesk.desk import condition
    from hotdesk.desk.by_hand import outside_lock

    desk = opened.desk
    by_hand = outside_lock(desk)
    if as_json:
        found = _as_json(desk, condition(desk), by_hand)
        print_json(found | {"url": desk.url, "already": opened.already})
        return
    wanted = int(desk.labels.get("port", desk.port))
    if wanted != desk.port and not opened.already:
        click.echo(f"port {wanted} is taken; this desk listens on {desk.port}", err=True)
    for server, port in desk.ports.items():
        wanted = opened.wanted.get(server, port)
        taken = f"port {wanted} is taken; it has {port}" if wanted != port else f"port {port}"
        click.echo(f"{server}: {taken}", err=True)
    state = "is open already" if opened.already else "is open"
    click.echo(f"{desk.name} ({desk.labels.get('variant', '')}) {state} on {desk.project}", err=True)
    _tell_by_hand(desk, by_hand)
    click.echo(desk.url)


def _tell_by_hand(desk: Desk, packages: Sequence[ByHand], before: str = "") -> None:
    if packages:
        from hotdesk.cli.by_hand import lines_about

        for line in lines_about(desk, packages):
            click.echo(f"{before}{line}", err=True)


@click.command("ls", short_help="List your desks.", epilog="Example: `hotdesk ls --json`.")
@json_option
def ls_command(as_json: bool) -> None:
    """List the desks of this user, and what was installed in them by hand."""
    from hotdesk.desk import condition, survey
    from hotdesk.desk.by_hand import outside_lock

    readable, damaged = survey()
    found = [(desk, condition(desk)) for desk in readable]
    by_hand = {desk.name: outside_lock(desk) for desk in readable}
    if as_json:
        unusable = [{"name": desk.name, "state": "damaged", "why": desk.why} for desk in damaged]
        print_json([*(_as_json(desk, how, by_hand[desk.name]) for desk, how in found), *unusable])
        return
    if not found and not damaged:
        click.echo("no desks; `hotdesk up sdcnd-term1` opens one", err=True)
        return
    rows: list[tuple[str, ...]] = []
    for desk, how in found:
        state: str = how.state
        if state == "crashed":
            state += f" ({how.exit_code})" if how.exit_code is not None else ""
        age = human_age(time.time() - desk.started) if desk.started else ""
        port = str(desk.port) if how.state == "running" else ""
        rows.append(
            (
                desk.name,
                desk.labels.get("variant", ""),
                desk.engine,
                state,
                port,
                age,
                plain(str(desk.project)),
            )
        )
    rows += [(desk.name, "", "", "damaged", "", "", str(desk.folder)) for desk in damaged]
    print_table(("NAME", "VARIANT", "ENGINE", "STATE", "PORT", "STARTED", "FOLDER"), rows)
    for desk, how in found:
        _tell_by_hand(desk, by_hand[desk.name], "\n")
        if how.state == "crashed" and how.log:
            click.echo(f"\n{desk.name} crashed; its log ends:\n{plain(how.log)}", err=True)
        if how.problem:
            click.echo(f"\nwhether {desk.name} runs is not known:\n{plain(str(how.problem))}", err=True)
    for broken in damaged:
        click.echo(
            f"\n{broken.name} cannot be used: {broken.why}\n"
            f"save what you need from {broken.folder / 'home'}, then `hotdesk rm {broken.name}`",
            err=True,
        )


def _as_json(desk: Desk, how: Condition, by_hand: Sequence[ByHand]) -> dict[str, object]:
    return {
        "name": desk.name,
        "variant": desk.labels.get("variant"),
        "engine": desk.engine,
        "state": how.state,
        "exit_code": how.exit_code,
        "port": desk.port or None,
        "ports": dict(desk.ports),
        "folder": None if desk.project is None else str(desk.project),
        "home": str(desk.home),
        "started": desk.started or None,
        "by_hand": [asdict(package) for package in by_hand],
    }


_name_argument = click.argument("name", required=False, shell_complete=_complete_desk)


def _the_desk(name: str | None, *, here_only: bool = False) -> Desk:
    """The desk of this name; without one, this folder's, or the only one there is unless `here_only`."""
    from hotdesk.desk import desks, find
    from hotdesk.errors import UsageError

    if name is not None:
        return find(name)
    found = desks()
    here = _desks_here(found)
    for candidates in [here] if here_only else [here, found]:
        if len(candidates) == 1:
            return candidates[0]
    names = ", ".join(f"`{desk.name}`" for desk in here or found)
    raise UsageError(
        "which desk?",
        why=f"yours are {names}" if names else "you have none",
        hint="give its name, see `hotdesk ls`",
    )


def _desks_here(desks: Sequence[Desk]) -> list[Desk]:
    """Those on this folder, or on the nearest one above it that has any."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if here := [desk for desk in desks if desk.project == folder]:
            return here
    return []


@click.command(
    "logs", short_help="Print what Jupyter said.", epilog="Example: `hotdesk logs -f sdcnd-term1`."
)
@_name_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the desk ends.")
def logs_command(name: str | None, follow: bool) -> None:
    """Print what Jupyter said."""
    from hotdesk.desk import read_log

    shown = plain if sys.stdout.isatty() else str
    for piece in read_log(_the_desk(name), follow=follow):
        sys.stdout.write(shown(piece))
        sys.stdout.flush()


@click.command(
    "url",
    short_help="Print a running desk's URL.",
    epilog="Example: `hotdesk url sdcnd-term1`; `hotdesk url simulator` where the spec has such a port.",
)
@_name_argument
@click.argument("server", required=False)
def url_command(name: str | None, server: str | None) -> None:
    """Print a running desk's URL, with its token.

    SERVER is one of the names in the spec's `[ports]`, and its URL is printed then. Alone, it may stand in
    place of NAME, unless a desk is called so.
    """
    desk, server = _desk_and_server(name, server)
    _require_running(desk)
    click.echo(_url_of_server(desk, server) if server else desk.url)


def _desk_and_server(name: str | None, server: str | None) -> tuple[Desk, str | None]:
    """The first word may be either."""
    from hotdesk.desk import survey

    if name is None or server is not None:
        return _the_desk(name), server
    readable, damaged = survey()
    is_desk = name in [*(desk.name for desk in readable), *(desk.name for desk in damaged)]
    if is_desk or not any(name in desk.ports for desk in readable):
        return _the_desk(name), None
    return _the_desk(None), name


def _url_of_server(desk: Desk, server: str) -> str:
    from hotdesk.errors import UsageError

    if server not in desk.ports:
        known = ", ".join(f"`{name}`" for name in desk.ports)
        raise UsageError(
            f"the desk `{desk.name}` has no port `{server}`",
            why=f"it was opened with {known}" if known else "it was opened with none but Jupyter's",
            hint="add it to the spec's `[ports]`, stop the desk and open it again",
        )
    return f"http://127.0.0.1:{desk.ports[server]}"


def _require_running(desk: Desk) -> None:
    from hotdesk.desk import condition
    from hotdesk.errors import DeskError

    found = condition(desk)
    if found.problem:
        raise found.problem
    state = found.state
    if state == "starting":
        raise DeskError(
            f"the desk `{desk.name}` is being opened; not all of its packages are there yet",
            hint="`hotdesk up` prints the URL when they are; where it was ended before, give it again",
        )
    if state != "running":
        raise DeskError(
            f"the desk `{desk.name}` is not running", hint=f"open it: `hotdesk start {desk.name}`"
        )


@click.command(
    "stop",
    short_help="End everything that a desk started.",
    epilog="Example: `hotdesk stop sdcnd-term1`; `hotdesk stop --all`.",
)
@_name_argument
@click.option("--all", "every", is_flag=True, help="Stop every desk of this user.")
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds that Jupyter gets to end by itself.",
)
@json_option
def stop_command(name: str | None, every: bool, seconds: float, as_json: bool) -> None:
    """End everything that a desk started; its home and your folder stay."""
    from hotdesk.desk import stop, survey
    from hotdesk.errors import HotdeskError

    if name and every:
        raise click.UsageError("give a name or --all, not both")
    readable, damaged = survey()
    meant: list[Desk | Damaged] = [*readable, *damaged]
    if not every:
        meant = [desk for desk in damaged if desk.name == name] or [_the_desk(name)]
    stopped: list[str] = []
    failure: HotdeskError | None = None
    for desk in meant:
        try:
            stop(desk, within=seconds)
        except HotdeskError as error:  # the others are to be stopped all the same
            failure = failure or error
            continue
        stopped.append(desk.name)
        if not as_json:
            click.echo(f"{desk.name} is stopped")
    if as_json:
        print_json({"stopped": stopped})
    if failure:
        raise failure


@click.command(
    "rm",
    short_help="Remove a stopped desk and its home.",
    epilog="Example: `hotdesk rm sdcnd-term1`, which keeps your folder and drops the desk's own home.",
)
@_name_argument
@click.option("-f", "--force", is_flag=True, help="Stop it first where it runs.")
@json_option
def rm_command(name: str | None, force: bool, as_json: bool) -> None:
    """Remove a stopped desk with its own home (~ inside); the project folder (~/work) stays.

    Without a name it is this folder's desk, never another one.
    """
    from hotdesk.desk import remove

    name = name or _the_desk(None, here_only=True).name
    remove(name, force=force)  # by its name: one that cannot be read can be removed too
    print_answer({"removed": name}, f"{name} is removed; its project folder is as it was", as_json=as_json)
