"""Packages unpacked into one tree, several at once, with a result that does not depend on their timing.

Where two packages hold the same path, the one that declares `Replaces` for the other has it, as in dpkg;
where neither does, unpacking fails, as in dpkg. Where both do, dpkg lets the later have it, and here it is
the first by name.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotdesk.errors import ConfigureError, StoreError, UnsafeArchiveError
from hotdesk.layers.debian import MERGED, Deb, Member, Ownership, disk_mode, open_deb
from hotdesk.portable.files import SAFELY, set_mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MTIME = 315532800
"""1980-01-01 in UTC, the time of every file in the tree: the first that every archive format can hold."""

_ROOT = Ownership(0, 0, 0o755)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """One package after unpacking: its control files, and the paths it lists, as it spells them."""

    name: str
    control: dict[str, bytes]
    listed: tuple[str, ...]


@dataclass(slots=True)
class _Claim:
    """Who holds a path now, as what, and which other packages wanted it."""

    package: str
    member: Member
    rivals: list[str] = field(default_factory=list)


class SystemTree:
    """The tree below `root`, an empty folder, while packages are unpacked into it; threads may share it."""

    def __init__(self, root: Path) -> None:
        self.root = os.fspath(root)
        self.ownership: dict[str, Ownership] = {}
        self._lock = threading.Lock()
        self._claims: dict[str, _Claim] = {}
        self._directories = {""}
        self._controls: dict[str, dict[str, str]] = {}
        self._linked: list[tuple[str, str]] = []
        for top in MERGED:
            self._make_directories(f"usr/{top}")
            os.symlink(f"usr/{top}", f"{self.root}/{top}")
            self.ownership[top] = Ownership(0, 0, 0o777)
            self._claims[top] = _Claim("base-files", Member(top, "link", self.ownership[top], top))

    def unpack(self, deb: Path, name: str) -> Unpacked:
        """Write the data of the package `name`; its control files are returned, not written.

        A file gets the owner's and others' permission bits and nothing else: a setuid file in a cache would
        be a hole. What it should have is in `ownership`.
        """
        with open_deb(deb, name) as archive:
            with self._lock:
                self._controls[name] = control_fields(archive.control["control"])
            listed = ["/.", *self._members(archive)]
        return Unpacked(name, dict(archive.control), tuple(listed))

    def finish(self) -> None:
        """Check what could only be seen once all was there; give every path its owner."""
        for path, claim in self._claims.items():
            unsettled = [rival for rival in claim.rivals if not self._replaces(claim.package, rival)]
            if unsettled:
                rivals = " and ".join(f"`{name}`" for name in sorted({claim.package, *unsettled}))
                raise ConfigureError(
                    f"{rivals} cannot be on one desk",
                    why=f"they hold the same file, /{path}, and none declares that it replaces the other",
                    hint="remove one of them from `debian` in `hotdesk.toml`",
                )
            self.ownership[path] = claim.member.owner
        for package, path in self._linked:
            if self._claims[path].rivals:
                raise ConfigureError(
                    f"`{package}` cannot be unpacked",
                    why=f"it has a hard link to /{path}, which another package replaces",
                )
        for directory in self._directories:
            self.ownership.setdefault(directory, _ROOT)

    def _members(self, archive: Deb) -> Iterator[str]:
        for member, content in archive.members():
            match member.kind:
                case "directory":
                    with self._lock:
                        self._directory(archive.name, member)
                case "file":
                    self._file(archive.name, member, content)
                case _:
                    self._link(archive.name, member)
            yield f"/{member.listed}"

    def _directory(self, package: str, member: Member) -> None:
        claim = self._claims.get(member.path)
        if claim and claim.member.kind != "directory":
            raise self._clash(package, member.path)
        self._make_directories(member.path)
        # Packages agree on their shared directories; if ever they do not, the first name decides.
        if claim is None or package < claim.package:
            self._claims[member.path] = _Claim(package, member)
            os.chmod(f"{self.root}/{member.path}", disk_mode(member.owner, directory=True))

    def _make_directories(self, path: str) -> None:
        if path in self._directories:
            return
        if path in self._claims:
            raise self._clash("a package", path)
        self._make_directories(path.rpartition("/")[0])
        full = f"{self.root}/{path}"
        with _new(path):
            os.mkdir(full)
        os.chmod(full, 0o755)  # whatever the umask
        self._directories.add(path)

    def _take(self, package: str, member: Member) -> bool:
        """Whether `package` has the path now; what another had there is gone then."""
        path = member.path
        if path in self._directories:
            raise self._clash(package, path)
        claim = self._claims.get(path)
        if claim is None:
            self._make_directories(path.rpartition("/")[0])
            self._claims[path] = _Claim(package, member)
            return True
        mine, theirs = self._replaces(package, claim.package), self._replaces(claim.package, package)
        if mine if mine != theirs else package < claim.package:
            self._claims[path] = _Claim(package, member, [*claim.rivals, claim.package])
            os.unlink(f"{self.root}/{path}")
            return True
        claim.rivals.append(package)
        return False

    def _replaces(self, package: str, other: str) -> bool:
        """Whether `package` may have what `other` holds; a limit on the version counts, as in dpkg."""
        from hotdesk.layers.debian_relations import parse_relations

        try:
            replaced = parse_relations(self._controls[package].get("replaces", ""))
            return any(
                relation.name == other and relation.accepts(self._controls[other].get("version", ""))
                for alternatives in replaced
                for relation in alternatives
            )
        except ValueError as error:
            raise UnsafeArchiveError(
                f"`{package}` cannot be unpacked",
                why=f"its control file has what no Debian tool accepts: {error}",
            ) from None

    def _file(self, package: str, member: Member, content: Iterator[bytes]) -> None:
        full = f"{self.root}/{member.path}"
        with self._lock:
            if not self._take(package, member):
                return
            # Opened under the lock: whoever takes the path later unlinks this very file.
            with _new(member.path):
                descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o600)
        try:
            for piece in content:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
            set_mode(descriptor, disk_mode(member.owner, directory=False))
            os.utime(descriptor, (MTIME, MTIME))
        finally:
            os.close(descriptor)

    def _link(self, package: str, member: Member) -> None:
        if member.path in MERGED:
            return
        with self._lock:
            if not self._take(package, member):
                return
            full = f"{self.root}/{member.path}"
            with _new(member.path):
                if member.kind == "link":
                    os.symlink(member.target, full)
                else:
                    self._linked.append((package, member.target))
                    os.link(f"{self.root}/{member.target}", full, follow_symlinks=False)

    def _clash(self, package: str, path: str) -> UnsafeArchiveError:
        return UnsafeArchiveError(
            f"`{package}` cannot be unpacked",
            why=f"/{path} is a directory in one package and a file or a link in another",
            hint="remove one of them from `debian` in `hotdesk.toml`",
        )


@contextmanager
def _new(path: str) -> Iterator[None]:
    """Nobody has the path: where it is there, the file system takes another name for this one."""
    try:
        yield
    except FileExistsError:
        raise StoreError(
            "the store's file system cannot hold a Linux system",
            why=f"it takes /{path} for another file, whose name differs in case or accents only",
            hint="set HOTDESK_STORE to a folder on a volume that tells them apart "
            "(on macOS, the Disk Utility makes a case-sensitive one)",
        ) from None


def control_fields(control: bytes) -> dict[str, str]:
    """The fields of one control paragraph by lower-case name; the lines of a folded one keep their breaks."""
    fields: dict[str, str] = {}
    name = ""
    for line in control.decode("utf-8", "surrogateescape").splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')}\n{line}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = value.strip()
    return fields
