"""Why a host may refuse the sandbox, each cause with its cure.

Every check reads small files below `top`, the root of a file system: `/`, or one made by a test. `root` is
whether root asks, by default whether this process is root's.
"""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

from hotdesk.engines.check import Check
from hotdesk.errors import EngineError
from hotdesk.portable.machine import user_ids

_DOCKER = "or use Docker or Podman instead"


def namespace_checks(bwrap: str, top: Path = Path("/")) -> list[Check]:
    """What the kernel's settings say about user namespaces."""
    return [user_namespaces(top), unprivileged_clone(top), apparmor(bwrap, top), whole_proc(top)]


def user_namespaces(top: Path = Path("/")) -> Check:
    name = "user namespaces"
    text = _read(top / "proc/sys/user/max_user_namespaces")
    if text is None:
        return Check(
            name,
            ok=False,
            why="this kernel was built without user namespaces (no /proc/sys/user/max_user_namespaces)",
            cure=f"boot a kernel with CONFIG_USER_NS=y, {_DOCKER}",
        )
    if text == "0":
        return Check(
            name,
            ok=False,
            why="user.max_user_namespaces is 0: the kernel makes none",
            cure="sudo sysctl -w user.max_user_namespaces=15000, and the same line in a file in "
            f"/etc/sysctl.d to keep it; {_DOCKER}",
        )
    return Check(name, ok=True, why=f"up to {text}")


def unprivileged_clone(top: Path = Path("/"), *, root: bool | None = None) -> Check:
    name = "user namespaces for ordinary users"
    if _read(top / "proc/sys/kernel/unprivileged_userns_clone") == "0" and not _is_root(root):
        return Check(
            name,
            ok=False,
            why="kernel.unprivileged_userns_clone is 0: only root may make one",
            cure="sudo sysctl -w kernel.unprivileged_userns_clone=1, and the same line in a file in "
            f"/etc/sysctl.d to keep it; {_DOCKER}",
        )
    return Check(name, ok=True)


def apparmor(bwrap: str, top: Path = Path("/"), *, root: bool | None = None) -> Check:
    """Ubuntu 23.10 and later let only programs with a profile use a user namespace's rights."""
    name = "AppArmor and user namespaces"
    restricted = _read(top / "proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    if not restricted or _is_root(root) or _has_profile(bwrap, top):
        return Check(name, ok=True)
    return Check(
        name,
        ok=False,
        why="kernel.apparmor_restrict_unprivileged_userns is 1, and no profile allows hotdesk's bubblewrap",
        cure=f"install this profile, once for this path:\n{_installation(bwrap)}",
    )


def apparmor_profile(bwrap: str) -> str:
    """The text of a profile that lets this very program make user namespaces, and nothing else changes."""
    return (
        "abi <abi/4.0>,\n"
        "include <tunables/global>\n\n"
        f'profile hotdesk-bwrap "{bwrap}" flags=(unconfined) {{\n'
        "  userns,\n"
        "}\n"
    )


def whole_proc(top: Path = Path("/")) -> Check:
    """The kernel gives a new /proc only to those who see all of the old one; containers cover parts."""
    name = "/proc in full view"
    covered = [
        target
        for line in (_read(top / "proc/self/mountinfo") or "").splitlines()
        if (target := line.split(" ")[4]).startswith("/proc/")
        and not target.startswith("/proc/sys/fs/binfmt")
    ]
    if not covered:
        return Check(name, ok=True)
    return Check(
        name,
        ok=False,
        why=f"parts of /proc are covered ({', '.join(covered[:4])}): this is itself a container",
        cure="start the container with its /proc uncovered: `--security-opt systempaths=unconfined "
        "--security-opt seccomp=unconfined` with Docker, `--security-opt unmask=ALL` with Podman",
    )


def explain(message: str, bwrap: str = "", top: Path = Path("/")) -> EngineError:
    """Turn bwrap's own message into an error with its cause and cure, as far as the checks find them."""
    from hotdesk.engines.bubblewrap import bwrap_path

    failed = [check for check in namespace_checks(bwrap or bwrap_path(), top) if not check.ok]
    if "proc" not in message:  # a covered /proc does no harm until bwrap mounts a new one
        failed = [check for check in failed if check.name != "/proc in full view"]
    said = message.removeprefix("bwrap: ") or "bubblewrap ended without a word"
    return EngineError(
        "the sandbox cannot be set up on this host",
        why="; ".join([said, *(check.why for check in failed)]),
        hint="\n".join(check.cure for check in failed) or _cure_by_message(message),
    )


def _cure_by_message(message: str) -> str:
    if "ENOSPC" in message:
        return f"raise the limits that `sysctl -a | grep 'user.max_.*_namespaces'` lists, {_DOCKER}"
    if "namespace" in message.lower():
        return (
            "a security policy of this host or of the container around it forbids namespaces (seccomp, "
            f"SELinux): allow them, {_DOCKER}"
        )
    return "run `hotdesk doctor`"


def _is_root(said: bool | None) -> bool:
    return user_ids()[0] == 0 if said is None else said


def _installation(bwrap: str) -> str:
    return (
        "sudo tee /etc/apparmor.d/hotdesk-bwrap <<'EOF'\n"
        f"{apparmor_profile(bwrap)}EOF\n"
        "sudo apparmor_parser -r /etc/apparmor.d/hotdesk-bwrap"
    )


def _has_profile(bwrap: str, top: Path) -> bool:
    try:
        profiles = list((top / "etc/apparmor.d").iterdir())
    except OSError:
        return False
    return any(bwrap in (_read(path) or "") for path in profiles if path.is_file())


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
