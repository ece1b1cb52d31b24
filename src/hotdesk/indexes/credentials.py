"""User and password of Python indexes: in an address, or where uv looks for them by an index's name.

uv tells the addresses of its indexes and keeps their names to itself, so those are read where it reads them.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OF_AN_INDEX = re.compile(r"UV_INDEX_(.+)_(USERNAME|PASSWORD)")


def with_credentials(url: str, index: str) -> str:
    """`url` with the credentials of `index` where both are on the same host and `url` has none."""
    target, source = urlsplit(url), urlsplit(index)
    credentials, at, host = source.netloc.rpartition("@")
    if at and target.scheme == source.scheme and target.netloc == host:
        return target._replace(netloc=f"{credentials}@{host}").geturl()
    return url


def with_named_credentials(url: str, environment: Mapping[str, str]) -> str:
    """The index `url` with the login of `UV_INDEX_NAME_USERNAME` and `UV_INDEX_NAME_PASSWORD`, if any."""
    if any(_OF_AN_INDEX.fullmatch(variable) for variable in environment):
        for name, named in _named_indexes(environment):
            if _bare(named) == _bare(url):
                return _with_login(url, _variable(name), environment)
    return url


def _with_login(url: str, variable: str, environment: Mapping[str, str]) -> str:
    user, password = (environment.get(f"{variable}_{part}", "") for part in ("USERNAME", "PASSWORD"))
    if not user and not password:
        return url
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    parts = urlsplit(url)
    return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()


def _variable(name: str) -> str:
    return "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _named_indexes(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names and addresses; more than uv uses, perhaps, but the same address has the same login."""
    for variable in ("UV_INDEX", "UV_DEFAULT_INDEX"):
        for index in environment.get(variable, "").split():
            name, separator, url = index.partition("=")
            if separator and re.fullmatch(r"[\w.-]+", name):
                yield name, url
    for path in _configuration_files(environment):
        try:
            listed = tomllib.loads(path.read_text(encoding="utf-8")).get("index", ())
        except (OSError, ValueError):
            continue  # if uv reads it, uv says what is wrong with it
        for row in listed if isinstance(listed, list) else ():
            match row:
                case {"name": str(name), "url": str(url)}:
                    yield name, url


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


def _bare(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # uv says what is wrong with it
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
