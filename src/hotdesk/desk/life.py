"""A desk's life: start it, wait until Jupyter answers, see how it is, stop it."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hotdesk.desk import folder as folders
from hotdesk.desk.folder import Desk
from hotdesk.desk.ports import LOOPBACK, is_free, port_taken, reserved_port
from hotdesk.desk.register import Owner, claim, find, release
from hotdesk.engines import sandbox
from hotdesk.engines.request import WORK, Root, RunRequest
from hotdesk.engines.waiting import kept_command_of, namespace_ids, status_documents
from hotdesk.errors import DeskError, EngineError
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotdesk.progress import Progress

DeskState = Literal["running", "stopped", "crashed", "never opened"]

_READY_WITHIN = 120.0
_STOPS_WITHIN = 10.0
_DIES_WITHIN = 10.0
_LOG_LINES = 15
_ATTEMPTS = 5
# A desk calls nobody by itself: no question about news, no look for a newer JupyterLab.
_PAGE = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


@dataclass(frozen=True, slots=True)
class DeskOrder:
    """What to start.

    With `port_fixed`, `port` or an error; else the next free one from `port` on. `keep` are files to be kept
    beside the desk, by name. `jupyter` are further arguments of `jupyter lab`. `hidden` as in
    `RunRequest`.
    """

    name: str
    root: Root
    project: Path | None
    port: int = 8888
    port_fixed: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, bytes] = field(default_factory=dict)
    jupyter: tuple[str, ...] = ()
    hidden: tuple[Path, ...] = ()

    @property
    def owner(self) -> Owner:
        return Owner(self.project, self.labels.get("variant", ""))


@dataclass(frozen=True, slots=True)
class Opened:
    """`desk` answers; `already` tells that it did so before."""

    desk: Desk
    already: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """How a desk is.

    `exit_code` is known where Jupyter ended by itself; `log` is the end of a crashed desk's log.
    """

    state: DeskState
    exit_code: int | None = None
    log: str = ""


def open_desk(order: DeskOrder, progress: Progress = SILENT) -> Opened:
    """Start the desk and wait until Jupyter answers; the one that runs already where there is one.

    Two processes may ask at once: one starts it, the other waits and gets the same.
    """
    folder = claim(order.name, order.owner, fixed=True).folder
    with progress.task("starting Jupyter", 1) as task, _starting(folder):
        desk = claim(order.name, order.owner, fixed=True)  # it may have been removed while we waited
        already = condition(desk).state == "running"
        if already:
            _refuse_other_port(order, desk)
            wait_until_ready(desk)
        else:
            _end_leftovers(folder)
            desk = _start_on_a_free_port(order, folder)
        task.advance(1)
        return Opened(desk, already=already)


@contextmanager
def _starting(folder: Path) -> Iterator[None]:
    try:
        with folders.exclusive(folder / "starting"):
            yield
    except FileNotFoundError as error:
        if folder.exists():
            raise
        raise DeskError(
            f"the desk `{folder.name}` was removed meanwhile", hint="give the same command again"
        ) from error


def _refuse_other_port(order: DeskOrder, desk: Desk) -> None:
    if order.port_fixed and desk.port != order.port:
        raise DeskError(
            f"the desk `{desk.name}` is open already, on port {desk.port}",
            why=f"it cannot listen on {order.port} as long as it runs",
            hint=f"stop it first: `hotdesk stop {desk.name}`",
        )


def wait_until_ready(desk: Desk, within: float = _READY_WITHIN) -> None:
    """Return when Jupyter answers with the desk's own token; `DeskError` where it ended or took too long."""
    give_up = time.monotonic() + within
    while not _answers(desk):
        found = condition(desk)
        if found.state != "running":
            raise _ended_early(desk, found)
        if time.monotonic() > give_up:
            raise DeskError(
                f"the desk `{desk.name}` does not answer",
                why=f"Jupyter has not answered on port {desk.port} for {within:.0f} seconds",
                hint=f"see `hotdesk logs {desk.name}`",
            )
        time.sleep(0.02)


