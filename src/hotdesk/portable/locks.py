"""Locks on open files and on names, which the system releases with the process that holds them."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from hotdesk.portable.files import SAFELY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Hold = Literal["alone", "shared"]

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _NOW, _ALONE = 1, 2  # LOCKFILE_FAIL_IMMEDIATELY, LOCKFILE_EXCLUSIVE_LOCK
    _OCCUPIED = 33  # ERROR_LOCK_VIOLATION
    _FAR = 0x7FFF_FFFF  # beyond any content: such a lock keeps nobody from reading

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    def _lock(descriptor: int, hold: Hold, *, wait: bool) -> bool:
        how = (_ALONE if hold == "alone" else 0) | (0 if wait else _NOW)
        place = _Overlapped(offset_high=_FAR)
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        if kernel.LockFileEx(handle, how, 0, 1, 0, ctypes.byref(place)):
            return True
        if (error := ctypes.get_last_error()) == _OCCUPIED:
            return False
        raise ctypes.WinError(error)

    def open_folder(folder: Path) -> int:
        """A descriptor to lock a folder by; here that of a file beside it."""
        return os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_NOINHERIT)

else:
    import fcntl

    def _lock(descriptor: int, hold: Hold, *, wait: bool) -> bool:
        how = fcntl.LOCK_EX if hold == "alone" else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, how | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def open_folder(folder: Path) -> int:
        """A descriptor to lock a folder by."""
        return os.open(folder, os.O_RDONLY | os.O_CLOEXEC)


def lock(descriptor: int, hold: Hold = "alone") -> None:
    """Hold the lock; waits for whoever keeps it from us."""
    _lock(descriptor, hold, wait=True)


def try_lock(descriptor: int, hold: Hold = "alone") -> bool:
    """Hold the lock where nobody keeps it from us; tells whether we do."""
    return _lock(descriptor, hold, wait=False)


@contextmanager
def try_name(name: str, folder: Path) -> Iterator[bool]:
    """Hold `name` where nobody does; tells whether we do.

    On Linux it is held against all users who share this network, through an abstract socket address;
    elsewhere against whoever shares `folder`.
    """
    if sys.platform == "linux":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as held:
            try:
                held.bind(f"\0hotdesk/{name}")
                ours = True
            except OSError as error:  # where a security module forbids such addresses, nobody holds one
                ours = error.errno != errno.EADDRINUSE
            yield ours
    else:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | SAFELY, 0o600)
        try:
            yield try_lock(descriptor)
        finally:
            os.close(descriptor)
