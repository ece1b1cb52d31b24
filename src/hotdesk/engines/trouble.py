"""Why Docker or Podman does not do what it was asked, found out by looking, not from its words."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hotdesk.engines.client import DOCKER
from hotdesk.errors import EngineError
from hotdesk.portable.machine import connect_to, user_ids, user_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotdesk.engines.client import Client, ContainerEngine, Server
    from hotdesk.engines.request import Display

_ELSEWHERE = "or choose another engine with --engine or HOTDESK_ENGINE"
_LOCAL = {"unix", "npipe", ""}
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_LINES = 5


def program_missing(engine: ContainerEngine, error: OSError) -> EngineError:
    program = engine.program
    if isinstance(error, FileNotFoundError):
        return EngineError(
            f"{engine.title} is not installed",
            why=f"there is no program `{program}` in any folder of PATH",
            hint=f"install it (on Debian and Ubuntu: apt install {_PACKAGES[program]}), {_ELSEWHERE}",
        )
    return EngineError(
        f"`{program}` cannot be started", why=error.strerror or str(error), hint=_ELSEWHERE[3:]
    )


_PACKAGES = {"docker": "docker.io", "podman": "podman"}


def explain(client: Client, arguments: Sequence[str], said: str) -> EngineError:
    """What keeps the engine from it, where that can be seen; else what it said."""
    if client.engine is DOCKER:
        found = without_daemon(_endpoint(client))
    else:
        found = without_user_ids(Path("/")) if user_ids()[0] and sys.platform == "linux" else None
    lines = [line for line in said.splitlines() if line.strip()]
    return found or EngineError(
        f"{client.engine.title} refuses `{client.engine.program} {arguments[0] if arguments else ''}`",
        why="\n".join(lines[-_LINES:]),
        hint=f"mend what it says, {_ELSEWHERE}",
    )


def refuse_other_machines(client: Client) -> None:
    """A desk's folders are mounted, so the engine must run where they are."""
    address = client.environment.get("DOCKER_HOST" if client.engine is DOCKER else "CONTAINER_HOST", "")
    parts = urlsplit(address)
    if parts.scheme not in _LOCAL and parts.hostname not in _LOOPBACK:
        raise EngineError(
            f"{client.engine.title} runs on another machine",
            why=f"it is reached at {parts.hostname}, and cannot mount your folders from here",
            hint="run hotdesk on that machine, and reach its desk through `ssh -L 8888:127.0.0.1:8888`",
        )


def refuse_displays(client: Client, server: Server, display: Display) -> None:
    """A container has a network of its own; a socket is of use to programs of the same kernel alone."""
    if display.address:
        from hotdesk.engines.display import out_of_reach

        raise out_of_reach(display, "a container")
    if server.virtual:
        raise EngineError(
            f"{client.engine.title} cannot show windows on your display",
            why="Docker Desktop runs containers in a virtual machine, and a socket does not lead out of that",
            hint="use `--engine sandbox`, or leave --display out",
        )


def _endpoint(client: Client) -> str:
    """Where the daemon should listen; empty where not even that can be learned."""
    return client.try_("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").stdout.strip()


def without_daemon(endpoint: str) -> EngineError | None:
    parts = urlsplit(endpoint)
    if parts.scheme != "unix":
        return None
    number = _connect(parts.path)
    if number in (errno.EACCES, errno.EPERM):
        return EngineError(
            "you may not use Docker",
            why=f"its socket {parts.path} is not open to you: {_owner(parts.path)}",
            hint="sudo usermod -aG docker $USER, and log in again (who is in that group can become root), "
            + _ELSEWHERE,
        )
    if number:
        return EngineError(
            "Docker's daemon does not run",
            why=f"nobody listens on {parts.path}: {os.strerror(number)}",
            hint=f"start it: sudo systemctl start docker, or open Docker Desktop; {_ELSEWHERE}",
        )
    return None


def _connect(path: str) -> int:
    """The error of a try to connect, 0 for none."""
    try:
        connect_to(path)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _owner(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.strerror or str(error)
    return f"it belongs to user {found.st_uid} and group {found.st_gid}, with mode {found.st_mode & 0o777:o}"


def without_user_ids(top: Path) -> EngineError | None:
    """What rootless Podman needs of the host: ids for the users inside, and programs that hand them out."""
    missing = [name for name in ("newuidmap", "newgidmap") if not shutil.which(name)]
    if missing:
        return EngineError(
            "Podman cannot run containers for you",
            why=f"what hands out user ids is missing: {', '.join(f'`{name}`' for name in missing)}",
            hint=f"install them (on Debian and Ubuntu: apt install uidmap), {_ELSEWHERE}",
        )
    number = user_ids()[0]
    name = user_name()
    for file in ("etc/subuid", "etc/subgid"):
        if not {name, str(number)} & _listed(top / file):
            return EngineError(
                "Podman cannot run containers for you",
                why=f"/{file} gives `{name}` no ids to be the users inside",
                hint=f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}, then "
                f"`podman system migrate`, {_ELSEWHERE}",
            )
    return None


def _listed(path: Path) -> set[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {line.partition(":")[0] for line in text.splitlines()}
