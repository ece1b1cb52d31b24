"""Chromium, headless, driven through its own driver: what a person would do in JupyterLab."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.host import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome

ARROW_RIGHT = "\ue014"
"""The key, as WebDriver calls it."""

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)


class Browser:
    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def address(self) -> str:
        return self.driver.current_url

    def new_notebook(self) -> None:
        self._click('.jp-LauncherCard[data-category="Notebook"]')
        self._find(".jp-Notebook .jp-Cell .cm-content")
        # A cell typed before the kernel is there is lost.
        self._wait(lambda: "Idle" in self.driver.find_element("css selector", "body").text, 60)

    def run_cell(self, source: str) -> None:
        """Type `source` into the last cell and run it; a new one comes after it."""
        from selenium.webdriver.common.keys import Keys

        self._click(".jp-Notebook .jp-Cell:last-of-type .cm-content")
        # The editor closes brackets and indents by itself: paste instead of typing.
        self.driver.execute_cdp_cmd("Input.insertText", {"text": source})
        self.driver.switch_to.active_element.send_keys(Keys.SHIFT, Keys.ENTER)

    def run_all_cells(self, seconds: float) -> None:
        """Run the open notebook from top to bottom; wait until each cell has run, or one has failed."""
        from selenium.webdriver.common.keys import Keys

        self._find(".jp-Notebook .jp-Cell .cm-content")
        self._wait(lambda: "Idle" in self.driver.find_element("css selector", "body").text, 60)
        self.driver.switch_to.active_element.send_keys(Keys.CONTROL, Keys.SHIFT, "c")
        self.press(".lm-CommandPalette-input", "Run All Cells", Keys.ENTER)
        self._wait(lambda: self._all_ran() or self._failed(), seconds)

    def _all_ran(self) -> bool:
        found = self.driver.find_elements("css selector", ".jp-CodeCell .jp-InputArea-prompt")
        prompts = [element.get_attribute("textContent") or "" for element in found]
        return bool(prompts) and all(prompt.strip("[]: ").isdecimal() for prompt in prompts)

    def _failed(self) -> bool:
        error = '[data-mime-type="application/vnd.jupyter.stderr"], .jp-OutputArea-output'
        texts = [element.text for element in self.driver.find_elements("css selector", error)]
        return any("Traceback (most recent call last)" in text for text in texts)

    def show(self, selector: str) -> None:
        """Scroll to the last such element."""
        self._find(selector)
        script = "const all = document.querySelectorAll(arguments[0]); all[all.length - 1].scrollIntoView()"
        self.driver.execute_script(script, selector)

    def save(self) -> None:
        from selenium.webdriver.common.keys import Keys

        self.driver.switch_to.active_element.send_keys(Keys.CONTROL, "s")

    def wait_for_output(self, text: str, seconds: float) -> str:
        def outputs() -> str:
            found = self.driver.find_elements("css selector", ".jp-OutputArea-output")
            return "\n".join(element.text for element in found)

        self._wait(lambda: text in outputs() or "Traceback" in outputs(), seconds)
        return outputs()

    def press(self, selector: str, *keys: str) -> None:
        """Press these keys on the first such element of the page."""
        self._find(selector)
        self.driver.find_element("css selector", selector).send_keys(*keys)

    def play(self, selector: str, seconds: float) -> dict[str, float]:
        """Play the video until it is at `seconds`; where it is then, and how large its pictures are."""
        self._find(selector)
        self.driver.execute_script(
            "window.video = document.querySelector(arguments[0]);"
            "video.scrollIntoView(); video.muted = true; video.play()",
            selector,
        )
        self._wait(lambda: self.driver.execute_script("return video.currentTime") >= seconds, 60)
        asked = "({time: video.currentTime, width: video.videoWidth, height: video.videoHeight})"
        found: dict[str, float] = self.driver.execute_script(f"return {asked}")
        return found

    def wait_in_frame(self, selector: str, text: str, seconds: float) -> None:
        """Wait until the page in the frame holds the text."""
        self._find(selector)
        self.driver.switch_to.frame(self.driver.find_element("css selector", selector))
        try:
            self._wait(lambda: text in self.driver.find_element("css selector", "body").text, seconds)
        finally:
            self.driver.switch_to.default_content()

    def wait_for_launcher(self) -> None:
        self._find('.jp-LauncherCard[data-category="Notebook"]')

    def screenshot(self, path: Path) -> None:
        self.driver.save_screenshot(str(path))

    def _find(self, selector: str) -> None:
        self._wait(lambda: bool(self.driver.find_elements("css selector", selector)), 60)

    def _click(self, selector: str) -> None:
        from selenium.webdriver.support.expected_conditions import element_to_be_clickable
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60).until(element_to_be_clickable(("css selector", selector))).click()

    def _wait(self, condition: object, seconds: float) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, seconds).until(lambda _: condition())  # type: ignore[operator]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A fresh Chromium; skips by name where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        lacking("this host has no chromium with chromedriver")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = chromium
    for option in _OPTIONS:
        options.add_argument(option)
    browser = Chrome(options=options, service=ChromeService(driver))
    try:
        yield Browser(browser)
    finally:
        browser.quit()
