"""Windows on the host's display, and what becomes of them where a desk has none."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.commandline import Hotdesk
from tests.support.waiting import eventually
from tests.support.x11 import CLIENT, Screen, x_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.container_engines import Engine

pytestmark = pytest.mark.integration

OPENCV = """
import cv2, numpy, os
picture = numpy.full((120, 160, 3), (0, 140, 255), "uint8")
while not os.path.exists("seen"):
    cv2.imshow("from OpenCV", picture)
    cv2.waitKey(50)
"""
CELLS = (
    "import cv2, numpy as np",
    "cv2.imshow('window', np.zeros((9, 9), 'uint8'))",
    "cv2.namedWindow('window')",
    "%matplotlib qt",
    "print('alive', cv2.waitKey(1), cv2.destroyAllWindows())",
)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with x_server(tmp_path_factory.mktemp("screen")) as screen:
        yield screen


@pytest.fixture
def small(jupyter: Hotdesk, screen: Screen, tmp_path: Path) -> Iterator[Hotdesk]:
    """The command with a display, in a project without OpenCV."""
    for name in ("hotdesk.toml", "hotdesk.lock"):
        shutil.copy(jupyter.folder / name, tmp_path)
    (tmp_path / "client.py").write_text(CLIENT)
    hotdesk = Hotdesk(tmp_path, jupyter.store, tmp_path / "data", dict(screen.environment))
    yield hotdesk
    hotdesk.kill()
    hotdesk.try_("rm", "--force")


def shows(hotdesk: Hotdesk, screen: Screen, title: str, *command: str) -> None:
    """The command must show a window of this title; then it is told to end, and must end well."""
    started = hotdesk.start(*command)
    eventually(lambda: screen.has_window(title) or started.poll() is not None, within=60)
    shown = screen.has_window(title)
    (hotdesk.folder / "seen").touch()
    said = started.communicate(timeout=60)
    (hotdesk.folder / "seen").unlink()
    assert (shown, started.returncode) == (True, 0), said


@pytest.mark.parametrize("network", ["host", "none"])
def test_a_window_of_the_sandbox_appears(small: Hotdesk, screen: Screen, network: str) -> None:
    title = f"network {network}"
    shows(small, screen, title, "run", "--display", "--network", network, "--", "python", "client.py", title)


def test_a_window_of_a_container_appears(small: Hotdesk, screen: Screen, engine: Engine) -> None:
    title = f"in {engine.name}"
    shows(
        small, screen, title, "run", "--display", "--engine", engine.name, "--", "python", "client.py", title
    )


def test_a_window_of_opencv_appears(term1: Hotdesk, screen: Screen, tmp_path: Path) -> None:
    for name in ("hotdesk.toml", "hotdesk.lock"):
        shutil.copy(term1.folder / name, tmp_path)
    (tmp_path / "windows.py").write_text(OPENCV)
    hotdesk = Hotdesk(tmp_path, term1.store, tmp_path / "data", screen.environment)
    shows(hotdesk, screen, "from OpenCV", "run", "--display", "--", "python", "windows.py")


def test_wayland_is_reached_as_well(small: Hotdesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the names of sockets must be short
    hello = "import os, socket; socket.socket(socket.AF_UNIX).connect(os.environ['WAYLAND_DISPLAY'])"
    with socket.socket(socket.AF_UNIX) as compositor:
        compositor.bind("wayland-0")
        compositor.listen()
        small.environment.update(DISPLAY="", WAYLAND_DISPLAY="wayland-0", XDG_RUNTIME_DIR=str(tmp_path))

        small.run("run", "--display", "--network", "none", "--", "python", "-c", hello)

        compositor.settimeout(1)
        compositor.accept()[0].close()


def test_the_cookie_is_what_lets_in(small: Hotdesk, tmp_path: Path) -> None:
    small.environment["XAUTHORITY"] = str(tmp_path / "none")

    refused = small.try_("run", "--display", "--", "python", "client.py", "window")

    assert refused.returncode == 1
    assert "refused: Authorization required" in refused.stderr


def test_nothing_of_the_display_is_there_unless_it_was_asked_for(small: Hotdesk) -> None:
    looked = small.run("run", "--", "sh", "-c", "ls -A /tmp /run/hotdesk; env")

    assert "X11" not in looked
    assert "Xauthority" not in looked
    assert "DISPLAY" not in looked


def have_the_display() -> list[Path]:
    """The roots of the processes on this machine that see an X server as a desk does."""
    return [path.parents[2] for path in Path("/proc").glob("[0-9]*/root/tmp/.X11-unix/X500")]


def test_a_desk_keeps_that_it_has_the_display(small: Hotdesk) -> None:
    small.run("up")
    refused = small.try_("up", "--display")
    assert not have_the_display()
    small.run("stop")
    small.run("up", "--display")
    small.run("up")  # it is open, and has more than what is asked for
    assert have_the_display()
    small.run("stop")
    small.environment["DISPLAY"] = ":65000"
    gone = small.try_("start", "jupyter")

    assert "is open already, without the display" in refused.stderr
    assert "DISPLAY is `:65000`" in gone.stderr


def test_a_kernel_without_display_lives_and_says_what_to_do(term1: Hotdesk, tmp_path: Path) -> None:
    for name in ("hotdesk.toml", "hotdesk.lock"):
        shutil.copy(term1.folder / name, tmp_path)
    cell: dict[str, object] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**cell, "id": f"cell{number}", "source": source} for number, source in enumerate(CELLS)]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "windows.ipynb").write_text(json.dumps(notebook))
    hotdesk = Hotdesk(tmp_path, term1.store, tmp_path / "data")

    convert = ("jupyter", "nbconvert", "--to", "html", "--execute", "--allow-errors", "windows.ipynb")
    hotdesk.run("run", "--", *convert)

    page = (tmp_path / "windows.html").read_text()
    assert "cv2.imshow cannot open a window: this desk has no display" in page
    assert "cv2.namedWindow cannot open a window" in page
    assert "plt.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))" in page
    assert "`hotdesk add pyside6-essentials`" in page
    assert "alive -1 None" in page
