"""Which layer of the image each Python package is in.

Docker reuses layers only as a prefix of the chain, so an edit must leave the beginning as it was: a kept
package keeps its layer, a new one goes on top, a removed one leaves its layer thinner. A big wheel has a
layer of its own, the largest at the bottom, where the fewest edits move it; the small ones share buckets
above, chosen by a hash of the name among those that the same variants hold, so that no variant carries
another's packages. How the numbers were chosen: docs/layers.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hotdesk.lock import PythonPackage

BIG = 4_000_000
MOST_BIG = 40
MOST_SMALL = 8
MOST = 60


def plan_layers(
    packages: Sequence[PythonPackage], previous: Iterable[PythonPackage] = (), *, replan: bool = False
) -> tuple[PythonPackage, ...]:
    """`packages` with their layers, in layer order; `previous` are those of the lock before.

    Plans afresh where there was no lock, when told to, and when the layers on top have piled up.
    """
    before = {_line(package): package.layer for package in previous}
    top = max(before.values(), default=-1)
    new = [package for package in packages if _line(package) not in before]
    if replan or not before or (new and top + 1 >= MOST):
        return fresh_plan(packages)
    added = {_line(package): top + 1 + layer for package, layer in _stack(new)}
    return _ordered(
        replace(package, layer=before.get(_line(package), added.get(_line(package), 0)))
        for package in packages
    )


def _line(package: PythonPackage) -> tuple[str, str]:
    """What stays the same from version to version; variants may hold two (`+cpu`, `+cu128`)."""
    return package.name, package.version.partition("+")[2]


def _stack(new: Sequence[PythonPackage]) -> list[tuple[PythonPackage, int]]:
    """Each new package with its layer above the top: one layer for each set of variants that holds some."""
    holders = sorted({package.variants for package in new})
    return [(package, holders.index(package.variants)) for package in new]


def fresh_plan(
    packages: Sequence[PythonPackage],
    *,
    big: int = BIG,
    most_big: int = MOST_BIG,
    most_small: int = MOST_SMALL,
) -> tuple[PythonPackage, ...]:
    """A plan that knows no other: wheels of more than `big` bytes alone, the others in buckets."""
    largest = sorted(packages, key=lambda package: (-package.artifact.size, package.name))[:most_big]
    alone = {package.name for package in largest if package.artifact.size > big}
    small = Counter(package.variants for package in packages if package.name not in alone)
    groups: dict[tuple[int, int, tuple[str, ...], int, str], list[PythonPackage]] = defaultdict(list)
    for package in packages:
        # What all variants hold comes before what one holds: the longest common prefix.
        rank = -len(package.variants), package.variants
        if package.name in alone:
            groups[0, *rank, -package.artifact.size, package.name].append(package)
        else:
            buckets = max(1, most_small * small[package.variants] // small.total())
            groups[1, *rank, _bucket(package.name, buckets), ""].append(package)
    return _ordered(
        replace(package, layer=layer)
        for layer, (_, group) in enumerate(sorted(groups.items()))
        for package in group
    )


def _bucket(name: str, buckets: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % buckets


def _ordered(packages: Iterable[PythonPackage]) -> tuple[PythonPackage, ...]:
    return tuple(sorted(packages, key=lambda package: (package.layer, package.name, package.version)))
