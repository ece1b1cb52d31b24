"""Run uv to choose versions of Python packages; uv never installs, and never runs a package's code here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from uv import find_uv_bin

from hotdesk.build.sdist import open_result
from hotdesk.errors import BuildRequiredError, FetchError, NotCachedError, ResolveError
from hotdesk.indexes.http import LOGIN_HINT
from hotdesk.spec.requirements import normalized_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from hotdesk.resolve.wheels import Target
    from hotdesk.store import Store

_LONGEST_ANSWER = 64 << 20
# All that uv gets to know of the shell it is started from; its configuration files are closed to it. Anything
# else could change the answer, or let a package's code run here.
_PASSED = frozenset(
    {
        "PATH", "HOME", "TMPDIR", "LANG", "NETRC", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS",
        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "SSL_CLIENT_CERT", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_INDEX_STRATEGY",
        "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER", "UV_EXCLUDE_NEWER", "UV_PRERELEASE",
        "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES",
        "UV_NATIVE_TLS", "UV_SYSTEM_CERTS",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offer:
    """One file that an index offers; `size` is None where the index does not say."""

    file: str
    url: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One package that uv chose, with what there is of this version."""

    name: str
    version: str
    wheels: tuple[Offer, ...]
    sdist: Offer | None


@dataclass(frozen=True, slots=True)
class NoSolution:
    """No set of versions fits. `without_wheels` names packages that might fit if they were built.

    `denied` tells which index denied access where something was not found: it may be there.
    """

    explanation: str
    without_wheels: tuple[str, ...] = ()
    denied: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What uv is asked: `constraints` limit the versions of packages that something requires.

    `find_links` are folders with more wheels; only the packages in `from_source` may be, and then are,
    taken as sdists.
    """

    requirements: Iterable[str]
    constraints: Iterable[str] = ()
    find_links: Iterable[str] = ()
    from_source: Iterable[str] = ()
    offline: bool = False


class Uv:
    """uv with the user's indexes and network, its cache in the store, and nothing else of their settings."""

    def __init__(self, store: Store, environment: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._given = environment

    @cached_property
    def environment(self) -> dict[str, str]:
        """What uv is run with. Found when it is needed: the user's settings may lack any index."""
        given = self._given
        if given is None:
            from hotdesk.indexes.pypi import resolving_environment

            given = resolving_environment()
        return {name: value for name, value in given.items() if name.upper() in _PASSED}

    def compile(self, question: Question, target: Target) -> list[Choice] | NoSolution:
        """The packages that answer `question`; `FetchError` where an index does not answer."""
        environment = with_find_links(self.environment, question.find_links)

        def run(arguments: Sequence[str], folder: Path) -> tuple[int, bytes]:
            argv = [find_uv_bin(), *arguments, *index_options(environment)]
            argv += ["--cache-dir", os.fspath(self._store.root / "uv")]
            done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, check=False)
            return done.returncode, done.stderr

        with self._store.scratch() as folder:
            return ask(question, target, run, folder, python=sys.executable)


def index_options(environment: Mapping[str, str]) -> list[str]:
    """Where no index is named, none is to be used; uv has its own else."""
    return [] if environment.get("UV_DEFAULT_INDEX") else ["--no-index"]


def with_find_links(environment: Mapping[str, str], folders: Iterable[str]) -> dict[str, str]:
    """`environment` with `folders` before those of the user; an option of uv's would replace the user's."""
    links = [*folders, *filter(None, [environment.get("UV_FIND_LINKS", "")])]
    return {**environment, "UV_FIND_LINKS": ",".join(links)} if links else dict(environment)


def ask(
    question: Question,
    target: Target,
    run: Callable[[Sequence[str], Path], tuple[int, bytes]],
    folder: Path,
    *,
    python: str,
) -> list[Choice] | NoSolution:
    """Write the question into the empty `folder`, have `run` start uv in it, and read the answer.

    `run` gives the exit status and what uv said; `python` is the interpreter that uv may ask.
    """
    _write_question(question, folder)
    status, said = run(compile_arguments(question, target, python), folder)
    return _answer(folder) if status == 0 else _failure(said.decode(errors="replace"))


