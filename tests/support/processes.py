"""Which processes there are, on the host and inside a desk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.engines.waiting import status_documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.desk import Desk


def sleeping(seconds: str) -> list[int]:
    """Those that run `sleep` for so long, a number that marks them."""
    found = []
    for pid in _every():
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                found.append(pid)
    return found


def pid_one(desk: Desk) -> int:
    pid: int = status_documents((desk.folder / "status").read_text())["child-pid"]
    return pid


def processes_inside(desk: Desk) -> list[int]:
    """Every process in the desk's namespace of processes."""
    own = _namespace_of(pid_one(desk))
    return [pid for pid in _every() if own and _namespace_of(pid) == own]


def alive(pids: list[int]) -> list[int]:
    """Those that are still there, and are more than a number that nobody has asked for yet."""
    found = []
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(pid)
    return found


def _namespace_of(pid: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid")
    return ""


def _every() -> Iterator[int]:
    return (int(process.name) for process in Path("/proc").iterdir() if process.name.isdecimal())
