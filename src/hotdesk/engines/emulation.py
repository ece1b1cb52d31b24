"""Whether the sandbox runs programs of another processor here: an image for that is made by its own programs.

Linux starts them with an emulator that was registered with binfmt_misc. What the kernel says of that is not
asked; the smallest program of all is tried where a base system's own would run.

Source: elf(5), and each architecture's system call table.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hotdesk.engines.client import Client
from hotdesk.engines.on_linux import require_sandbox, runs_in_sandbox
from hotdesk.engines.programs import builder
from hotdesk.errors import EngineError
from hotdesk.portable.machine import machine

if TYPE_CHECKING:
    from pathlib import Path

    from hotdesk.engines.request import EngineName

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
    """`EngineError` where a build can run no programs of `platform`; one is tried, written to `folder`.

    In a container only the machine's own are run. Also where the builder itself is not to be had.
    """
    engine = builder()
    if engine == "sandbox":
        require_sandbox()
    else:
        Client.of(engine).require()
    if _runs(platform, engine, folder):
        return
    raise EngineError(
        f"an image for `{platform}` cannot be built here",
        why=f"its base system and its bytecode are made by its own programs; this machine is "
        f"{machine()}, and has no emulator that takes them in the sandbox",
        hint=_HOW,
    )


def _runs(platform: str, engine: EngineName, folder: Path) -> bool:
    if platform not in _PROCESSORS:
        return False
    if _PROCESSORS[platform][0] == machine():
        return True
    if engine != "sandbox":
        return False
    program = folder / "program"
    program.write_bytes(smallest_program(platform))
    program.chmod(0o755)
    return runs_in_sandbox(program)


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
