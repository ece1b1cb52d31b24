"""A wheel as entries of the environment at /opt/desk, and as a tree in the store."""

from __future__ import annotations

import hashlib
import posixpath
import re
import struct
import zipfile
import zlib
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from hotdesk.keys import wheel_tree_key
from hotdesk.layers.contents import Contents, write_contents
from hotdesk.layers.entries import Deflated, Directory, File, safe_path, write_tree
from hotdesk.layers.startup import LINE, PACKAGE
from hotdesk.layers.wheel_metadata import (
    EntryPoint,
    Recorded,
    bad_wheel,
    command_script,
    format_record,
    parse_entry_points,
    parse_record,
    root_is_purelib,
)
from hotdesk.layers.zip_archive import Member, ZipArchive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hotdesk.layers.entries import Entry
    from hotdesk.store import Store

PREFIX = "/opt/desk"
INTERPRETER = f"{PREFIX}/bin/python"
_UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_PLACEHOLDER = b"#!python"
_AT_START = ("sitecustomize.py", "usercustomize.py")
_MOST_ENTRY_POINTS = 1 << 20
# What `zipfile` raises of archives that somebody made with care.
_UNREADABLE = (
    zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, OverflowError, struct.error, zlib.error,
)  # fmt: skip
_FIRST_LINE = re.compile(rb"[^\r\n]{0,4096}(\r\n|\r|\n|\Z)")


def site_packages(python: str) -> str:
    """Where modules are below the prefix; `python` is a version such as `3.13`."""
    return f"lib/python{python}/site-packages"


def wheel_entries(wheel: Path, python: str, name: str = "", *, checked: bool = False) -> Iterator[Entry]:
    """Everything that installing `wheel` puts below the environment's prefix, RECORD last.

    Every file is checked against the wheel's RECORD while it streams, unless that was done before and it is
    `checked`: then against the archive's checksum alone. `name` is what errors call the wheel where its path
    does not say.
    """
    return _Wheel(ZipArchive(wheel, name), python, checked=checked).entries()


def make_wheel_tree(store: Store, wheel: Path, sha256: str, python: str, name: str = "") -> Path:
    """The store's item for `wheel`: `tree/`, and `contents.json`, which says what is in it."""

    def fill(item: Path) -> None:
        tree = item / "tree"
        tree.mkdir(mode=0o755)
        written = write_tree(wheel_entries(wheel, python, name), tree)
        write_contents(Contents.of(written), item)

    return store.make("wheel", wheel_tree_key(sha256, python), fill)


def is_library(wheel: Path) -> bool:
    """Whether only an import or a command can ask for what is in it.

    It brings no data, no plug-in, and nothing that each start of Python runs. The archive is not checked: who
    unpacks it does that, and until then nothing is refused.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return all(_is_of_a_library(info, archive) for info in archive.infolist())
    except _UNREADABLE:
        return False


def _is_of_a_library(info: zipfile.ZipInfo, archive: zipfile.ZipFile) -> bool:
    folder, _, file = (name := info.filename).partition("/")
    if folder.endswith(".dist-info"):
        return file != "entry_points.txt" or _brings_commands_only(info, archive)
    if folder.endswith(".data"):
        scheme, _, file = file.partition("/")
        if scheme == "data" and file:
            return False
        name = file
    return not name.endswith(".pth") and name not in _AT_START


def _brings_commands_only(entry_points: zipfile.ZipInfo, archive: zipfile.ZipFile) -> bool:
    if entry_points.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return False  # the other methods are inflated without bound
    with archive.open(entry_points) as file:
        content = file.read(_MOST_ENTRY_POINTS + 1)  # without a size it inflates a gibibyte of a bomb
    groups = re.findall(rb"^[ \t]*\[(.*)\]", content, re.MULTILINE)
    commands = {group.strip() for group in groups} <= {b"console_scripts", b"gui_scripts"}
    return commands and len(content) <= _MOST_ENTRY_POINTS


class _Placed(NamedTuple):
    """A member and where it goes; `script` says that its first line may need the interpreter's path."""

    member: Member
    recorded: Recorded | None
    path: str
    script: bool


