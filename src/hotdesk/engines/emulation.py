"""Whether the sandbox runs programs of another processor here: an image for that is made by its own programs.

Linux starts them with an emulator that was registered with binfmt_misc. What the kernel says of that is not
asked; the smallest program of all is tried where a base system's own would run.

Source: elf(5), and each architecture's system call table.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from hotdesk.engines.bubblewrap import run_bwrap
from hotdesk.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

# By platform: what its machines call themselves, the number in an ELF header, and exit(0).
_PROCESSORS = {
    "linux/amd64": ("x86_64", 62, bytes.fromhex("31ff b83c000000 0f05")),
    "linux/arm64": ("aarch64", 183, bytes.fromhex("000080d2 a80b80d2 010000d4")),
}
_HOW = (
    "install QEMU, registered with binfmt_misc under its flag F, as `sudo apt install qemu-user-static` does "
    "on Debian and Ubuntu, and `sudo dnf install qemu-user-static` on Fedora; or build it on such a machine"
)


def require_programs(platform: str, folder: Path) -> None:
    """`EngineError` where the sandbox runs no programs of `platform`; one is tried, written to `folder`."""
    if _runs(platform, folder):
        return
    raise EngineError(
        f"an image for `{platform}` cannot be built here",
        why=f"its base system and its bytecode are made by its own programs; this machine is "
        f"{os.uname().machine}, and has no emulator that takes them in the sandbox",
        hint=_HOW,
    )


def _runs(platform: str, folder: Path) -> bool:
    if platform not in _PROCESSORS:
        return False
    if _PROCESSORS[platform][0] == os.uname().machine:
        return True
    program = folder / "program"
    program.write_bytes(smallest_program(platform))
    program.chmod(0o755)
    options = ("--unshare-user", "--unshare-all", "--ro-bind", str(program), "/program", "--dev", "/dev")
    return run_bwrap(options, ["/program"]).returncode == 0


def smallest_program(platform: str) -> bytes:
    """A static ELF program that ends with 0, of one segment, which holds its headers too."""
    _, number, code = _PROCESSORS[platform]
    base, headers = 0x400000, 64 + 56
    size = headers + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(2, number, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    )
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x10000) + code
