"""Files: how they are opened, and what file systems tell of them."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Free(NamedTuple):
    """What there is room for: bytes, and files; None where the file system does not say."""

    size: int | None
    files: int | None


HOLDS_LINUX_TREES = sys.platform != "win32"
"""Whether file systems have links and modes as Linux does."""

if sys.platform == "win32":
    OURS = os.O_BINARY | os.O_NOINHERIT
    """For `os.open`: plain bytes, and no child inherits it."""

    SAFELY = OURS
    """The same, and never through a link; they are rare here, and need a right."""

    NOT_WAITING = FOLDER = 0

    def set_mode(descriptor: int, mode: int) -> None:
        """Files have no mode here that would be worth anything."""

    def read_at(descriptor: int, size: int, position: int) -> bytes:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, size)

    def free(folder: Path) -> Free:
        return Free(shutil.disk_usage(folder).free, None)

    def size_on_disk(status: os.stat_result) -> int:
        return status.st_size

    def flush_disks() -> None:
        """No program may do that for all here."""

    def is_read_only(_folder: Path) -> bool:
        return False

else:
    OURS = os.O_CLOEXEC
    """For `os.open`: plain bytes, and no child inherits it."""

    SAFELY = OURS | os.O_NOFOLLOW
    """The same, and never through a link."""

    NOT_WAITING = os.O_NONBLOCK
    FOLDER = os.O_DIRECTORY

    def set_mode(descriptor: int, mode: int) -> None:
        os.fchmod(descriptor, mode)

    def read_at(descriptor: int, size: int, position: int) -> bytes:
        return os.pread(descriptor, size, position)

    def free(folder: Path) -> Free:
        found = os.statvfs(folder)
        size = found.f_bavail * found.f_frsize if found.f_blocks else None
        return Free(size, found.f_favail if found.f_files else None)

    def size_on_disk(status: os.stat_result) -> int:
        return status.st_blocks * 512

    def flush_disks() -> None:
        os.sync()

    def is_read_only(folder: Path) -> bool:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
