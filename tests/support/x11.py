"""A real X server without a screen, and a client of it that needs nothing but Python."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.host import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENT = """
import os, pathlib, socket, struct, sys, time

title = sys.argv[1].encode()
number = os.environ["DISPLAY"].partition(":")[2]
cookies = os.environ.get("XAUTHORITY")
scheme, secret = (b"MIT-MAGIC-COOKIE-1", pathlib.Path(cookies).read_bytes()[-16:]) if cookies else (b"", b"")

def padded(data):
    return data + bytes(-len(data) % 4)

server = socket.socket(socket.AF_UNIX)
server.connect(f"/tmp/.X11-unix/X{number}")
hello = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(scheme), len(secret))
server.sendall(hello + padded(scheme) + padded(secret))
stream = server.makefile("rb")
accepted, size = struct.unpack("<B5xH", stream.read(8))
answer = stream.read(4 * size)
if accepted != 1:
    sys.exit("refused: " + answer.decode("ascii", "replace").strip())
window, vendor, formats = struct.unpack_from("<4xI8xH3xB", answer)
(root,) = struct.unpack_from("<I", answer, 32 + len(padded(bytes(vendor))) + 8 * formats)
create = struct.pack("<BBHIIhhHHHHIII", 1, 0, 9, window, root, 0, 0, 200, 100, 0, 1, 0, 2, 0xFF8800)
words = 6 + len(padded(title)) // 4
name = struct.pack("<BBHIIIBxxxI", 18, 0, words, window, 39, 31, 8, len(title)) + padded(title)
server.sendall(create + name + struct.pack("<BBHI", 8, 0, 2, window))
give_up = time.monotonic() + 60
while not os.path.exists("seen") and time.monotonic() < give_up:
    time.sleep(0.05)
"""
"""Shows a window with the title that it is given, until there is a file `seen`."""


@dataclass(frozen=True)
class Screen:
    """What an X server shows; `environment` leads there, with the cookie that it wants."""

    environment: dict[str, str]

    def has_window(self, title: str) -> bool:
        """Whether there is a window of this title that can be seen."""
        done = subprocess.run(
            ["xwininfo", "-name", title],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return "IsViewable" in done.stdout


@contextmanager
def x_server(folder: Path) -> Iterator[Screen]:
    """Xvfb, which lets in whoever knows its cookie."""
    for program in ("Xvfb", "xauth", "xwininfo"):
        if not shutil.which(program):
            lacking(f"this host has no {program}")
    cookies, cookie = folder / "Xauthority", secrets.token_hex(16)
    cookies.touch()

    def add(display: str) -> None:
        subprocess.run(["xauth", "-qf", cookies, "add", display, ".", cookie], check=True)

    add(":0")
    reader, writer = os.pipe()
    options = ["-displayfd", str(writer), "-auth", str(cookies), "-nolisten", "tcp", "-noreset"]
    with (folder / "Xvfb.log").open("wb") as log:
        process = subprocess.Popen(["Xvfb", *options], pass_fds=[writer], stdout=log, stderr=log)
    os.close(writer)
    try:
        with os.fdopen(reader) as told:
            display = f":{int(told.readline())}"
        add(display)
        yield Screen({"DISPLAY": display, "XAUTHORITY": str(cookies), "WAYLAND_DISPLAY": ""})
    finally:
        process.terminate()
        process.wait(20)
