"""A registry on the loopback, as Debian packages it, with a folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Self

from benchmarks.measure import BenchmarkError, free_port, get_status

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

PROGRAM = "docker-registry"


class Registry:
    """Runs while open; what it holds is gone afterwards. References begin with `host`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.host = f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        settings = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "data")}},
            "http": {"addr": self.host, "secret": "benchmark"},
        }
        path = self._folder / "config.yml"
        path.write_text(json.dumps(settings))  # which is YAML too
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([PROGRAM, "serve", path], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while get_status(self._port, "/v2/") != 200:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise BenchmarkError(
                    f"{PROGRAM} does not start:\n{(self._folder / 'log').read_text()[-3000:]}"
                )
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        shutil.rmtree(self._folder, ignore_errors=True)
