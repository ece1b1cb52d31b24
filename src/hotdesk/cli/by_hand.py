"""Packages installed by hand in a desk: what is said of them, and how the spec and the lock take them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotdesk.errors import HotdeskError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hotdesk.desk import Desk
    from hotdesk.desk.by_hand import ByHand
    from hotdesk.project import Project

_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Adoption:
    """`requirements` are for the spec; the lock is to keep to `versions`, where it can."""

    requirements: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def lines_about(desk: Desk, packages: Iterable[ByHand]) -> list[str]:
    """What the user of a desk should know of its packages that are in no lock."""
    packages = list(packages)
    lines = []
    if outside := [package for package in packages if not package.hidden]:
        count = f"{len(outside)} package{'s' * (len(outside) > 1)}"
        lines.append(
            f"{desk.name} has {count} outside its lock, installed by hand: {_listed(outside)}; "
            "`hotdesk add --adopt` takes what you asked for into the lock"
        )
    if hidden := [package for package in packages if package.hidden]:
        lines.append(
            f"{desk.name} does not use {_listed(hidden)}, installed by hand: what its lock has of that name "
            f"comes first; `{_removal(hidden)}` in the desk removes the copy"
        )
    return lines


def adoption(project: Project, names: Sequence[str], variant: str | None) -> Adoption:
    """What was asked for by hand in the desks of this project, or what of all that is in `names`."""
    from hotdesk.spec.requirements import normalized_name

    found = _found(project, variant, _locked(project))
    outside = {package.name: package for package in found if not package.hidden}
    wanted = [normalized_name(name) for name in names]
    for name in wanted:
        if name not in outside:
            raise UsageError(
                f"`{name}` is not installed by hand, outside the lock",
                why=f"what is: {_listed(outside.values())}" if outside else "nothing is",
                hint=f"`hotdesk add {name}` adds it",
            )
    chosen = [outside[name] for name in wanted or outside if wanted or outside[name].requested]
    foreign = [package for package in chosen if not package.from_index]
    chosen = [package for package in chosen if package.from_index]
    if not chosen:
        raise _nothing_to_adopt(project.folder, outside.values(), foreign)
    return Adoption(
        tuple(f"{package.name}>={_public(package)}" for package in chosen),
        {package.name: package.version for package in outside.values() if package.from_index},
        tuple(f"{package} stays outside: {_FOREIGN}" for package in foreign),
    )


_FOREIGN = "it came from a folder, a file or a repository, and a lock holds what an index offers"


def left_behind(project: Project, variant: str | None) -> list[str]:
    """What to do about the copies that the lock of now makes needless."""
    hidden = [package for package in _found(project, variant, _locked(project)) if package.hidden]
    if not hidden:
        return []
    return [
        f"a desk that is opened on this lock does not use the copies installed by hand any more; "
        f"`hotdesk run -- {_removal(hidden)}` removes them"
    ]


def _found(project: Project, variant: str | None, locked: frozenset[str]) -> list[ByHand]:
    from hotdesk.desk import desks
    from hotdesk.desk.by_hand import installed_by_hand

    return [
        package
        for desk in desks()
        if desk.project == project.folder and variant in (None, desk.labels.get("variant"))
        for package in installed_by_hand(desk.home, project.spec.python, locked)
    ]


def _locked(project: Project) -> frozenset[str]:
    from hotdesk.lock import read_lock

    try:
        platforms = read_lock(project.lock_path).platforms.values()
    except HotdeskError:  # there is none, and one will be made
        return frozenset()
    return frozenset(package.name for platform in platforms for package in platform.pypi)


def _nothing_to_adopt(folder: Path, outside: Iterable[ByHand], foreign: Sequence[ByHand]) -> UsageError:
    if foreign:
        why = f"{_listed(foreign)}: {_FOREIGN}"
    elif needed := [package for package in outside if not package.requested]:
        why = f"{_listed(needed)} came with others that are not there any more; to keep one, give its name"
    else:
        why = f"no desk on {folder} has a package that is not in the lock"
    return UsageError("there is nothing to adopt", why=why, hint="`hotdesk add NAME` adds any other package")


def _public(package: ByHand) -> str:
    return package.version.partition("+")[0]


def _removal(packages: Iterable[ByHand]) -> str:
    return f"pip uninstall --yes {' '.join(sorted({package.name for package in packages}))}"


def _listed(packages: Iterable[ByHand]) -> str:
    texts = sorted({str(package) for package in packages})
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return f"{', '.join(texts[:_MOST_NAMED])}{more}"
