"""hotdesk as a user starts it: its command, with a store and a data folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import BenchmarkError, check_token, free_port, run, wait_until_it_answers
from hotdesk.engines import sandbox
from hotdesk.engines.request import RunRequest
from hotdesk.lock import LOCK_NAME, read_lock
from hotdesk.project import host_platform, read_template
from hotdesk.spec import SPEC_NAME
from hotdesk.store import Store, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotdesk.lock import Artifact, LockedVariant

TEMPLATE = "sdcnd-term1"
CLASSIC = "sdcnd-term1-classic"
VARIANT = "cpu"


@dataclass(frozen=True, slots=True)
class Opened:
    """Seconds until Jupyter answered, where that was asked, and until `hotdesk up` had returned."""

    answered: float
    returned: float


class Hotdesk:
    """One user's hotdesk: everything it keeps is below `folder`, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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

    def answer(self, *words: str | Path) -> Any:
        """What `hotdesk WORDS --json` answers."""
        done = subprocess.run(
            [self.program(), *words, "--json"], env=self.environment, cwd=self.project,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchmarkError(f"hotdesk {words[0]} exited {done.returncode}:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout)

    def up(self, *words: str | Path, polled: bool = False) -> Opened:
        """`hotdesk up WORDS`, which returns when Jupyter answers; the desk stays open.

        With `polled` Jupyter is asked all the time, as the arms without hotdesk are.
        """
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

        answered = wait_until_it_answers(port, still_starting) if polled else started
        code = process.wait(timeout=900)
        returned = time.monotonic()
        printed = log_path.read_text(errors="replace")
        if code:
            raise BenchmarkError(f"hotdesk up exited {code}:\n{printed[-3000:]}")
        check_token(port, find_token(printed, port))
        return Opened(answered - started, returned - started)

    def stop(self, name: str) -> None:
        self.run("stop", name)

    def remove_all(self) -> None:
        """Stop every desk, end what works in the background, and remove everything; also after a failure."""
        if not self._folder.exists():
            return
        subprocess.run(
            [self.program(), "stop", "--all"], env=self.environment, cwd=self.project,
            capture_output=True, check=False,
        )  # fmt: skip
        for process in self._working():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        self.wait_until_idle()
        remove_tree(self._folder)

    def write_spec(self, base: str, python: str, *pypi: str) -> None:
        """A spec with these packages alone."""
        self._write_toml(
            {
                "desk": {"name": "benchmark", "python": python, "base": base, "platforms": [host_platform()]},
                "packages": {"pypi": list(pypi)},
            }
        )

    def make_project(self, base: str, python: str, template: str = TEMPLATE) -> None:
        """The template's `VARIANT` on another release, locked."""
        spec = read_template(template).spec_path.read_text(encoding="utf-8")
        wanted: dict[str, Any] = tomllib.loads(spec)
        wanted["desk"].update({"base": base, "python": python, "platforms": [host_platform()]})
        wanted["variants"] = {VARIANT: wanted["variants"][VARIANT]}
        if base == "debian:bookworm":  # before libraries were renamed for 64-bit time
            names = wanted["packages"]["debian"]
            wanted["packages"]["debian"] = [name.removesuffix("t64") for name in names]
        self._write_toml(wanted)
        self.run("lock")

    def _write_toml(self, spec: Mapping[str, Any]) -> None:
        import tomlkit

        (self.project / SPEC_NAME).write_text(tomlkit.dumps(spec), encoding="utf-8")

    def locked(self, variant: str) -> LockedVariant:
        """What the project's lock holds for this host."""
        return read_lock(self.project / LOCK_NAME).select(host_platform(), variant)

    @contextmanager
    def project_kept(self) -> Iterator[None]:
        """Put the spec and the lock back afterwards; what the store has learnt stays."""
        files = {name: (self.project / name).read_bytes() for name in (SPEC_NAME, LOCK_NAME)}
        try:
            yield
        finally:
            for name, content in files.items():
                (self.project / name).write_bytes(content)

    def wait_until_idle(self, limit: float = 1800.0) -> float:
        """Wait until hotdesk does nothing in the background any more; the seconds it took."""
        started = time.monotonic()
        while self._working():
            if time.monotonic() - started > limit:
                raise BenchmarkError(f"hotdesk has worked in the background for {limit:.0f} s")
            time.sleep(0.1)
        return time.monotonic() - started

    def _working(self) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile
                if self.is_mine(process):
                    found.append(int(process.name))
        return found

    def is_mine(self, process: Path) -> bool:
        """Whether `process`, a folder of /proc, is this hotdesk's own Python: not uv, not the desk inside.

        The sandbox clears the environment; what hotdesk starts outside of it keeps the store's name.
        """
        environment = (process / "environ").read_bytes().split(b"\0")
        words = (process / "cmdline").read_bytes().split(b"\0")
        named = os.fsencode(f"HOTDESK_STORE={self.store}") in environment
        return named and os.path.basename(words[0]).startswith(b"python")


def find_token(printed: str, port: int) -> str:
    found = re.search(rf"http://[^\s/]+:{port}/\S*[?&]token=([\w-]+)", printed)
    if not found:
        raise BenchmarkError(f"hotdesk up printed no URL with port {port} and a token:\n{printed[-2000:]}")
    return found[1]


def fetch_seconds(hotdesk: Hotdesk, artifact: Artifact, scratch: Path) -> float:
    """Seconds of the transfer of `artifact` alone, from where `hotdesk` got it."""
    import httpx2  # noqa: F401  # so that its import is not measured

    from hotdesk.fetch import Fetcher
    from hotdesk.fetch.hints import recall

    address = recall(Store(hotdesk.store), artifact)
    if not address:
        raise BenchmarkError(f"hotdesk did not note where it got {artifact.name}")
    empty = Path(tempfile.mkdtemp(dir=scratch))
    started = time.monotonic()
    with Fetcher(Store(empty), locate=lambda _: [address]) as fetcher:
        fetched = list(fetcher.fetch([artifact]))
    seconds = time.monotonic() - started
    shutil.rmtree(empty)
    assert len(fetched) == 1
    return seconds


class Sandbox:
    """hotdesk's own call that starts the isolation, without the start of hotdesk's Python around it."""

    def __init__(self, hotdesk: Hotdesk, variant: str, scratch: Path) -> None:
        from hotdesk.build.root import open_root

        home = scratch / "sandbox-home"
        home.mkdir(exist_ok=True)
        with open_root(Store(hotdesk.store), hotdesk.locked(variant)) as root:
            pass  # nothing collects garbage meanwhile
        self._request = RunRequest(
            root=root,
            command=("true",),
            home=home,
            project=hotdesk.project,
            hostname="benchmark",
        )

    def run(self) -> float:
        """Seconds from the call until `true` has ended inside and everything is taken down."""
        started = time.monotonic()
        code = sandbox.run(self._request)
        seconds = time.monotonic() - started
        if code:
            raise BenchmarkError(f"`true` exited {code} in the sandbox")
        return seconds
