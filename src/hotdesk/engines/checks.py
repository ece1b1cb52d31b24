"""Whether this host makes a sandbox, and how good a one: the doctor's part that is for Linux."""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

from hotdesk.engines.bubblewrap import bwrap_path, run_bwrap
from hotdesk.engines.check import Check
from hotdesk.engines.host import can_forbid_namespaces
from hotdesk.engines.landlock import scopes_supported
from hotdesk.engines.namespaces import namespace_checks
from hotdesk.engines.sandbox import SMALLEST
from hotdesk.errors import EngineError


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
