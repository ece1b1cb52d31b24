"""What the words of a lock may be: much of it becomes a path on the host or a word of a shell script."""

from __future__ import annotations

import re
from datetime import datetime

_WORDS = {
    "python": (r"[0-9]+\.[0-9]+", "a version of Python"),
    "archive": (r"[a-z0-9][a-z0-9.-]*", "a Debian archive"),
    "debian-name": (r"[a-z0-9][a-z0-9+.-]*", "the name of a Debian package"),
    "debian-version": (r"[A-Za-z0-9][A-Za-z0-9.+~:-]*", "the version of a Debian package"),
    "architecture": (r"[a-z0-9][a-z0-9-]*", "one of Debian's architectures"),
    "pool-path": (r"pool/(?!(.*/)?\.\./)[A-Za-z0-9._+~:%/-]+\.deb", "a path in a Debian pool"),
    "pypi-name": (r"[a-z0-9]+(-[a-z0-9]+)*", "the normalized name of a Python package"),
    "pypi-version": (r"[A-Za-z0-9][A-Za-z0-9.!+_-]*", "the version of a Python package"),
    "file": (r"[A-Za-z0-9][A-Za-z0-9._+!-]*", "a plain file name"),
    "sha256": (r"[0-9a-f]{64}", "a SHA-256"),
}
_PATTERNS = {kind: re.compile(pattern) for kind, (pattern, _) in _WORDS.items()}
_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")


def checked(kind: str, value: str) -> str:
    """`value`; ValueError where it cannot be one of `kind`."""
    if not _PATTERNS[kind].fullmatch(value):
        raise ValueError(f"{value!r} is not {_WORDS[kind][1]}")
    return value


def checked_time(value: str) -> str:
    """`value`; ValueError where it is no time in UTC as `YYYYMMDDTHHMMSSZ`."""
    found = _TIME.fullmatch(value)
    if not found:
        raise ValueError(f"{value!r} is not a time as `YYYYMMDDTHHMMSSZ`")
    year, month, day, hour, minute, second = map(int, found.groups())
    datetime(year, month, day, hour, minute, second)  # ValueError where there is no such day
    return value
