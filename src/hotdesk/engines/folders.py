"""The folders of the host that a desk gets: what can be one, and what must not."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from hotdesk.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hotdesk.engines.request import Request

_KERNEL = ("/proc", "/sys", "/dev")
_SYSTEM = {
    "/bin",
    "/boot",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/sbin",
}
_SYSTEM |= {"/tmp", "/usr", "/var", "/var/lib", "/var/tmp"}  # noqa: S108


def check_folders(request: Request) -> None:
    """Make the mount point of the project; refuse what can be no project."""
    if request.project is not None:
        check_project(request.project, request.hidden)
    work = request.home / "work"
    with suppress(FileExistsError):
        work.mkdir()
    if not stat.S_ISDIR(work.lstat().st_mode):
        raise EngineError(
            f"{work} is {'a link' if work.is_symlink() else 'not a folder'}",
            why="the project folder is mounted there, and a link could lead anywhere",
            hint=f"remove it: rm {work}",
        )


def below(project: Path, folders: Iterable[Path]) -> list[str]:
    """Those of the folders that exist below the project, as paths relative to it."""
    top = os.path.realpath(project)
    real = (os.path.realpath(folder) for folder in folders)
    return [os.path.relpath(path, top) for path in real if path.startswith(f"{top}/") and os.path.isdir(path)]


def check_project(project: Path, hidden: Sequence[Path] = ()) -> None:
    """Refuse what can be no project folder, saying why."""
    problem = ""
    own = [os.path.realpath(folder) for folder in hidden]
    real = os.path.realpath(project)
    try:
        folder = stat.S_ISDIR(os.stat(real).st_mode)
    except OSError as error:
        folder, problem = True, error.strerror or str(error)
    if real == "/":
        problem = "it is the whole machine, and nothing of the host would be kept from the desk"
    elif any(real == bad or real.startswith(f"{bad}/") for bad in _KERNEL):
        problem = "it belongs to the kernel"
    elif any(real == path or real.startswith(f"{path}/") for path in own):
        problem = "hotdesk keeps its own files there"
    elif not folder:
        problem = "it is not a folder"
    elif (real in _SYSTEM or real.startswith("/etc/")) and real != os.path.realpath(os.path.expanduser("~")):
        problem = "it belongs to the system, and all of it could be changed from inside the desk"
    elif not problem and not os.access(real, os.R_OK | os.X_OK):
        problem = "you may not read it"
    if problem:
        raise UsageError(
            f"{project} cannot be the desk's project folder",
            why=problem,
            hint="choose or make a folder for it",
        )
