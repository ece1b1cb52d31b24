"""Requirements of Python packages and names of Debian packages, as a spec states them.

`packaging` is the authority, but importing it takes 40 ms; the plain forms, which are nearly all there
are, are read here with one regular expression, and only the rest is handed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CLAUSE = r"(?:(?:>=|<=|==|!=|<|>)\s*[0-9]+(?:\.[0-9]+)*|(?:==|!=)\s*[0-9]+(?:\.[0-9]+)*\.\*)"
_MARKER = (
    r"(platform_machine|sys_platform|python_version|platform_system)\s*(==|!=)\s*"
    r"(?:\"([a-z0-9_.]+)\"|'([a-z0-9_.]+)')"
)
_PLAIN = re.compile(
    rf"({_NAME})\s*(?:\[\s*({_NAME}(?:\s*,\s*{_NAME})*)\s*\])?\s*({_CLAUSE}(?:\s*,\s*{_CLAUSE})*)?"
    rf"(?:\s*;\s*{_MARKER})?",
    re.ASCII,
)
_FILES = (".whl", ".tar.gz", ".zip")
_DEBIAN_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Requirement:
    """`text` is canonical: two spellings of one requirement have the same."""

    name: str
    text: str
    marker: str = ""


class BadRequirementError(ValueError):
    """Says in one sentence what is wrong with the requirement."""


def normalized_name(name: str) -> str:
    """As the index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_requirement(text: str) -> Requirement:
    """The requirement in `text`; `BadRequirementError` where it is none, or one that a lock cannot hold."""
    stripped = text.strip()
    match = None if stripped.endswith(_FILES) else _PLAIN.fullmatch(stripped)
    if not match:
        return _parse_any(stripped)
    name, extras, clauses, variable, operator, *quoted = match.groups("")
    marker = f'{variable} {operator} "{quoted[0] or quoted[1]}"' if variable else ""
    return _requirement(name, _split(extras), _split(clauses), marker)


def _split(listed: str) -> list[str]:
    return listed.split(",") if listed else []


def _requirement(name: str, extras: list[str], clauses: list[str], marker: str) -> Requirement:
    name = normalized_name(name)
    listed = ",".join(sorted({normalized_name(extra.strip()) for extra in extras}))
    bracket = f"[{listed}]" if listed else ""
    limits = ",".join(sorted({re.sub(r"\s+", "", clause) for clause in clauses}))
    condition = f"; {marker}" if marker else ""
    return Requirement(name, f"{name}{bracket}{limits}{condition}", marker)


def _parse_any(text: str) -> Requirement:
    _refuse_locations(text)
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        parsed = Parsed(text)
    except InvalidRequirement as error:
        first = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise BadRequirementError(f"`{text}` is not a requirement: {first}") from None
    if parsed.url:
        raise _location(text)
    clauses = [str(clause) for clause in parsed.specifier]
    return _requirement(parsed.name, list(parsed.extras), clauses, str(parsed.marker or ""))


def _refuse_locations(text: str) -> None:
    if text.startswith("-"):
        raise BadRequirementError(
            f"`{text}` is an option; indexes are set in uv's or pip's configuration, not in a spec"
        )
    path_like = text.startswith((".", "/", "~")) or text.endswith(_FILES)
    if path_like or re.match(r"[a-z+]+:", text) or re.match(rf"{_NAME}\s*(\[[^\]]*\])?\s*@", text):
        raise _location(text)


def _location(text: str) -> BadRequirementError:
    return BadRequirementError(
        f"`{text}` says where a package is; a lock names no host and no path, so give the package's name"
        " and let an index of uv's or pip's configuration offer it"
    )


def check_debian_name(text: str) -> str:
    """`text`; `BadRequirementError` where no Debian package can have this name."""
    if _DEBIAN_NAME.fullmatch(text):
        return text
    name = re.split(r"[\s=:(<>~/]", text.strip(), maxsplit=1)[0].lower()
    if name != text.lower() and _DEBIAN_NAME.fullmatch(name):
        raise BadRequirementError(
            f"`{text}` is not the name of a Debian package; write `{name}`, the lock chooses its version"
        )
    advice = f"; did you mean `{name}`?" if _DEBIAN_NAME.fullmatch(name) else ""
    raise BadRequirementError(f"`{text}` is not the name of a Debian package{advice}")
