"""A build's programs in the sandbox, on the very tree."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

assert sys.platform == "linux"

from hotdesk.engines.bubblewrap import run_bwrap
from hotdesk.engines.host import read_host
from hotdesk.engines.namespaces import explain
from hotdesk.engines.programs import Ended, read_said
from hotdesk.engines.request import USER_ID
from hotdesk.engines.seccomp import pretend_ownership, protect_host

if TYPE_CHECKING:
    from hotdesk.engines.programs import Program
    from hotdesk.errors import EngineError

_SYSTEM = ("usr", "etc", "var", "bin", "sbin", "lib", "lib64")
_NAMES = ("/etc/resolv.conf", "/etc/hosts")


class SandboxRoot:
    def __init__(self, tree: Path, *, network: bool) -> None:
        self._tree = tree
        self._network = network

    def run(self, program: Program) -> Ended:
        options = self._options(program)
        with tempfile.TemporaryFile() as log:
            done = run_bwrap(
                options,
                program.command,
                seccomp=pretend_ownership() if program.root else protect_host(),
                stdin=program.stdin,
                output=log,
                environment=program.environment,
            )
            return Ended(done.returncode, read_said(log))

    def not_started(self, said: str) -> EngineError:
        return explain(said)

    def _options(self, program: Program) -> list[str]:
        options = ["--unshare-user", "--unshare-all", "--hostname", "desk"]
        if program.root:
            options += ["--uid", "0", "--gid", "0", "--cap-add", "ALL", "--bind", os.fspath(self._tree), "/"]
        else:
            user = str(USER_ID)
            options += ["--uid", user, "--gid", user, "--cap-drop", "ALL", *system_options(self._tree)]
        options += [*read_host().kernel_options(), "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108
        if self._network:
            options += ["--share-net", *_name_resolution()]
        for inside, path in (*program.room.items(), *program.made.items()):
            options += ["--bind", os.fspath(path), inside]
        for inside, path in program.shown.items():
            options += ["--ro-bind", os.fspath(path), inside]
        return [*options, "--chdir", program.directory]


def system_options(system: Path) -> list[str]:
    """Bubblewrap's options that show `system` read-only, with room for mount points anywhere above it."""
    options = ["--tmpfs", "/"]
    for path in sorted(system.iterdir()):
        inside = f"/{path.name}"
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), inside]
        elif path.name in _SYSTEM and path.is_dir():
            options += ["--ro-bind", os.fspath(path), inside]
    return options


def _name_resolution() -> list[str]:
    options = []
    for path in _NAMES:
        if Path(path).exists():
            options += ["--ro-bind-try", os.fspath(Path(path).resolve()), path]
    return options
