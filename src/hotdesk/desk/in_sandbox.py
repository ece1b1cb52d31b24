"""A desk's Jupyter in the sandbox. Whether it runs is told by a lock that its first process holds."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

assert sys.platform == "linux"

from hotdesk.desk import folder as folders
from hotdesk.desk import jupyter
from hotdesk.desk.ports import LOOPBACK
from hotdesk.desk.runner import Activity
from hotdesk.engines import sandbox
from hotdesk.engines.request import Root, RunRequest
from hotdesk.engines.waiting import kept_command_of, namespace_ids, status_documents
from hotdesk.errors import DeskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hotdesk.desk.folder import Desk
    from hotdesk.desk.order import DeskOrder
    from hotdesk.errors import EngineError

_DIES_WITHIN = 10.0


class SandboxRunner:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, order: DeskOrder, desk: Desk, record: Callable[[], None]) -> None:
        assert isinstance(order.root, Root)
        request = RunRequest.of(jupyter.request(order, desk, LOOPBACK, desk.port, desk.ports), order.root)
        sandbox.check(request)
        with _files(self._folder) as (output, status, alive):
            record()
            sandbox.start(request, output=output, status=status, alive=alive)

    def activity(self) -> Activity:
        if "exit-code" not in self._reported() and folders.is_locked(self._folder / "alive"):
            return Activity(runs=True)
        return Activity(runs=False, exit_code=self._reported().get("exit-code"))

    def end_politely(self, within: float) -> None:
        with self._pid_one() as (pid, _):
            command = kept_command_of(pid) if pid else None
            if command:
                _terminate(command, within)

    def end(self) -> None:
        """Kill pid 1 inside, and with it everything else there; wait until all of it is gone."""
        import select

        with self._pid_one() as (_, handle):
            if handle is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                # The kernel reports the end of pid 1 after that of all others; it drops the lock before.
                select.select([handle], [], [], _DIES_WITHIN)
        if folders.is_locked(self._folder / "alive"):
            raise DeskError(
                f"the desk `{self._folder.name}` does not end",
                why="its processes are held by the kernel, perhaps by a file system that does not answer",
                hint="try again in a while",
            )

    def explain_end(self, log: str) -> EngineError | None:
        said = next((line for line in reversed(log.splitlines()) if line.startswith("bwrap: ")), "")
        if not said:
            return None
        from hotdesk.engines.namespaces import explain

        return explain(said)

    def _reported(self) -> dict[str, int]:
        """What bubblewrap said: `child-pid` when the sandbox starts, `exit-code` when Jupyter has ended."""
        try:
            text = (self._folder / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return {}
        return {name: value for name, value in status_documents(text).items() if isinstance(value, int)}

    @contextmanager
    def _pid_one(self) -> Iterator[tuple[int, int | None]]:
        """The host's id and a handle of pid 1 inside, (0, None) where nothing runs.

        The lock is asked after the handle is had: while it is held, the process that the status names still
        lives, so the handle cannot be of another that got its number.
        """
        pid = self._reported().get("child-pid", 0)
        handle: int | None = None
        with suppress(ProcessLookupError, OSError):
            handle = os.pidfd_open(pid)
        try:
            locked = handle is not None and folders.is_locked(self._folder / "alive")
            yield (pid, handle) if locked and namespace_ids(pid)[-1:] == [1] else (0, None)
        finally:
            if handle is not None:
                os.close(handle)


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


def _terminate(command: int, within: float) -> None:
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
