"""Real container engines with data of their own, gone at the end: the host's are left alone."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.host import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def docker_daemon(folder: Path) -> Iterator[dict[str, str]]:
    """A dockerd with all its data below `folder`; the variables that lead to it."""
    for program in ("dockerd", "docker", "iptables"):
        if not shutil.which(program):
            lacking(f"this host has no {program}")
    if os.geteuid():
        lacking("only root can start a dockerd")
    had_bridge = Path("/sys/class/net/docker0").exists()
    sockets = Path(tempfile.mkdtemp(prefix="hotdesk-"))  # their names must be short
    host = f"unix://{sockets}/socket"
    options = {
        "--host": host,
        "--data-root": f"{folder}/data",
        "--exec-root": f"{sockets}/exec",
        "--pidfile": f"{folder}/pid",
    }
    words = [word for pair in options.items() for word in pair]
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["dockerd", *words], stdout=log, stderr=log, start_new_session=True)
    environment = {"DOCKER_HOST": host}
    try:
        deadline = time.monotonic() + 60
        while not _answers(["docker", "version"], environment):
            if process.poll() is not None or time.monotonic() > deadline:
                lacking(f"dockerd does not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield environment
    finally:
        if process.poll() is None:
            names = _said(["docker", "ps", "--all", "--quiet"], environment).split()
            if names:
                _said(["docker", "rm", "--force", *names], environment)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        _remove(folder)
        _remove(sockets)
        if not had_bridge:
            subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)


@contextmanager
def podman_storage(folder: Path) -> Iterator[dict[str, str]]:
    """A Podman with all its data below `folder`; the variables that lead to it."""
    for program in ("podman", "catatonit"):
        if not shutil.which(program) and not Path(f"/usr/libexec/podman/{program}").exists():
            lacking(f"this host has no {program}")
    if os.geteuid():
        lacking("for an ordinary user there is another test")
    environment = podman_settings(folder)
    try:
        tried = subprocess.run(
            ["podman", "info"], env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if tried.returncode:
            lacking(f"podman does not work here: {tried.stderr.strip()}")
        yield environment
    finally:
        _said(["podman", "rm", "--all", "--force", "--time", "0"], environment)
        _remove(folder)


def podman_settings(folder: Path) -> dict[str, str]:
    """Podman asks for the highest limits that there are, which a root without the right to may not set."""
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    lines = ["[containers]", f'default_ulimits = ["nofile={files}:{files}", "nproc=30000:30000"]', "[engine]"]
    if not Path("/run/systemd/system").exists():
        lines += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    if shutil.which("runc"):
        lines.append('runtime = "runc"')  # crun refuses hosts with both versions of cgroups
    (folder / "containers.conf").write_text("\n".join(lines) + "\n")
    return {
        "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
        "CONTAINERS_CONF": f"{folder}/containers.conf",
    }


def _answers(argv: list[str], environment: dict[str, str]) -> bool:
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, check=False)
    return done.returncode == 0


def _said(argv: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return done.stdout


def _remove(folder: Path) -> None:
    for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        point = mount.split()[1]
        if point.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", point], check=False)
    shutil.rmtree(folder, ignore_errors=True)
