"""The `hotdesk` command as a user runs it: a process of its own, with a store and desks of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = (sys.executable, "-m", "hotdesk")


@dataclass(frozen=True)
class Hotdesk:
    """Runs commands in `folder`; `environment` is added to the caller's."""

    folder: Path
    store: Path
    data: Path
    environment: dict[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[str]] = field(default_factory=list, init=False, repr=False)

    def variables(self) -> dict[str, str]:
        own = {"HOTDESK_STORE": str(self.store), "HOTDESK_DATA": str(self.data)}
        return {**os.environ, **own, **self.environment}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def kill(self) -> None:
        """What was started and still runs, where a test failed midway."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def try_(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def run(self, *arguments: str, timeout: float = 300) -> str:
        """What the command prints; it must succeed."""
        done = self.try_(*arguments, timeout=timeout)
        assert done.returncode == 0, f"hotdesk {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, timeout: float = 300) -> Any:
        return json.loads(self.run(*arguments, "--json", timeout=timeout))
