"""All packages that a Debian release offers for one architecture.

A release has some 70,000 packages, and a desk needs a few hundred of them. So the files are mapped and
scanned for names alone, in 0.1 s; a stanza is read when somebody asks for its package.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from functools import cmp_to_key
from typing import TYPE_CHECKING

from hotdesk.errors import ResolveError
from hotdesk.layers.debian_relations import (
    Alternatives,
    Relation,
    compare_versions,
    parse_relations,
)
from hotdesk.lock import Artifact, DebianPackage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotdesk.indexes.debian_release import PackagesFile

_INSTALLED = ""
_PRIORITIES = {"required": 1, "important": 2, "standard": 3, "optional": 4, "extra": 5}
_VALUE = rb"([^\n]*(?:\n[ \t][^\n]*)*)"
_FIRST = re.compile(rb"Package:" + _VALUE)
# A literal newline first: the scan then runs at the speed of memory, which `^` would not.
_HEAD = re.compile(rb"\n(?:\n+(Package):|(Provides):|Essential:)" + _VALUE)
_WORD = r"(?<![A-Za-z0-9+.-])%s(?![A-Za-z0-9+.-])"
# In the order in which apt reads them, and so meets the names in them.
_RELATION_FIELDS = (
    "Package",
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Recommends",
    "Suggests",
    "Replaces",
    "Enhances",
    "Provides",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version of one package. `provides` are names with an exact version, or none."""

    name: str
    version: str
    architecture: str
    archive: str
    file: str
    size: int
    sha256: str
    essential: bool
    important: bool
    priority: int
    multi_arch: str
    depends: tuple[Alternatives, ...]
    conflicts: tuple[Relation, ...]
    provides: tuple[Relation, ...]

    def satisfies(self, relation: Relation) -> bool:
        """Whether this package, by its name or what it provides, is what `relation` asks for."""
        if not self._is_of(relation.architecture):
            return False
        if relation.name == self.name and relation.accepts(self.version):
            return True
        return any(one.name == relation.name and relation.accepts(one.version) for one in self.provides)

    @property
    def installed(self) -> bool:
        """Whether it is on the image that the desk is built on."""
        return not self.file

    def _is_of(self, architecture: str) -> bool:
        match architecture:
            case "" | "native":
                return True
            case "any":
                return self.multi_arch == "allowed"
            case _:
                return self.architecture in {architecture, "all"}

    def locked(self, variants: Sequence[str]) -> DebianPackage:
        """What the lock holds of this package."""
        return DebianPackage(
            name=self.name,
            version=self.version,
            architecture=self.architecture,
            artifact=Artifact("debian", self.archive, self.file, self.size, self.sha256),
            variants=tuple(variants),
        )


