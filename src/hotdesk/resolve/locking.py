"""Spec to lock: the whole recipe.

Debian's packages and Python's are resolved beside one another, each variant on each platform, keeping
what is locked; then the Python packages get their layers.
"""

from __future__ import annotations

import difflib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hotdesk.errors import ResolveError, UsageError
from hotdesk.fetch import remember
from hotdesk.layers.plan import plan_layers
from hotdesk.lock import Inputs, Lock, PlatformLock
from hotdesk.lock_images import keep_images
from hotdesk.progress import SILENT
from hotdesk.project import host_platform
from hotdesk.resolve.debian_side import DebianAnswer, DebianRequest, resolve_debian
from hotdesk.resolve.pypi import PythonRequest, PythonResolution
from hotdesk.resolve.python_side import PythonTools
from hotdesk.spec import PLATFORMS, Spec
from hotdesk.spec.requirements import normalized_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hotdesk.lock import Artifact, DebianPackage
    from hotdesk.lock_base import LockedBase
    from hotdesk.progress import Progress
    from hotdesk.resolve.uv import Uv
    from hotdesk.store import Store

Upgrade = bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Locking:
    """A new lock; `places` are the addresses where new files were seen; `notes` are for the user."""

    lock: Lock
    places: tuple[tuple[Artifact, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machinery:
    """What locking works with.

    `base_system` builds the base of these Debian packages, dated as the lock, and gives its tree: what
    packages without a wheel are built on. It and `uv` are made where none is given.
    """

    store: Store
    progress: Progress = SILENT
    base_system: Callable[[tuple[DebianPackage, ...], str], Path] | None = None
    uv: Uv | None = None


def make_lock(
    spec: Spec,
    previous: Lock | None,
    *,
    store: Store,
    progress: Progress = SILENT,
    upgrade: Upgrade = False,
    replan: bool = False,
    preferred: Mapping[str, str] | None = None,
    base_system: Callable[[tuple[DebianPackage, ...], str], Path] | None = None,
    uv: Uv | None = None,
) -> Locking:
    """The lock of `spec`. What `previous` locks stays, but for the packages in `upgrade` (True: all).

    New packages get the versions in `preferred`, by normalized name, where that can be.
    """
    machinery = Machinery(store, progress, base_system, uv)
    locking = Recipe(spec, previous, upgrade, replan, machinery, preferred or {}).make()
    for artifact, url in locking.places:
        remember(store, artifact, url)
    return locking


@dataclass(slots=True)
class Recipe:
    spec: Spec
    previous: Lock | None
    upgrade: Upgrade
    replan: bool
    machinery: Machinery
    preferred: Mapping[str, str] = field(default_factory=dict)
    inputs: Inputs = field(init=False)
    before: Inputs | None = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = self.spec.inputs()
        same_world = self.previous and (self.previous.inputs.base, self.previous.inputs.python) == (
            self.inputs.base,
            self.inputs.python,
        )
        if not same_world:
            self.previous = None
        self.before = self.previous.inputs if self.previous else None
        if isinstance(self.upgrade, tuple):
            self.upgrade = tuple(normalized_name(name) for name in self.upgrade)
            _check_names(self.upgrade, self.previous)

    @property
    def platforms(self) -> tuple[str, ...]:
        return self.inputs.platforms or PLATFORMS

    def make(self) -> Locking:
        with (
            self.machinery.progress.task("resolving", len(self.platforms)) as task,
            ThreadPoolExecutor(max_workers=len(self.platforms) + 1) as pool,
        ):
            debian = pool.submit(self._debian)
            tools = PythonTools(self, debian)
            python = self._python(tools, task.advance)
            system = debian.result()
        failed = {
            platform: {**system.unavailable.get(platform, {}), **python[platform].unavailable}
            for platform in self.platforms
        }
        self._insist(failed, python)
        lock = Lock(
            inputs=self.inputs,
            snapshot=system.snapshot,
            platforms={
                platform: self._platform(platform, system, python[platform], failed[platform])
                for platform in self.platforms
            },
        )
        if self.previous:
            lock = keep_images(lock, self.previous)
        tools.verify_builds(lock, self.previous)
        places = tuple(place for resolution in python.values() for place in resolution.places)
        notes = tuple(
            f"`{variant}` cannot be had on {platform}: {_first_line(reason)}"
            for platform, reasons in failed.items()
            for variant, reason in reasons.items()
        )
        return Locking(lock, places, notes)

    def _platform(
        self, platform: str, system: DebianAnswer, python: PythonResolution, failed: Mapping[str, str]
    ) -> PlatformLock:
        def held(variants: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(variant for variant in variants if variant not in failed)

        before = self._locked(platform)
        packages = [
            replace(package, variants=held(package.variants))
            for package in python.packages
            if held(package.variants)
        ]
        return PlatformLock(
            debian=tuple(
                replace(package, variants=held(package.variants))
                for package in system.packages.get(platform, ())
                if held(package.variants)
            ),
            pypi=plan_layers(packages, before.pypi if before else (), replan=self.replan),
            unavailable=failed,
            base=system.bases.get(platform),
        )

    def _insist(
        self, failed: Mapping[str, Mapping[str, str]], python: Mapping[str, PythonResolution]
    ) -> None:
        """Raise where a variant cannot be had on a platform the spec names, or on no platform at all."""
        for platform in self.platforms:
            for variant, reason in failed[platform].items():
                if self.inputs.platforms or all(variant in reasons for reasons in failed.values()):
                    raise ResolveError(
                        f"the packages of `{variant}` cannot be had together on {platform}",
                        why=python[platform].explanations.get(variant, reason),
                        hint="change the requirements in `hotdesk.toml`, or try `hotdesk lock --upgrade`",
                    )

    def _locked(self, platform: str) -> PlatformLock | None:
        return self.previous.platforms.get(platform) if self.previous else None

    # Debian

    def _debian(self) -> DebianAnswer:
        request = DebianRequest(
            base=self.inputs.base,
            asked={
                name: (*self.inputs.debian, *debian) for name, (_, debian) in self.inputs.variants.items()
            },
            upgrade=self._upgraded(),
            python=self.inputs.python,
            source=self.spec.base_reference,
            images=self._kept_images(),
        )
        kept = self._kept_debian(request)
        if kept is not None:
            return kept
        before = {name: locked for name in self.platforms if (locked := self._locked(name))}
        return resolve_debian(
            request,
            self.platforms,
            {name: locked.debian for name, locked in before.items()},
            self.machinery.store,
            self.machinery.progress,
        )

    def _kept_images(self) -> dict[str, LockedBase]:
        """The images that the desk was built on; a whole upgrade takes those that the tag leads to now."""
        if self.previous is None or self.upgrade is True:
            return {}
        locked = self.previous.platforms
        return {name: base for name in locked if (base := locked[name].base)}

    def _kept_debian(self, request: DebianRequest) -> DebianAnswer | None:
        """What was locked, where nothing about it is to change."""
        if self.previous is None or self.before is None or self.upgrade is True:
            return None
        before = {name: (*self.before.debian, *own) for name, (_, own) in self.before.variants.items()}
        locked = {name: self.previous.platforms.get(name) for name in self.platforms}
        if before != request.asked or not all(locked.values()):
            return None
        names = {package.name for one in locked.values() if one for package in one.debian}
        if request.upgrade and request.upgrade & names:
            return None
        edited = self.before != self.inputs or self.upgrade
        if edited and any(one.unavailable for one in locked.values() if one and not one.debian):
            return None  # what was in the way of that platform may be gone, and then it needs its packages
        return DebianAnswer(
            self.previous.snapshot,
            {name: one.debian for name, one in locked.items() if one},
            bases=self._kept_images(),
        )

    # Python

    def _upgraded(self) -> frozenset[str] | None:
        """The names to take anew; None for all."""
        return (
            frozenset(self.upgrade)
            if isinstance(self.upgrade, tuple)
            else None
            if self.upgrade
            else frozenset()
        )

    def _python(self, tools: PythonTools, advance: Callable[[int], None]) -> dict[str, PythonResolution]:
        requests = {platform: self._request(platform) for platform in self.platforms}
        # Wheels built for this machine's own platform may serve the others, which wait for them.
        own_first = sorted(self.platforms, key=lambda platform: platform != host_platform())
        answers: dict[str, PythonResolution] = {}

        def answer(platform: str) -> PythonResolution:
            request, kept = requests[platform]
            elsewhere = {
                **self.preferred,
                **{package.name: package.version for one in [*answers.values()] for package in one.packages},
            }
            try:
                request = replace(request, elsewhere=elsewhere)
                found = kept or tools.resolve(platform, request)
            finally:
                tools.finished(platform)
            advance(1)
            return found

        if all(kept or request.added is not None for request, kept in requests.values()):
            with ThreadPoolExecutor(max_workers=len(requests)) as pool:
                return dict(zip(own_first, pool.map(answer, own_first), strict=True))
        for platform in own_first:
            answers[platform] = answer(platform)
        return answers

    def _request(self, platform: str) -> tuple[PythonRequest, PythonResolution | None]:
        """What to ask for on `platform`; and the answer too, where nothing about it is to change."""
        asked = _asked(self.inputs)
        locked = self._locked(platform)
        request = PythonRequest(asked, locked.pypi if locked else (), upgrade=self._upgraded())
        if locked is None or self.before is None or self.upgrade is True:
            return request, None
        names = {package.name for package in locked.pypi}
        before = _asked(self.before)
        if before.keys() != asked.keys() or (request.upgrade and request.upgrade & names):
            return request, None
        if before == asked:
            return request, PythonResolution(locked.pypi, locked.unavailable, ())
        new = {name: _without(asked[name], before[name]) for name in asked if name not in locked.unavailable}
        gone = any(_without(before[name], asked[name]) for name in asked)
        request = replace(request, known_unavailable=locked.unavailable)
        if gone:
            return replace(request, only_removed=not any(new.values())), None
        if self.preferred:
            return request, None
        return replace(request, added=new), None


def _asked(inputs: Inputs) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted({*inputs.pypi, *own})) for name, (own, _) in inputs.variants.items()}


def _without(these: tuple[str, ...], those: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one for one in these if one not in those)


def _check_names(names: tuple[str, ...], previous: Lock | None) -> None:
    known: set[str] = set()
    for platform in previous.platforms.values() if previous else ():
        known.update(package.name for package in platform.debian)
        known.update(package.name for package in platform.pypi)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise UsageError(
                f"`{name}` is not locked, so it cannot be upgraded",
                hint=f"did you mean `{close[0]}`?" if close else "`hotdesk add` adds a package",
            )


def _first_line(reason: str) -> str:
    return reason.splitlines()[0] if reason else "no reason given"
