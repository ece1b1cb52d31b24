"""The Debian half of a lock: indexes, requests of all variants and platforms, locked packages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotdesk.errors import ResolveError
from hotdesk.indexes.debian import debian_archives
from hotdesk.indexes.debian_release import fetch_indexes
from hotdesk.resolve.debian import locked_packages, resolve
from hotdesk.resolve.debian_universe import Universe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotdesk.lock import DebianPackage
    from hotdesk.progress import Progress
    from hotdesk.store import Store

# What every desk needs: its interpreter, the authorities that HTTPS trusts, and the C++ library that
# wheels for Linux leave to the system.
ALWAYS = ("python3", "ca-certificates", "libstdc++6")


@dataclass(frozen=True, slots=True)
class DebianRequest:
    """`asked` has each variant's packages; those in `upgrade` (None: all) need not keep their version."""

    base: str
    asked: Mapping[str, tuple[str, ...]]
    upgrade: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class DebianAnswer:
    """By platform: its packages, and why a variant cannot be had."""

    snapshot: str
    packages: Mapping[str, tuple[DebianPackage, ...]]
    unavailable: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def resolve_debian(
    request: DebianRequest,
    platforms: Sequence[str],
    previous: Mapping[str, tuple[DebianPackage, ...]],
    store: Store,
    progress: Progress,
) -> DebianAnswer:
    """All variants on all `platforms`; the newest indexes date the snapshot."""

    def one(platform: str) -> tuple[str, tuple[DebianPackage, ...], dict[str, str]]:
        return _resolve_platform(request, platform, previous.get(platform, ()), store, progress)

    with ThreadPoolExecutor(max_workers=len(platforms)) as pool:
        answers = dict(zip(platforms, pool.map(one, platforms), strict=True))
    return DebianAnswer(
        snapshot=max(snapshot for snapshot, _, _ in answers.values()),
        packages={platform: packages for platform, (_, packages, _) in answers.items()},
        unavailable={platform: failures for platform, (_, _, failures) in answers.items()},
    )


def _resolve_platform(
    request: DebianRequest,
    platform: str,
    previous: tuple[DebianPackage, ...],
    store: Store,
    progress: Progress,
) -> tuple[str, tuple[DebianPackage, ...], dict[str, str]]:
    release = request.base.partition(":")[2]
    architecture = platform.partition("/")[2]
    indexes = fetch_indexes(release, architecture, debian_archives(), store, progress=progress)
    universe = Universe(indexes.packages)
    prefer = {}
    if request.upgrade is not None:
        prefer = {
            package.name: package.version for package in previous if package.name not in request.upgrade
        }
    answers, failures = {}, {}
    for variant, names in request.asked.items():
        try:
            answers[variant] = resolve(universe, [*ALWAYS, *names], prefer)
        except ResolveError as error:
            failures[variant] = error.why or error.what
    return indexes.snapshot, locked_packages(answers), failures
