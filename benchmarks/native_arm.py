"""`jupyter lab` from a plain uv environment on the host itself: no isolation at all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks import packages
from benchmarks.measure import BenchmarkError, check_token, free_port, run, wait_until_it_answers

if TYPE_CHECKING:
    from pathlib import Path

    from hotdesk.lock import LockedVariant

_TOKEN = "benchmark-token"
_PYTHON_OF = {"bookworm": "3.11", "trixie": "3.13"}
_INTERPRETER = "/usr/bin/python3"


def host_base() -> tuple[str, str] | None:
    """The desk's `base` and `python` that are the host's own; None where the host is no such Debian."""
    codename = packages.os_release().get("VERSION_CODENAME", "")
    if codename not in _PYTHON_OF or not os.path.exists(_INTERPRETER):
        return None
    return f"debian:{codename}", _PYTHON_OF[codename]


class Native:
    """The wheels of `locked`, installed by uv for the host's Debian interpreter, bytecode compiled."""

    def __init__(self, locked: LockedVariant, scratch: Path) -> None:
        self._environment = scratch / "native"
        self._home = scratch / "native-home"
        self.work = scratch / "native-work"
        self._locked = locked

    @property
    def python(self) -> Path:
        return self._environment / "bin/python"

    def variables(self) -> dict[str, str]:
        """The whole environment of what is run there."""
        return {
            "PATH": f"{self._environment}/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
        }

    def install(self) -> None:
        """Not part of any sample."""
        from uv import find_uv_bin

        uv = find_uv_bin()
        listed = self._environment.with_suffix(".txt")
        listed.write_text(packages.requirements(self._locked))
        for folder in (self._home, self.work):
            folder.mkdir(exist_ok=True)
        run([uv, "venv", "--clear", "--python", _INTERPRETER, self._environment])
        options: list[str | Path] = ["--compile-bytecode", "--require-hashes", "--python", self.python]
        run([uv, "pip", "install", *options, "-r", listed])

    def open(self) -> float:
        """Seconds from the start of the process until Jupyter answers."""
        port = free_port()
        env = {**self.variables(), "JUPYTER_TOKEN": _TOKEN}
        words = [f"{self._environment}/bin/jupyter", "lab", "--no-browser", "--allow-root"]
        words += [
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.work}",
        ]
        log_path = self._home / "log"
        with log_path.open("wb") as log:
            started = time.monotonic()
            process = subprocess.Popen(
                words, env=env, cwd=self.work, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

        def still_running() -> None:
            if process.poll() is not None:
                raise BenchmarkError(f"jupyter lab ended:\n{log_path.read_text(errors='replace')[-3000:]}")

        try:
            answered = wait_until_it_answers(port, still_running)
            check_token(port, _TOKEN)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        return answered - started
