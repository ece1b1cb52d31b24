"""The same packages for every tool: a lock as pip's and uv's requirements, and as apt's names."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

from benchmarks.measure import BenchmarkError
from hotdesk.indexes.http import PROXY_VARIABLES
from hotdesk.indexes.pypi import index_urls, uv_environment

if TYPE_CHECKING:
    from hotdesk.lock import LockedVariant


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
        env={**os.environ, **uv_environment()},
        check=True,
    )
    return compiled.stdout.replace("\\\n", " ")


def debian_names(locked: LockedVariant) -> list[str]:
    """The names of the Debian packages; apt takes the versions that the mirror has today."""
    return sorted({package.name for package in locked.debian})


def index_variables() -> dict[str, str]:
    """The machine's Python indexes and proxies as pip and uv in a container take them, in variables.

    Indexes that are folders of the host are left out: the container does not see them.
    """
    urls = [index.url for index in index_urls() if index.kind == "simple" and _is_remote(index.url)]
    if not urls:
        raise BenchmarkError("all Python indexes are folders, which `docker build` cannot use")
    *preferred, default = urls
    found = {name: value for name in PROXY_VARIABLES if (value := os.environ.get(name))}
    found |= {"PIP_INDEX_URL": default, "UV_DEFAULT_INDEX": default}
    if preferred:
        found |= {"PIP_EXTRA_INDEX_URL": " ".join(preferred), "UV_INDEX": " ".join(preferred)}
    return found


def _is_remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


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
