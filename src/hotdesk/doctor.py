"""Checks of this host, each with its cause and its cure."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hotdesk.build.background import failures
from hotdesk.engines.bubblewrap import bwrap_path, run_bwrap
from hotdesk.engines.host import can_forbid_namespaces
from hotdesk.engines.landlock import scopes_supported
from hotdesk.engines.namespaces import Check, namespace_checks
from hotdesk.engines.sandbox import SMALLEST
from hotdesk.errors import EngineError
from hotdesk.store import Store

_SPACE_FOR_A_DESK = 6 << 30
_FILES_FOR_A_DESK = 200_000


def check_host(store: Path, data: Path) -> list[Check]:
    """Everything that keeps a desk from opening here, or that makes it less than it could be."""
    folders = [("store", store), ("desks", data)]
    return [
        *sandbox_starts(),
        no_nested_namespaces(),
        abstract_sockets(),
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


def sandbox_starts(top: Path = Path("/")) -> list[Check]:
    """Try it; where it fails, what the kernel's settings say about why."""
    name = "sandbox"
    try:
        bwrap = bwrap_path()
    except EngineError as error:
        return [Check(name, ok=False, why=error.why, cure=error.hint)]
    result = run_bwrap(SMALLEST, ["true"])
    if result.returncode == 0:
        return [Check(name, ok=True, why="bubblewrap starts")]
    causes = [check for check in namespace_checks(bwrap, top) if not check.ok]
    said = result.stdout.decode(errors="replace").strip()
    cure = (
        "see below" if causes else "a security policy of this host forbids namespaces: use Docker or Podman"
    )
    return [Check(name, ok=False, why=said, cure=cure), *causes]


def no_nested_namespaces(top: Path = Path("/")) -> Check:
    name = "no namespaces inside a desk"
    if can_forbid_namespaces(top):
        return Check(name, ok=True)
    return Check(
        name,
        ok=False,
        why="/proc/sys/user is read-only, as in most containers: code in a desk can make user namespaces",
        cure="nothing to do unless you run code that you do not trust",
        needed=False,
    )


def abstract_sockets() -> Check:
    name = "abstract sockets of the host out of reach"
    if scopes_supported():
        return Check(name, ok=True)
    return Check(
        name,
        ok=False,
        why="the kernel has no Landlock scopes: code inside a desk reaches abstract sockets (X11, D-Bus)",
        cure="boot Linux 6.12 or newer with `landlock` in its `lsm=` list, or use `--network none`",
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
    found = os.statvfs(_nearest(folder))
    free = found.f_bavail * found.f_frsize
    why = f"{free / (1 << 30):.1f} GiB free at {folder}"
    if found.f_files and found.f_favail < _FILES_FOR_A_DESK:  # some file systems do not count files
        why += f", and room for only {found.f_favail} more files"
    elif free >= _SPACE_FOR_A_DESK:
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
