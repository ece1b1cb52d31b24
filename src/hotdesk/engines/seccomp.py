"""Seccomp filters as classic BPF programs, as `bwrap --seccomp` reads them.

Source: linux/seccomp.h, linux/filter.h, linux/audit.h and each architecture's system call table.
"""

from __future__ import annotations

import errno
import struct

from hotdesk.portable.machine import machine as this_machine

_AUDIT_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS = {
    "x86_64": {
        "ioctl": 16, "chown": 92, "fchown": 93, "lchown": 94, "mknod": 133, "add_key": 248,
        "request_key": 249, "keyctl": 250, "mknodat": 259, "fchownat": 260,
        "fsync": 74, "fdatasync": 75, "sync": 162, "sync_file_range": 277, "syncfs": 306,
    },
    "aarch64": {
        "ioctl": 29, "mknodat": 33, "fchownat": 54, "fchown": 55, "add_key": 217, "request_key": 218,
        "keyctl": 219, "sync": 81, "fsync": 82, "fdatasync": 83, "sync_file_range": 84, "syncfs": 267,
    },
}  # fmt: skip

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_OR_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENT_1 = 0, 4, 24
_X32_BIT = 0x40000000
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: into whatever terminal can be opened


def pretend_ownership(machine: str = "") -> bytes:
    """Answers chown and mknod with success without doing them, so that dpkg believes it is root.

    With it, an ordinary user and root get the same tree; ownership comes from the packages instead.
    So are requests to wait for the disk: what another boot left unsettled is
    made anew (see `hotdesk.store`). Nothing can be typed into the caller's terminal, as with `protect_host`.
    """
    owners = ("chown", "fchown", "lchown", "fchownat", "mknod", "mknodat")
    disk = ("fsync", "fdatasync", "sync", "sync_file_range", "syncfs")
    return _program(dict.fromkeys((*owners, *disk), 0), machine)


def protect_host(machine: str = "") -> bytes:
    """Takes away what no namespace does: typing into the caller's terminal, and the kernel's keyrings."""
    denied = dict.fromkeys(("add_key", "request_key", "keyctl"), errno.ENOSYS)
    return _program(denied, machine)


def _program(answers: dict[str, int], machine: str) -> bytes:
    machine = machine or this_machine()
    numbers = _NUMBERS[machine]
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCHES[machine]),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),  # another ABI would bypass the numbers below
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    if machine == "x86_64":
        code += [(_JUMP_GREATER_OR_EQUAL, 0, 1, _X32_BIT), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    for name, answer in answers.items():
        if name in numbers:
            code += [(_JUMP_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, _ERRNO | answer)]
    # The kernel reads an ioctl's command as 32 bits, so only the low word is compared.
    code += [
        (_JUMP_EQUAL, 1, 0, numbers["ioctl"]),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _OFFSET_ARGUMENT_1),
    ]
    for command in _TYPING:
        code += [(_JUMP_EQUAL, 0, 1, command), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
