"""What pip's own configuration says of indexes and of the network.

Read here and not asked of pip, which need not be there: files as pip finds and ranks them, then `PIP_…`.
Source: "Configuration" in pip's documentation.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.errors import IndexConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class PipSettings:
    """Empty where pip has nothing configured; addresses may hold credentials."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str = ""
    proxy: str = ""
    trusted_hosts: tuple[str, ...] = ()

    def names_indexes(self) -> bool:
        return bool(self.index_url or self.extra_index_urls or self.find_links or self.no_index)


def pip_settings(
    environment: Mapping[str, str] = os.environ, files: tuple[Path, ...] | None = None
) -> PipSettings:
    """The settings that `pip install` would use; `files`, weakest first, stand in for pip's own places."""
    values: dict[str, str] = {}
    for section in ("global", "install"):
        for path in config_files(environment) if files is None else files:
            values.update(_read(path, section))
    prefix = "PIP_"
    for name, value in environment.items():
        if name.startswith(prefix) and value:
            values[name.removeprefix(prefix).lower().replace("_", "-")] = value
    return PipSettings(
        index_url=values.get("index-url", values.get("pypi-url", "")),
        extra_index_urls=tuple(values.get("extra-index-url", "").split()),
        find_links=tuple(values.get("find-links", "").split()),
        no_index=is_set(values.get("no-index", "")),
        cert=values.get("cert", ""),
        proxy=values.get("proxy", ""),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
    )


def is_set(value: str) -> bool:
    """How pip and uv read a switch."""
    return value.strip().lower() in ("1", "true", "yes", "on", "y", "t")


def config_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where pip looks, weakest first. A `PIP_CONFIG_FILE` takes the place of the user's own file."""
    named = environment.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    home = Path(environment.get("HOME") or Path.home())
    for folder in reversed((environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
    if not (named and Path(named).exists()):
        yield home / ".pip" / "pip.conf"
        yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
        if sys.platform == "darwin":
            yield home / "Library" / "Application Support" / "pip" / "pip.conf"
    yield Path(environment.get("VIRTUAL_ENV") or sys.prefix, "pip.conf")
    if named:
        yield Path(named)


def _read(path: Path, section: str) -> dict[str, str]:
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise IndexConfigurationError(
            f"pip's configuration in {path} cannot be read",
            why=str(error).replace("\n", " "),
            hint="mend the file, or set PIP_CONFIG_FILE to another",
        ) from None
    if not parser.has_section(section):
        return {}
    return {name.replace("_", "-"): value for name, value in parser.items(section)}
