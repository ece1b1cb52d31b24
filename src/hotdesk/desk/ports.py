"""Ports on the loopback: which is free, who has the one that is not."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.desk.folder import data_path
from hotdesk.errors import DeskError
from hotdesk.portable.locks import try_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

LOOPBACK = "127.0.0.1"
_LISTEN = "0A"


@contextmanager
def reserved_port(wanted: int, *, fixed: bool, others: Container[int] = ()) -> Iterator[int]:
    """A port that is free and that no other desk, whoever's, is about to take; `wanted` where possible.

    With `fixed`, `wanted` or `DeskError`. It is none of `others`.
    """
    for port in range(wanted, 65536):
        if port in others:
            continue
        with try_name(f"port-{port}", data_path() / "ports") as ours:
            if ours and is_free(port):
                yield port
                return
        if fixed:
            raise port_taken(port)
    raise DeskError(f"no port from {wanted} on is free", hint="give another with --port")


@contextmanager
def reserved_ports(wanted: Mapping[str, int], others: Container[int]) -> Iterator[dict[str, int]]:
    """The same for several, by their names."""
    with ExitStack() as held:
        yield {
            name: held.enter_context(reserved_port(port, fixed=False, others=others))
            for name, port in wanted.items()
        }


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback now.

    `DeskError` where the caller never may.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Jupyter does
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            raise DeskError(
                f"you may not listen on port {port}",
                why="the kernel leaves the low ports to root (net.ipv4.ip_unprivileged_port_start)",
                hint="choose a port from 1024 on",
            ) from None
        except OSError:
            return False
    return True


def require_free(port: int) -> None:
    """`DeskError` where something else listens there."""
    if not is_free(port):
        raise port_taken(port)


def port_taken(port: int) -> DeskError:
    """An error that names who listens, where the kernel lets us know."""
    who = listener(port)
    return DeskError(
        f"port {port} is taken",
        why=f"{who} listens on it"
        if who
        else "another program listens on it, or another desk is starting there",
        hint="leave --port away for the next free one, or end that program",
    )


def listener(port: int, top: Path = Path("/proc")) -> str:
    """`name (process 123)` of whoever listens there; the user where only that is known, else nothing."""
    found = _listening_socket(port, top)
    if found is None:
        return ""
    inode, user = found
    for process in top.iterdir():
        if process.name.isdecimal() and _holds(process, f"socket:[{inode}]"):
            name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            return f"{name} (process {process.name})"
    return f"a program of user {user}"


def _listening_socket(port: int, top: Path) -> tuple[str, int] | None:
    addresses = {_hexadecimal(LOOPBACK), _hexadecimal("0.0.0.0"), "0" * 32}  # noqa: S104
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (top / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            address, _, number = fields[1].rpartition(":")
            if fields[3] == _LISTEN and address in addresses and int(number, 16) == port:
                return fields[9], int(fields[7])
    return None


def _hexadecimal(address: str) -> str:
    # As /proc/net/tcp prints it: one 32-bit number in the machine's own byte order.
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}"


def _holds(process: Path, link: str) -> bool:
    try:
        return any(os.readlink(descriptor) == link for descriptor in (process / "fd").iterdir())
    except OSError:
        return False
