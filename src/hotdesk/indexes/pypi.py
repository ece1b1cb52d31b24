"""Where Python packages come from: the user's indexes, and the addresses of a locked file on them.

uv's settings come first; where uv has none, pip's count; where neither has, uv's own default.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hotdesk.errors import FetchError, GoneError, IndexConfigurationError
from hotdesk.indexes import http, pages, pip
from hotdesk.indexes.credentials import with_credentials, with_named_credentials
from hotdesk.indexes.pip import is_set
from hotdesk.indexes.uv_files import bare, listed_indexes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import httpx2

    from hotdesk.indexes.uv_files import ListedIndex

UV_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
)
# Many threads want to know at once, and one uv is to be asked.
_asking = threading.Lock()


@dataclass(frozen=True, slots=True)
class IndexUrl:
    """An index with a page for each project (`simple`), or one page or folder with all files (`flat`).

    `url` may hold credentials; show it with `hotdesk.indexes.http.shown`.
    """

    url: str
    kind: Literal["simple", "flat"] = "simple"


def index_urls() -> tuple[IndexUrl, ...]:
    """The user's indexes, the preferred one first, as uv sees them with `uv_environment()`.

    Settings are read once in a process.
    """
    with _asking:
        return _indexes()


def authorized(url: str) -> str:
    """`url` with the credentials of the user's first index on its host that has any."""
    candidates = (with_credentials(url, index.url) for index in index_urls())
    return next((candidate for candidate in candidates if candidate != url), url)


def uv_environment() -> dict[str, str]:
    """Variables to run uv with, on top of the process's own, so that it honours pip's settings too.

    Pip's indexes count only where uv has none configured; its certificates and proxy where no variable
    that uv knows names any.
    """
    with _asking:
        return dict(_uv_settings())


def resolving_environment() -> dict[str, str]:
    """The process's environment, with the user's indexes as variables: uv needs no configuration file."""
    indexes = index_urls()
    environment = {**os.environ, **uv_environment()}
    simple = [index.url for index in indexes if index.kind == "simple"]
    flat = [index.url for index in indexes if index.kind == "flat"]
    environment |= {
        "UV_DEFAULT_INDEX": "".join(simple[-1:]),
        "UV_INDEX": " ".join(simple[:-1]),
        "UV_FIND_LINKS": ",".join(flat),
    }
    if named := http.certificate_file():
        environment["SSL_CERT_FILE"] = os.path.abspath(named[1])
    return {name: value for name, value in environment.items() if value}


@cache
def _indexes() -> tuple[IndexUrl, ...]:
    return find_indexes({**os.environ, **_uv_settings()})


@cache
def _uv_settings() -> Mapping[str, str]:
    return uv_settings(pip.pip_settings(), os.environ)


def find_indexes(environment: Mapping[str, str]) -> tuple[IndexUrl, ...]:
    """The indexes uv uses in this environment; `IndexConfigurationError` where it is left none."""
    found = _ask_uv(environment)
    if is_set(environment.get("UV_NO_INDEX", "")):
        # uv goes on telling the indexes that it would not use.
        found = tuple(index for index in found if index.kind == "flat")
    if not found:
        raise IndexConfigurationError(
            "no index for Python packages is configured",
            why="`no-index` is set, and there are no `find-links`",
            hint="set UV_DEFAULT_INDEX or UV_FIND_LINKS",
        )
    listed = list(listed_indexes(environment))
    located = [_located(index, listed) for index in found]
    # uv is told of a flat index as of `find-links`, and those come last.
    ranked = sorted(located, key=lambda index: index.kind == "flat")
    return tuple(replace(index, url=with_named_credentials(index.url, environment)) for index in ranked)


def _located(index: IndexUrl, listed: Sequence[ListedIndex]) -> IndexUrl:
    """`index` with what uv does not tell: whether it is flat, and from where a relative path is meant."""
    setting = "find-links" if index.kind == "flat" else "index"
    same = (item for item in listed if item.setting == setting and bare(item.url) == bare(index.url))
    file = next(same, None)
    url = index.url
    if "://" not in url and not url.startswith("file:"):
        url = Path(os.path.abspath(Path(file.folder if file else "", url))).as_uri()
    return IndexUrl(url, "flat" if file and file.flat else index.kind)


