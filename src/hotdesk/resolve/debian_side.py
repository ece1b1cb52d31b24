"""The Debian half of a lock: indexes, requests of all variants and platforms, locked packages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotdesk.errors import NoPlatformError, ResolveError
from hotdesk.indexes.debian import debian_archives
from hotdesk.indexes.debian_release import fetch_indexes
from hotdesk.resolve.base import find_base, python_requests
from hotdesk.resolve.debian import locked_packages, resolve
from hotdesk.resolve.debian_universe import Universe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotdesk.lock import DebianPackage
    from hotdesk.lock_base import LockedBase
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_LONG_AGO = "19700101T000000Z"

# What every desk needs: its interpreter, the authorities that HTTPS trusts, and the C++ library that
# wheels for Linux leave to the system.
ALWAYS = ("python3", "ca-certificates", "libstdc++6")


@dataclass(frozen=True, slots=True)
class DebianRequest:
    """`asked` has each variant's packages; those in `upgrade` (None: all) need not keep their version.

    Where the base is an image, `source` is its reference, and `images` are those that stay, by platform.
    """

    base: str
    asked: Mapping[str, tuple[str, ...]]
    upgrade: frozenset[str] | None = frozenset()
    python: str = ""
    source: str = ""
    images: Mapping[str, LockedBase] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DebianAnswer:
    """By platform: its packages, why a variant cannot be had, and the image that they are installed on."""

    snapshot: str
    packages: Mapping[str, tuple[DebianPackage, ...]]
    unavailable: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    bases: Mapping[str, LockedBase] = field(default_factory=dict)


def resolve_debian(
    request: DebianRequest,
    platforms: Sequence[str],
    previous: Mapping[str, tuple[DebianPackage, ...]],
    store: Store,
    progress: Progress,
) -> DebianAnswer:
    """All variants on all `platforms`; the newest indexes date the snapshot."""

    def one(platform: str) -> DebianAnswer:
        return _resolve_platform(request, platform, previous.get(platform, ()), store, progress)

    with ThreadPoolExecutor(max_workers=len(platforms)) as pool:
        answers = list(pool.map(one, platforms))
    return DebianAnswer(
        snapshot=max(answer.snapshot for answer in answers),
        packages={name: packages for answer in answers for name, packages in answer.packages.items()},
        unavailable={name: reasons for answer in answers for name, reasons in answer.unavailable.items()},
        bases={name: base for answer in answers for name, base in answer.bases.items()},
    )


def _resolve_platform(
    request: DebianRequest,
    platform: str,
    previous: tuple[DebianPackage, ...],
    store: Store,
    progress: Progress,
) -> DebianAnswer:
    base = None
    if request.source:
        try:
            base = find_base(store, request.source, platform, request.images.get(platform), progress)
        except NoPlatformError as error:
            reason = f"the image of the base is not for {platform}: {error.why}"  # a lock names no registry
            reasons = dict.fromkeys(request.asked, reason)
            return DebianAnswer(_LONG_AGO, {platform: ()}, {platform: reasons})
    indexes = fetch_indexes(
        base.release if base else request.base,
        platform.partition("/")[2],
        debian_archives(),
        store,
        keyring=base.keyring if base and base.keyring else None,
        progress=progress,
    )
    universe = Universe(indexes.packages, base.installed if base else b"")
    always = [*python_requests(universe, request.python), *ALWAYS[1:]] if base else ALWAYS
    prefer = {}
    if request.upgrade is not None:
        prefer = {
            package.name: package.version for package in previous if package.name not in request.upgrade
        }
    answers, failures = {}, {}
    for variant, names in request.asked.items():
        try:
            answers[variant] = resolve(universe, [*always, *names], prefer)
        except ResolveError as error:
            failures[variant] = error.why or error.what
    new = {variant: [one for one in found if not one.installed] for variant, found in answers.items()}
    bases = {platform: base.locked(request.python, answers.values())} if base and answers else {}
    return DebianAnswer(indexes.snapshot, {platform: locked_packages(new)}, {platform: failures}, bases)
