"""A container in the foreground, on Linux: signals reach its command, and it ends when this process does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

assert sys.platform == "linux"

from hotdesk.engines.waiting import FORWARDED, wait_and_pass_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotdesk.engines.client import Client

_STARTS_WITHIN = 10.0  # seconds
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def call(client: Client, name: str, arguments: Sequence[str]) -> int:
    """The exit code of the engine's program, which runs the container `name`; negative for a signal."""
    command = client.command(arguments)
    received = [number for number in FORWARDED if signal.getsignal(number) != signal.SIG_IGN]
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {*received, signal.SIGCHLD})
    try:
        child = subprocess.Popen(command, env=client.environment, preexec_fn=_end_with_parent)  # noqa: PLW1509  # no thread
        return wait_and_pass_on(child.pid, received, lambda number: _send(client, name, child.pid, number))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _send(client: Client, name: str, program: int, number: signal.Signals) -> None:
    """Pass the signal on to the container; waits for one that is about to start.

    Not through the program: Podman's ends with a signal that comes just after the container's start.
    """
    give_up = time.monotonic() + _STARTS_WITHIN
    while client.try_("kill", "--signal", number.name, name).returncode and time.monotonic() < give_up:
        if os.waitid(os.P_PID, program, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.05)


def _end_with_parent() -> None:
    """In the child: the engine's program hears of our end, whatever ends us, and tells the container."""
    import ctypes

    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, int(signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