def uv_settings(settings: pip.PipSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """`settings` as variables for uv; none that would override one that is set, or uv's own indexes."""
    variables: dict[str, str] = {}
    if settings.names_indexes() and not _uv_has_indexes(environment):
        variables = _index_variables(settings)
    cert = settings.cert or environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE", "")
    if cert and not (environment.get("SSL_CERT_FILE") or environment.get("SSL_CERT_DIR")):
        variables["SSL_CERT_DIR" if Path(cert).is_dir() else "SSL_CERT_FILE"] = cert
    if settings.proxy and not any(
        environment.get(n) or environment.get(n.lower()) for n in http.PROXY_VARIABLES
    ):
        variables["ALL_PROXY"] = settings.proxy
    if settings.trusted_hosts:
        variables["UV_INSECURE_HOST"] = " ".join(settings.trusted_hosts)
    return {name: value for name, value in variables.items() if not environment.get(name)}


def _index_variables(settings: pip.PipSettings) -> dict[str, str]:
    variables: dict[str, str] = {}
    if settings.index_url:
        variables["UV_DEFAULT_INDEX"] = settings.index_url
    if settings.extra_index_urls:
        variables["UV_INDEX"] = " ".join(settings.extra_index_urls)
        # To pip all indexes are one; uv would look no further than the first that knows the project.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    # Pip passes over a folder that is not there; uv fails.
    if find_links := [link for link in settings.find_links if _is_there(link)]:
        variables["UV_FIND_LINKS"] = ",".join(find_links)
    if settings.no_index:
        variables["UV_NO_INDEX"] = "1"
    return variables


def _is_there(link: str) -> bool:
    if link.startswith("file:"):
        link = url2pathname(urlsplit(link).path)
    return "://" in link or Path(link).exists()


def _uv_has_indexes(environment: Mapping[str, str]) -> bool:
    """Whether uv, as configured, uses other indexes than it would without any configuration."""
    if any(environment.get(name) for name in UV_INDEX_VARIABLES):
        return True
    clean = {name: value for name, value in environment.items() if name != "UV_CONFIG_FILE"}
    return _ask_uv(environment) != _ask_uv(clean, "--no-config")


def _ask_uv(environment: Mapping[str, str], *options: str) -> tuple[IndexUrl, ...]:
    """The indexes that uv uses. It tells them when it compiles no requirement at all, within 20 ms."""
    from uv import find_uv_bin

    argv = [find_uv_bin(), "pip", "compile", "-", "--python", sys.executable, "--no-python-downloads"]
    argv += ["--quiet", "--no-header", "--offline", "--emit-index-url", "--emit-find-links", *options]
    # Or what a project's own `uv.toml` says would count in one folder and not in the next.
    argv += ["--project", "/"]
    done = subprocess.run(argv, input="", capture_output=True, text=True, env=dict(environment), check=False)
    if done.returncode:
        raise IndexConfigurationError(
            "uv cannot tell which Python indexes to use",
            why=" ".join(http.without_credentials(done.stderr).split()),
            hint="mend uv's settings: its variables UV_… and its `uv.toml`",
        )
    return _parse(done.stdout)


def _parse(text: str) -> tuple[IndexUrl, ...]:
    """Extra indexes come before the default one, as uv ranks them; folders and pages of files last."""
    extra: list[IndexUrl] = []
    default: list[IndexUrl] = []
    flat: list[IndexUrl] = []
    for line in text.splitlines():
        option, _, value = line.strip().partition(" ")
        if option == "--index-url":
            default.append(IndexUrl(value))
        elif option == "--extra-index-url":
            extra.append(IndexUrl(value))
        elif option == "--find-links":
            flat.append(IndexUrl(value, "flat"))
    return tuple(dict.fromkeys((*extra, *default, *flat)))


class PythonIndexes:
    """Finds locked files on the indexes; safe to use from several threads."""

    def __init__(self, client: httpx2.Client, indexes: Sequence[IndexUrl] | None = None) -> None:
        self._client = client
        self._indexes = indexes
        self._flat: dict[str, list[pages.Link]] = {}
        self._flat_lock = threading.Lock()

    @property
    def indexes(self) -> Sequence[IndexUrl]:
        """The user's, unless others were given."""
        return index_urls() if self._indexes is None else self._indexes

    def locations(self, project: str, file: str, sha256: str = "") -> Iterator[str]:
        """Addresses of a file, from the preferred index on; an index is asked when the one before is used up.

        An index that cannot be asked is passed over; when all the others are used up, its error is raised.
        """
        failure: FetchError | None = None
        for index in self.indexes:
            try:
                offered = self._offers(index, project, file)
            except GoneError:
                continue
            except FetchError as error:
                failure = failure or error
                continue
            for link in offered:
                if link.file == file and (not sha256 or link.sha256 in ("", sha256)):
                    yield with_credentials(link.url, index.url)
        if failure:
            raise failure

    def _offers(self, index: IndexUrl, project: str, file: str) -> list[pages.Link]:
        if index.kind == "simple":
            return self._links(f"{index.url.rstrip('/')}/{project}/", file)
        if index.url.startswith("file://") and not index.url.endswith((".html", ".htm")):
            # Not listed: a folder may hold thousands of files, and one is wanted.
            path = Path(url2pathname(urlsplit(index.url).path), file)
            return [pages.Link(file, path.as_uri(), "")] if path.is_file() else []
        with self._flat_lock:
            if index.url not in self._flat:
                self._flat[index.url] = self._links(index.url, "")
        return self._flat[index.url]

    def _links(self, url: str, file: str) -> list[pages.Link]:
        page = http.get(self._client, url, accept=pages.ACCEPT)
        try:
            return pages.links(page, file)
        except ValueError as error:
            raise FetchError(
                f"{http.shown(url)} is not an index of Python packages",
                why=str(error),
                hint="check the address in the settings of uv or pip",
            ) from None
