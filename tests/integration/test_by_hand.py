"""`pip install` in a desk: what it does there in each engine, and what hotdesk knows of it outside."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.layers.wheelhouse import write_wheel
from tests.support.commandline import Hotdesk

from hotdesk.opening import Preparation, load_image
from hotdesk.project import find_project
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.container_engines import Engine

pytestmark = pytest.mark.integration

SITE = ".local/lib/python3.13/site-packages"
PIP = "%pip --disable-pip-version-check {} --no-index --find-links ~/work/wheels"
# Runs each line of its first argument as a cell of one kernel; what each said, as JSON.
_CELLS = """
import json, sys
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
said = []
def keep(message):
    content = message["content"]
    said[-1] += content.get("text", "") + "\\n".join(content.get("traceback", ()))
for cell in json.loads(sys.argv[1]):
    said.append("")
    client.execute_interactive(cell, output_hook=keep, timeout=60)
client.stop_channels()
manager.shutdown_kernel(now=True)
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Desk:
    """A project with wheels to install, and a way to run a command in its desk."""

    hotdesk: Hotdesk

    def run(self, *command: str) -> str:
        return self.hotdesk.run("run", "--", *command)

    def cells(self, *cells: str) -> list[str]:
        said: list[str] = json.loads(self.run("python", "-c", _CELLS, json.dumps(cells)).splitlines()[-1])
        return said

    @property
    def home(self) -> Path:
        return self.hotdesk.data / "desks/jupyter/home"


def project_of(jupyter: Hotdesk, folder: Path, environment: dict[str, str]) -> Hotdesk:
    """With two versions of `greeting`, which needs numpy, and one of numpy that is not the locked one."""
    folder.mkdir()
    for name in ("hotdesk.toml", "hotdesk.lock"):
        shutil.copy(jupyter.folder / name, folder)
    make_wheels(folder / "wheels")
    return Hotdesk(folder, jupyter.store, folder.parent / "data", environment)


def make_wheels(folder: Path) -> None:
    folder.mkdir()
    for version in ("1.0", "2.0"):
        wheel(
            folder, "greeting", version,
            {"greeting.py": f"import numpy\ndef main(): print('hello from {version}')\n".encode()},
            needs="numpy", script="greet = greeting:main",
        )  # fmt: skip
    wheel(folder, "numpy", "0.1", {"numpy.py": b""})


def wheel(
    folder: Path, name: str, version: str, files: dict[str, bytes], needs: str = "", script: str = ""
) -> None:
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if needs:
        metadata += f"Requires-Dist: {needs}\n"
    info = f"{name}-{version}.dist-info"
    files = {**files, f"{info}/METADATA": metadata.encode()}
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script}\n".encode()
    write_wheel(folder / f"{name}-{version}-py3-none-any.whl", files)


@pytest.fixture(params=["sandbox", "docker", "podman"])
def desk(request: pytest.FixtureRequest, jupyter: Hotdesk, tmp_path: Path) -> Desk:
    """In each engine."""
    environment: dict[str, str] = {}
    if request.param != "sandbox":
        engine: Engine = request.getfixturevalue(request.param)
        environment = {**engine.environment, "HOTDESK_ENGINE": engine.name}
    return Desk(project_of(jupyter, tmp_path / "project", environment))


@pytest.fixture
def sandboxed(jupyter: Hotdesk, tmp_path: Path) -> Desk:
    return Desk(project_of(jupyter, tmp_path / "project", {}))


