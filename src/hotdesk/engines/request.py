"""What an engine is asked to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Network = Literal["host", "none"]

USER = "desk"
USER_ID = 1000
HOME = f"/home/{USER}"
WORK = f"{HOME}/work"
PREFIX = "/opt/desk"

MOUNT_POINTS = (
    "home",
    "opt/desk",
    "dev",
    "proc",
    "sys",
    "tmp",
    "run",
    "var/tmp",
    "etc/hosts",
    "etc/resolv.conf",
)
"""What a system tree must hold so that the sandbox can mount over it: the two in `etc` as regular files."""


@dataclass(frozen=True, slots=True)
class Root:
    """Two trees, never written to: the base system, and the Python environment that appears at `PREFIX`."""

    system: Path
    environment: Path


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One command in a root.

    `home` is a folder of the host that appears at `HOME`, `project` one that appears at `WORK`; both are
    writable. `environment` is added to what every desk gets. `files` are contents by their path below
    `/run`, readable by the desk's user alone. `directory` is where the command starts. `hidden` are folders
    of the host that stay out of reach where they lie in the project.
    """

    root: Root
    command: tuple[str, ...]
    home: Path
    project: Path | None
    hostname: str
    network: Network = "host"
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    directory: str = WORK
    hidden: tuple[Path, ...] = ()
