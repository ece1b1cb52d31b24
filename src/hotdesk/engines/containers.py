"""Containers: an image, run by Docker or Podman, with the caller's project and nothing else of the host.

What a desk gets there is what the sandbox gives it: the same variables, a system that cannot be written, a
home and a project folder whose files belong to the caller.
"""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING

from hotdesk.engines.client import ENGINES, Client
from hotdesk.engines.folders import below, check_folders
from hotdesk.engines.host import CA_INSIDE, Host, desk_environment, read_host
from hotdesk.engines.on_linux import call
from hotdesk.engines.request import HOME, NO_DISPLAY, USER, USER_ID, WORK
from hotdesk.portable.machine import user_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hotdesk.engines.request import ContainerRequest, LoadedImage

LOG_INSIDE = "/run/hotdesk/log"
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108
_IN_BACKGROUND = ("--detach",)
# What the command says passes through the engine, which need not keep it.
_IN_FOREGROUND = ("--rm", "--interactive", "--log-driver", "none")
_ACCOUNTS = ("/etc/passwd", "/etc/group")
_KNOWN_USERS = {(0, 0), (USER_ID, USER_ID)}


def run(request: ContainerRequest, folder: Path) -> int:
    """Run in the foreground, on the caller's terminal; the exit code as a shell counts it (128 + signal).

    Signals sent to this process reach the command. `folder` is the caller's alone, for the container's files.
    """
    client = Client.of(request.image.engine)
    how = [*_IN_FOREGROUND, *(["--tty"] if _on_a_terminal() else [])]
    code = call(client, request.name, _prepared(client, request, folder, how))
    if code < 0:  # the engine's program was killed, and could not end what it started
        client.try_("rm", "--force", request.name)
        return 128 - code
    return code


def start(client: Client, request: ContainerRequest, folder: Path) -> None:
    """Run in the background; `EngineError` where it cannot be started."""
    client.ask(*_prepared(client, request, folder, _IN_BACKGROUND))


def stop(client: Client, name: str, within: float) -> None:
    """Ask the container's command to end, and end all of it after so many seconds."""
    client.try_("stop", "--time", str(math.ceil(within)), name)


def remove(client: Client, name: str) -> None:
    """End the container and forget it; `EngineError` where it is still there."""
    done = client.try_("rm", "--force", "--volumes", name)
    if done.returncode and client.container(name) is not None:
        raise client.refused(("rm",), done.stderr)


def _prepared(client: Client, request: ContainerRequest, folder: Path, how: Sequence[str]) -> list[str]:
    from hotdesk.engines.trouble import refuse_displays, refuse_other_machines

    refuse_other_machines(client)
    check_folders(request)
    server = client.server()
    if request.display != NO_DISPLAY:
        refuse_displays(client, server, request.display)
    host = read_host()
    user = (0, 0) if server.rootless else user_ids()
    contents = request.run_files
    contents |= accounts(client, request.image, user, folder)
    files = {inside: _written(folder, inside, content) for inside, content in contents.items()}
    if request.project is not None and (hidden := below(request.project, request.hidden)):
        (empty := folder / "empty").mkdir(mode=0o700, exist_ok=True)
        files |= {
            f"{WORK}/{path}": empty for path in hidden
        }  # not a tmpfs: Podman fills that with what it covers
    return run_arguments(request, host, user, how=how, files=files)


def run_arguments(
    request: ContainerRequest,
    host: Host,
    user: tuple[int, int],
    *,
    how: Sequence[str] = (),
    files: Mapping[str, Path],
) -> list[str]:
    """The arguments of `docker` or `podman`. `files` are further files of the host by their path inside."""
    script = 'exec "$@"' + (f" >>{LOG_INSIDE} 2>&1" if request.log else "")
    return [
        "run",
        *how,
        *ENGINES[request.image.engine].options,
        *("--name", request.name, "--hostname", request.hostname, "--label", "org.hotdesk.desk=true"),
        *("--pull", "never", "--init", "--no-healthcheck"),
        *("--user", f"{user[0]}:{user[1]}", "--workdir", request.directory),
        *_isolation(),
        *_limits(request, host),
        *_network(request),
        *_mounts(request, host, files),
        *_environment(request, host),
        *("--entrypoint", "/bin/sh", request.image.id, "-c", script, "hotdesk"),
        *request.command,
    ]


