"""The template's desk as a student meets it: in a real browser."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.browser import Browser, open_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commandline import Hotdesk

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


@pytest.fixture
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def test_a_student_opens_the_desk_and_trains_a_network(
    term1: Hotdesk, browser: Browser, tmp_path: Path
) -> None:
    url = term1.run("up").strip()
    try:
        browser.open(url)
        browser.new_notebook()
        browser.run_cell(CELL)
        output = browser.wait_for_output("trained:", seconds=180)
        browser.screenshot(tmp_path / "screenshot.png")
    finally:
        term1.run("stop", "sdcnd-term1")

    assert "trained: True" in output
    assert (tmp_path / "screenshot.png").stat().st_size > 20_000
    assert (term1.folder / "Untitled.ipynb").stat().st_uid == term1.folder.stat().st_uid


def test_a_wrong_token_is_refused(term1: Hotdesk, browser: Browser) -> None:
    url = term1.run("up").strip()
    base, _, token = url.partition("/lab?token=")
    try:
        for wrong in (f"{base}/api/contents", f"{base}/api/contents?token={token[:-1]}x"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(wrong, timeout=10)
            assert refused.value.code == 403
            refused.value.close()
        browser.open(f"{base}/lab?token=wrong")
        deadline = time.monotonic() + 20
        while "/login" not in browser.address() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "/login" in browser.address()
    finally:
        term1.run("stop", "sdcnd-term1")