class _Wheel:
    def __init__(self, archive: ZipArchive, python: str, *, checked: bool) -> None:
        self.archive = archive
        self.checked = checked
        self.label = archive.label
        self.python = python
        self.site = site_packages(python)
        self.startup = f"{self.site}/{PACKAGE}/"
        self.reserved = {
            *("pyvenv.cfg", "bin/python", "bin/python3", f"bin/python{python}"),
            *(self.startup.rstrip("/"), f"{self.site}/{LINE}"),
        }
        self.members = {member.name: member for member in archive.files}
        self.dist_info = self._find_dist_info()
        self._check_dist_info()
        self.data = f"{self.dist_info.removesuffix('.dist-info')}.data"
        root_is_purelib(self._metadata("WHEEL"), self.label)  # both roots are one folder in a venv
        self.record = parse_record(self._metadata("RECORD"), self.label)
        self._check_record()
        self.commands = self._commands()
        self.rows: list[tuple[str, str, str]] = []

    def entries(self) -> Iterator[Entry]:
        for directory in self.archive.directories:
            if path := self._path(directory):
                yield Directory(path)
        placed = [self._place(member) for member in self.archive.files]
        for file in placed:
            if file and file.member.name not in self._unrecorded:
                yield self._script(file) if file.script else self._file(file)
        for command in self.commands:
            yield self._made(f"bin/{command.name}", command_script(command, INTERPRETER), executable=True)
        yield self._made(f"{self.site}/{self.dist_info}/INSTALLER", b"hotdesk")
        record = f"{self.site}/{self.dist_info}/RECORD"
        self.rows.append((self._relative(record), "", ""))
        yield _in_memory(record, format_record(self.rows))

    def _find_dist_info(self) -> str:
        found = {name.split("/")[0] for name in self.members if name.split("/")[0].endswith(".dist-info")}
        found = {name for name in found if f"{name}/WHEEL" in self.members}
        if len(found) != 1:
            raise bad_wheel(self.label, f"it has {len(found)} .dist-info folders with a WHEEL file, not one")
        return found.pop()

    def _check_dist_info(self) -> None:
        """It is of the project and version that the file name promises, which is what was locked."""
        promised = "-".join(self.label.split("-")[:2])
        found = self.dist_info.removesuffix(".dist-info")
        if found != promised and self.label.endswith(".whl") and _identity(found) != _identity(promised):
            raise bad_wheel(self.label, f"its metadata are those of {found!r}")

    def _metadata(self, name: str) -> str:
        member = self.members.get(f"{self.dist_info}/{name}")
        if not member:
            raise bad_wheel(self.label, f"it has no {name}")
        try:
            return self.archive.read(member).decode()
        except UnicodeDecodeError:
            raise bad_wheel(self.label, f"its {name} is not UTF-8") from None

    @property
    def _unrecorded(self) -> set[str]:
        return {f"{self.dist_info}/{name}" for name in _UNRECORDED}

    def _check_record(self) -> None:
        """RECORD lists every file with its hash, and nothing else."""
        listed = {path for path, recorded in self.record.items() if recorded} - self._unrecorded
        held = set(self.members) - self._unrecorded
        if missing := sorted(held - listed):
            raise bad_wheel(self.label, f"its RECORD has no hash for `{missing[0]}` ({len(missing)} in all)")
        if absent := sorted(set(self.record) - held - self._unrecorded):
            raise bad_wheel(self.label, f"its RECORD lists `{absent[0]}`, which it does not hold")
        for path, recorded in self.record.items():
            member = self.members.get(path)
            if recorded and member and recorded.size not in (None, member.size):
                self.archive.refuse(path, f"RECORD says it has {recorded.size} bytes, not {member.size}")

    def _commands(self) -> list[EntryPoint]:
        if f"{self.dist_info}/entry_points.txt" not in self.members:
            return []
        commands = parse_entry_points(self._metadata("entry_points.txt"), self.label)
        if self.dist_info.startswith("pip-"):  # it has always had a command for the version of Python as well
            pip = [command for command in commands if command.name == "pip"]
            commands += [replace(command, name=f"pip{self.python}") for command in pip]
        for command in commands:
            safe_path(command.name, self.label)
            self._refuse_reserved(f"bin/{command.name}")
        return commands

    def _place(self, member: Member) -> _Placed | None:
        """Where a member goes; None for what gives way to something else."""
        recorded = self.record.get(member.name)
        if member.name == f"{self.dist_info}/INSTALLER":
            return None
        path = self._path(member.name)
        script = member.name.startswith(f"{self.data}/scripts/")
        if not path:
            self.archive.refuse(member.name, "it is in no scheme")
        self._refuse_reserved(path)
        if script and _wrapped_name(path.removeprefix("bin/")) in {command.name for command in self.commands}:
            return None
        return _Placed(member, recorded, path, script)

    def _path(self, name: str) -> str:
        """Where a member goes below the prefix; empty for the folders of schemes themselves."""
        first, _, rest = name.partition("/")
        if first != self.data:
            return f"{self.site}/{name}"
        scheme, _, inner = rest.partition("/")
        if not scheme:
            return ""
        project = self.dist_info.split("-")[0]
        folders = {
            "purelib": self.site,
            "platlib": self.site,
            "scripts": "bin",
            "data": "",
            "headers": f"include/site/python{self.python}/{project}",
        }
        if scheme not in folders:
            self.archive.refuse(name, f"no scheme is named {scheme!r}")
        return f"{folders[scheme]}/{inner}".strip("/") if inner else ""

    def _refuse_reserved(self, path: str) -> None:
        if path in self.reserved or path.startswith(self.startup):
            raise bad_wheel(self.label, f"it would replace the environment's own `{path}`")

    def _relative(self, path: str) -> str:
        inside = path.removeprefix(f"{self.site}/")
        if inside != path:
            return inside
        folder, _, name = path.rpartition("/")
        return f"{_climb(folder, self.site)}/{name}"

    def _file(self, placed: _Placed) -> File:
        member, recorded = placed.member, placed.recorded
        assert recorded  # _check_record saw to it
        self.rows.append((self._relative(placed.path), recorded.stated, str(member.size)))
        inflated = partial(self.archive.inflated, member)
        if not self.checked:
            inflated = partial(self._check, member, recorded)
        packed = partial(self.archive.packed, member)
        return File(
            path=placed.path,
            size=member.size,
            chunks=lambda: inflated(packed()),
            executable=member.executable or placed.script,
            sha256=recorded.digest.hex() if recorded.algorithm == "sha256" else None,
            deflated=Deflated(member.packed_size, member.crc32, packed, inflated)
            if member.deflated
            else None,
        )

    def _check(self, member: Member, recorded: Recorded, packed: Iterable[bytes]) -> Iterator[bytes]:
        digest = recorded.hasher()
        for piece in self.archive.inflated(member, packed):
            digest.update(piece)
            yield piece
        if digest.digest() != recorded.digest:
            self.archive.refuse(member.name, f"its {recorded.algorithm} is not the one in RECORD")

    def _script(self, placed: _Placed) -> File:
        """A script whose first line asks for the interpreter gets its path; any other stays as it is."""
        plain = self._file(placed)
        if not next(plain.chunks(), b"").startswith(_PLACEHOLDER):
            return plain
        chunks = partial(self._with_interpreter, placed.member, plain)
        digest, size = hashlib.sha256(), 0
        for piece in chunks():
            digest.update(piece)
            size += len(piece)
        recorded = Recorded("sha256", digest.digest(), size)
        self.rows[-1] = (self._relative(plain.path), recorded.stated, str(size))
        return File(plain.path, size, chunks, executable=True, sha256=digest.hexdigest())

    def _with_interpreter(self, member: Member, plain: File) -> Iterator[bytes]:
        pieces = plain.chunks()
        first = next(pieces)
        line = _FIRST_LINE.match(first)
        if not line:
            self.archive.refuse(member.name, "the first line of a script has no end")
        yield f"#!{INTERPRETER}\n".encode()
        yield first[line.end() :]
        yield from pieces

    def _made(self, path: str, content: bytes, *, executable: bool = False) -> File:
        file = _in_memory(path, content, executable=executable)
        recorded = Recorded("sha256", hashlib.sha256(content).digest(), len(content))
        self.rows.append((self._relative(path), recorded.stated, str(len(content))))
        return file


@lru_cache(1024)
def _climb(folder: str, site: str) -> str:
    """The way to `folder` from the `site` it is not in."""
    return posixpath.relpath(f"/{folder}", f"/{site}")


def _identity(stem: str) -> tuple[str, str]:
    """The project and version in `NAME-VERSION`, however they are spelled."""
    from packaging.utils import canonicalize_name, canonicalize_version

    name, _, version = stem.partition("-")
    return canonicalize_name(name), canonicalize_version(version)


def _in_memory(path: str, content: bytes, *, executable: bool = False) -> File:
    digest = hashlib.sha256(content).hexdigest()
    return File(path, len(content), lambda: iter((content,)), executable=executable, sha256=digest)


def _wrapped_name(script: str) -> str:
    """The command that setuptools' own wrapper of this name would start."""
    for suffix in (".exe", "-script.py", ".pya"):
        if script.endswith(suffix):
            return script.removesuffix(suffix)
    return script