def _isolation() -> list[str]:
    options = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    # SELinux would keep the container from the caller's folders, and giving those another label would keep
    # other programs from them.
    options += ["--security-opt", "label=disable", "--read-only"]
    for folder in _TEMPORARY:
        options += ["--tmpfs", f"{folder}:rw,exec,nosuid,nodev,mode=1777"]
    return [*options, "--tmpfs", "/run:rw,nosuid,nodev,mode=755"]


def _limits(request: ContainerRequest, host: Host) -> list[str]:
    limits = request.limits
    options = ["--shm-size", str((limits.memory or host.memory) // 2)]
    if limits.memory is not None:
        options += ["--memory", str(limits.memory)]
    if limits.processors is not None:
        options += ["--cpus", f"{limits.processors:g}"]
    return options


def _network(request: ContainerRequest) -> list[str]:
    if request.network == "none":
        return ["--network", "none"]
    return [
        option
        for outside, inside in request.ports.items()
        for option in ("--publish", f"127.0.0.1:{outside}:{inside}")
    ]


def _environment(request: ContainerRequest, host: Host) -> list[str]:
    """The caller's own variables are only named here: a proxy's may hold a password."""
    options: list[str] = []
    for name, value in desk_environment(request, host).items():
        options += ["--env", name if host.environment.get(name) == value else f"{name}={value}"]
    return options


def _mounts(request: ContainerRequest, host: Host, files: Mapping[str, Path]) -> list[str]:
    options = _bind(request.home, HOME)
    if request.project is not None:
        options += _bind(request.project, WORK)
    if request.log:
        options += _bind(request.log, LOG_INSIDE)
    if request.network == "host" and host.ca_bundle:
        options += _bind(host.ca_bundle, CA_INSIDE, "readonly")
    for inside, path in {**request.display.sockets, **files}.items():
        options += _bind(path, inside, "readonly")
    return options


def _bind(source: Path, target: str, *further: str) -> list[str]:
    return ["--mount", _fields("type=bind", f"source={source}", f"target={target}", *further)]


def _fields(*fields: str) -> str:
    """A line of comma-separated values, as `--mount` takes it: a path may hold a comma."""
    return ",".join(
        f'"{field.replace(chr(34), chr(34) * 2)}"' if {",", '"'} & {*field} else field for field in fields
    )


def accounts(client: Client, image: LoadedImage, user: tuple[int, int], folder: Path) -> dict[str, bytes]:
    """The image's lists of users and groups with the caller among them, where the image does not know him.

    What the image has is asked once, and kept in `folder`.
    """
    import json

    if user in _KNOWN_USERS:
        return {}
    kept = folder / "accounts.json"
    try:
        found = json.loads(kept.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    match found:
        case {"image": image.id, "passwd": str(passwd), "group": str(group)}:
            pass
        case _:
            passwd, group = (_file_of(client, image, path) for path in _ACCOUNTS)
            found = {"image": image.id, "passwd": passwd, "group": group}
            _write(kept, json.dumps(found).encode())
    return with_caller(passwd, group, user)


def with_caller(passwd: str, group: str, user: tuple[int, int]) -> dict[str, bytes]:
    """The caller comes first, by the name that the image has for its own user."""
    lists = {
        _ACCOUNTS[0]: (f"{USER}:x:{user[0]}:{user[1]}::{HOME}:/bin/bash", passwd),
        _ACCOUNTS[1]: (f"{USER}:x:{user[1]}:", group),
    }
    return {
        path: "\n".join(
            [line, *(other for other in text.splitlines() if not other.startswith(f"{USER}:")), ""]
        ).encode()
        for path, (line, text) in lists.items()
    }


def _file_of(client: Client, image: LoadedImage, path: str) -> str:
    options = (
        "--rm",
        "--pull",
        "never",
        "--network",
        "none",
        "--cap-drop",
        "ALL",
        "--entrypoint",
        "/bin/cat",
    )
    return client.ask("run", *options, image.id, path)


def _written(folder: Path, inside: str, content: bytes) -> Path:
    path = folder / inside.replace("/", "_").lstrip("_")
    _write(path, content)
    return path


def _write(path: Path, content: bytes) -> None:
    """Replace the file in one step; only the caller may read it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
        file.write(content)
    partial.replace(path)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