def _answer(folder: Path) -> list[Choice]:
    """Where sdists were built meanwhile, their code may have written it: it may be anything at all."""
    try:
        with open_result(folder / "pylock.toml") as file:
            return read_pylock(file.read(_LONGEST_ANSWER).decode(), folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ResolveError(
            "uv's answer cannot be read",
            why=f"pylock.toml: {error!r:.200}",
            hint="where a package of the spec is built from its source, choose a version that has wheels",
        ) from None


def compile_arguments(question: Question, target: Target, python: str) -> list[str]:
    """The command line of `uv`, for a folder that `_write_question` filled."""
    arguments = ["pip", "compile", "--quiet", "--color", "never", "--no-python-downloads", "--no-header"]
    arguments.append("--no-config")
    # Without an interpreter named, uv goes to look for, and even to download, one of the desk's version.
    arguments += ["--python", python, "--python-version", target.python]
    arguments += ["--python-platform", target.uv_platform, "--only-binary", ":all:"]
    for package in question.from_source:
        arguments += ["--no-binary", package]
    if question.offline:
        arguments.append("--offline")
    return [
        *arguments, "--format", "pylock.toml", "--constraints", "constraints.txt",
        "--output-file", "pylock.toml", "requirements.in",
    ]  # fmt: skip


def _write_question(question: Question, folder: Path) -> None:
    def write(name: str, lines: Iterable[str]) -> None:
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    write("uv.toml", ())  # ends uv's search for settings of a project in the folders above
    write("requirements.in", question.requirements)
    write("constraints.txt", question.constraints)


def read_pylock(text: str, folder: Path) -> list[Choice]:
    """The packages of a pylock.toml (PEP 751) in `folder`."""
    return [
        Choice(
            name=normalized_name(row["name"]),
            version=row["version"],
            wheels=tuple(_offer(wheel, folder) for wheel in row.get("wheels", ())),
            sdist=_offer(row["sdist"], folder) if "sdist" in row else None,
        )
        for row in tomllib.loads(text).get("packages", ())
    ]


def _offer(row: dict[str, Any], folder: Path) -> Offer:
    url = row.get("url") or (folder / row["path"]).resolve().as_uri()
    file = row.get("name") or unquote(urlsplit(url).path.rpartition("/")[2])
    return Offer(file, url, row.get("size"), row.get("hashes", {}).get("sha256"))


def _failure(stderr: str) -> NoSolution:
    body = re.sub(r"^warning: .*\n(?:  cause: .*\n)*", "", stderr, flags=re.MULTILINE).strip()
    explanation = tidy(body)
    if "network was disabled" in body:
        raise NotCachedError(
            "what uv knows of the indexes is not enough to resolve offline",
            why=explanation,
            hint="run the command again without `--offline`",
        )
    if re.search(r"Failed to build|[Bb]uild backend|Failed to (?:prepare|resolve requirements from)", body):
        raise BuildRequiredError(
            "a package that has no wheel cannot be built",
            why="\n".join(body.splitlines()[-30:]),
            hint="choose another version of it, or add what its build misses to `[packages] debian`",
        )
    if "No solution found" in body:
        return NoSolution(explanation, _without_wheels(body), _denied(body))
    if re.search(r"Failed to (?:fetch|download)|error sending request|timed out|HTTP status", body):
        raise FetchError(
            "a package index does not answer as it should",
            why=explanation,
            hint="check the network, and the indexes in uv's or pip's configuration",
        )
    raise ResolveError("uv could not resolve the Python packages", why=explanation)


def access_denied(failure: NoSolution) -> FetchError:
    """What to raise where no other answer came of it: the lock would state that there is no such package."""
    return FetchError(
        "a package index denies access", why=f"{failure.denied}:\n{failure.explanation}", hint=LOGIN_HINT
    )


def _denied(message: str) -> str:
    """Which index answers what; nothing where all was found, or where the index answered for others.

    Some answer 403 for every package that they do not have.
    """
    said = re.search(
        r"hint: An index [^(]*\((\S+)\) "
        r"(?:could not be queried due to .*\((40[13])|returned a (403)(?!.*successful response))",
        message,
    )
    if said is None or "was not found" not in message:
        return ""
    return f"{said[1]} answers {said[2] or said[3]}"


def tidy(message: str) -> str:
    """What uv explains, without its own frame and advice, in lines that may follow a `why:`."""
    text = re.split(r"\n\s*hint: ", message)[0]
    text = re.sub(r"^error: No solution found when resolving dependencies\s*", "", text)
    text = re.sub(r"^(?:error|\s*cause): ", "", text.strip(), flags=re.MULTILINE)
    text = re.sub(r",? we can conclude that your requirements are unsatisfiable\.", ", this cannot be.", text)
    return re.sub(r"\n {9}", "\n  ", text).strip()


def _without_wheels(message: str) -> tuple[str, ...]:
    found = re.findall(r"Wheels are required for `([^`]+)`", message)
    found += re.findall(r"only found wheels for `([^`]+)`", message)
    found += re.findall(r"Wheels are available for `([^`]+)`", message)
    return tuple(dict.fromkeys(normalized_name(name) for name in found))
