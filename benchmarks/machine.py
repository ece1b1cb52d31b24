"""What a reader must know of the machine to judge the numbers."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def facts(scratch: Path) -> dict[str, str]:
    """Hardware, kernel, load and versions, as text."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}",
        "memory": f"{memory / 1e9:.0f} GB",
        "kernel": platform.release(),
        "mitigation of speculative store bypass": _read(
            "/sys/devices/system/cpu/vulnerabilities/spec_store_bypass"
        ),
        "load at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "file system": _file_system(scratch),
        "Python of hotdesk": sys.version.split()[0],
        "hotdesk": version("hotdesk"),
        "uv": version("uv"),
    }


def _field(path: str, name: str) -> str:
    lines = _read(path).splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _file_system(folder: Path) -> str:
    mounts = [line.split()[1:3] for line in _read("/proc/self/mounts").splitlines()]
    holding = [(point, kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(holding, key=lambda mount: len(mount[0]))[1] if holding else ""
