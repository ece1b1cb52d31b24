"""hotdesk as a user starts it: its command, with a store and a data folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import BenchmarkError, check_token, free_port, run, wait_until_it_answers

TEMPLATE = "sdcnd-term1"
VARIANT = "cpu"


@dataclass(frozen=True, slots=True)
class Opened:
    """Seconds until Jupyter answered, and until `hotdesk up` had printed the URL and returned."""

    answered: float
    returned: float


class Hotdesk:
    """One user's hotdesk: everything it keeps is below `folder`, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.project = folder / "project"
        self.project.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "HOTDESK_STORE": str(self.store),
            "HOTDESK_DATA": str(folder / "data"),
        }

    @staticmethod
    def program() -> Path:
        """The `hotdesk` beside the Python that runs the benchmark."""
        return Path(sys.executable).with_name("hotdesk")

    def run(self, *words: str | Path) -> float:
        """Seconds of `hotdesk WORDS`, whole process."""
        return run([self.program(), *words], env=self.environment, cwd=self.project).seconds

    def up(self, *words: str | Path) -> Opened:
        """`hotdesk up WORDS`, until Jupyter answers; the desk stays open."""
        port = free_port()
        log_path = self.project.with_name("up.log")
        with log_path.open("wb") as log:
            started = time.monotonic()
            process = subprocess.Popen(
                [self.program(), "up", *words, "--port", str(port)],
                env=self.environment,
                cwd=self.project,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def still_starting() -> None:
            if process.poll() is not None:
                raise BenchmarkError(f"hotdesk up ended:\n{log_path.read_text(errors='replace')[-3000:]}")

        answered = wait_until_it_answers(port, still_starting)
        code = process.wait(timeout=60)
        returned = time.monotonic()
        printed = log_path.read_text(errors="replace")
        if code:
            raise BenchmarkError(f"hotdesk up exited {code}:\n{printed[-3000:]}")
        check_token(port, _token(printed, port))
        return Opened(answered - started, returned - started)

    def stop(self, name: str) -> None:
        self.run("stop", name)

    def is_mine(self, process: Path) -> bool:
        """Whether `process`, a folder of /proc, is this hotdesk's own Python: not uv, not the desk inside.

        The sandbox clears the environment; what hotdesk starts outside of it keeps the store's name.
        """
        environment = (process / "environ").read_bytes().split(b"\0")
        words = (process / "cmdline").read_bytes().split(b"\0")
        named = os.fsencode(f"HOTDESK_STORE={self.store}") in environment
        return named and os.path.basename(words[0]).startswith(b"python")


def _token(printed: str, port: int) -> str:
    found = re.search(rf"http://[^\s/]+:{port}/\S*[?&]token=(\w+)", printed)
    if not found:
        raise BenchmarkError(f"hotdesk up printed no URL with port {port} and a token:\n{printed[-2000:]}")
    return found[1]
