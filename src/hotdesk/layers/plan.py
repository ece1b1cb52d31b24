"""Which layer of the image each Python package is in.

Docker reuses layers only as a prefix of the chain, so an edit must leave the beginning as it was: a kept
package keeps its layer, a new one goes on top, a removed one leaves its layer thinner. A big wheel has a
layer of its own; the small ones share buckets, chosen by a hash of the name among those that the same
variants hold, so that no variant carries another's packages.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hotdesk.lock import PythonPackage

BIG = 10_000_000
MOST_BIG = 20
MOST_SMALL = 15
MOST = 40


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
        return _ordered(_fresh(packages))
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


def _fresh(packages: Sequence[PythonPackage]) -> list[PythonPackage]:
    big = sorted(packages, key=lambda package: (-package.artifact.size, package.name))[:MOST_BIG]
    alone = {package.name for package in big if package.artifact.size > BIG}
    buckets = max(1, MOST_SMALL // len({package.variants for package in packages} or {()}))
    groups: dict[tuple[int, tuple[str, ...], str], list[PythonPackage]] = defaultdict(list)
    for package in packages:
        shared = -len(package.variants)  # what all variants hold comes first: the longest common prefix
        part = package.name if package.name in alone else f"~{_bucket(package.name, buckets):02}"
        groups[shared, package.variants, part].append(package)
    return [
        replace(package, layer=layer)
        for layer, (_, group) in enumerate(sorted(groups.items()))
        for package in group
    ]


def _bucket(name: str, buckets: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % buckets


def _ordered(packages: Iterable[PythonPackage]) -> tuple[PythonPackage, ...]:
    return tuple(sorted(packages, key=lambda package: (package.layer, package.name, package.version)))
