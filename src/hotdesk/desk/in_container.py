"""A desk's Jupyter in a container. Whether it runs is told by the engine."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hotdesk.desk import folder as folders
from hotdesk.desk import jupyter
from hotdesk.desk.runner import CONTAINER_RECORD, Activity
from hotdesk.engines import containers
from hotdesk.engines.client import ENGINES, Client
from hotdesk.engines.request import ANYWHERE, PORT, ContainerRequest, LoadedImage
from hotdesk.portable.files import SAFELY
from hotdesk.portable.machine import user_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hotdesk.desk.folder import Desk
    from hotdesk.desk.order import DeskOrder
    from hotdesk.engines.request import ContainerEngineName
    from hotdesk.errors import EngineError

_OPTIONS = (
    "--ServerApp.allow_root=True",  # where the caller is, or is taken for root inside
    "--ServerApp.allow_remote_access=False",  # or a page from elsewhere could call itself by another name
)
_FILES = "inside"


@dataclass(frozen=True, slots=True)
class Container:
    """Where a desk's container is: `chosen` are the caller's variables that led to the engine's server."""

    engine: ContainerEngineName
    chosen: Mapping[str, str]


def new_container(engine: ContainerEngineName) -> Container:
    return Container(engine, Client.of(engine).chosen)


def container_of(folder: Path) -> Container | None:
    """Where the desk in `folder` was started last, None where that was a sandbox.

    What somebody else wrote does not count: it could lead us to a server of his.
    """
    try:
        with open(os.open(folder / CONTAINER_RECORD, os.O_RDONLY | SAFELY), "rb") as file:
            if os.fstat(file.fileno()).st_uid != user_ids()[0]:
                return None
            found = json.loads(file.read())
        chosen = {str(name): str(value) for name, value in found["chosen"].items()}
        return Container(found["engine"], chosen) if found["engine"] in ENGINES else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def name_of(folder: Path) -> str:
    """What the container of this desk is called; no two desks share that, whoever's they are."""
    unique = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:8]
    return f"hotdesk-{folder.name}-{unique}"


class ContainerRunner:
    def __init__(self, folder: Path, container: Container) -> None:
        self._folder = folder
        self._name = name_of(folder)
        self._container = container
        self._client = Client.of(container.engine, container.chosen)

    def start(self, order: DeskOrder, desk: Desk, record: Callable[[], None]) -> None:
        for name in ("log", "status"):  # the second is a sandbox's
            (self._folder / name).unlink(missing_ok=True)
        os.close(folders.open_private(self._folder / "log"))
        inside = self._folder / _FILES
        folders.make_folder(inside)
        with folders.exclusive(self._folder / "alive"):
            folders.write_private(
                self._folder / CONTAINER_RECORD, json.dumps(asdict(self._container)).encode()
            )
            record()
            containers.remove(self._client, self._name)
            containers.start(self._client, self._request(order, desk), inside)

    def activity(self) -> Activity:
        state = self._client.container(self._name)
        if state is None:  # while it is being made, too
            return Activity(folders.is_locked(self._folder / "alive"))
        if state["Running"]:
            return Activity(runs=True)
        return Activity(runs=False, exit_code=int(state["ExitCode"]))

    def end_politely(self, within: float) -> None:
        containers.stop(self._client, self._name, within)

    def end(self) -> None:
        containers.remove(self._client, self._name)
        (self._folder / CONTAINER_RECORD).unlink(missing_ok=True)

    def explain_end(self, log: str) -> EngineError | None:  # noqa: ARG002
        return None  # one that cannot be started says so at once

    def _request(self, order: DeskOrder, desk: Desk) -> ContainerRequest:
        assert isinstance(order.root, LoadedImage)
        return ContainerRequest.of(
            jupyter.request(order, desk, ANYWHERE, PORT, order.ports, *_OPTIONS),
            order.root,
            self._name,
            order.limits,
            ports={desk.port: PORT, **{desk.ports[name]: inside for name, inside in order.ports.items()}},
            log=desk.log,
        )
