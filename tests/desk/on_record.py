"""What a desk that runs leaves on record, made without one."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.desk import folder as folders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.desk import Desk

THIS_BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextmanager
def something_runs(desk: Desk) -> Iterator[None]:
    """Hold the lock that a sandbox's pid 1 holds."""
    descriptor = folders.open_private(desk.folder / "alive")
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def report(desk: Desk, text: str) -> None:
    (desk.folder / "status").write_text(text)
