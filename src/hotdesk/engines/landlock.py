"""Landlock's scopes: closes what a shared network namespace leaves open.

Abstract Unix sockets (the X server, a session's D-Bus) belong to the network namespace, not to the file
system. Source: linux/landlock.h; scopes came with ABI 6, kernel 6.12.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same on every architecture
_GET_ABI = 1
_SCOPE_ABI = 6
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2
_PR_SET_NO_NEW_PRIVS = 38


def abi() -> int:
    """The kernel's Landlock version, 0 where it has none."""
    version: int = _libc().syscall(_CREATE_RULESET, None, 0, _GET_ABI)
    return max(version, 0)


def scopes_supported() -> bool:
    return abi() >= _SCOPE_ABI


def open_scopes() -> int | None:
    """A descriptor for `close_scopes`, None where the kernel has none of this."""
    attributes = struct.pack("=QQQ", 0, 0, _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL)
    ruleset: int = _libc().syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    return None if ruleset < 0 else ruleset


def close_scopes(ruleset: int) -> None:
    """Cut this process, and all it starts, off from abstract sockets and processes made outside of it."""
    libc = _libc()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(0, "Landlock refused its own ruleset")


def _libc() -> ctypes.CDLL:
    import ctypes  # 4 ms; here so that importing the sandbox stays cheap

    return ctypes.CDLL(None, use_errno=True)
