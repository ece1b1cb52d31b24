"""What the store holds: cache, cache gc, cache verify."""

from __future__ import annotations

import sys

import click

from hotdesk.cli.output import human_bytes, json_option, print_answer, print_json, print_table
from hotdesk.cli.progress import show_progress


@click.group(
    "cache", invoke_without_command=True, epilog="Example: `hotdesk cache`, then `hotdesk cache gc`."
)
@json_option
@click.pass_context
def cache_command(context: click.Context, as_json: bool) -> None:
    """Show what the store holds, and for whom."""
    if context.invoked_subcommand:
        return
    from hotdesk.cache import usage, users
    from hotdesk.store import Store, default_store_path

    store = Store(default_store_path())
    with show_progress(quiet=as_json) as progress:
        kinds, needed_by = usage(store, progress), users(store)
    total = sum(kind.size for kind in kinds)
    if as_json:
        print_json(
            {
                "store": str(store.root),
                "bytes": total,
                "kinds": [{"kind": kind.kind, "count": kind.count, "bytes": kind.size} for kind in kinds],
                "needed_by": [user.name for user in needed_by],
                "unreadable": {user.name: user.problem for user in needed_by if user.problem},
            }
        )
        return
    print_table(
        ("KIND", "COUNT", "SIZE"), [(kind.kind, str(kind.count), human_bytes(kind.size)) for kind in kinds]
    )
    click.echo(f"\n{human_bytes(total)} in {store.root}, needed by")
    for user in needed_by:
        click.echo(f"  {user.name}")
        if user.problem:
            click.echo(f"    cannot be read, so `cache gc` removes nothing: {user.problem}")
            click.echo(f"    {user.cure}")
    if not needed_by:
        click.echo("  nobody: `hotdesk cache gc` removes it all")


@cache_command.command("gc", epilog="Example: `hotdesk cache gc` after `hotdesk rm`.")
@json_option
def gc_command(as_json: bool) -> None:
    """Remove what no lock or desk of this user needs and no command uses; waits for those that build."""
    from hotdesk.cache import collect_garbage
    from hotdesk.store import Store, default_store_path

    with show_progress(quiet=as_json) as progress:
        freed = collect_garbage(Store(default_store_path(), progress.note), progress)
    print_answer({"freed": freed}, f"{human_bytes(freed)} freed", as_json=as_json)


@cache_command.command("verify", epilog="Example: `hotdesk cache verify --repair` after a disk error.")
@click.option(
    "--repair", is_flag=True, help="Remove what is corrupt; it is fetched or made again when needed."
)
@json_option
def verify_command(repair: bool, as_json: bool) -> None:
    """Compare everything in the store with its hash; exits with 1 where something differs."""
    from hotdesk.cache import verify
    from hotdesk.store import Store, default_store_path

    with show_progress(quiet=as_json) as progress:
        store = Store(default_store_path(), progress.note)
        problems = verify(store, repair=repair, progress=progress)
    left = [problem for problem in problems if not problem.removed]
    if as_json:
        print_json({"problems": [problem.text for problem in problems], "repaired": repair and not left})
        sys.exit(1 if left else 0)
    for problem in problems:
        click.echo(problem.text)
    if not problems:
        click.echo("everything is as it was made")
    elif not repair:
        click.echo("`hotdesk cache verify --repair` removes it", err=True)
    elif left:
        click.echo(f"{len(left)} of these are in use: end what runs from them, then repair again", err=True)
    else:
        click.echo("removed what is corrupt", err=True)
    sys.exit(1 if left else 0)
