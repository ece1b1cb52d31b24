"""Which Debian packages a desk needs: what it asks for, all essential ones, and what these depend on.

The choices are those of `apt-get install --no-install-recommends` on an empty system, by the rules of
apt's own solver (pkgDepCache::MarkInstall), so that a desk holds what a Debian user expects:

- depth first, dependencies in the order in which the package states them;
- a group with an installed alternative is left alone; else its alternatives are tried in order, and of
  several providers of one, those come first that were asked for, have the very name, are essential or
  important, have the higher priority, or were met later in the indexes;
- a package whose dependencies cannot be had, or that conflicts with what is there, is given up, and the
  next alternative tried; what has been asked for is never given up.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import TYPE_CHECKING

from hotdesk.errors import ResolveError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hotdesk.layers.debian_relations import Alternatives, Relation
    from hotdesk.lock import DebianPackage
    from hotdesk.resolve.debian_universe import Candidate, Universe

_REQUEST = re.compile(r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?:=(?P<version>[A-Za-z0-9.+~:-]+))?")


def resolve(
    universe: Universe, requests: Sequence[str], prefer: Mapping[str, str] | None = None
) -> list[Candidate]:
    """All packages of a desk, sorted by name; essential packages need not be asked for.

    What is installed already stays, with the version that it has if everything else allows it.
    A request is `name` or `name=version`; their order makes no difference. `prefer` maps names to
    versions that are kept while they are offered and everything else allows it. Raises `ResolveError`,
    with all unknown names at once.
    """
    wanted = _wanted(universe, requests)
    installed = universe.installed()
    kept = {
        name: version
        for name, version in {**installed, **(prefer or {})}.items()
        if name not in wanted.versions
    }
    always = sorted(installed) or universe.essential()
    while True:
        solver = _Solver(universe, {**kept, **wanted.versions})
        problems = solver.solve([*always, *sorted(wanted.names)])
        if not problems:
            return solver.result()
        if not kept:
            raise _unsolvable(problems)
        # An older version that is in the way is let go; where none is to blame, all are.
        blamed = {name for problem in problems for name in problem.names}
        culprits = blamed & kept.keys() or _outdated(universe, blamed, kept) or kept.keys()
        kept = {name: version for name, version in kept.items() if name not in culprits}


def _outdated(universe: Universe, names: Iterable[str], kept: Mapping[str, str]) -> set[str]:
    """Which of `kept` are not the newest, among all that packages of these `names` depend on."""
    waiting, met = [*names], set[str]()
    while waiting:
        name = waiting.pop()
        if name in met:
            continue
        met.add(name)
        for candidate in universe.versions(name)[:1]:
            waiting += [relation.name for group in candidate.depends for relation in group]
    return {name for name in met & kept.keys() if universe.versions(name)[0].version != kept[name]}


def locked_packages(variants: Mapping[str, Iterable[Candidate]]) -> tuple[DebianPackage, ...]:
    """The lock's packages for the resolved `variants`, each once, with the variants that hold it."""
    holders: dict[tuple[str, str], tuple[Candidate, list[str]]] = {}
    for variant, candidates in variants.items():
        for candidate in candidates:
            holders.setdefault((candidate.name, candidate.version), (candidate, []))[1].append(variant)
    return tuple(holders[key][0].locked(holders[key][1]) for key in sorted(holders))


@dataclass(frozen=True, slots=True)
class _Wanted:
    names: list[str]
    versions: dict[str, str]


def _wanted(universe: Universe, requests: Sequence[str]) -> _Wanted:
    wanted = _Wanted([], {})
    problems = []
    for request in requests:
        match = _REQUEST.fullmatch(request)
        if not match:
            problems.append(f"`{request}` is not a package name, or a name with `=version`")
            continue
        name, version = match["name"], match["version"]
        offered = [candidate.version for candidate in universe.versions(name)]
        if not offered:
            providers = universe.providers(name)
            if len(providers) != 1 or version:
                problems.append(_unknown(universe, name, providers))
                continue
            name = providers[0]
        elif version and version not in offered:
            problems.append(f"`{name}` has no version {version}; there is {', '.join(offered)}")
            continue
        wanted.names.append(name)
        if version:
            wanted.versions[name] = version
    if problems:
        raise ResolveError(
            "not every Debian package that was asked for exists:\n"
            + "\n".join(f"  {one}" for one in problems),
            hint="correct `debian` in `hotdesk.toml`",
        )
    return wanted


