"""The template's desk as a student meets it: in a real browser."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.browser import ARROW_RIGHT, Browser, open_browser
from tests.support.commandline import Hotdesk

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

CELL = """\
import cv2, moviepy, skimage, pandas, tensorflow as tf, keras
from sklearn.datasets import load_digits
digits = load_digits()
x, y = digits.images[..., None] / 16, digits.target
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.layers.Conv2D(16, 3, activation="relu"), keras.layers.Flatten(),
keras.layers.Dense(10, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
_ = model.fit(x[:1500], y[:1500], epochs=8, verbose=0)
accuracy = model.evaluate(x[1500:], y[1500:], verbose=0)[1]
print("cv2", cv2.__version__, "keras", keras.__version__, "tf", tf.__version__)
print("trained:", accuracy > 0.8, round(accuracy, 2))
"""


PROGRESS = """\
import ipywidgets, time
from tqdm.notebook import tqdm
for _ in tqdm(range(40), desc="training"):
    time.sleep(0.01)

angle = ipywidgets.IntSlider(value=3, min=-25, max=25, description="angle")
angle
"""
VIDEO = """\
import imageio_ffmpeg, moviepy, numpy
def picture(t):
    picture = numpy.full((240, 320, 3), (40, 90, 60), "uint8")
    picture[100:140, int(60 * t) : int(60 * t) + 40] = (250, 200, 0)
    return picture

moviepy.VideoClip(picture, duration=4).write_videofile("made.mp4", fps=25, logger=None)
print("made by", imageio_ffmpeg.get_ffmpeg_exe())
from IPython.display import HTML
HTML("<video width=320 height=240 controls><source src=made.mp4></video>")
"""
TENSORBOARD = """\
from os import environ as desk
from tensorboard.summary import Writer
writer = Writer("logs")
for step in range(5):
    writer.add_scalar("loss of the network", 1 / (step + 1), step)

writer.close()
%load_ext tensorboard
%tensorboard --logdir logs --host {desk["HOTDESK_ADDRESS"]} --port {desk["HOTDESK_PORT_TENSORBOARD"]}
"""
OUTPUT = ".jp-OutputArea-output"


@dataclass(frozen=True)
class Student:
    """Somebody with the template's desk open on a folder that had nothing in it, and one notebook."""

    folder: Path
    found: list[str]
    browser: Browser


@pytest.fixture(scope="module")
def student(term1: Hotdesk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Student]:
    folder = tmp_path_factory.mktemp("empty")
    hotdesk = Hotdesk(folder, term1.store, tmp_path_factory.mktemp("desks"))
    with open_browser() as browser:
        browser.open(hotdesk.run("up", "sdcnd-term1").strip())
        try:
            browser.wait_for_launcher()
            hotdesk.run("stop")
            found = [path.name for path in folder.iterdir()]
            browser.open(hotdesk.run("up", "sdcnd-term1").strip())
            browser.new_notebook()
            yield Student(folder, found, browser)
        finally:
            hotdesk.run("rm", "--force")


def test_a_desk_that_was_only_looked_at_leaves_nothing_in_the_folder(student: Student) -> None:
    assert student.found == []


def test_a_student_trains_a_network(student: Student, tmp_path: Path) -> None:
    student.browser.run_cell(CELL)
    output = student.browser.wait_for_output("trained:", seconds=180)
    student.browser.screenshot(tmp_path / "screenshot.png")

    assert "trained: True" in output
    assert (tmp_path / "screenshot.png").stat().st_size > 20_000
    assert (student.folder / "Untitled.ipynb").stat().st_uid == student.folder.stat().st_uid


def test_progress_bars_show_and_a_slider_sets_a_value(student: Student) -> None:
    student.browser.run_cell(PROGRESS)
    student.browser.press(f"{OUTPUT} .noUi-handle", ARROW_RIGHT, ARROW_RIGHT)
    student.browser.run_cell("print('steering', angle.value)")
    output = student.browser.wait_for_output("steering", seconds=30)

    assert "40/40" in output
    assert "steering 5" in output


def test_h264_that_moviepy_makes_without_debians_ffmpeg_plays(student: Student) -> None:
    student.browser.run_cell(VIDEO)
    output = student.browser.wait_for_output("made by", seconds=60)
    played = student.browser.play(f"{OUTPUT} video", seconds=0.5)

    assert "made by /opt/desk/lib/" in output
    assert b"avc1" in (student.folder / "made.mp4").read_bytes()  # H.264
    assert (played["width"], played["height"]) == (320, 240)


def test_tensorboard_shows_in_the_page(student: Student) -> None:
    student.browser.run_cell(TENSORBOARD)
    student.browser.wait_in_frame(f"{OUTPUT} iframe", "loss of the network", seconds=120)


def test_a_wrong_token_is_refused(term1: Hotdesk) -> None:
    url = term1.run("up").strip()
    base, _, token = url.partition("/lab?token=")
    try:
        for wrong in (f"{base}/api/contents", f"{base}/api/contents?token={token[:-1]}x"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(wrong, timeout=10)
            assert refused.value.code == 403
            refused.value.close()
        with open_browser() as browser:
            browser.open(f"{base}/lab?token=wrong")
            deadline = time.monotonic() + 20
            while "/login" not in browser.address() and time.monotonic() < deadline:
                time.sleep(0.1)
            assert "/login" in browser.address()
    finally:
        term1.run("stop", "sdcnd-term1")
