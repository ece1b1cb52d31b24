"""Writing and locking specs: init, templates, lock, add, remove."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotdesk.cli.output import json_option, print_json, print_table
from hotdesk.cli.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hotdesk.lock import Lock
    from hotdesk.project import Project
    from hotdesk.resolve.locking import Locking


@click.command(
    "templates",
    short_help="List the desks that ship with hotdesk.",
    epilog="Example: `hotdesk templates`, then `hotdesk up NAME`.",
)
@json_option
def templates_command(as_json: bool) -> None:
    """List the desks that ship with hotdesk."""
    from hotdesk.project import read_template, template_names

    specs = [read_template(name).spec for name in template_names()]
    if as_json:
        print_json([{"name": spec.name, "description": spec.description} for spec in specs])
    else:
        print_table(
            ("TEMPLATE", "VARIANTS", "DESCRIPTION"),
            [(spec.name, ", ".join(spec.variants), spec.description) for spec in specs],
        )


@click.command(
    "init",
    short_help="Write a spec here, or copy a template.",
    epilog="Example: `hotdesk init sdcnd-term1` starts from the self-driving-car desk.",
)
@click.argument("template", required=False)
@click.option("--with-projects", is_flag=True, help="Copy the template's worked projects as well.")
def init_command(template: str | None, with_projects: bool) -> None:
    """Write a spec (hotdesk.toml) here; with TEMPLATE, that desk's spec and lock."""
    from hotdesk.errors import UsageError
    from hotdesk.lock import LOCK_NAME
    from hotdesk.project import read_template
    from hotdesk.spec import SPEC_NAME, starter_spec

    folder = Path.cwd()
    for name in (SPEC_NAME, LOCK_NAME):
        if (folder / name).exists():
            raise UsageError(
                f"there is a `{name}` here already", hint="remove it first, or go to another folder"
            )
    if template is None:
        if with_projects:
            raise UsageError(
                "projects come with a template", hint="`hotdesk init sdcnd-term1 --with-projects`"
            )
        (folder / SPEC_NAME).write_text(starter_spec(folder.name), encoding="utf-8")
        click.echo(f"wrote {SPEC_NAME}; say in it what is on the desk, then `hotdesk lock` and `hotdesk up`")
        return
    source = read_template(template)
    projects = _copy_projects(template, folder) if with_projects else []
    for path in (source.spec_path, source.lock_path):
        (folder / path.name).write_bytes(path.read_bytes())
    if projects:
        _check_notebooks(folder, projects)
        click.echo(f"wrote {', '.join(projects)}; `hotdesk check` runs their notebooks")
    click.echo(f"wrote {SPEC_NAME} and {LOCK_NAME}; `hotdesk up` opens the desk")


def _copy_projects(template: str, folder: Path) -> list[str]:
    """The names of the folders that were written; none where one of them is there already."""
    import shutil

    from hotdesk.errors import UsageError
    from hotdesk.project import template_projects

    sources = sorted(path for path in template_projects(template).iterdir() if path.is_dir())
    for source in sources:
        if (folder / source.name).exists():
            raise UsageError(
                f"there is a `{source.name}` here already", hint="move it away, or go to another folder"
            )
    for source in sources:
        shutil.copytree(
            source,
            folder / source.name,
            copy_function=shutil.copyfile,  # hotdesk's own may be read-only
            ignore=shutil.ignore_patterns("__pycache__", ".*"),
        )
    return [source.name for source in sources]


def _check_notebooks(folder: Path, projects: Sequence[str]) -> None:
    """Have the spec in `folder` check the notebooks that were copied there."""
    from hotdesk.spec import SPEC_NAME
    from hotdesk.spec.edit import add_notebooks

    path = folder / SPEC_NAME
    notebooks = [
        found.relative_to(folder).as_posix()
        for project in projects
        for found in sorted((folder / project).glob("*.ipynb"))
    ]
    if notebooks:
        path.write_text(add_notebooks(path.read_text(encoding="utf-8"), notebooks), encoding="utf-8")


@click.command(
    "lock",
    short_help="Resolve the spec and write the lock.",
    epilog="Example: `hotdesk lock --upgrade numpy` takes numpy's newest version and keeps all the others.",
)
@click.option("--upgrade", is_flag=True, help="Take new versions: of NAMES, or of everything.")
@click.option(
    "--check", is_flag=True, help="Change nothing; exit with 1 where the lock does not match the spec."
)
@click.argument("names", nargs=-1)
@json_option
def lock_command(upgrade: bool, check: bool, names: tuple[str, ...], as_json: bool) -> None:
    """Resolve every variant and write hotdesk.lock; what is locked stays, unless told."""
    from hotdesk.errors import UsageError
    from hotdesk.project import find_project

    if check and upgrade:
        raise UsageError("`--check` changes nothing, `--upgrade` takes new versions", hint="leave one out")
    if names and not upgrade:
        raise UsageError("names are for `--upgrade`", hint=f"`hotdesk lock --upgrade {' '.join(names)}`")
    project = find_project(Path.cwd())
    if check:
        _check(project, as_json)
        return
    lock_project(project, upgrade=names or upgrade, as_json=as_json)


def _check(project: Project, as_json: bool) -> None:
    from hotdesk.errors import LockError

    try:
        project.read_fresh_lock()
        stale = None
    except LockError as error:
        stale = error
    if as_json:
        print_json({"fresh": stale is None, "why": stale.why or stale.what if stale else ""})
    elif stale is None:
        click.echo("the lock matches the spec")
    else:
        raise stale
    sys.exit(1 if stale else 0)