def _unknown(universe: Universe, name: str, providers: list[str]) -> str:
    if providers:
        listed = ", ".join(f"`{provider}`" for provider in providers)
        return f"`{name}` is not a package but what several provide; choose one of {listed}"
    if near := difflib.get_close_matches(name, universe.names, n=1, cutoff=0.7):
        return f"`{name}` does not exist; did you mean `{near[0]}`?"
    return f"`{name}` does not exist"


@dataclass(frozen=True, slots=True)
class _Problem:
    text: str
    names: tuple[str, ...]


def _unsolvable(problems: list[_Problem]) -> ResolveError:
    return ResolveError(
        "the Debian packages that were asked for cannot be installed together",
        why="; ".join(dict.fromkeys(problem.text for problem in problems)),
        hint="ask for other packages or versions in `debian`; "
        "a mirror in the middle of an update looks like this too",
    )


@dataclass(slots=True)
class _Solver:
    """One attempt. A protected package is never given up; a forbidden one is never chosen."""

    universe: Universe
    pinned: Mapping[str, str]
    chosen: dict[str, Candidate] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    discarded: set[str] = field(default_factory=set)
    provided: dict[str, dict[str, Candidate]] = field(default_factory=dict)

    def solve(self, names: Iterable[str]) -> list[_Problem]:
        """Choose packages; what remains unsolved is returned."""
        requested = list(dict.fromkeys(names))
        self.protected.update(requested)
        for name in requested:
            if candidate := self._candidate(name):
                self._choose(candidate)
        for name in requested:
            self._install(name)
        self._drop_unneeded(requested)
        return list(self._problems(requested))

    def result(self) -> list[Candidate]:
        return [self.chosen[name] for name in sorted(self.chosen)]

    def _candidate(self, name: str) -> Candidate | None:
        versions = self.universe.versions(name)
        if name in self.discarded or not versions:
            return None
        pinned = self.pinned.get(name)
        return next((one for one in versions if one.version == pinned), versions[0])

    def _choose(self, candidate: Candidate) -> None:
        self.chosen[candidate.name] = candidate
        for name in {candidate.name, *(relation.name for relation in candidate.provides)}:
            self.provided.setdefault(name, {})[candidate.name] = candidate

    def _give_up(self, name: str) -> None:
        if candidate := self.chosen.pop(name, None):
            for provided in {name, *(relation.name for relation in candidate.provides)}:
                self.provided[provided].pop(name, None)

    def _satisfied(self, alternatives: Alternatives) -> bool:
        return any(
            candidate.satisfies(relation)
            for relation in alternatives
            for candidate in self.provided.get(relation.name, {}).values()
        )

    def _unsatisfied(self, candidate: Candidate) -> list[Alternatives]:
        return [group for group in candidate.depends if not self._satisfied(group)]

    def _install(self, name: str) -> bool:
        """Choose `name` with all it depends on; False, with its own choice undone, where that fails."""
        candidate = self._candidate(name)
        already_protected = name in self.protected
        if candidate is None or (already_protected and name not in self.chosen):
            return False
        if not already_protected and name in self.chosen and not self._unsatisfied(candidate):
            return True
        open_groups = candidate.depends if already_protected else self._unsatisfied(candidate)
        if not self._clear_conflicts(candidate, already_protected) and not already_protected:
            return False
        self._choose(candidate)
        self.protected.add(name)
        done = self._install_dependencies(open_groups, already_protected)
        if not already_protected:
            self.protected.discard(name)
            if not done:
                self._give_up(name)
                self.discarded.add(name)
        return done

    def _install_dependencies(self, groups: Sequence[Alternatives], insist: bool) -> bool:
        """`insist` is for what was asked for: its only choices are protected too, and no failure ends it."""
        complete = True
        for group in groups:
            if self._satisfied(group):
                complete &= not insist or self._protect_only_choice(group)
            elif not self._install_one_of(self._solutions(group), insist):
                complete = False
                if not insist:
                    break
        return complete

    def _protect_only_choice(self, group: Alternatives) -> bool:
        choices = {one.name for relation in group for one in self._candidates_for(relation)}
        if len(choices) != 1 or choices <= self.protected:
            return True
        self.protected |= choices
        return self._install(choices.pop())

    def _install_one_of(self, solutions: Sequence[Candidate], insist: bool) -> bool:
        for solution in solutions:
            if self._candidate(solution.name) is not solution:
                continue
            if insist and len(solutions) == 1:
                if not self._clear_conflicts(solution, False):
                    continue
                self._choose(solution)
                self.protected.add(solution.name)
            if self._install(solution.name):
                return True
        return False

    def _clear_conflicts(self, candidate: Candidate, insist: bool) -> bool:
        """Give up what conflicts with `candidate`; False where something protected is among it."""
        cleared = True
        for relation in candidate.conflicts:
            for other in self._candidates_for(relation):
                if other.name == candidate.name:
                    continue
                if other.name in self.chosen and other.name in self.protected:
                    cleared = False
                    if not insist:
                        return False
                    continue
                self._give_up(other.name)
                if insist:
                    self.discarded.add(other.name)
                    self.protected.add(other.name)
        return cleared

    def _solutions(self, group: Alternatives) -> list[Candidate]:
        """All that could satisfy `group`, the best first."""
        found: dict[str, Candidate] = {}
        for relation in group:
            for candidate in self._best_first(relation):
                found.setdefault(candidate.name, candidate)
        return [one for one in found.values() if one.name not in self.protected or one.name in self.chosen]

    def _candidates_for(self, relation: Relation) -> list[Candidate]:
        names = dict.fromkeys([relation.name, *self.universe.providers(relation.name)])
        candidates = (self._candidate(name) for name in names)
        return [one for one in candidates if one and one.satisfies(relation)]

    def _best_first(self, relation: Relation) -> list[Candidate]:
        def compare(one: Candidate, other: Candidate) -> int:
            ours, theirs = (self._rank(candidate, relation) for candidate in (one, other))
            if ours != theirs:
                return -1 if ours < theirs else 1
            met, met_other = (self.universe.first_mention(item.name) for item in (one, other))
            return -1 if met > met_other else 1

        return sorted(self._candidates_for(relation), key=cmp_to_key(compare))

    def _rank(self, candidate: Candidate, relation: Relation) -> tuple[bool, bool, bool, bool, int]:
        return (
            candidate.name not in self.protected,
            candidate.name != relation.name,
            not candidate.essential,
            not candidate.important,
            candidate.priority,
        )

    def _drop_unneeded(self, requested: Iterable[str]) -> None:
        """Packages that were chosen for something given up later."""
        needed: set[str] = set()
        waiting = [name for name in requested if name in self.chosen]
        while waiting:
            name = waiting.pop()
            if name in needed:
                continue
            needed.add(name)
            for relation in (relation for group in self.chosen[name].depends for relation in group):
                waiting += [
                    other.name
                    for other in self.provided.get(relation.name, {}).values()
                    if other.satisfies(relation)
                ]
        for name in set(self.chosen) - needed:
            self._give_up(name)

    def _problems(self, requested: Iterable[str]) -> Iterator[_Problem]:
        for name in requested:
            if name not in self.chosen:
                yield _Problem(f"`{name}` cannot be had", (name,))
        for candidate in self.result():
            for group in self._unsatisfied(candidate):
                text = " | ".join(str(relation) for relation in group)
                names = (candidate.name, *(relation.name for relation in group))
                yield _Problem(f"`{candidate.name}` needs `{text}`", names)
            for relation in candidate.conflicts:
                for other in self.provided.get(relation.name, {}).values():
                    if other.name != candidate.name and other.satisfies(relation):
                        yield _Problem(
                            f"`{candidate.name}` conflicts with `{other.name}` ({relation})",
                            (candidate.name, other.name),
                        )
