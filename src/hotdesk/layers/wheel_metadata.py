"""What a wheel says of itself: WHEEL, RECORD and entry_points.txt.

Sources: packaging.python.org, "Binary distribution format", "Recording installed projects", "Entry points".
"""

from __future__ import annotations

import binascii
import configparser
import csv
import hashlib
import re
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import TYPE_CHECKING, NamedTuple

from hotdesk.errors import UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable

_STRONG = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")
_ENTRY_POINT = re.compile(r"(?P<module>[\w.-]+)\s*:\s*(?P<attribute>[\w.-]+)\s*(\[[^\]]*\])?", re.ASCII)


class Recorded(NamedTuple):
    """A line of RECORD: `digest` is raw, `size` is None where the line leaves it out."""

    algorithm: str
    digest: bytes
    size: int | None

    def hasher(self) -> hashlib._Hash:
        return _STRONG[self.algorithm]()

    @property
    def stated(self) -> str:
        """The hash as RECORD writes it."""
        encoded = binascii.b2a_base64(self.digest, newline=False).translate(_TO_URL)
        return f"{self.algorithm}={encoded.rstrip(b'=').decode()}"


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A command: `name` calls `attribute` of `module`."""

    name: str
    module: str
    attribute: str


def bad_wheel(label: str, why: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"the wheel `{label}` cannot be trusted",
        why=why,
        hint="do not use this file; report it to those who published it",
    )


def root_is_purelib(wheel_file: str, label: str) -> bool:
    """What WHEEL says; refuses a Wheel-Version whose major number is not 1."""
    headers = HeaderParser().parsestr(wheel_file)
    version = headers.get("Wheel-Version", "").strip()
    if not re.fullmatch(r"1(\.\d+)*", version):
        raise bad_wheel(label, f"its Wheel-Version is {version!r}, and only 1.x is known")
    root = headers.get("Root-Is-Purelib", "").strip().lower()
    if root not in ("true", "false"):
        raise bad_wheel(label, f"its Root-Is-Purelib is {root!r}")
    return root == "true"


def parse_record(text: str, label: str) -> dict[str, Recorded | None]:
    """RECORD by path; None for a line without a hash, which only RECORD itself may be."""
    found: dict[str, Recorded | None] = {}
    try:
        rows = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise bad_wheel(label, f"its RECORD is not CSV: {error}") from None
    for row in rows:
        if not row:
            continue
        if len(row) != 3:
            raise bad_wheel(label, f"its RECORD has a line of {len(row)} fields: {row[0]!r}")
        path, stated, size = row
        if path in found:
            raise bad_wheel(label, f"its RECORD lists `{path}` twice")
        found[path] = _recorded(path, stated, size, label)
    return found


def _recorded(path: str, stated: str, size: str, label: str) -> Recorded | None:
    if not stated:
        return None
    algorithm, _, encoded = stated.partition("=")
    if algorithm not in _STRONG:
        raise bad_wheel(label, f"its RECORD has no SHA-256 or stronger hash for `{path}`, but {stated!r}")
    try:
        plain = encoded.rstrip("=").encode("ascii").translate(_FROM_URL)
        digest = binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
        length = int(size) if size else None
    except (binascii.Error, ValueError):
        raise bad_wheel(label, f"its RECORD says nonsense of `{path}`: {stated!r}, {size!r}") from None
    if len(digest) != _STRONG[algorithm]().digest_size:
        raise bad_wheel(label, f"its RECORD has a hash of the wrong length for `{path}`")
    return Recorded(algorithm, digest, length)


def format_record(rows: Iterable[tuple[str, str, str]]) -> bytes:
    """RECORD's bytes: (path, hash, size) by path."""
    import io

    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    return text.getvalue().encode()


def parse_entry_points(text: str, label: str) -> list[EntryPoint]:
    """The commands, console and graphical, by name."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise bad_wheel(label, f"its entry_points.txt cannot be read: {error}") from None
    found: dict[str, EntryPoint] = {}
    for section in ("console_scripts", "gui_scripts"):
        if parser.has_section(section):
            for name, value in parser.items(section):
                found[name] = _entry_point(name, value, label)
    return [found[name] for name in sorted(found)]


def _entry_point(name: str, value: str, label: str) -> EntryPoint:
    match = _ENTRY_POINT.fullmatch(value.strip())
    if not match or not name or "/" in name or "\\" in name or name in (".", ".."):
        raise bad_wheel(label, f"its entry_points.txt has a command that cannot be: {name!r} = {value!r}")
    return EntryPoint(name, match["module"], match["attribute"])


def command_script(entry_point: EntryPoint, interpreter: str) -> bytes:
    """The text of the command in `bin`, the same as uv writes."""
    imported = entry_point.attribute.split(".")[0]
    return (
        f"#!{interpreter}\n"
        "# -*- coding: utf-8 -*-\n"
        "import sys\n"
        f"from {entry_point.module} import {imported}\n"
        'if __name__ == "__main__":\n'
        '    if sys.argv[0].endswith("-script.pyw"):\n'
        "        sys.argv[0] = sys.argv[0][:-11]\n"
        '    elif sys.argv[0].endswith(".exe"):\n'
        "        sys.argv[0] = sys.argv[0][:-4]\n"
        f"    sys.exit({entry_point.attribute}())\n"
    ).encode()