class Universe:
    """The packages in `files`; a version that two of them offer is taken from the first.

    `installed` are dpkg's own stanzas of what is there already.
    """

    def __init__(self, files: Sequence[PackagesFile], installed: bytes = b"") -> None:
        self._archives = [_INSTALLED, *(file.archive for file in files)]
        self._maps = [installed, *(_map(file) for file in files)]
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._providers: dict[str, list[str]] = {}
        self._essential: set[str] = set()
        self._versions: dict[str, tuple[Candidate, ...]] = {}
        self._mentions: dict[str, tuple[int, int, int, int]] = {}
        for number, content in enumerate(self._maps):
            self._scan(number, content)

    def _scan(self, number: int, content: mmap.mmap | bytes) -> None:
        name = ""
        if first := _FIRST.match(content):
            name = self._place(number, 0, first[1])
        for match in _HEAD.finditer(content):
            if match[1]:
                name = self._place(number, match.start(1), match[3])
            elif match[2]:
                for provided in re.findall(rb"(?:^|,)\s*([^\s,:(]+)", match[3]):
                    self._providers.setdefault(provided.decode(), []).append(name)
            elif match[3].strip() == b"yes":
                self._essential.add(name)

    def _place(self, number: int, start: int, value: bytes) -> str:
        name = value.decode().strip()
        self._places.setdefault(name, []).append((number, start))
        return name

    @property
    def names(self) -> list[str]:
        return sorted(self._places)

    def installed(self) -> dict[str, str]:
        """The version of each package that is there already."""
        places = (
            (name, start) for name, found in self._places.items() for number, start in found if not number
        )
        return {name: self._read(0, start).version for name, start in places}

    def essential(self) -> list[str]:
        """The packages that every Debian system has."""
        return sorted(name for name in self._essential if self.versions(name)[0].essential)

    def versions(self, name: str) -> tuple[Candidate, ...]:
        """What is offered under this very name, the newest first."""
        if name not in self._versions:
            distinct: dict[str, Candidate] = {}
            for number, start in self._places.get(name, []):
                candidate = self._read(number, start)
                distinct.setdefault(candidate.version, candidate)
            newest_first = sorted(distinct, key=cmp_to_key(compare_versions), reverse=True)
            self._versions[name] = tuple(distinct[version] for version in newest_first)
        return self._versions[name]

    def providers(self, name: str) -> list[str]:
        """The packages of which some version provides `name`."""
        return sorted(set(self._providers.get(name, [])))

    def first_mention(self, name: str) -> tuple[int, int, int, int]:
        """Where the indexes name `name` first, as a package or in a relation; it sorts as apt's package IDs.

        Where nothing else decides between two providers, apt takes the one that it met last. This reads
        as much as 60 MB, so it is for ties.
        """
        if name not in self._mentions:
            self._mentions[name] = self._find_mention(name)
        return self._mentions[name]

    def _find_mention(self, name: str) -> tuple[int, int, int, int]:
        word = re.compile(_WORD % re.escape(name))
        sought = name.encode()
        for number, content in enumerate(self._maps):
            place = -1
            while (place := content.find(sought, place + 1)) >= 0:
                start, stanza = self._stanza_around(number, place)
                if not word.search(stanza):
                    continue
                fields = _fields(stanza)
                for rank, field in enumerate(_RELATION_FIELDS):
                    if found := word.search(fields.get(field, "")):
                        return number, start, rank, found.start()
        return len(self._maps), 0, 0, 0

    def _stanza_around(self, number: int, place: int) -> tuple[int, str]:
        content = self._maps[number]
        start = content.rfind(b"\n\n", 0, place)
        start = start + 2 if start >= 0 else 0
        return start, self._stanza(number, start)

    def _stanza(self, number: int, start: int) -> str:
        content = self._maps[number]
        end = content.find(b"\n\n", start)
        return content[start : end if end >= 0 else len(content)].decode()

    def _read(self, number: int, start: int) -> Candidate:
        return _candidate(self._stanza(number, start), self._archives[number])


def _map(file: PackagesFile) -> mmap.mmap | bytes:
    with file.path.open("rb") as opened:
        if not opened.seek(0, 2):
            return b""  # an empty file cannot be mapped; a suite may have no packages yet
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _candidate(stanza: str, archive: str) -> Candidate:
    fields = _fields(stanza)
    if archive == _INSTALLED:
        fields |= {"Filename": "", "Size": "0", "SHA256": ""}
    try:
        return Candidate(
            name=fields["Package"],
            version=fields["Version"],
            architecture=fields["Architecture"],
            archive=archive,
            file=fields["Filename"],
            size=int(fields["Size"]),
            sha256=fields["SHA256"],
            essential=fields.get("Essential") == "yes",
            important="yes" in (fields.get("Important"), fields.get("Protected")),
            priority=_PRIORITIES.get(fields.get("Priority", ""), 5),
            multi_arch=fields.get("Multi-Arch", "no"),
            depends=parse_relations(f"{fields.get('Pre-Depends', '')}, {fields.get('Depends', '')}"),
            conflicts=_flat(f"{fields.get('Conflicts', '')}, {fields.get('Breaks', '')}"),
            provides=_flat(fields.get("Provides", "")),
        )
    except (KeyError, ValueError) as error:
        raise ResolveError(
            f"the index of Debian's packages has an entry that cannot be read: `{fields.get('Package')}`",
            why=f"{type(error).__name__}: {error}",
            hint="use another mirror, and report it to those who run this one",
        ) from None


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.split("\n"):
        if line[:1] in {" ", "\t"}:
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def _flat(field: str) -> tuple[Relation, ...]:
    return tuple(relation for group in parse_relations(field) for relation in group)
