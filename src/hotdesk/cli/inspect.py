"""What images hold, and whether they are what they say: image, verify."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotdesk.cli.options import offline_option, platform_option, variant_option
from hotdesk.cli.output import human_bytes, json_option, mark, plain, print_json, print_table
from hotdesk.cli.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotdesk.build.comparison import Comparison
    from hotdesk.lock import LockedVariant
    from hotdesk.oci.inventory import Contents
    from hotdesk.oci.model import Image
    from hotdesk.opening import Preparation
    from hotdesk.project import Project
    from hotdesk.store import Store

_NAMED = 4
_MOST_LINES = 40
_what_argument = click.argument("what", metavar="[IMAGE, TEMPLATE or FOLDER]", required=False)


@dataclass(frozen=True, slots=True)
class _Subject:
    """The image that a command is about; `locked` is the lock that it was built from, where that is known."""

    title: str
    image: Image
    built_here: bool
    locked: LockedVariant | None


@click.command(
    "image",
    short_help="Show what is in an image.",
    epilog="Example: `hotdesk image --html desk.html`, then open desk.html in a browser.",
)
@_what_argument
@variant_option
@platform_option
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw it as a treemap, a page of its own that needs no network.",
)
@offline_option
@json_option
def image_command(
    what: str | None,
    *,
    variant: str | None,
    platform: str | None,
    page: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Show an image's layers: their size, the packages in each, and which other image has them too.

    Without an IMAGE it is this project's. An IMAGE is a reference such as registry.example/desk:1, or a file
    or folder that `hotdesk build -o PATH` wrote.
    """
    from hotdesk.oci.inventory import own_inventory, take_inventory
    from hotdesk.opening import Preparation

    with (
        show_progress() as progress,
        _subject(what, variant, platform, Preparation(offline, progress)) as (subject, store),
    ):
        take = own_inventory if subject.built_here else take_inventory
        contents = take(subject.image, progress)
        shared = _shared(subject.image, store)
    if page is not None:
        page.write_text(_drawn(subject, contents, shared), encoding="utf-8")
    if as_json:
        print_json(_as_json(subject.image, contents, shared))
    elif page is not None:
        click.echo(f"drew {subject.title} into {page}")
    else:
        click.echo(_summary(subject.image, contents))
        print_table(
            _COLUMNS, [[plain(cell) for cell in row] for row in _rows(subject.image, contents, shared)]
        )


@click.command(
    "verify",
    short_help="Check an image against its digests and the lock.",
    epilog="Example: `hotdesk verify desk.tar`; the exit code is 1 where something differs.",
)
@_what_argument
@variant_option
@platform_option
@offline_option
@json_option
def verify_command(
    what: str | None, *, variant: str | None, platform: str | None, offline: bool, as_json: bool
) -> None:
    """Recompute everything that an image says of itself, and compare its files with the lock's wheels.

    Without an IMAGE it is this project's. Files are compared where this folder's lock is the one that the
    image was built from, or where --variant names what it should be.
    """
    from hotdesk.build.comparison import compare
    from hotdesk.oci.validate import check_recipes, problems
    from hotdesk.opening import Preparation

    comparison: Comparison | None = None
    with show_progress() as progress:
        preparation = Preparation(offline, progress)
        with _subject(what, variant, platform, preparation) as (subject, store):
            if subject.locked:
                _fetch_wheels(store, subject.locked, preparation)
                found, comparison = compare(subject.image, store, subject.locked, progress)
            else:
                found = problems(subject.image, progress)
            if subject.built_here:
                found += check_recipes(subject.image, progress)
    image = subject.image
    differences = list(comparison.differences) if comparison else []
    if as_json:
        print_json(
            {
                "id": image.id,
                "manifest": image.manifest.descriptor.digest,
                "problems": found,
                "differences": differences if comparison else None,
                "compared": comparison.compared if comparison else 0,
            }
        )
    else:
        _print_verified(subject, found, comparison)
    sys.exit(1 if found or differences else 0)


_COLUMNS = ("LAYER", "SIZE", "UNPACKED", "SHARED WITH", "HOLDS")


@contextmanager
def _subject(
    what: str | None, variant: str | None, platform: str | None, preparation: Preparation
) -> Iterator[tuple[_Subject, Store]]:
    """The image that is meant; what it is made of stays in the store meanwhile."""
    from hotdesk.image_desks import find_source, read_image
    from hotdesk.keys import Keys
    from hotdesk.packing import build_project_image
    from hotdesk.project import open_project
    from hotdesk.store import Store, default_store_path

    store = Store(default_store_path(), preparation.progress.note)
    source = find_source(what, Path.cwd()) if what is not None else None
    if source:
        with read_image(source, store, preparation, platform) as (image, _):
            title = source.path.name if source.path else source.reference
            yield _Subject(title, image, False, _lock_of(image, variant)), store
        return
    project = open_project(what, Path.cwd())
    locked = project.select(variant, platform)
    with store.using(Keys.of(locked).parts()):
        image = build_project_image(project, preparation, variant=variant, platform=platform)
        yield _Subject(f"{project.spec.name} ({locked.variant})", image, True, locked), store


def _project_here() -> Project | None:
    from hotdesk.errors import UsageError
    from hotdesk.project import find_project

    try:
        return find_project(Path.cwd())
    except UsageError:
        return None