def condition(desk: Desk) -> Condition:
    """Whether the desk runs, and how it ended where it does not."""
    if desk.root is None:
        return Condition("never opened")
    exit_code = _report(desk.folder).get("exit-code")
    if _runs(desk.folder):
        return Condition("running")
    if desk.stopped or (exit_code is None and desk.boot != _boot()):
        return Condition("stopped")
    if exit_code == 0:  # its user chose "Shut Down" in Jupyter
        return Condition("stopped", 0)
    return Condition("crashed", exit_code, log="\n".join(_last_lines(desk.log)))


def _runs(folder: Path) -> bool:
    return "exit-code" not in _report(folder) and folders.is_locked(folder / "alive")


def stop(desk: Desk, within: float = _STOPS_WITHIN) -> None:
    """End everything that the desk started; Jupyter gets `within` seconds to end by itself."""
    if condition(desk).state == "running":
        folders.write_desk(replace(desk, stopped=True))
        with _pid_one(desk.folder) as (pid, _):
            command = kept_command_of(pid) if pid else None
            if command:
                _end_politely(command, within)
    _end_leftovers(desk.folder)


def remove(name: str, *, force: bool = False) -> None:
    """Forget the desk, its home included; the project folder stays as it is.

    A desk that cannot be read is removed as well. One that runs is stopped with `force`, else refused.
    """
    from hotdesk.store import remove_tree

    folder = folders.desk_folder(name)
    if not folder.is_dir() or folder.is_symlink():
        find(name)
    with _starting(folder):
        if not force and _runs(folder):
            raise DeskError(f"the desk `{name}` is running", hint=f"stop it first: `hotdesk stop {name}`")
        _end_leftovers(folder)
        removed = release(name)
    remove_tree(removed)
    for abandoned in removed.parent.glob(f".{name}~*"):  # by a process that was killed, or is still at it
        with suppress(OSError):
            remove_tree(abandoned)


