"""Checks of this host, each with its cause and its cure."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from hotdesk.build.background import failures
from hotdesk.engines.check import Check
from hotdesk.engines.on_linux import sandbox_checks
from hotdesk.portable.files import free
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

_SPACE_FOR_A_DESK = 6 << 30
_FILES_FOR_A_DESK = 200_000


def check_host(store: Path, data: Path) -> list[Check]:
    """Everything that keeps a desk from opening here, or that makes it less than it could be."""
    folders = [("store", store), ("desks", data)]
    return [
        *sandbox_checks(),
        *(folder_is_writable(name, folder) for name, folder in folders),
        *(folder_has_space(name, folder) for name, folder in folders),
        bytecode(store),
    ]


def bytecode(store: Path) -> Check:
    found = failures(Store(store))
    return Check(
        "bytecode",
        ok=not found,
        why="; ".join(found),
        cure="desks work without it and start slowly; it is tried again after a day",
        needed=False,
    )


def folder_is_writable(name: str, folder: Path) -> Check:
    name = f"{name} folder can be written"
    there = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            return Check(name, ok=True, why=str(folder))
    except OSError as error:
        return Check(
            name,
            ok=False,
            why=f"{there}: {error.strerror}",
            cure="mend its permissions, or set HOTDESK_STORE (downloads) or HOTDESK_DATA (desks) to another",
        )


def folder_has_space(name: str, folder: Path) -> Check:
    """Whether one more desk of the usual size fits, in bytes and in files."""
    name = f"space for the {name}"
    size, files = free(_nearest(folder))
    if size is None:
        return Check(name, ok=True)
    why = f"{size / (1 << 30):.1f} GiB free at {folder}"
    if files is not None and files < _FILES_FOR_A_DESK:
        why += f", and room for only {files} more files"
    elif size >= _SPACE_FOR_A_DESK:
        return Check(name, ok=True, why=why)
    return Check(
        name,
        ok=False,
        why=why,
        cure="free some, with `hotdesk cache gc` among others, or set HOTDESK_STORE or HOTDESK_DATA",
        needed=False,
    )


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
