"""The machine, and who we are on it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

RUNS_LINUX_PROGRAMS = sys.platform == "linux"

_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}


def machine() -> str:
    """The processor's architecture as Linux calls it, such as `x86_64`."""
    name = platform.machine().lower()
    return _MACHINES.get(name, name)


if sys.platform == "win32":

    def user_ids() -> tuple[int, int]:
        """The user and the group that files of ours belong to, as `os.stat` has them."""
        return 0, 0

    def user_name() -> str:
        return os.environ.get("USERNAME", "")

    def connect_to(path: str) -> None:
        """Connect to a socket of the file system, which nobody has here."""
        raise FileNotFoundError(2, os.strerror(2), path)

    def memory() -> int:
        """In bytes."""
        import psutil

        return int(psutil.virtual_memory().total)

    def be_nice(niceness: int) -> None:
        """Let other processes go first."""

else:

    def user_ids() -> tuple[int, int]:
        """The user and the group that files of ours belong to."""
        return os.geteuid(), os.getegid()

    def user_name() -> str:
        """Ours, or our number where we have none."""
        import pwd

        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())

    def connect_to(path: str) -> None:
        """Connect to a socket of the file system, and leave it; `OSError` where nobody listens."""
        import socket

        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)

    def memory() -> int:
        """In bytes."""
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def be_nice(niceness: int) -> None:
        """Let other processes go first."""
        os.nice(niceness)


if sys.platform == "linux":

    def processors() -> int:
        """How many may be used."""
        return len(os.sched_getaffinity(0))

    def boot() -> str:
        """What tells this boot of the machine from others."""
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

else:

    def processors() -> int:
        """How many may be used."""
        return os.cpu_count() or 1

    def boot() -> str:
        """What tells this boot of the machine from others."""
        import psutil

        return f"{psutil.boot_time():.0f}"
