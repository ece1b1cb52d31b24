"""The sandbox: a root, seen through bubblewrap, with the caller's project and nothing else of the host.

    hotdesk ── bwrap, the monitor ── bwrap, pid 1 inside ── the command

The monitor lives in the caller's process group and ignores what a terminal sends to all of it; otherwise
Ctrl-C would end the monitor, and with it a command that wanted to handle the key itself. `env` gives the
command its signals back.
"""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from hotdesk.engines.bubblewrap import bwrap_command
from hotdesk.engines.host import Host, read_host
from hotdesk.engines.launch import launch
from hotdesk.engines.request import HOME, MOUNT_POINTS, PREFIX, USER, USER_ID, WORK, Request, RunRequest
from hotdesk.engines.seccomp import protect_host
from hotdesk.engines.waiting import FORWARDED, wait_for
from hotdesk.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CA_INSIDE = "/run/hotdesk/ca.pem"
_KERNEL = ("/proc", "/sys", "/dev")
_SYSTEM = {
    "/bin",
    "/boot",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/sbin",
}
_SYSTEM |= {"/tmp", "/usr", "/var", "/var/lib", "/var/tmp"}  # noqa: S108
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
    options += ["--chdir", request.directory, "--clearenv"]
    for name, value in sandbox_environment(request, host).items():
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


def sandbox_environment(request: Request, host: Host) -> dict[str, str]:
    """Every variable that the command sees."""
    environment = {
        "PATH": f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": HOME,
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TZ": host.time_zone,
        "VIRTUAL_ENV": PREFIX,
        "PYTHONNOUSERSITE": "1",
        **host.environment,
    }
    if request.network == "host" and host.ca_bundle:
        environment |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), CA_INSIDE)
    return environment | dict(request.environment)


def sandbox_files(request: RunRequest, host: Host) -> dict[str, bytes]:
    """The files made for this sandbox alone, by their path inside."""
    hosts = host.hosts if request.network == "host" else "127.0.0.1 localhost\n::1 localhost\n"
    named = f"{hosts.rstrip()}\n127.0.1.1 {request.hostname}\n".encode()
    return {"/etc/hosts": named, **{f"/run/{path}": content for path, content in request.files.items()}}


def check(request: RunRequest) -> None:
    """Refuse what cannot or must not be mounted."""
    for tree, names in ((request.root.system, MOUNT_POINTS), (request.root.environment, ("bin",))):
        missing = [name for name in names if not os.path.lexists(tree / name)]
        if missing:
            raise EngineError(
                f"the root at {tree} is not whole",
                why=f"it lacks {', '.join(f'`{name}`' for name in missing)}",
                hint="`hotdesk cache verify --repair` removes it, and the next command makes it again",
            )
    check_folders(request)


def check_folders(request: Request) -> None:
    """Make the mount point of the project; refuse what can be no project."""
    if request.project is not None:
        check_project(request.project, request.hidden)
    work = request.home / "work"
    with suppress(FileExistsError):
        work.mkdir()
    if not stat.S_ISDIR(work.lstat().st_mode):
        raise EngineError(
            f"{work} is {'a link' if work.is_symlink() else 'not a folder'}",
            why="the project folder is mounted there, and a link could lead anywhere",
            hint=f"remove it: rm {work}",
        )


def below(project: Path, folders: Iterable[Path]) -> list[str]:
    """Those of the folders that exist below the project, as paths relative to it."""
    top = os.path.realpath(project)
    real = (os.path.realpath(folder) for folder in folders)
    return [os.path.relpath(path, top) for path in real if path.startswith(f"{top}/") and os.path.isdir(path)]


def check_project(project: Path, hidden: Sequence[Path] = ()) -> None:
    """Refuse what can be no project folder, saying why."""
    problem = ""
    own = [os.path.realpath(folder) for folder in hidden]
    real = os.path.realpath(project)
    try:
        folder = stat.S_ISDIR(os.stat(real).st_mode)
    except OSError as error:
        folder, problem = True, error.strerror or str(error)
    if real == "/":
        problem = "it is the whole machine, and nothing of the host would be kept from the desk"
    elif any(real == bad or real.startswith(f"{bad}/") for bad in _KERNEL):
        problem = "it belongs to the kernel"
    elif any(real == path or real.startswith(f"{path}/") for path in own):
        problem = "hotdesk keeps its own files there"
    elif not folder:
        problem = "it is not a folder"
    elif (real in _SYSTEM or real.startswith("/etc/")) and real != os.path.realpath(os.path.expanduser("~")):
        problem = "it belongs to the system, and all of it could be changed from inside the desk"
    elif not problem and not os.access(real, os.R_OK | os.X_OK):
        problem = "you may not read it"
    if problem:
        raise UsageError(
            f"{project} cannot be the desk's project folder",
            why=problem,
            hint="choose or make a folder for it",
        )


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
