"""Requirements of one platform's variants to locked wheels."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from packaging.version import Version

from hotdesk.errors import NotCachedError, ResolveError
from hotdesk.lock import Artifact, Build, PythonPackage
from hotdesk.resolve.sizes import sizes_of
from hotdesk.resolve.uv import Choice, NoSolution, Offer, Question, access_denied
from hotdesk.resolve.wheels import Target, best_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Requirements = tuple[str, ...]
_ROUNDS = 10
UNPLANNED = -1


@dataclass(frozen=True, slots=True)
class PythonRequest:
    """What one platform should hold.

    `asked` has each variant's requirements, `[packages]` included. `previous` is what was locked,
    `elsewhere` what another platform got; both are kept to where that is possible, but not the packages
    in `upgrade` (None: none of them is kept). `added` has the requirements that are new of each variant
    that could be had, where nothing else changed; `known_unavailable` then says why the others could not.
    """

    asked: Mapping[str, Requirements]
    previous: tuple[PythonPackage, ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    upgrade: frozenset[str] | None = frozenset()
    added: Mapping[str, Requirements] | None = None
    known_unavailable: Mapping[str, str] = field(default_factory=dict)
    only_removed: bool = False


@dataclass(frozen=True, slots=True)
class PythonResolution:
    """`packages` have no layer yet; `places` are URLs.

    `unavailable` says in short why a variant cannot be had, `explanations` at length.
    """

    packages: tuple[PythonPackage, ...]
    unavailable: Mapping[str, str]
    places: tuple[tuple[Artifact, str], ...]
    explanations: Mapping[str, str] = field(default_factory=dict)


class Sdists(Protocol):
    """Builds wheels for packages that have none; `hotdesk.resolve.sdists` does it in the sandbox."""

    def build(
        self, question: Question, names: Sequence[str], target: Target, variant: str
    ) -> NoSolution | None:
        """Make wheels for `names`, as `question` of `variant` needs them; why there is still no solution."""

    def folders(self, target: Target) -> list[str]:
        """Where the wheels built so far are that may be locked for `target`."""

    def origin(self, file: str, target: Target) -> tuple[Artifact, str, Build] | None:
        """The sdist that the wheel `file` was built from, its URL, and how it was built."""


class PythonResolver:
    """Resolves for one target; `compile_` is uv."""

    def __init__(
        self,
        target: Target,
        compile_: Callable[[Question, Target], list[Choice] | NoSolution],
        sdists: Sdists | None = None,
    ) -> None:
        self.target = target
        self._compile_with_wheels = compile_
        self._sdists = sdists

    def resolve(self, request: PythonRequest) -> PythonResolution:
        """All variants of `request`, agreeing in the versions of what they share."""
        if request.added is not None:
            more = self._resolve_added(request, request.added)
            if more is not None:
                return self._collect(request, more, request.known_unavailable, merging=True)
        answers, failures = self._resolve_all(request)
        for failure in failures.values():
            if failure.denied:
                raise access_denied(failure)
        reasons = {variant: self._reason(failure) for variant, failure in failures.items()}
        explanations = {variant: failure.explanation for variant, failure in failures.items()}
        resolution = self._collect(request, answers, reasons, merging=False)
        return replace(resolution, explanations=explanations)

    def _reason(self, failure: NoSolution) -> str:
        """What the lock states: uv words the same finding differently from run to run."""
        if not failure.without_wheels:
            return f"no set of versions fits Python {self.target.python} on {self.target.platform}"
        missing = " and ".join(f"`{name}`" for name in sorted(failure.without_wheels))
        return f"no wheel of {missing} fits Python {self.target.python} on {self.target.platform}"

    def _resolve_added(
        self, request: PythonRequest, added: Mapping[str, Requirements]
    ) -> Mapping[str, list[Choice]] | None:
        """Only what is new, beside what is locked; None where that cannot be."""
        pins = [f"{package.name}=={package.version}" for package in request.previous]
        if len({package.name for package in request.previous}) < len(pins):
            return None  # the variants hold one package in two local versions
        answered: dict[Requirements, list[Choice] | NoSolution] = {(): []}
        answers = {}
        for variant, requirements in added.items():
            if requirements not in answered:
                answered[requirements] = self._compile(Question(requirements, pins), variant)
            answer = answered[requirements]
            if isinstance(answer, NoSolution):
                return None
            answers[variant] = answer
        return None if _differing(answers) else answers

    def _resolve_all(
        self, request: PythonRequest
    ) -> tuple[Mapping[str, list[Choice]], Mapping[str, NoSolution]]:
        kept = dict(request.elsewhere)
        if request.upgrade is not None:
            kept |= {
                package.name: package.version
                for package in request.previous
                if package.name not in request.upgrade
            }
        if request.only_removed:
            # What uv knows from the last time is enough: there is nothing new to choose.
            with suppress(NotCachedError):
                answers, failures = self._each(request.asked, kept, {}, offline=True)
                if failures.keys() <= request.known_unavailable.keys() and not _differing(answers):
                    return answers, failures
        answers, failures = self._each(request.asked, kept, {})
        return self._agree(request.asked, kept, answers), failures

    def _agree(
        self,
        asked: Mapping[str, Requirements],
        kept: Mapping[str, str],
        first: Mapping[str, list[Choice]],
    ) -> Mapping[str, list[Choice]]:
        """The answers with one version of each shared package; the lower of two suits most others."""
        for choose in (min, max):
            answers, forced = first, dict[str, str]()
            for _ in range(_ROUNDS):
                differing = _differing(answers)
                if not differing:
                    return answers
                for name, versions in differing.items():
                    forced[name] = choose(versions.values(), key=Version)
                held = {variant: asked[variant] for variant in first}
                answers, failures = self._each(held, kept, forced)
                if failures:
                    break
        raise _disagreement(_differing(first))

    def _each(
        self,
        asked: Mapping[str, Requirements],
        kept: Mapping[str, str],
        forced: Mapping[str, str],
        *,
        offline: bool = False,
    ) -> tuple[dict[str, list[Choice]], dict[str, NoSolution]]:
        """Each variant by itself, keeping to what the ones before it got."""
        answers: dict[str, list[Choice]] = {}
        failures: dict[str, NoSolution] = {}
        known = dict(kept)
        for variant, requirements in asked.items():
            answer = self._keeping(variant, requirements, known, forced, offline=offline)
            if isinstance(answer, NoSolution):
                failures[variant] = answer
            else:
                answers[variant] = answer
                known = {**{choice.name: choice.version for choice in answer}, **known}
        return answers, failures

    def _keeping(
        self,
        variant: str,
        requirements: Requirements,
        kept: Mapping[str, str],
        forced: Mapping[str, str],
        *,
        offline: bool,
    ) -> list[Choice] | NoSolution:
        """An answer with as many of the `kept` versions as there can be.

        Versions in the way are let go: those that uv names, in the end all. uv's own preferences (from its
        output file) will not do: with several indexes, a version that the first one has for another Python
        counts as not to be had.
        """
        pins = {name: version for name, version in kept.items() if name not in forced}
        for attempt in range(_ROUNDS):
            constraints = [f"{name}=={version}" for name, version in sorted({**pins, **forced}.items())]
            answer = self._compile(Question(requirements, constraints, offline=offline), variant)
            if isinstance(answer, list) or not pins:
                return answer
            named = set(re.findall(r"[a-z0-9-]+", answer.explanation))
            blamed = named & pins.keys() if attempt < _ROUNDS - 2 else set(pins)
            pins = {name: version for name, version in pins.items() if blamed and name not in blamed}
        return answer

    def _compile(self, question: Question, variant: str) -> list[Choice] | NoSolution:
        tried: set[tuple[str, ...]] = set()
        while True:
            folders = self._sdists.folders(self.target) if self._sdists else []
            complete = replace(question, find_links=folders)
            answer = self._compile_with_wheels(complete, self.target)
            if isinstance(answer, list) or not self._sdists or not answer.without_wheels:
                return answer
            if answer.without_wheels in tried:
                return answer
            tried.add(answer.without_wheels)
            if still := self._sdists.build(complete, answer.without_wheels, self.target, variant):
                return still

    def _collect(
        self,
        request: PythonRequest,
        answers: Mapping[str, list[Choice]],
        unavailable: Mapping[str, str],
        *,
        merging: bool,
    ) -> PythonResolution:
        kept = {} if request.upgrade is None else _kept(request.previous, request.upgrade)
        found: dict[str, PythonPackage] = {}
        held: dict[str, set[str]] = {}
        places: dict[str, tuple[Artifact, str]] = {}
        if merging:
            for package in request.previous:
                found[package.artifact.sha256] = package
                held[package.artifact.sha256] = set(package.variants)
        new = self._lock_all(
            choice
            for choices in answers.values()
            for choice in choices
            if (choice.name, choice.version) not in kept
        )
        for variant, choices in answers.items():
            for choice in choices:
                known = choice.name, choice.version
                package, place = (kept[known], "") if known in kept else new[known]
                sha256 = package.artifact.sha256
                found.setdefault(sha256, package)
                held.setdefault(sha256, set()).add(variant)
                if place:
                    places[sha256] = package.artifact, place
        packages = [
            replace(package, variants=tuple(sorted(held[sha256]))) for sha256, package in found.items()
        ]
        return PythonResolution(
            packages=tuple(sorted(packages, key=lambda package: (package.name, package.version))),
            unavailable=dict(unavailable),
            places=tuple(places.values()),
        )

    def _lock_all(self, choices: Iterable[Choice]) -> dict[tuple[str, str], tuple[PythonPackage, str]]:
        """Each choice, by name and version, as it is locked, with its URL."""
        locked: dict[tuple[str, str], tuple[PythonPackage, str]] = {}
        offers: dict[tuple[str, str], Offer] = {}
        for choice in choices:
            known = choice.name, choice.version
            offer = best_offer(choice, self.target)
            origin = self._sdists.origin(offer.file, self.target) if self._sdists else None
            if origin:
                artifact, place, build = origin
                locked[known] = PythonPackage(*known, artifact, (), UNPLANNED, build), place
            else:
                offers[known] = offer
        artifacts = lock_offers([(name, offer) for (name, _), offer in offers.items()])
        for (known, offer), artifact in zip(offers.items(), artifacts, strict=True):
            locked[known] = PythonPackage(*known, artifact, (), UNPLANNED), offer.url
        return locked


def best_offer(choice: Choice, target: Target) -> Offer:
    """The wheel to take of what uv chose."""
    offers = {offer.file: offer for offer in choice.wheels}
    file = best_wheel(offers, target)
    if file is None:
        raise ResolveError(
            f"`{choice.name} {choice.version}` has no wheel for {target.platform}",
            why=f"uv chose it, but of its files none fits: {', '.join(offers) or 'there are none'}",
        )
    return offers[file]


def lock_offers(offers: Sequence[tuple[str, Offer]]) -> list[Artifact]:
    """The artifacts of what an index offers for projects; `ResolveError` where it gives no hash."""
    sizes = sizes_of([offer.url for _, offer in offers if offer.size is None])
    artifacts = []
    for project, offer in offers:
        if offer.sha256 is None:
            raise ResolveError(
                f"the index gives no SHA-256 for `{offer.file}`",
                why="a lock holds the hash of every file",
                hint="ask those who run the index to offer hashes, as the simple repository API describes",
            )
        size = sizes[offer.url] if offer.size is None else offer.size
        artifacts.append(Artifact("pypi", project, offer.file, size, offer.sha256))
    return artifacts


def _kept(previous: Iterable[PythonPackage], upgrade: frozenset[str]) -> dict[tuple[str, str], PythonPackage]:
    return {(package.name, package.version): package for package in previous if package.name not in upgrade}


def _differing(answers: Mapping[str, list[Choice]]) -> dict[str, dict[str, str]]:
    """Name to variant to version, of packages in several versions; what follows a `+` does not count."""
    versions: dict[str, dict[str, str]] = {}
    for variant, choices in answers.items():
        for choice in choices:
            versions.setdefault(choice.name, {})[variant] = choice.version
    return {
        name: held
        for name, held in versions.items()
        if len({version.partition("+")[0] for version in held.values()}) > 1
    }


def _disagreement(differing: Mapping[str, Mapping[str, str]]) -> ResolveError:
    listed = [
        f"`{name}`: " + " and ".join(f"{version} for `{variant}`" for variant, version in held.items())
        for name, held in differing.items()
    ]
    return ResolveError(
        "the variants cannot hold the same version of what they share",
        why="; ".join(listed),
        hint="loosen the requirements of one variant, or make two specs",
    )
