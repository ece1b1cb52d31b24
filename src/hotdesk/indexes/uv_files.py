"""What uv's configuration files say of an index beside its address, which is all that uv itself tells."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class ListedIndex:
    """A relative `url` is meant from `folder`."""

    url: str
    folder: Path
    setting: Literal["index", "find-links"]
    name: str = ""
    flat: bool = False


def listed_indexes(environment: Mapping[str, str]) -> Iterator[ListedIndex]:
    """Those in the user's files, strongest first; more than uv uses, perhaps."""
    for path in _configuration_files(environment):
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # if uv reads it, uv says what is wrong with it
        yield from _listed(document, path.absolute().parent)


def _listed(document: Mapping[str, Any], folder: Path) -> Iterator[ListedIndex]:
    for row in _rows(document, "index"):
        match row:
            case {"url": str(url)}:
                name = row.get("name")
                flat = row.get("format") == "flat"
                yield ListedIndex(url, folder, "index", name if isinstance(name, str) else "", flat)
    for table in (document, document.get("pip")):
        for link in _rows(table, "find-links"):
            if isinstance(link, str):
                yield ListedIndex(link, folder, "find-links", flat=True)


def _rows(table: object, key: str) -> list[Any]:
    rows = table.get(key) if isinstance(table, dict) else None
    return rows if isinstance(rows, list) else []


def bare(url: str) -> str:
    """`url` as it can be compared: without credentials, which uv may have added."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # uv says what is wrong with it
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _configuration_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where uv has its settings, strongest first. Source: "Configuration files" in uv's documentation."""
    if named := environment.get("UV_CONFIG_FILE"):
        yield Path(named)
        return
    home = Path(environment.get("HOME") or Path.home())
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "uv", "uv.toml")
    for folder in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(folder, "uv", "uv.toml")
    yield Path("/etc/uv/uv.toml")
