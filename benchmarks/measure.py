"""Stop-watches: commands, a Jupyter that answers, memory, disk."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_POLL = 0.005  # seconds between two requests: 0.3 % of what Jupyter needs to start
_LOOK = 0.05  # seconds between two looks at memory; a process's own high-water mark misses nothing


class BenchmarkError(Exception):
    """An arm could not run; the text says why, with the end of the command's output."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended well; `rss` is the largest resident set of it or a waited-for child, in bytes."""

    seconds: float
    output: str
    rss: int


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> Finished:
    """Run `command` to its end; `BenchmarkError` with its output where it fails."""
    words = [str(word) for word in command]
    started = time.monotonic()
    process = subprocess.Popen(
        words,
        env=None if env is None else dict(env),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(stdin)
    with process.stdout as stream:
        output = stream.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(f"`{' '.join(words)}` exited {process.returncode}:\n{_end(output)}")
    return Finished(seconds, output, usage.ru_maxrss * 1024)


def settle(folder: Path) -> None:
    """Write what is left to write, and let the file system of `folder` forget what was deleted there.

    ext4 passes over inodes that were deleted in the last five minutes, one by one, while their tables are in
    memory: after a large deletion, which only a benchmark makes, each new file costs a multiple.
    """
    os.sync()
    device = run(["findmnt", "--noheadings", "--output", "SOURCE", "--target", folder]).output.strip()
    if os.geteuid() == 0 and Path(device).is_block_device():
        run(["blockdev", "--flushbufs", device])


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_it_answers(port: int, still_running: Callable[[], object], *, limit: float = 900.0) -> float:
    """The monotonic time at which Jupyter's `/api` first answered 200.

    `/api` is the same for every arm and needs no token, which an arm may learn only later;
    `check_token` asks for something that does. `still_running` raises where waiting has become pointless.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if get_status(port, "/api") == 200:
            return time.monotonic()
        still_running()
        time.sleep(_POLL)
    raise BenchmarkError(f"nothing answered on port {port} in {limit:.0f} s")


def check_token(port: int, token: str) -> None:
    """`BenchmarkError` unless Jupyter serves `token` what it refuses to others."""
    refused, served = get_status(port, "/api/status"), get_status(port, f"/api/status?token={token}")
    if (refused, served) != (403, 200):
        raise BenchmarkError(f"without a token Jupyter says {refused}, with it {served}; not 403 and 200")


def get_status(port: int, path: str) -> int:
    """The HTTP status of a GET from the loopback; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return response.status


def disk_usage(folder: Path) -> int:
    """Bytes of the blocks below `folder`; a file with many hard links counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, _, names in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(path)
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total


class PeakMemory:
    """While open, watches the processes for whose folder in /proc `mine` holds.

    `together` is the highest sum of resident sets seen at one moment, `largest` the highest high-water mark
    of one process; both in bytes. Pages that processes share count in each, so `together` is an upper bound.
    """

    def __init__(self, mine: Callable[[Path], bool]) -> None:
        self.together = 0
        self.largest = 0
        self._mine = mine
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_LOOK):
            seen = [self._memory_of(process) for process in Path("/proc").glob("[0-9]*")]
            self.together = max(self.together, sum(now for now, _ in seen))
            self.largest = max(self.largest, *(peak for _, peak in seen))
            self.together = max(self.together, self.largest)

    def _memory_of(self, process: Path) -> tuple[int, int]:
        try:
            if not self._mine(process):
                return 0, 0
            lines = (process / "status").read_text().splitlines()
            fields = dict(line.split(":", 1) for line in lines)
            now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        except (OSError, KeyError):
            return 0, 0  # it ended meanwhile
        return now, peak


def _end(output: str) -> str:
    return "\n".join(output.splitlines()[-30:])
