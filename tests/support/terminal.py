"""Programs on a terminal of their own, and what shows there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def on_a_terminal(argv: list[str], environment: Mapping[str, str] = os.environ) -> str:
    """What the program prints until it ends."""
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], argv, environment)
    said = b""
    try:
        while piece := os.read(descriptor, 4096):
            said += piece
    except OSError:  # the terminal's other side is closed: the program has ended
        pass
    os.waitpid(pid, 0)
    os.close(descriptor)
    return said.decode(errors="replace")


class Screen:
    """The other side of a terminal in which a program runs."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self.descriptor, self.seen = pid, descriptor, ""
        self._from = 0

    def send(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def expect(self, text: str, within: float = 15) -> None:
        """Wait for `text` after what was expected before."""
        give_up = time.monotonic() + within
        while text not in self.seen[self._from :]:
            assert time.monotonic() < give_up, f"{text!r} did not come:\n{self.seen}"
            assert self._read(0.2) or text in self.seen[self._from :], f"{text!r} never came:\n{self.seen}"
        self._from = self.seen.index(text, self._from) + len(text)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def exit_code(self) -> int:
        give_up = time.monotonic() + 15
        while time.monotonic() < give_up:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                while self._read(0.05):
                    pass
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it did not end:\n{self.seen}")

    def _read(self, within: float) -> bool:
        """False when the other side has closed the terminal."""
        if not select.select([self.descriptor], [], [], within)[0]:
            return True
        try:
            piece = os.read(self.descriptor, 4096)
        except OSError:
            return False
        self.seen += piece.decode(errors="replace")
        return bool(piece)


@contextmanager
def terminal(argv: list[str]) -> Iterator[Screen]:
    pid, descriptor = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        os.execvp(argv[0], argv)
    screen = Screen(pid, descriptor)
    try:
        yield screen
    finally:
        if screen.pid:
            os.kill(screen.pid, signal.SIGKILL)
            os.waitpid(screen.pid, 0)
        os.close(descriptor)
