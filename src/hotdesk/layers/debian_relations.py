"""Relations between Debian packages, and versions. Source: Debian Policy 7.1 and 5.6.12.

>>> parse_relations("libc6 (>= 2.39), python3:any | python3-minimal")
((Relation(name='libc6', ...),), (Relation(name='python3', ...), Relation(name='python3-minimal', ...)))
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from debian_inspector.version import compare_strings  # type: ignore[import-untyped]

Operator = Literal["<<", "<=", "=", ">=", ">>"]

_RELATION = re.compile(
    r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9+.-]*)"
    r"(?::(?P<architecture>[a-z0-9-]+))?"
    r"(?:\s*\(\s*(?P<operator><<|<=|=|>=|>>|<|>)\s*(?P<version>[A-Za-z0-9][A-Za-z0-9.+~:-]*)\s*\))?\s*"
)
_VERSION = re.compile(r"(?:(?P<epoch>[0-9]+):)?(?P<rest>[A-Za-z0-9][A-Za-z0-9.+~-]*)")
_ACCEPTED: dict[Operator, tuple[int, ...]] = {"<<": (-1,), "<=": (-1, 0), "=": (0,), ">=": (0, 1), ">>": (1,)}
# Policy 7.1: the single signs are old spellings of the inclusive ones.
_OPERATORS: dict[str, Operator] = {
    "<": "<=",
    ">": ">=",
    "<<": "<<",
    "<=": "<=",
    "=": "=",
    ">=": ">=",
    ">>": ">>",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """One package name with the versions that will do; `architecture` is what follows the colon."""

    name: str
    operator: Operator | None = None
    version: str = ""
    architecture: str = ""

    def accepts(self, version: str) -> bool:
        """Whether `version` will do; an empty one, of an unversioned Provides, does without a limit only."""
        if self.operator is None:
            return True
        return bool(version) and compare_versions(version, self.version) in _ACCEPTED[self.operator]

    def __str__(self) -> str:
        qualifier = f":{self.architecture}" if self.architecture else ""
        limit = f" ({self.operator} {self.version})" if self.operator else ""
        return f"{self.name}{qualifier}{limit}"


Alternatives = tuple[Relation, ...]


def parse_relations(field: str) -> tuple[Alternatives, ...]:
    """The groups of a relation field, each with its alternatives; ValueError where it is malformed."""
    return tuple(
        tuple(_parse_one(part) for part in group.split("|")) for group in field.split(",") if group.strip()
    )


def _parse_one(text: str) -> Relation:
    match = _RELATION.fullmatch(text)
    if not match:
        raise ValueError(f"{text.strip()!r} is not a relation between packages")
    operator = match["operator"]
    return Relation(
        name=match["name"],
        operator=_OPERATORS[operator] if operator else None,
        version=match["version"] or "",
        architecture=match["architecture"] or "",
    )


@lru_cache(maxsize=65536)
def compare_versions(left: str, right: str) -> int:
    """-1, 0 or 1, as `left` is older than, the same as or newer than `right`."""
    if left == right:
        return 0
    # debian-inspector's own splitting refuses versions that end in a tilde, as relations do.
    left_epoch, left_upstream, left_revision = split_version(left)
    right_epoch, right_upstream, right_revision = split_version(right)
    if left_epoch != right_epoch:
        return -1 if left_epoch < right_epoch else 1
    order: int = compare_strings(left_upstream, right_upstream) or compare_strings(
        left_revision, right_revision
    )
    return order


def split_version(version: str) -> tuple[int, str, str]:
    """(epoch, upstream version, revision); an absent revision is the same as `0`."""
    match = _VERSION.fullmatch(version)
    if not match:
        raise ValueError(f"{version!r} is not the version of a Debian package")
    upstream, _, revision = match["rest"].rpartition("-") if "-" in match["rest"] else (match["rest"], "", "")
    return int(match["epoch"] or 0), upstream, revision or "0"