def read_log(desk: Desk, *, follow: bool = False) -> Iterator[str]:
    """The log in pieces; with `follow`, what is added too, until the desk ends."""
    descriptor = os.open(desk.log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        while True:
            ended = not follow or condition(desk).state != "running"
            while piece := file.read(65536):
                yield piece
            if ended:
                return
            time.sleep(0.1)


def _start_on_a_free_port(order: DeskOrder, folder: Path) -> Desk:
    wanted = order.port
    for _ in range(_ATTEMPTS):
        with reserved_port(wanted, fixed=order.port_fixed) as port:
            desk = _start(order, folder, port)
            try:
                wait_until_ready(desk)
            except DeskError:
                if condition(desk).state == "running" or is_free(port):
                    _end_leftovers(folder)
                    raise
            except BaseException:
                stop(desk, within=1)
                raise
            else:
                return desk
        # Somebody took the port after we looked and before Jupyter did.
        _end_leftovers(folder)
        if order.port_fixed:
            raise port_taken(port)
        wanted = port + 1
    raise DeskError(
        f"the ports from {order.port} on are taken as fast as we find them", hint="give another with --port"
    )


def _start(order: DeskOrder, folder: Path, port: int) -> Desk:
    token = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
    desk = Desk(
        name=order.name,
        folder=folder,
        root=order.root,
        project=order.project,
        port=port,
        token=token,
        started=time.time(),
        boot=_boot(),
        labels=order.labels,
    )
    desk.home.mkdir(mode=0o700, exist_ok=True)
    _keep(order.keep, folder / "keep")
    request = _jupyter(order, desk)
    sandbox.check(request)
    with _files(folder) as (output, status, alive):
        folders.write_desk(desk)
        sandbox.start(request, output=output, status=status, alive=alive)
    return desk


def _jupyter(order: DeskOrder, desk: Desk) -> RunRequest:
    # The token travels in a file that bwrap makes inside: not in an argument list, which everybody may read,
    # nor in the environment, which every kernel and terminal would inherit.
    settings = {"IdentityProvider": {"token": desk.token}}
    arguments = (
        "jupyter",
        "lab",
        "--no-browser",
        f"--ServerApp.ip={LOOPBACK}",
        f"--ServerApp.port={desk.port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={WORK}",
        *order.jupyter,
    )
    return RunRequest(
        root=order.root,
        command=arguments,
        home=desk.home,
        project=order.project,
        hostname=order.name,
        environment={"JUPYTER_CONFIG_PATH": "/run/hotdesk/jupyter", **order.environment},
        hidden=order.hidden,
        files={
            "hotdesk/jupyter/jupyter_server_config.json": json.dumps(settings).encode(),
            "hotdesk/jupyter/labconfig/page_config.json": json.dumps(_PAGE).encode(),
        },
    )


@contextmanager
def _files(folder: Path) -> Iterator[tuple[int, int, int]]:
    """Descriptors of `log`, `status` and `alive`; the first two are new files, the third is locked.

    New ones, because what ended a moment ago may still be writing its last line into the old ones.
    """
    import fcntl

    for name in ("log", "status"):
        (folder / name).unlink(missing_ok=True)
    descriptors = [
        folders.open_private(folder / "log", os.O_WRONLY | os.O_EXCL | os.O_APPEND),
        folders.open_private(folder / "status", os.O_WRONLY | os.O_EXCL | os.O_APPEND),
        folders.open_private(folder / "alive"),
    ]
    try:
        fcntl.flock(descriptors[2], fcntl.LOCK_EX)  # waits at most for one who looks whether it is held
        yield descriptors[0], descriptors[1], descriptors[2]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(files: Mapping[str, bytes], folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, content in files.items():
        folders.write_private(folder / name, content)


def _answers(desk: Desk) -> bool:
    import http.client  # while Jupyter starts, this costs nothing

    connection = http.client.HTTPConnection(LOOPBACK, desk.port, timeout=5)
    try:
        connection.request("GET", "/api/status", headers={"Authorization": f"token {desk.token}"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _ended_early(desk: Desk, found: Condition) -> DeskError | EngineError:
    if found.exit_code is None and (said := _bubblewrap_said(found.log)):
        from hotdesk.engines.namespaces import explain

        return explain(said)
    code = "" if found.exit_code is None else f" with exit code {found.exit_code}"
    return DeskError(
        f"the desk `{desk.name}` ended{code} before Jupyter answered",
        why=f"the end of its log:\n{found.log}" if found.log else "",
        hint=f"see `hotdesk logs {desk.name}`",
    )


def _bubblewrap_said(log: str) -> str:
    return next((line for line in reversed(log.splitlines()) if line.startswith("bwrap: ")), "")


def _end_politely(command: int, within: float) -> None:
    """SIGTERM, then wait until the process has ended or the time is over."""
    import select

    try:
        handle = os.pidfd_open(command)
    except ProcessLookupError:
        return
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        select.select([handle], [], [], within)
    finally:
        os.close(handle)


def _end_leftovers(folder: Path) -> None:
    """Kill pid 1 inside, and with it everything else there; wait until all of it is gone."""
    import select

    with _pid_one(folder) as (_, handle):
        if handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            # The kernel reports the end of pid 1 after that of all others; it drops the lock before.
            select.select([handle], [], [], _DIES_WITHIN)
    if folders.is_locked(folder / "alive"):
        raise DeskError(
            f"the desk `{folder.name}` does not end",
            why="its processes are held by the kernel, perhaps by a file system that does not answer",
            hint="try again in a while",
        )


@contextmanager
def _pid_one(folder: Path) -> Iterator[tuple[int, int | None]]:
    """The host's id and a handle of pid 1 inside, (0, None) where nothing runs.

    The lock is asked after the handle is had: while it is held, the process that the status names still
    lives, so the handle cannot be of another that got its number.
    """
    pid = _report(folder).get("child-pid", 0)
    handle: int | None = None
    with suppress(ProcessLookupError, OSError):
        handle = os.pidfd_open(pid)
    try:
        safe = handle is not None and folders.is_locked(folder / "alive") and namespace_ids(pid)[-1:] == [1]
        yield (pid, handle) if safe else (0, None)
    finally:
        if handle is not None:
            os.close(handle)


def _report(folder: Path) -> dict[str, int]:
    try:
        text = (folder / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return {name: value for name, value in status_documents(text).items() if isinstance(value, int)}


def _last_lines(log: Path, count: int = _LOG_LINES) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - 16384, 0))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
