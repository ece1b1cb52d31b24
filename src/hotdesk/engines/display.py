"""The host's display, for a desk that is given it: the servers' sockets, and the cookie that lets in."""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.engines.request import NO_DISPLAY, Display
from hotdesk.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_X_DISPLAY = re.compile(r"((?P<protocol>\w+)/)?(?P<host>[^/:]*):(?P<number>\d+)(?P<screen>\.\d+)?")
_X_SOCKETS = "tmp/.X11-unix"
# Clients try an abstract socket of the display's number first, and give up where Landlock forbids it. One
# that nobody listens on is refused in another way, and they take the file. So: a number that no server has.
_NUMBER_INSIDE = 500
_COOKIES_INSIDE = "hotdesk/Xauthority"
_WAYLAND_INSIDE = "/run/hotdesk/wayland"
_LOCAL, _ANY = 256, 65535
"""Families of addresses in an Xauthority file. Source: X11/Xauth.h."""


def read_display(environment: Mapping[str, str] | None = None, top: Path = Path("/")) -> Display:
    """The display of the caller with this `environment`; `EngineError` where there is none to give."""
    environment = os.environ if environment is None else environment
    if not _has_sockets():
        raise _none("windows of a desk are for X11 or Wayland, on this very machine")
    x11, wayland = _x11(environment, top), _wayland(environment)
    if not (x11.environment or wayland.environment):
        named = " and ".join(
            f"{name} is `{environment[name]}`" if environment.get(name) else f"{name} is not set"
            for name in ("DISPLAY", "WAYLAND_DISPLAY")
        )
        raise _none(f"{named}, and that leads to no socket of this machine")
    return Display(
        {**x11.sockets, **wayland.sockets},
        x11.files,
        {**x11.environment, **wayland.environment},
        x11.address,
    )


def _has_sockets() -> bool:
    return sys.platform == "linux"


def _none(why: str) -> EngineError:
    return EngineError(
        "there is no display that the desk could have",
        why=why,
        hint="give the command in a terminal of your desktop, or leave --display out: "
        "pictures in a notebook (`plt.imshow`) need none",
    )


def _x11(environment: Mapping[str, str], top: Path) -> Display:
    found = _X_DISPLAY.fullmatch(environment.get("DISPLAY", ""))
    if not found:
        return NO_DISPLAY
    number = int(found["number"])
    cookies = _cookies(environment, number)
    files = {_COOKIES_INSIDE: cookies} if cookies else {}
    variables = {"XAUTHORITY": f"/run/{_COOKIES_INSIDE}"} if cookies else {}
    if found["protocol"] != "unix" and found["host"] not in ("", "unix"):  # such as `ssh -X` makes
        address = found[0]
        return Display(files=files, environment={"DISPLAY": address, **variables}, address=address)
    path = top / _X_SOCKETS / f"X{number}"
    if not _is_socket(path):
        return NO_DISPLAY
    inside = f"/{_X_SOCKETS}/X{_NUMBER_INSIDE}"
    named = f":{_NUMBER_INSIDE}{found['screen'] or ''}"
    return Display({inside: path}, files, {"DISPLAY": named, **variables})


def _wayland(environment: Mapping[str, str]) -> Display:
    if not (name := environment.get("WAYLAND_DISPLAY")):
        return NO_DISPLAY
    path = Path(environment.get("XDG_RUNTIME_DIR", "/"), name)  # the name may be a path of its own
    if not _is_socket(path):
        return NO_DISPLAY
    return Display({_WAYLAND_INSIDE: path}, environment={"WAYLAND_DISPLAY": _WAYLAND_INSIDE})


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _cookies(environment: Mapping[str, str], number: int) -> bytes:
    """An Xauthority file with what the caller has for the display; empty where that is nothing."""
    path = environment.get("XAUTHORITY") or Path(environment.get("HOME", "/"), ".Xauthority")
    try:
        content = Path(path).read_bytes()
    except OSError:
        return b""
    return cookies_for(content, str(number), socket.gethostname())


def cookies_for(content: bytes, number: str, host: str) -> bytes:
    """Those of an Xauthority file for the display `number`, as good on any host: a desk has its own name.

    This host's, else those that are good on any already, else any host's: it may have been renamed.
    """
    fitting = [
        (
            0 if (family, address) == (_LOCAL, os.fsencode(host)) else 1 if family == _ANY else 2,
            scheme,
            secret,
        )
        for family, address, of_number, scheme, secret in _entries(content)
        if of_number in (b"", number.encode())
    ]
    nearest = min((near for near, *_ in fitting), default=0)
    return b"".join(_entry(_ANY, b"", b"", *entry) for near, *entry in fitting if near == nearest)


def _entries(content: bytes) -> Iterator[tuple[int, bytes, bytes, bytes, bytes]]:
    """Family, address, number of the display, scheme and secret of each; what is cut short ends it."""
    place = 0

    def counted() -> bytes:
        nonlocal place
        (size,) = struct.unpack_from(">H", content, place)
        piece = content[place + 2 : place + 2 + size]
        place += 2 + size
        if place > len(content):
            raise struct.error
        return piece

    try:
        while True:
            (family,) = struct.unpack_from(">H", content, place)
            place += 2
            yield family, counted(), counted(), counted(), counted()
    except struct.error:
        return


def _entry(family: int, *fields: bytes) -> bytes:
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(each)) + each for each in fields)


def out_of_reach(display: Display, where: str) -> EngineError:
    return EngineError(
        f"the display `{display.address}` is out of reach for {where}",
        why="it is reached through this machine's network, as `ssh -X` sets it up",
        hint="use the sandbox, with the host's network, or leave --display out",
    )
