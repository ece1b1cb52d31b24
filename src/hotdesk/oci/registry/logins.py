"""The logins that Docker and Podman already have: their files, and the helpers that these name.

Helpers are asked before what is stored. Source: docker-credential-helpers' protocol, containers-auth.json(5).
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotdesk.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SECONDS_FOR_HELPER = 60
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IDENTITY_TOKEN = "<token>"  # noqa: S105 (what helpers give for a name where the secret is such a token)
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password, or an identity token; `source` says where they are from."""

    source: str
    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Logins:
    """What was found for a registry: the first `login`, and what went wrong on the way, in words."""

    login: Login | None
    problems: tuple[str, ...] = ()


def find_login(registry: str, repository: str, environment: Mapping[str, str] = os.environ) -> Logins:
    """The login for a repository of the registry; the first file that has one decides."""
    problems: list[str] = []
    for path in login_files(environment):
        for look in (_from_helper, _from_file):
            try:
                if login := look(path, _read(path), registry, repository):
                    return Logins(login, tuple(problems))
            except RegistryError as error:
                problems.append(f"{error.what}: {error.why}")
    return Logins(None, tuple(dict.fromkeys(problems)))


def login_files(environment: Mapping[str, str]) -> list[Path]:
    """Where logins may be, those that a variable names first; those of Docker before Podman's."""
    home = Path(environment.get("HOME") or Path.home())
    named = [Path(file) for file in [environment.get("REGISTRY_AUTH_FILE")] if file]
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    podman = [Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"]
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        podman.insert(0, Path(runtime) / "containers" / "auth.json")
    elif hasattr(os, "getuid"):
        podman.insert(0, Path(f"/run/containers/{os.getuid()}/auth.json"))
    return [*named, docker, *podman]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise RegistryError(f"the logins in {path} cannot be read", why=str(error)) from None
    if not isinstance(content, dict):
        raise RegistryError(f"the logins in {path} cannot be read", why="it holds no JSON object")
    return content


def _from_helper(_: Path, content: dict[str, Any], registry: str, __: str) -> Login | None:
    helper = _helper(content, registry)
    return ask_helper(helper, registry) if helper else None


def _from_file(path: Path, content: dict[str, Any], registry: str, repository: str) -> Login | None:
    stored = _object(content.get("auths"))
    found = (_stored(path, _object(stored[key])) for key in _keys(stored, registry, repository))
    return next((login for login in found if login), None)


def _helper(content: dict[str, Any], registry: str) -> str:
    """The helper for this registry, else the one for all."""
    for_some = _object(content.get("credHelpers"))
    found = next((for_some[key] for key in for_some if bare_host(key) == registry), None)
    found = content.get("credsStore") if found is None else found
    return found if isinstance(found, str) else ""


def _keys(stored: dict[str, Any], registry: str, repository: str) -> Iterator[str]:
    """The keys that hold for this repository, the most particular first."""
    parts = [registry, *repository.split("/")]
    for length in range(len(parts), 0, -1):
        if (key := "/".join(parts[:length])) in stored:
            yield key
    yield from (key for key in stored if "://" in key and bare_host(key) == registry)


def bare_host(key: str) -> str:
    """The host of a key, which old files have as an address."""
    return key.partition("://")[2].partition("/")[0] if "://" in key else key


def _stored(path: Path, entry: dict[str, Any]) -> Login | None:
    if isinstance(token := entry.get("identitytoken"), str) and token:
        return Login(str(path), identity_token=token)
    user, password = entry.get("username"), entry.get("password")
    if isinstance(encoded := entry.get("auth"), str) and encoded:
        try:
            user, password = base64.b64decode(encoded, validate=True).decode().split(":", 1)
        except ValueError:
            why = "it is no Base64 of a name, a colon and a password"
            raise RegistryError(f"a login in {path} cannot be read", why=why) from None
    if isinstance(user, str) and isinstance(password, str) and user:
        return Login(str(path), user, password)
    return None


def ask_helper(name: str, registry: str) -> Login | None:
    """What the program `docker-credential-NAME` knows of the registry; nothing where it says so."""
    program = f"docker-credential-{name}"
    if not _HELPER.fullmatch(name):
        raise RegistryError("a credential helper cannot be asked", why=f"`{name}` is no name of one")
    try:
        done = subprocess.run(
            [program, "get"],
            input=registry.encode(),
            capture_output=True,
            check=False,
            timeout=_SECONDS_FOR_HELPER,
        )
    except FileNotFoundError:
        raise RegistryError(f"`{program}` cannot be asked", why="there is no such program") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RegistryError(f"`{program}` cannot be asked", why=str(error)) from None
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        if _NOT_FOUND in said.lower():
            return None
        why = said or done.stderr.decode(errors="replace").strip()
        raise RegistryError(f"`{program}` gives no login", why=why[:500])
    return _answer(program, said)


def _answer(program: str, said: str) -> Login | None:
    try:
        answer = _object(json.loads(said))
    except (ValueError, RecursionError):
        raise RegistryError(f"`{program}` gives no login", why="its answer is not JSON") from None
    user, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str) or not secret:
        return None
    if user == _IDENTITY_TOKEN:
        return Login(f"`{program}`", identity_token=secret)
    return Login(f"`{program}`", user, secret)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
