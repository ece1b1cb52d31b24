"""User and password of Python indexes: in an address, or where uv looks for them by an index's name.

uv tells the addresses of its indexes and keeps their names to itself, so those are read where it reads them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from hotdesk.indexes.uv_files import bare, listed_indexes

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
            if bare(named) == bare(url):
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
    for listed in listed_indexes(environment):
        if listed.name:
            yield listed.name, listed.url