def test_what_a_kernel_installs_it_can_import_at_once(desk: Desk) -> None:
    before, installed, imported, called, refused, replaced, list_ = desk.cells(
        "import greeting",
        PIP.format("install") + " greeting==1.0",
        "import greeting, numpy; print(greeting.__file__, numpy.__file__)",
        "!greet",
        PIP.format("install") + " numpy==0.1",
        PIP.format("install --upgrade") + " greeting",
        "%pip list --local --format freeze",
    )

    assert "No module named 'greeting'" in before
    assert "Successfully installed greeting-1.0\n" in installed.replace("\r", "")
    assert imported.split()[0] == f"/home/desk/{SITE}/greeting.py"
    assert imported.split()[1].startswith("/opt/desk/lib/python3.13/site-packages/numpy/")
    assert "hello from 1.0" in called
    assert "`hotdesk add` and `hotdesk lock --upgrade` change the lock" in refused
    assert "Successfully uninstalled greeting-1.0" in replaced
    assert [line for line in list_.split() if "==" in line] == ["greeting==2.0"]
    assert (desk.home / SITE / "greeting.py").read_text().endswith("'hello from 2.0')\n")
    assert not (desk.home / SITE / "numpy.py").exists()


def test_a_plain_container_of_the_image_does_the_same(
    jupyter: Hotdesk, docker: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The image alone, and a volume: hotdesk has no hand in this."""
    for name, value in docker.environment.items():
        monkeypatch.setenv(name, value)
    locked = find_project(jupyter.folder).select(None)
    image = load_image(Store(jupyter.store), locked, "docker", "jupyter", Preparation())
    make_wheels(tmp_path / "wheels")
    (tmp_path / "wheels").chmod(0o755)
    volume = f"hotdesk-test-{tmp_path.name}"

    def run(*command: str) -> str:
        mounts = ("-v", f"{volume}:/home/desk", "-v", f"{tmp_path}/wheels:/home/desk/work/wheels:ro")
        return docker.ask("run", "--rm", *mounts, image.id, *command)

    try:
        cells = ("import greeting", PIP.format("install") + " greeting==1.0", "import greeting", "!greet")
        said = json.loads(run("python", "-c", _CELLS, json.dumps(cells)).splitlines()[-1])

        assert "No module named 'greeting'" in said[0]
        assert said[2] == ""
        assert "hello from 1.0" in said[3]
        assert "hello from 1.0" in run("greet")
        assert "hello" not in run(
            "python", "-Ic", "import importlib.util as u; print(u.find_spec('greeting'))"
        )
    finally:
        docker.try_("volume", "rm", "--force", volume)


@pytest.fixture
def closed(sandboxed: Desk) -> Iterator[None]:
    """What is opened is gone at the end."""
    yield
    sandboxed.hotdesk.try_("rm", "--force")


def test_hotdesk_tells_of_it_and_adopts_it(sandboxed: Desk, closed: None) -> None:
    hotdesk = sandboxed.hotdesk
    hotdesk.environment["UV_FIND_LINKS"] = str(hotdesk.folder / "wheels")
    assert hotdesk.json("ls") == []
    sandboxed.run("pip", "install", "--no-index", "--find-links", "wheels", "greeting==1.0")

    told = hotdesk.try_("ls").stderr
    [row] = hotdesk.json("ls")
    opened = hotdesk.try_("up")
    adopted: Any = hotdesk.json("add", "--adopt")
    imported = sandboxed.run("python", "-c", "import greeting; print(greeting.__file__)")

    assert "jupyter has 1 package outside its lock, installed by hand: greeting 1.0" in told
    assert [package["name"] for package in row["by_hand"]] == ["greeting"]
    assert "outside its lock, installed by hand: greeting 1.0" in opened.stderr
    assert '"greeting>=1.0"' in (hotdesk.folder / "hotdesk.toml").read_text()
    assert adopted["changes"] == ["+ greeting 1.0"]  # not the newest one, which nobody has tried
    assert "`hotdesk run -- pip uninstall --yes greeting` removes them" in adopted["notes"][0]
    assert imported.startswith("/opt/desk/")
    sandboxed.run("pip", "uninstall", "--yes", "greeting")
    assert hotdesk.json("ls")[0]["by_hand"] == []
    assert sandboxed.run("greet") == "hello from 1.0\n"
