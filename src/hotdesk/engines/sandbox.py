"""The sandbox: a root, seen through bubblewrap, with the caller's project and nothing else of the host.

    hotdesk ── bwrap, the monitor ── bwrap, pid 1 inside ── the command

The monitor lives in the caller's process group and ignores what a terminal sends to all of it; otherwise
Ctrl-C would end the monitor, and with it a command that wanted to handle the key itself. `env` gives the
command its signals back.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

assert sys.platform == "linux"

from hotdesk.engines.bubblewrap import bwrap_command
from hotdesk.engines.folders import below, check_folders
from hotdesk.engines.host import CA_INSIDE, Host, desk_environment, read_host
from hotdesk.engines.launch import launch
from hotdesk.engines.request import HOME, MOUNT_POINTS, PREFIX, USER_ID, WORK, RunRequest
from hotdesk.engines.seccomp import protect_host
from hotdesk.engines.waiting import FORWARDED, wait_for
from hotdesk.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

# What is left behind when the command ends would run on unseen; only pid 1 and this shell outlive the signal.
_ALONE = '"$@"; code=$?; kill -9 -1 2>/dev/null; exit $code'


SMALLEST = ("--unshare-user", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")
"""Bubblewrap's options for a sandbox of everything that a desk needs of the host."""


def run(request: RunRequest, host: Host | None = None) -> int:
    """Run in the foreground, on the caller's terminal; the exit code as a shell counts it (128 + signal).

    Everything inside ends with the command, and with this process whatever ends it. Signals sent to this
    process reach the command.
    """
    host = host or read_host()
    check(request)
    received = [number for number in FORWARDED if signal.getsignal(number) != signal.SIG_IGN]
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {*received, signal.SIGCHLD})
    status_reader, status_writer = os.pipe()
    try:
        options = ["--die-with-parent", "--json-status-fd", str(status_writer), *bwrap_options(request, host)]
        command = _with_default_signals(request.command, received)
        files = sandbox_files(request, host)
        with bwrap_command(options, command, protect_host(), files) as (argv, inherited):
            child = launch(argv, (*inherited, status_writer), ignored=received)
        os.close(status_writer)
        status_writer = -1
        code, started = wait_for(child, status_reader, received)
    finally:
        if status_writer >= 0:
            os.close(status_writer)
        os.close(status_reader)
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    if not started:
        raise not_started(request, host)
    return code


def start(request: RunRequest, *, output: int, status: int, alive: int, host: Host | None = None) -> None:
    """Run in the background, away from the caller's terminal and session; returns at once.

    `output` takes stdout and stderr, `status` bwrap's JSON lines. `alive` is a descriptor that pid 1
    inside keeps open for as long as anything runs: a lock held through it ends with the sandbox. What the
    command leaves behind ends with it.
    """
    host = host or read_host()
    check(request)
    options = ["--json-status-fd", str(status), "--sync-fd", str(alive), *bwrap_options(request, host)]
    command = ["/bin/sh", "-c", _ALONE, "hotdesk", *request.command]
    with bwrap_command(options, command, protect_host(), sandbox_files(request, host)) as (argv, inherited):
        launch(argv, (*inherited, status, alive), background_output=output)


def bwrap_options(request: RunRequest, host: Host) -> list[str]:
    """List bubblewrap's options for the request, in the order in which it mounts them."""
    options = [*_namespaces(request, host), *_system(request, host), *_folders(request)]
    if request.network == "host" and host.resolver:
        options += ["--ro-bind-try", str(host.resolver), "/etc/resolv.conf"]
    if request.network == "host" and host.ca_bundle:
        options += ["--ro-bind-try", str(host.ca_bundle), CA_INSIDE]
    for inside, path in request.display.sockets.items():
        options += ["--ro-bind", str(path), inside]
    options += ["--chdir", request.directory, "--clearenv"]
    for name, value in desk_environment(request, host).items():
        options += ["--setenv", name, value]
    return options


