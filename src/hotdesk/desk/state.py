"""How a desk is: whether it runs, whether Jupyter answers, how it ended, what it said."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from hotdesk.desk.ports import LOOPBACK
from hotdesk.desk.runner import runner_of
from hotdesk.errors import DeskError, EngineError
from hotdesk.portable.files import SAFELY
from hotdesk.portable.machine import boot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hotdesk.desk.folder import Desk

DeskState = Literal["running", "starting", "stopped", "crashed", "never opened", "unknown"]

_Found = TypeVar("_Found")

_READY_WITHIN = 120.0
_LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Condition:
    """How a desk is.

    `starting` is one whose packages are not all there yet: nobody is let in. `exit_code` is known where
    Jupyter ended by itself; `log` is the end of a crashed desk's log; `problem` is why it is unknown.
    """

    state: DeskState
    exit_code: int | None = None
    log: str = ""
    problem: EngineError | None = None


def condition(desk: Desk) -> Condition:
    """Whether the desk runs, and how it ended where it does not."""
    try:
        activity = runner_of(desk.folder).activity()
    except EngineError as error:
        return Condition("unknown", problem=error)
    if desk.early and activity.runs:
        return Condition("starting")
    if desk.root is None:
        return Condition("never opened")
    return Condition("running") if activity.runs else _ended(desk, activity.exit_code)


def _ended(desk: Desk, exit_code: int | None) -> Condition:
    if desk.stopped or (exit_code is None and desk.boot != this_boot()):
        return Condition("stopped")
    if exit_code == 0:  # its user chose "Shut Down" in Jupyter
        return Condition("stopped", 0)
    return Condition("crashed", exit_code, log="\n".join(_last_lines(desk.log)))


def wait_until_ready(desk: Desk, within: float = _READY_WITHIN) -> None:
    """Return when Jupyter answers with the desk's own token; `DeskError` where it ended or took too long."""
    give_up = time.monotonic() + within
    look = _paced(lambda: condition(desk))
    while not _answers(desk):
        found = look()
        if found.state != "running":
            raise _ended_early(desk, found)
        if time.monotonic() > give_up:
            raise DeskError(
                f"the desk `{desk.name}` does not answer",
                why=f"Jupyter has not answered on port {desk.port} for {within:.0f} seconds",
                hint=f"see `hotdesk logs {desk.name}`",
            )
        time.sleep(0.02)


def read_log(desk: Desk, *, follow: bool = False) -> Iterator[str]:
    """The log in pieces; with `follow`, what is added too, until the desk ends."""
    try:
        descriptor = os.open(desk.log, os.O_RDONLY | SAFELY)
    except FileNotFoundError:
        raise DeskError(
            f"the desk `{desk.name}` has no log",
            why="Jupyter writes it, and was never opened on this desk",
            hint="open it with `hotdesk up`" + (f" in {desk.project}" if desk.project else ""),
        ) from None
    look = _paced(lambda: runs(desk.folder))
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        while True:
            ended = not follow or not look()
            while piece := file.read(65536):
                yield piece
            if ended:
                return
            time.sleep(0.1)


def runs(folder: Path) -> bool:
    """Whether Jupyter runs; what it left behind does not count."""
    return runner_of(folder).activity().runs


def _paced(look: Callable[[], _Found]) -> Callable[[], _Found]:
    """What `look` said last; it is asked again after ten times as long as it took: some start a program."""
    found: _Found | None = None
    due = 0.0

    def paced() -> _Found:
        nonlocal found, due
        begin = time.monotonic()
        if found is None or begin >= due:
            found = look()
            due = begin + 11 * (time.monotonic() - begin)
        return found

    return paced


def this_boot() -> str:
    return boot()


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
    if found.problem:
        return found.problem
    if found.exit_code is None and (cause := runner_of(desk.folder).explain_end(found.log)):
        return cause
    code = "" if found.exit_code is None else f" with exit code {found.exit_code}"
    return DeskError(
        f"the desk `{desk.name}` ended{code} before Jupyter answered",
        why=f"the end of its log:\n{found.log}" if found.log else "",
        hint=f"see `hotdesk logs {desk.name}`",
    )


def _last_lines(log: Path, count: int = _LOG_LINES) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - 16384, 0))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
