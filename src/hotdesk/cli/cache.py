"""What the store holds: cache, cache gc, cache verify."""

from __future__ import annotations

import sys

import click

from hotdesk.cli.output import human_bytes, json_option, print_json, print_table


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
    kinds, needed_by = usage(store), users(store)
    total = sum(kind.size for kind in kinds)
    if as_json:
        print_json(
            {
                "store": str(store.root),
                "bytes": total,
                "kinds": [{"kind": kind.kind, "count": kind.count, "bytes": kind.size} for kind in kinds],
                "needed_by": [user.name for user in needed_by],
            }
        )
        return
    print_table(
        ("KIND", "COUNT", "SIZE"), [(kind.kind, str(kind.count), human_bytes(kind.size)) for kind in kinds]
    )
    click.echo(f"\n{human_bytes(total)} in {store.root}, needed by")
    for user in needed_by:
        click.echo(f"  {user.name}")
    if not needed_by:
        click.echo("  nobody: `hotdesk cache gc` removes it all")


@cache_command.command("gc", epilog="Example: `hotdesk cache gc` after `hotdesk rm`.")
@json_option
def gc_command(as_json: bool) -> None:
    """Remove what no lock or desk of this user needs; waits for other hotdesk commands to end."""
    from hotdesk.cache import collect_garbage
    from hotdesk.store import Store, default_store_path

    freed = collect_garbage(Store(default_store_path()))
    print_json({"freed": freed}) if as_json else click.echo(f"{human_bytes(freed)} freed")


@cache_command.command("verify", epilog="Example: `hotdesk cache verify --repair` after a disk error.")
@click.option(
    "--repair", is_flag=True, help="Remove what is corrupt; it is fetched or made again when needed."
)
@json_option
def verify_command(repair: bool, as_json: bool) -> None:
    """Compare everything in the store with its hash; exits with 1 where something differs."""
    from hotdesk.cache import verify
    from hotdesk.store import Store, default_store_path

    problems = verify(Store(default_store_path()), repair=repair)
    if as_json:
        print_json({"problems": problems, "repaired": repair})
    elif problems:
        for problem in problems:
            click.echo(problem)
        click.echo(
            "removed what is corrupt" if repair else "`hotdesk cache verify --repair` removes it", err=True
        )
    else:
        click.echo("everything is as it was made")
    sys.exit(1 if problems and not repair else 0)
