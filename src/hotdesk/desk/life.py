"""A desk's life: start it, stop it, remove it."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hotdesk.desk import folder as folders
from hotdesk.desk.folder import Desk
from hotdesk.desk.ports import LOOPBACK, is_free, port_taken, reserved_port
from hotdesk.desk.register import Damaged, Owner, claim, desks, find, release
from hotdesk.desk.state import condition, reported, runs, this_boot, wait_until_ready
from hotdesk.engines import sandbox
from hotdesk.engines.request import WORK, Root, RunRequest
from hotdesk.engines.waiting import kept_command_of, namespace_ids
from hotdesk.errors import DeskError
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hotdesk.progress import Progress

_STOPS_WITHIN = 10.0
_DIES_WITHIN = 10.0
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


class EarlyDesk:
    """A desk that was started before all of its root was there, and what remains to be done with it."""

    def __init__(self, order: DeskOrder, desk: Desk) -> None:
        self._order = order
        self.desk = desk
        self.completed = False

    def complete(self, root: Root, progress: Progress = SILENT) -> Opened | None:
        """Once `root` is all there: wait until Jupyter answers. None where it ended and may start again."""
        folder = self.desk.folder
        with progress.task("starting Jupyter", 1) as task:
            try:
                wait_until_ready(self.desk)
            except DeskError as error:
                if runs(folder):
                    raise
                found = folders.read_desk(folder)
                if found and found.stopped:
                    raise DeskError(
                        f"the desk `{self.desk.name}` was stopped while it was opened",
                        hint="`hotdesk up` opens it",
                    ) from None
                progress.note(f"{error.what}; it is started again, now that everything is there")
                return None
            desk = replace(self.desk, root=root)
            _keep(self._order.keep, folder / "keep")
            folders.write_desk(desk)
            self.completed = True
            task.advance(1)
            return Opened(desk, already=False)


@contextmanager
def early_desk(order: DeskOrder) -> Iterator[EarlyDesk | None]:
    """Start the desk while its root is still being made; None where that is not to be done.

    Until it is completed nobody is told how to get in, and the record of the last opening stays. What is not
    completed inside is ended; after a kill, whoever opens the desk next does that.
    """
    folder = claim(order.name, order.owner, fixed=True).folder
    with ExitStack() as held:
        held.enter_context(_starting(folder))
        before = claim(order.name, order.owner, fixed=True)
        # Settings of the user's own may name a library.
        if condition(before).state == "running" or [*before.home.glob(".jupyter/jupyter_*config*")]:
            held.close()
            yield None
            return
        _end_leftovers(folder)
        port = held.enter_context(reserved_port(order.port, fixed=order.port_fixed))
        early = EarlyDesk(order, _new_desk(order, folder, port))
        try:
            _launch(order, early.desk, record=replace(before, early=True, stopped=False))
            yield early
        finally:
            if not early.completed:
                _end_leftovers(folder)
                folders.write_desk(replace(before, early=False, stopped=before.root is not None))


def end_abandoned() -> None:
    """End the desks that were started early by a process that is no more."""
    for desk in desks():
        if desk.early:
            with folders.try_exclusive(desk.folder / "starting") as ours:
                if ours:
                    _end_leftovers(desk.folder)
                    folders.write_desk(replace(desk, early=False, stopped=desk.root is not None))


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


def stop(desk: Desk | Damaged, within: float = _STOPS_WITHIN) -> None:
    """End everything that the desk started; Jupyter gets `within` seconds to end by itself."""
    if isinstance(desk, Damaged):
        folders.check_private(desk.folder)  # or somebody else might name the process to be ended
    if runs(desk.folder):
        if isinstance(desk, Desk):
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
        if not force and runs(folder):
            raise DeskError(f"the desk `{name}` is running", hint=f"stop it first: `hotdesk stop {name}`")
        _end_leftovers(folder)
        removed = release(name)
    remove_tree(removed)
    for abandoned in removed.parent.glob(f".{name}~*"):  # by a process that was killed, or is still at it
        with suppress(OSError):
            remove_tree(abandoned)


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
    desk = _new_desk(order, folder, port)
    _keep(order.keep, folder / "keep")
    _launch(order, desk, record=desk)
    return desk


def _new_desk(order: DeskOrder, folder: Path, port: int) -> Desk:
    return Desk(
        name=order.name,
        folder=folder,
        root=order.root,
        project=order.project,
        port=port,
        token=base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode(),
        started=time.time(),
        boot=this_boot(),
        labels=order.labels,
    )


def _launch(order: DeskOrder, desk: Desk, record: Desk) -> None:
    """Start Jupyter; `record` is what is written about it."""
    desk.home.mkdir(mode=0o700, exist_ok=True)
    request = _jupyter(order, desk)
    sandbox.check(request)
    with _files(desk.folder) as (output, status, alive):
        folders.write_desk(record)
        sandbox.start(request, output=output, status=status, alive=alive)


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
    pid = reported(folder).get("child-pid", 0)
    handle: int | None = None
    with suppress(ProcessLookupError, OSError):
        handle = os.pidfd_open(pid)
    try:
        safe = handle is not None and folders.is_locked(folder / "alive") and namespace_ids(pid)[-1:] == [1]
        yield (pid, handle) if safe else (0, None)
    finally:
        if handle is not None:
            os.close(handle)
