"""The templates' drive.py, each in its real desk, and a client that speaks as the course's simulator does."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import websocket
from tests.support.simulator import Car, Simulator
from tests.support.waiting import eventually

import hotdesk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commandline import Hotdesk

pytestmark = pytest.mark.integration

TEMPLATES = Path(hotdesk.__file__).parent / "templates"
PERIOD_CODE = Path(__file__).with_name("period_code")
PROJECT = "projects/p3-behavioral-cloning"
MODEL = {"sdcnd-term1": "model.keras", "sdcnd-term1-classic": "model.h5"}

# Its angle is how much redder than blue the picture is, from -1 to 1: it tells the order of the colours.
MAKE_MODEL = """
import sys
import keras
import numpy as np
from PIL import Image

model = keras.Sequential([
    keras.layers.InputLayer((160, 320, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
model.layers[-1].set_weights([np.array([[1 / 255], [0], [-1 / 255]]), np.array([0])])
model.compile("adam", "mse")
model.save(sys.argv[1])
for red in range(0, 256, 51):
    Image.new("RGB", (320, 160), (red, 128, 255 - red)).save(f"{red}.jpg", quality=95)
Image.new("RGB", (32, 16)).save("small.jpg")
"""
COLOURS = range(0, 256, 51)


@dataclass(frozen=True)
class Drive:
    """A drive.py that runs in a desk."""

    desk: Hotdesk
    model: str
    port: int

    @property
    def folder(self) -> Path:
        return self.desk.folder / "drive"

    @property
    def output(self) -> Path:
        return self.folder / "output.txt"

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        script = 'cd drive && exec python "$@"'
        return self.desk.try_("run", "--", "sh", "-c", script, "sh", *arguments, timeout=60)

    def start(self) -> subprocess.Popen[str]:
        self.output.touch()
        return self.desk.start(
            "run",
            "--",
            "sh",
            "-c",
            'cd drive && exec python "$@" >output.txt 2>&1',
            "sh",
            "drive.py",
            self.model,
            "run1",
            "--port",
            str(self.port),
        )

    def picture(self, name: object) -> str:
        return base64.b64encode((self.folder / f"{name}.jpg").read_bytes()).decode()

    def telemetry(self, name: object, speed: str = "9.0") -> dict[str, str]:
        return {"steering_angle": "0", "throttle": "0", "speed": speed, "image": self.picture(name)}

    def listens(self) -> bool:
        return "listening" in self.output.read_text()

    def frames(self) -> list[Path]:
        return sorted((self.folder / "run1").rglob("*.jpg"))


@pytest.fixture(scope="module")
def drives(term1: Hotdesk, classic: Hotdesk) -> Iterator[dict[str, Drive]]:
    """Both at once: what takes long is starting TensorFlow, and the 25 seconds of driving."""
    desks = {"sdcnd-term1": term1, "sdcnd-term1-classic": classic}
    with ThreadPoolExecutor() as pool:
        drives = dict(zip(desks, pool.map(_prepare, desks, desks.values()), strict=True))
    running = [drive.start() for drive in drives.values()]
    try:
        eventually(lambda: all(drive.listens() for drive in drives.values()))
        yield drives
    finally:
        for process in running:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture(scope="module")
def port_of_the_courses_way(drives: dict[str, Drive], classic: Hotdesk) -> Iterator[int]:
    """A drive.py written as the course's is, in the classic desk."""
    shutil.copy(PERIOD_CODE / "p3_drive.py", classic.folder / "drive")
    port = _free_port()
    process = classic.start("run", "--", "python", "drive/p3_drive.py", "drive/model.h5", str(port))
    try:
        eventually(lambda: _answers(port))
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return cast("int", free.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _prepare(template: str, desk: Hotdesk) -> Drive:
    drive = Drive(desk, MODEL[template], _free_port())
    shutil.copytree(TEMPLATES / template / PROJECT, drive.folder)
    (drive.folder / "run1").mkdir()
    (drive.folder / "run1" / "mine.txt").write_text("not to be lost")
    made = drive.python("-c", MAKE_MODEL, drive.model)
    assert made.returncode == 0, made.stderr
    return drive


@pytest.fixture(params=MODEL)
def drive(request: pytest.FixtureRequest, drives: dict[str, Drive]) -> Drive:
    return drives[request.param]


def test_500_exchanges_at_20_a_second_bring_the_car_to_its_speed(drives: dict[str, Drive]) -> None:
    before = {name: len(drive.frames()) for name, drive in drives.items()}

    with ThreadPoolExecutor() as pool:
        speeds = dict(zip(drives, pool.map(_500_exchanges, drives.values()), strict=True))

    for name, drive in drives.items():
        assert speeds[name] == pytest.approx(9, abs=0.2)
        assert len(drive.frames()) - before[name] == 500


def _500_exchanges(drive: Drive) -> float:
    """The car's speed after 25 seconds and three connections, of which each ends without a word."""
    pictures = {colour: drive.picture(colour) for colour in COLOURS}
    car = Car()
    begun = time.monotonic()
    for connection in range(3):
        with Simulator(drive.port) as simulator:
            exchanges = range(connection * 500 // 3, (connection + 1) * 500 // 3)
            for number in exchanges:
                if number % 20 == 0:
                    simulator.ping()
                colour = COLOURS[number % len(COLOURS)]
                steer = simulator.ask(car.telemetry(pictures[colour]))
                assert steer.name == "steer"
                assert steer.number("steering_angle") == pytest.approx((2 * colour - 255) / 255, abs=0.02)
                car.move(steer.number("throttle"), 0.05)
                late = time.monotonic() - (begun + number * 0.05)
                assert late < 2, f"exchange {number} came {late:.1f} seconds late"
                time.sleep(max(0, 0.05 - late))
            assert simulator.pongs == [""] * sum(number % 20 == 0 for number in exchanges)
    return car.speed


def test_the_server_greets_and_answers_pings_with_their_payload(drive: Drive) -> None:
    with Simulator(drive.port) as simulator:
        assert simulator.greeting["sid"]
        assert simulator.greeting["upgrades"] == []
        simulator.ping()
        assert simulator.receive() == "3"
        simulator.ping("probe")
        assert simulator.receive() == "3probe"


def test_the_throttle_is_that_of_a_pi_controller(drive: Drive) -> None:
    with Simulator(drive.port) as simulator:
        throttles = [
            simulator.ask(drive.telemetry(0, speed)).number("throttle")
            for speed in ("8.0", "8,5", "9", "-100")
        ]

    assert throttles[:3] == pytest.approx([0.1 + 0.002, 0.05 + 0.003, 0.003])
    assert throttles[3] == 1


@pytest.mark.parametrize("nothing", [{}, None])
def test_a_telemetry_without_data_is_answered_with_manual(drive: Drive, nothing: object) -> None:
    with Simulator(drive.port) as simulator:
        answer = simulator.ask(nothing)

    assert (answer.name, answer.data) == ("manual", {})


def test_a_picture_that_is_none_holds_the_wheel_and_is_not_kept(drive: Drive) -> None:
    before = drive.frames()
    good = drive.telemetry(255)
    half = base64.b64encode((drive.folder / "255.jpg").read_bytes()[:400]).decode()
    with Simulator(drive.port) as simulator:
        angle = simulator.ask(good).number("steering_angle")
        for bad in (
            good | {"image": "no picture"},
            good | {"image": half},
            good | {"image": drive.picture("small")},
            good | {"image": 5},
            good | {"speed": "fast"},
            good | {"speed": "nan"},
            {"speed": "9"},
        ):
            steer = simulator.ask(bad)
            assert (steer.name, steer.number("steering_angle"), steer.number("throttle")) == (
                "steer",
                angle,
                0,
            )
        assert simulator.ask(drive.telemetry(0)).number("steering_angle") == pytest.approx(-1, abs=0.02)

    assert len(drive.frames()) == len(before) + 2


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "x",
        "9",
        "4",
        "42",
        "42[",
        "42[]",
        '42["telemetry"',
        '42{"telemetry": 1}',
        '42["somersault", {}]',
        "42" + "[" * 100_000,
        "\ufeff0{}",
        b"",
        b"\x04\xff\xfe",
        b"42" * 1000,
    ],
)
def test_rubbish_does_not_keep_the_next_telemetry_from_its_answer(drive: Drive, rubbish: str | bytes) -> None:
    with Simulator(drive.port) as simulator:
        simulator.send(rubbish)
        simulator.ping("still there?")
        try:
            went_on = simulator.receive() == "3still there?"
        except (AssertionError, websocket.WebSocketException, OSError):
            went_on = False  # the server has hung up, and the simulator comes again
        if went_on:
            assert simulator.ask(drive.telemetry(0)).name == "steer"
    with Simulator(drive.port) as simulator:
        assert simulator.ask(drive.telemetry(0)).name == "steer"


def test_an_attachment_that_never_comes_is_not_waited_for(drives: dict[str, Drive]) -> None:
    """Today's desk alone: python-socketio takes the next telemetry for it, and answers the one after."""
    drive = drives["sdcnd-term1"]
    with Simulator(drive.port) as simulator:
        simulator.send('451-["telemetry",{"_placeholder":true,"num":0}]')
        assert simulator.ask(drive.telemetry(0)).name == "steer"


def test_frames_are_named_by_the_time_and_no_folder_is_deleted(drive: Drive) -> None:
    with Simulator(drive.port) as simulator:
        simulator.ask(drive.telemetry(0))

    *_, last = drive.frames()
    assert re.fullmatch(r"\d{4}(_\d\d){5}_\d{3}\.jpg", last.name)
    assert last.read_bytes().startswith(b"\xff\xd8")
    assert re.fullmatch(r"\d{4}(_\d\d){5}_\d{3}", last.parent.name), "a new folder in that which was there"
    assert last.parent.parent == drive.folder / "run1"
    assert (drive.folder / "run1" / "mine.txt").read_text() == "not to be lost"


def test_a_program_written_as_the_courses_drives_too(
    drives: dict[str, Drive], port_of_the_courses_way: int
) -> None:
    drive = drives["sdcnd-term1-classic"]
    with Simulator(port_of_the_courses_way) as simulator:
        first = simulator.answer()
        steer = simulator.ask(drive.telemetry(255, "8.0"))
        nothing = simulator.ask({})

    assert first.data == {"steering_angle": "0", "throttle": "0"}
    assert steer.number("steering_angle") == pytest.approx(1, abs=0.02)
    assert steer.number("throttle") == pytest.approx(0.1)
    assert nothing.name == "manual"


def test_one_line_says_where_it_listens(drive: Drive) -> None:
    lines = drive.output.read_text().splitlines()

    told = [line for line in lines if line.startswith(f"listening on ws://127.0.0.1:{drive.port}")]
    assert len(told) == 1


def test_a_taken_port_is_named(drive: Drive) -> None:
    again = drive.python("drive.py", drive.model, "--port", str(drive.port))

    assert again.returncode == 1
    assert f"cannot listen on 127.0.0.1:{drive.port}: Address already in use" in again.stderr


def test_a_model_that_is_not_there_is_named_at_once(drive: Drive) -> None:
    missing = drive.python("drive.py", "no.h5")

    assert missing.returncode == 2
    assert "there is no file no.h5: train a model first, and save it there" in missing.stderr


def test_video_makes_a_film_of_the_frames(drive: Drive) -> None:
    with Simulator(drive.port) as simulator:
        for colour in COLOURS:
            simulator.ask(drive.telemetry(colour))
    folder = drive.frames()[-1].parent

    made = drive.python("video.py", str(folder.relative_to(drive.folder)))

    assert made.returncode == 0, made.stderr
    assert folder.with_name(f"{folder.name}.mp4").read_bytes()[4:8] == b"ftyp"
