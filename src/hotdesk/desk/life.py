"""A desk's life: start it, stop it, remove it."""

from __future__ import annotations

import base64
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hotdesk.desk import folder as folders
from hotdesk.desk.folder import Desk
from hotdesk.desk.ports import is_free, port_taken, reserved_port, reserved_ports
from hotdesk.desk.register import Damaged, claim, desks, find, release
from hotdesk.desk.runner import new_runner, runner_of
from hotdesk.desk.state import condition, runs, this_boot, wait_until_ready
from hotdesk.errors import DeskError, EngineError
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hotdesk.desk.order import DeskOrder
    from hotdesk.engines.request import Root
    from hotdesk.progress import Progress

_STOPS_WITHIN = 10.0
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Opened:
    """`desk` answers; `already` tells that it did so before. `wanted` are the ports that its servers want."""

    desk: Desk
    already: bool
    wanted: Mapping[str, int] = field(default_factory=dict)


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
            runner_of(folder).end()
            desk = _start_on_a_free_port(order, folder)
        task.advance(1)
        return Opened(desk, already, order.ports)


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
            return Opened(desk, False, self._order.ports)


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
        runner_of(folder).end()
        port, ports = held.enter_context(_reserved(order, order.port))
        early = EarlyDesk(order, _new_desk(order, folder, port, ports))
        try:
            _launch(order, early.desk, record=replace(before, early=True, stopped=False))
            yield early
        finally:
            if not early.completed:
                runner_of(folder).end()
                folders.write_desk(replace(before, early=False, stopped=before.root is not None))


def end_abandoned() -> None:
    """End the desks that were started early by a process that is no more."""
    for desk in desks():
        if desk.early:
            with folders.try_exclusive(desk.folder / "starting") as ours:
                if ours:
                    runner_of(desk.folder).end()
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
        runner_of(desk.folder).end_politely(within)
    runner_of(desk.folder).end()


def remove(name: str, *, force: bool = False) -> None:
    """Forget the desk, its home included; the project folder stays as it is.

    A desk that cannot be read is removed as well. With `force` one that runs is stopped, and one whose engine
    does not answer is removed; else either is refused.
    """
    from hotdesk.store import remove_tree

    folder = folders.desk_folder(name)
    if not folder.is_dir() or folder.is_symlink():
        find(name)
    with _starting(folder):
        if not force and runs(folder):
            raise DeskError(f"the desk `{name}` is running", hint=f"stop it first: `hotdesk stop {name}`")
        try:
            runner_of(folder).end()
        except EngineError:
            if not force:  # else it may be gone for good
                raise
        removed = release(name)
    remove_tree(removed)
    for abandoned in removed.parent.glob(f".{name}~*"):  # by a process that was killed, or is still at it
        with suppress(OSError):
            remove_tree(abandoned)


def _start_on_a_free_port(order: DeskOrder, folder: Path) -> Desk:
    wanted = order.port
    for _ in range(_ATTEMPTS):
        with _reserved(order, wanted) as (port, ports):
            desk = _new_desk(order, folder, port, ports)
            try:
                _start(order, desk)
                wait_until_ready(desk)
            except (DeskError, EngineError):
                if condition(desk).state == "running" or is_free(port):
                    runner_of(folder).end()
                    raise
            except BaseException:
                stop(desk, within=1)
                raise
            else:
                return desk
        # Somebody took the port after we looked and before Jupyter did.
        runner_of(folder).end()
        if order.port_fixed:
            raise port_taken(port)
        wanted = port + 1
    raise DeskError(
        f"the ports from {order.port} on are taken as fast as we find them", hint="give another with --port"
    )


def _start(order: DeskOrder, desk: Desk) -> None:
    _keep(order.keep, desk.folder / "keep")
    _launch(order, desk, record=desk)


@contextmanager
def _reserved(order: DeskOrder, wanted: int) -> Iterator[tuple[int, dict[str, int]]]:
    """Jupyter's port and those of the desk's further servers.

    Nothing may listen on the latter for hours: what other running desks were given counts as taken.
    """
    given = {
        port
        for desk in desks()
        if desk.ports and desk.name != order.name and condition(desk).state == "running"
        for port in desk.ports.values()
    }
    with (
        reserved_port(wanted, fixed=order.port_fixed, others=() if order.port_fixed else given) as port,
        reserved_ports(order.ports, {*given, port}) as ports,
    ):
        yield port, ports


def _new_desk(order: DeskOrder, folder: Path, port: int, ports: Mapping[str, int]) -> Desk:
    return Desk(
        name=order.name,
        folder=folder,
        root=order.root,
        project=order.project,
        port=port,
        token=base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode(),
        started=time.time(),
        boot=this_boot(),
        ports=ports,
        labels=order.labels,
    )


def _launch(order: DeskOrder, desk: Desk, record: Desk) -> None:
    """Start Jupyter; `record` is what is written about it."""
    desk.home.mkdir(mode=0o700, exist_ok=True)
    new_runner(order.root, desk.folder).start(order, desk, lambda: folders.write_desk(record))


def _keep(files: Mapping[str, bytes], folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, content in files.items():
        folders.write_private(folder / name, content)
