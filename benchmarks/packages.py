"""The same packages for every tool: a lock as pip's and uv's requirements, and as apt's names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.measure import BenchmarkError

if TYPE_CHECKING:
    from hotdesk.lock import LockedVariant

_INDEX_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
)
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def requirements(locked: LockedVariant) -> str:
    """Every Python package by version and hash, so that pip and uv take the very files of the lock."""
    lines = [
        f"{package.name}=={package.version} --hash=sha256:{package.artifact.sha256}"
        for package in locked.pypi
    ]
    return "\n".join(sorted(lines)) + "\n"


def pin(name: str, python: str) -> str:
    """One line of requirements for the newest `name` by itself, with its hashes."""
    from uv import find_uv_bin

    options = ["--quiet", "--no-deps", "--generate-hashes", "--no-header", "--no-annotate"]
    compiled = subprocess.run(
        [find_uv_bin(), "pip", "compile", *options, "--python-version", python, "-"],
        input=name,
        capture_output=True,
        text=True,
        check=True,
    )
    return compiled.stdout.replace("\\\n", " ")


def debian_names(locked: LockedVariant) -> list[str]:
    """The names of the Debian packages; apt takes the versions that the mirror has today."""
    return sorted({package.name for package in locked.debian})


def index_variables() -> dict[str, str]:
    """The machine's own settings of Python indexes and proxies, as environment variables.

    Settings that name files of the host are left out: they mean nothing inside a container.
    """
    found = {
        name: value for name in (*_INDEX_VARIABLES, *_PROXY_VARIABLES) if (value := os.environ.get(name))
    }
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    if configured.returncode == 0 and "PIP_INDEX_URL" not in found:
        found["PIP_INDEX_URL"] = configured.stdout.strip()
    if "PIP_INDEX_URL" in found and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & found.keys():
        found["UV_DEFAULT_INDEX"] = found["PIP_INDEX_URL"]
    return {name: value for name, value in found.items() if not value.startswith(("file:", "/"))}


def debian_archives(release: str) -> dict[str, str]:
    """From the machine's apt configuration: suite of `release` → address of its archive.

    The machine itself may run another release: the suites are its own, renamed.
    """
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE)\t$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    own = os_release().get("VERSION_CODENAME", "")
    archives = {}
    for line in targets.stdout.splitlines():
        suite, _, address = line.partition("\t")
        if own and re.fullmatch(rf"{own}(-updates|-security)?", suite):
            archives[release + suite.removeprefix(own)] = address.rstrip("/")
    if configured := os.environ.get("HOTDESK_DEBIAN_MIRROR"):
        archives[release] = archives[f"{release}-updates"] = configured.rstrip("/")
    if release not in archives:
        raise BenchmarkError("no Debian mirror in apt's configuration: set HOTDESK_DEBIAN_MIRROR")
    return archives


def os_release() -> dict[str, str]:
    """The host's /etc/os-release."""
    with open("/etc/os-release", encoding="utf-8") as lines:
        pairs = (line.strip().split("=", 1) for line in lines if "=" in line)
        return {name: json.loads(value) if value.startswith('"') else value for name, value in pairs}