def _lock_of(image: Image, variant: str | None) -> LockedVariant | None:
    """What this folder's lock says of the image where it knows it, or of the variant that it should be."""
    from hotdesk.lock import LOCK_NAME, read_lock

    project = _project_here()
    if project is None or not project.lock_path.exists():
        if variant is not None:
            raise click.UsageError(f"there is no `{LOCK_NAME}` here that could have the variant `{variant}`")
        return None
    lock = read_lock(project.lock_path)
    if variant is not None:
        return lock.select(image.platform, variant)
    for platform, variants in lock.images.items():
        for name, locked in variants.items():
            if locked.id == image.id:
                return lock.select(platform, name)
    return None


def _shared(image: Image, store: Store) -> list[list[str]]:
    """For each layer, which other images have it: those of this folder's lock, and those that were pulled."""
    from hotdesk.errors import LockError
    from hotdesk.lock import read_lock
    from hotdesk.oci.pulled import known_images

    others: dict[str, frozenset[str]] = {}
    if project := _project_here():
        with suppress(LockError):
            for variants in read_lock(project.lock_path).images.values():
                for name, locked in variants.items():
                    others[name] = frozenset(layer.diff_id for layer in locked.layers)
    others |= known_images(store)
    own = {layer.diff_id for layer in image.layers}
    return [
        sorted(name for name, held in others.items() if layer.diff_id in held and held != own)
        for layer in image.layers
    ]


def _fetch_wheels(store: Store, locked: LockedVariant, preparation: Preparation) -> None:
    from hotdesk.build.comparison import missing_wheels
    from hotdesk.errors import NotCachedError
    from hotdesk.fetch import Fetcher

    missing = missing_wheels(store, locked)
    if built := [package.name for package in missing if package.build]:
        raise NotCachedError(
            f"the wheel of `{built[0]}` is not in the store",
            why="no index has it: it was built here, from an sdist",
            hint="`hotdesk build` builds it again",
        )
    if missing:
        with Fetcher(
            store, offline=preparation.offline, snapshot=locked.snapshot, progress=preparation.progress
        ) as fetcher:
            for _ in fetcher.fetch([package.artifact for package in missing]):
                pass


def _summary(image: Image, contents: Sequence[Contents]) -> str:
    size = sum(layer.blob.descriptor.size for layer in image.layers)
    unpacked = sum(layer.tar_size for layer in contents)
    return (
        f"{image.id} for {image.platform}: {len(image.layers)} layers, "
        f"{human_bytes(size)}, {human_bytes(unpacked)} unpacked"
    )


def _rows(image: Image, contents: Sequence[Contents], shared: Sequence[Sequence[str]]) -> list[list[str]]:
    return [
        [
            str(number),
            human_bytes(layer.blob.descriptor.size),
            human_bytes(held.tar_size),
            ", ".join(others) or "-",
            _holds(held) if held.holdings else layer.history[:80],
        ]
        for number, (layer, held, others) in enumerate(zip(image.layers, contents, shared, strict=True), 1)
    ]


def _holds(contents: Contents) -> str:
    named = [str(holding.package) for holding in contents.holdings[:_NAMED]]
    more = len(contents.holdings) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _as_json(
    image: Image, contents: Sequence[Contents], shared: Sequence[Sequence[str]]
) -> dict[str, object]:
    return {
        "id": image.id,
        "manifest": image.manifest.descriptor.digest,
        "platform": image.platform,
        "layers": [
            {
                "digest": layer.blob.descriptor.digest,
                "diff_id": layer.diff_id,
                "size": layer.blob.descriptor.size,
                "unpacked": held.tar_size,
                "shared_with": list(others),
                "history": layer.history,
                "packages": [
                    {
                        "kind": holding.package.ecosystem or None,
                        "name": holding.package.name or None,
                        "version": holding.package.version or None,
                        "files": holding.files,
                        "size": holding.size,
                    }
                    for holding in held.holdings
                ],
            }
            for layer, held, others in zip(image.layers, contents, shared, strict=True)
        ],
    }


def _drawn(subject: _Subject, contents: Sequence[Contents], shared: Sequence[Sequence[str]]) -> str:
    from hotdesk.cli.treemap import Part, page

    rows = _rows(subject.image, contents, shared)
    parts = [
        Part(
            label=f"layer {row[0]}",
            title=f"layer {row[0]}: {row[1]}, {row[2]} unpacked: {row[4]}",
            size=held.tar_size,
            parts=tuple(
                Part(
                    str(holding.package),
                    f"{holding.package}: {human_bytes(holding.size)}, {holding.files} files, layer {row[0]}",
                    holding.size,
                )
                for holding in held.holdings
            ),
        )
        for row, held in zip(rows, contents, strict=True)
    ]
    return page(subject.title, _summary(subject.image, contents), parts, _COLUMNS, rows)


def _print_verified(subject: _Subject, found: Sequence[str], comparison: Comparison | None) -> None:
    image = subject.image
    what = f"{image.id}: {len(image.layers)} layers, every digest, size and path"
    _print_check(what, found)
    if comparison is None:
        click.echo(
            f"{mark(ok=False, needed=False)}no lock is known for this image: its files were not compared"
        )
        return
    what = f"{comparison.compared} files and links of the environment, as the lock's wheels have them"
    _print_check(what, comparison.differences)
    made = f"{comparison.unlisted} files of bytecode and the base system are in no wheel"
    click.echo(f"{mark(ok=False, needed=False)}{made}: the image's ID vouches for them")


def _print_check(what: str, problems: Sequence[str]) -> None:
    click.echo(f"{mark(ok=not problems)}{what}")
    for line in problems[:_MOST_LINES]:
        click.echo(f"      {plain(line)}")
    if len(problems) > _MOST_LINES:
        click.echo(f"      and {len(problems) - _MOST_LINES} more")
