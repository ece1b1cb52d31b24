"""What an engine is asked to run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Network = Literal["host", "none"]
EngineName = Literal["sandbox", "docker", "podman"]
ContainerEngineName = Literal["docker", "podman"]

USER = "desk"
USER_ID = 1000
HOME = f"/home/{USER}"
WORK = f"{HOME}/work"
PREFIX = "/opt/desk"
PATH = f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:{HOME}/.local/bin"
"""Where commands are looked for: those of packages that were installed by hand last, to hide no others."""

PORT = 8888
"""Where Jupyter listens in a container, whatever port of the host leads there."""
ANYWHERE = "0.0.0.0"  # noqa: S104  # in a container; the engine leads the host's loopback there
NO_PORTS: Mapping[int, int] = MappingProxyType({})

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
class LoadedImage:
    """An image that Docker or Podman has; `id` is what that engine calls it."""

    engine: ContainerEngineName
    id: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a container gets: `memory` in bytes, `processors` also in parts; None is all there is."""

    memory: int | None = None
    processors: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Display:
    """What a desk needs to show windows on the host's display: nothing, by default.

    `sockets` are those of the host by their path inside, `files` contents by their path below `/run`,
    `environment` the variables that lead there. `address` is where X is reached through the network, if so.
    """

    sockets: Mapping[str, Path] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


NO_DISPLAY = Display()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command on a desk.

    `home` is a folder of the host that appears at `HOME`, `project` one that appears at `WORK`; both are
    writable. `environment` is added to what every desk gets. `files` are contents by their path below
    `/run`, readable by the desk's user alone. `directory` is where the command starts. `hidden` are folders
    of the host that stay out of reach where they lie in the project. `display` is where windows are shown.
    """

    command: tuple[str, ...]
    home: Path
    project: Path | None
    hostname: str
    network: Network = "host"
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    directory: str = WORK
    hidden: tuple[Path, ...] = ()
    display: Display = NO_DISPLAY

    @property
    def run_files(self) -> dict[str, bytes]:
        """All that is to be below `/run`, by the whole path."""
        return {f"/run/{path}": content for path, content in {**self.files, **self.display.files}.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest(Request):
    """One command in a root, which the sandbox runs."""

    root: Root

    @classmethod
    def of(cls, request: Request, root: Root) -> RunRequest:
        return cls(root=root, **_shared(request))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRequest(Request):
    """One command in a container.

    `name` is the container's. `network` "host" is the engine's own network, from which the host is reached
    as from elsewhere. `ports` of the host's loopback lead to ports inside. `log`, a file of the host, takes
    what the command says.
    """

    image: LoadedImage
    name: str
    ports: Mapping[int, int] = field(default_factory=dict)
    log: Path | None = None
    limits: Limits = NO_LIMITS

    @classmethod
    def of(
        cls,
        request: Request,
        image: LoadedImage,
        name: str,
        limits: Limits,
        *,
        ports: Mapping[int, int] = NO_PORTS,
        log: Path | None = None,
    ) -> ContainerRequest:
        return cls(image=image, name=name, limits=limits, ports=ports, log=log, **_shared(request))


def _shared(request: Request) -> dict[str, Any]:
    return {each.name: getattr(request, each.name) for each in fields(Request)}
