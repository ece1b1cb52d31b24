"""The Python half of a lock: a resolver for each platform, and what builds packages without a wheel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hotdesk.keys import system_key
from hotdesk.project import host_platform
from hotdesk.resolve.pypi import UNPLANNED, PythonRequest, PythonResolution, PythonResolver
from hotdesk.resolve.sdists import SdistBuilder
from hotdesk.resolve.uv import Uv
from hotdesk.resolve.wheels import Target

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from hotdesk.lock import DebianPackage, Lock, PythonPackage
    from hotdesk.resolve.debian_side import DebianAnswer
    from hotdesk.resolve.locking import Recipe


class PythonTools:
    """Makes one resolver for each platform; uv and the workshop for sdists are shared."""

    def __init__(self, recipe: Recipe, debian: Future[DebianAnswer]) -> None:
        self._machinery = machinery = recipe.machinery
        self._base, self._source = recipe.inputs.base, recipe.spec.base_reference
        self._debian = debian
        self._uv = machinery.uv or Uv(machinery.store)
        self._sdists: SdistBuilder | None = None
        platform = host_platform()
        target = self._target(platform) if platform in recipe.platforms else None
        if target:
            build_base = machinery.base_system or self._make_base_system
            kept = [
                package
                for locked in (recipe.previous.platforms.values() if recipe.previous else ())
                for package in locked.pypi
                if package.build
            ]

            def base_system(variant: str) -> tuple[Path, str]:
                answer = debian.result()
                packages = _held(answer.packages.get(platform, ()), variant)
                return build_base(packages, answer.snapshot), system_key(packages, answer.bases.get(platform))

            self._sdists = SdistBuilder(
                target,
                self._uv,
                machinery.store,
                base_system,
                kept=kept,
                insisted=bool(recipe.inputs.platforms),
                progress=machinery.progress,
            )

    def resolve(self, platform: str, request: PythonRequest) -> PythonResolution:
        """The Python packages; none where there is no image of the base for the platform, which says why."""
        target = self._target(platform)
        if target is None:
            return PythonResolution((), {}, ())
        return PythonResolver(target, self._uv.compile, self._sdists).resolve(request)

    def _target(self, platform: str) -> Target | None:
        """What is on an image decides what fits; else the release says it without waiting."""
        if not self._source:
            return Target(platform, self._base)
        image = self._debian.result().bases.get(platform)
        return Target(platform, image.release, (image.python, image.glibc)) if image else None

    def finished(self, platform: str) -> None:
        """`platform` has its packages, or cannot have them."""
        if self._sdists and platform == host_platform():
            self._sdists.finished()

    def _make_base_system(self, packages: tuple[DebianPackage, ...], snapshot: str) -> Path:
        from hotdesk.build.assembly import make_base_system
        from hotdesk.build.base import bring_image
        from hotdesk.fetch import Fetcher

        store, progress = self._machinery.store, self._machinery.progress
        base = self._debian.result().bases.get(host_platform())
        if base:
            bring_image(store, base, self._source, host_platform(), progress=progress)
        with Fetcher(store, snapshot=snapshot, progress=progress) as fetcher:
            return make_base_system(store, packages, fetcher, progress, base=base)

    def verify_builds(self, lock: Lock, previous: Lock | None) -> None:
        """Build what is locked as an sdist on the base system of each variant that holds it."""
        if self._sdists:
            for package, variant, _ in sorted(
                _builds(lock) - (_builds(previous) if previous else set()), key=str
            ):
                self._sdists.verify(package, variant)


def _builds(lock: Lock) -> set[tuple[PythonPackage, str, str]]:
    """Each package to build on this machine's platform, with each variant that does, and its base system."""
    locked = lock.platforms.get(host_platform())
    return {
        (
            replace(package, layer=UNPLANNED, variants=()),
            variant,
            system_key(_held(locked.debian, variant), locked.base),
        )
        for package in (locked.pypi if locked else ())
        if package.build and locked
        for variant in package.variants
    }


def _held(packages: tuple[DebianPackage, ...], variant: str) -> tuple[DebianPackage, ...]:
    return tuple(package for package in packages if variant in package.variants)
