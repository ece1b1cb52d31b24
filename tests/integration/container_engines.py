"""What tests of container engines share: the engines themselves, and commands run in them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hotdesk.engines.request import ContainerEngineName, ContainerRequest, LoadedImage

if TYPE_CHECKING:
    from pathlib import Path

_RUN = """
import csv, ctypes, json, os, pickle, select, subprocess, sys, tempfile
from pathlib import Path
import hotdesk.engines.trouble, hotdesk.engines.waiting
from hotdesk.engines.containers import run
from hotdesk.errors import HotdeskError
request, folder, user = pickle.loads(bytes.fromhex(sys.argv[1]))
if user is not None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
try:
    sys.exit(run(request, folder))
except HotdeskError as error:
    print(error, file=sys.stderr)
    sys.exit(99)
"""


@dataclass(frozen=True)
class Engine:
    """One of them, and the variables that lead to the one of the tests."""

    name: ContainerEngineName
    environment: dict[str, str] = field(default_factory=dict)

    def try_(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.name, *arguments],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, *arguments: str) -> str:
        done = self.try_(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def inspect(self, *names: str) -> Any:
        return json.loads(self.ask("inspect", *names))


@dataclass(frozen=True)
class Containers:
    """Runs commands as `hotdesk run` does, from a process of its own."""

    engine: Engine
    image: LoadedImage
    folder: Path

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def request(self, *command: str, **more: Any) -> ContainerRequest:
        return ContainerRequest(
            **{
                "image": self.image,
                "name": f"hotdesk-test-{os.urandom(4).hex()}",
                "command": command,
                "home": self.folder / "home",
                "project": self.project,
                "hostname": "desk",
                **more,
            }
        )

    def argv(self, request: ContainerRequest, user: int | None = None) -> list[str]:
        asked = pickle.dumps((request, self.folder / "inside", user)).hex()
        return [sys.executable, "-c", _RUN, asked]

    def run(
        self, *command: str, user: int | None = None, stdin: str = "", **more: Any
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(self.request(*command, **more), user),
            env={**os.environ, **self.engine.environment},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