def lock_project(
    project: Project,
    *,
    text: str | None = None,
    replaces: bytes = b"",
    upgrade: bool | tuple[str, ...] = False,
    preferred: Mapping[str, str] | None = None,
    as_json: bool = False,
    notes: Callable[[], Sequence[str]] = tuple,
) -> None:
    """Resolve, write the lock and say what changed; with `text`, an edited spec is written too.

    `preferred` are versions of new packages to keep to, where it can be; `notes` tells more, at the end.
    Nothing is written before everything is resolved, nor where the spec is not what it `replaces` any more.
    """
    from hotdesk.lock import read_lock, write_lock
    from hotdesk.resolve.locking import make_lock
    from hotdesk.spec import parse_spec
    from hotdesk.store import Store, default_store_path

    previous = read_lock(project.lock_path) if project.lock_path.exists() else None
    spec = project.spec if text is None else parse_spec(text)
    with show_progress() as progress:
        store = Store(default_store_path(), progress.note)
        with store.in_use():
            locking = make_lock(
                spec, previous, store=store, progress=progress, upgrade=upgrade, preferred=preferred or {}
            )
    if text is not None:
        write_edited(project.spec_path, text, replaces)
    write_lock(locking.lock, project.lock_path)
    _report(project, previous, replace(locking, notes=(*locking.notes, *notes())), as_json)


def write_edited(path: Path, text: str, replaces: bytes) -> None:
    """Write the spec, unless somebody has edited it since `replaces` was read: resolving takes a while."""
    from hotdesk.errors import SpecError
    from hotdesk.lock import write_file

    if path.read_bytes() != replaces:
        raise SpecError(
            f"`{path.name}` was edited while its packages were resolved; nothing was written",
            why="writing it now would undo that edit",
            hint="run the same command again",
        )
    write_file(path, text)


def _report(project: Project, previous: Lock | None, locking: Locking, as_json: bool) -> None:
    changes = _changes(previous, locking.lock)
    if as_json:
        print_json({"lock": str(project.lock_path), "changes": changes, "notes": list(locking.notes)})
        return
    for note in locking.notes:
        click.echo(note, err=True)
    if previous is None:
        for name, platform in locking.lock.platforms.items():
            click.echo(f"{name}: {len(platform.debian)} Debian and {len(platform.pypi)} Python packages")
        click.echo(f"wrote {project.lock_path.name}")
        return
    for change in changes:
        click.echo(f"  {change}")
    if not changes:
        click.echo(f"{project.lock_path.name} is up to date")


def _changes(previous: Lock | None, lock: Lock) -> list[str]:
    """One line for each package that came, went or changed its version."""
    before, after = _versions(previous) if previous else {}, _versions(lock)
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is None:
            lines.append(f"+ {name} {new}")
        elif new is None:
            lines.append(f"- {name} {old}")
        else:
            lines.append(f"~ {name} {old} → {new}")
    return lines


def _versions(lock: Lock) -> dict[str, str]:
    versions = {}
    for platform in lock.platforms.values():
        versions.update({package.name: package.version for package in platform.debian})
        versions.update({package.name: package.version for package in platform.pypi})
    return versions


_debian_option = click.option("--debian", is_flag=True, help="NAMES are Debian packages, not PyPI's.")
_variant_option = click.option("--variant", help="Change this variant only, not every one.")


@click.command(
    "add",
    short_help="Add packages to the spec and lock again.",
    epilog="Example: `hotdesk add tqdm 'scipy>=1.14'`, `hotdesk add --debian graphviz`.",
)
@click.argument("names", nargs=-1)
@_debian_option
@_variant_option
@click.option(
    "--adopt",
    is_flag=True,
    help="Add what was installed by hand in this folder's desks: all that was asked for, or NAMES of it.",
)
@json_option
def add_command(
    names: tuple[str, ...], debian: bool, variant: str | None, adopt: bool, as_json: bool
) -> None:
    """Add packages to the spec, keeping its comments, and lock again."""
    from hotdesk.spec.edit import add_requirements

    if adopt and debian:
        raise click.UsageError("what is installed by hand are Python packages: leave out --debian or --adopt")
    if adopt:
        _adopt(names, variant, as_json)
        return
    if not names:
        raise click.UsageError("give the names of packages, or --adopt")
    _edit_and_lock(lambda text: add_requirements(text, names, debian=debian, variant=variant), as_json)


def _adopt(names: tuple[str, ...], variant: str | None, as_json: bool) -> None:
    from hotdesk.cli.by_hand import adoption, left_behind
    from hotdesk.project import find_project
    from hotdesk.spec import decode_spec
    from hotdesk.spec.edit import add_requirements

    project = find_project(Path.cwd())
    adopted = adoption(project, names, variant)
    before = project.spec_path.read_bytes()
    lock_project(
        project,
        text=add_requirements(decode_spec(before), adopted.requirements, variant=variant),
        replaces=before,
        preferred=adopted.versions,
        as_json=as_json,
        notes=lambda: (*adopted.notes, *left_behind(project, variant)),
    )


@click.command(
    "remove", short_help="Remove packages and lock again.", epilog="Example: `hotdesk remove seaborn`."
)
@click.argument("names", nargs=-1, required=True)
@_debian_option
@_variant_option
@json_option
def remove_command(names: tuple[str, ...], debian: bool, variant: str | None, as_json: bool) -> None:
    """Remove packages from the spec, keeping its comments, and lock again."""
    from hotdesk.spec.edit import remove_requirements

    _edit_and_lock(lambda text: remove_requirements(text, names, debian=debian, variant=variant), as_json)


def _edit_and_lock(edit: Callable[[str], str], as_json: bool) -> None:
    from hotdesk.project import find_project
    from hotdesk.spec import decode_spec

    project = find_project(Path.cwd())
    before = project.spec_path.read_bytes()
    lock_project(project, text=edit(decode_spec(before)), replaces=before, as_json=as_json)