def _namespaces(request: RunRequest, host: Host) -> list[str]:
    options = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if request.network == "none":
        options.append("--unshare-net")
    if host.can_forbid_namespaces:
        options.append("--disable-userns")
    identity = str(USER_ID)
    return [
        *options,
        "--uid",
        identity,
        "--gid",
        identity,
        "--cap-drop",
        "ALL",
        "--hostname",
        request.hostname,
    ]


def _system(request: RunRequest, host: Host) -> list[str]:
    root = request.root
    options = ["--ro-bind", str(root.system), "/", "--ro-bind", str(root.environment), PREFIX]
    options += host.kernel_options()
    options += ["--perms", "0755", "--tmpfs", "/sys"]
    for folder in host.hardware:
        options += ["--ro-bind-try", str(folder), f"/sys/devices/system/{folder.name}"]
    return [*options, "--remount-ro", "/sys", *_temporary(host)]


def _temporary(host: Host) -> list[str]:
    options = ["--perms", "1777", "--size", str(host.memory // 2), "--tmpfs", "/dev/shm"]  # noqa: S108
    for folder in ("/tmp", "/var/tmp"):  # noqa: S108
        options += ["--perms", "1777", "--tmpfs", folder]
    return [*options, "--perms", "0755", "--tmpfs", "/run", "--perms", "1777", "--dir", "/run/lock"]


def _folders(request: RunRequest) -> list[str]:
    options = ["--perms", "0755", "--tmpfs", "/home", "--bind", str(request.home), HOME]
    if request.project is not None:
        options += ["--bind", str(request.project), WORK]
        for folder in below(request.project, request.hidden):
            options += ["--perms", "0700", "--tmpfs", f"{WORK}/{folder}"]
    return [*options, "--remount-ro", "/home"]


def sandbox_files(request: RunRequest, host: Host) -> dict[str, bytes]:
    """The files made for this sandbox alone, by their path inside."""
    hosts = host.hosts if request.network == "host" else "127.0.0.1 localhost\n::1 localhost\n"
    named = f"{hosts.rstrip()}\n127.0.1.1 {request.hostname}\n".encode()
    return {"/etc/hosts": named, **request.run_files}


def check(request: RunRequest) -> None:
    """Refuse what cannot or must not be mounted, or would not be reached."""
    for tree, names in ((request.root.system, MOUNT_POINTS), (request.root.environment, ("bin",))):
        missing = [name for name in names if not os.path.lexists(tree / name)]
        if missing:
            raise EngineError(
                f"the root at {tree} is not whole",
                why=f"it lacks {', '.join(f'`{name}`' for name in missing)}",
                hint="`hotdesk cache verify --repair` removes it, and the next command makes it again",
            )
    check_folders(request)
    if request.display.address and request.network == "none":
        from hotdesk.engines.display import out_of_reach

        raise out_of_reach(request.display, "a sandbox without network")


def not_started(request: RunRequest, host: Host, message: str = "") -> EngineError:
    """Why bwrap could not set the sandbox up, found out by asking it once more for the same with `true`."""
    from hotdesk.engines.bubblewrap import run_bwrap
    from hotdesk.engines.namespaces import explain

    if not message:
        result = run_bwrap(bwrap_options(request, host), ["true"], seccomp=protect_host())
        message = result.stdout.decode(errors="replace").strip()
    return explain(message)


def require_sandbox() -> None:
    """`EngineError` with the cause where this host makes no sandbox."""
    from hotdesk.engines.bubblewrap import run_bwrap
    from hotdesk.engines.namespaces import explain

    result = run_bwrap(SMALLEST, ["true"])
    if result.returncode:
        raise explain(result.stdout.decode(errors="replace").strip())


def _with_default_signals(command: Sequence[str], received: Sequence[signal.Signals]) -> list[str]:
    """The command after `sh` has looked it up, so that a missing one is said plainly, with exit code 127."""
    names = ",".join(number.name.removeprefix("SIG") for number in received)
    reset = ["/usr/bin/env", f"--default-signal={names}"] if names else []
    return [*reset, "/bin/sh", "-c", 'exec "$@"', "hotdesk", *command]
