"""Wait for a sandbox in the foreground: pass signals on, stop and go on with it, keep the terminal."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

assert sys.platform == "linux"

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_ENDING = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
_seen: set[int] = set()  # while the last command was waited for
_SI_KERNEL = 0x80  # the terminal sent it, and to the command as well
_STARTING = ("bwrap", "env")  # still ignores the signals that the command will not


def wait_for(child: int, status: int, received: Sequence[signal.Signals]) -> tuple[int, bool]:
    """The exit code of the command that runs below the monitor `child`, and whether it ever started.

    `status` is the reading end of bwrap's JSON status; `received` and SIGCHLD must be blocked.
    """
    commands = _Command(status)
    try:
        code = wait_and_pass_on(child, received, commands.send)
        # A monitor that was killed reports nothing; one that could set nothing up exits by itself.
        return (code, commands.started()) if code >= 0 else (128 - code, True)
    finally:
        commands.close()


def wait_and_pass_on(
    child: int, received: Sequence[signal.Signals], send: Callable[[signal.Signals], None]
) -> int:
    """The exit code of `child`, negative for a signal; meanwhile what is `received` is sent on.

    `received` and SIGCHLD must be blocked.
    """
    terminal = _Terminal()
    _seen.clear()
    try:
        while True:
            received_signal = signal.sigwaitinfo({*received, signal.SIGCHLD})
            _seen.add(received_signal.si_signo)
            if received_signal.si_signo != signal.SIGCHLD:
                # A hang-up goes to the session's leader alone, which may be this process.
                if received_signal.si_code != _SI_KERNEL or received_signal.si_signo == signal.SIGHUP:
                    send(signal.Signals(received_signal.si_signo))
                continue
            pid, state = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(state):
                _stop_with(child)
            elif pid:
                return os.waitstatus_to_exitcode(state)
    finally:
        terminal.take_back()


def was_asked_to_end() -> bool:
    """Whether a signal said so while the last command was waited for, whatever that made of it."""
    return bool(_seen & _ENDING)


def status_documents(text: str) -> dict[str, Any]:
    """All that bwrap has reported on `--json-status-fd`, in one; a line that is cut off is left out."""
    import json  # 2 ms, while the sandbox already runs

    found: dict[str, Any] = {}
    for line in text.splitlines():
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            found |= document
    return found


def command_of(init: int) -> int | None:
    """The host's process id of the command below pid 1 of a sandbox, None where it is not there (yet)."""
    return next((child for child in _children(init) if namespace_ids(child)[-1:] == [2]), None)


def kept_command_of(init: int) -> int | None:
    """The same of a sandbox in the background, where a shell waits for the command."""
    shell = command_of(init)
    return next(iter(_children(shell)), None) if shell else None


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except FileNotFoundError:  # it is gone, or the kernel was built without CONFIG_PROC_CHILDREN
        every = (int(name) for name in os.listdir("/proc") if name.isdecimal())
        return [child for child in every if _stat(child)[1:2] == [str(pid)]]


def namespace_ids(pid: int) -> list[int]:
    """The ids of a process, from our namespace to its own; empty where it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    line = next((line for line in text.splitlines() if line.startswith("NSpid:")), "")
    return [int(word) for word in line.split()[1:]]


class _Command:
    """The command inside, found when the first signal for it arrives."""

    def __init__(self, status: int) -> None:
        self._status = status
        os.set_blocking(status, False)
        self._text = ""
        self._handle: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Pass the signal on; waits for a command that is about to start, gives up when it has ended."""
        give_up = time.monotonic() + 5
        while self._handle is None and time.monotonic() < give_up:
            pid = command_of(self._documents().get("child-pid", -1))
            if pid and _name(pid) not in _STARTING:
                self._handle = os.pidfd_open(pid)
            elif "exit-code" in self._documents():
                return
            else:
                time.sleep(0.001)
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def started(self) -> bool:
        """True once the sandbox was complete; bwrap reports an exit code only then."""
        return "exit-code" in self._documents()

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def _documents(self) -> dict[str, Any]:
        with suppress(BlockingIOError):
            self._text += os.read(self._status, 65536).decode()
        return status_documents(self._text)


class _Terminal:
    """A shell inside makes itself the terminal's foreground group and cannot give it back to ours."""

    def __init__(self) -> None:
        try:
            self._descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
            self._was_ours = os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            self._descriptor, self._was_ours = -1, False

    def take_back(self) -> None:
        if self._descriptor < 0:
            return
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            if self._was_ours and not _group_lives(os.tcgetpgrp(self._descriptor)):
                os.tcsetpgrp(self._descriptor, os.getpgrp())
        except OSError:
            pass
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
            os.close(self._descriptor)


def _stop_with(child: int) -> None:
    """Stop as the sandbox did, so that the caller's shell notices.

    Ctrl-Z stops us all, and we may be woken before the sandbox: then there is nothing to do.
    """
    time.sleep(0.02)
    if _stat(child)[:1] == ["T"]:
        os.kill(os.getpid(), signal.SIGSTOP)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "bwrap"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent …; empty where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
