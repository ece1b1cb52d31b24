"""What runs a desk's Jupyter: the sandbox, or a container engine. Which, its folder tells."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hotdesk.engines.request import LoadedImage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hotdesk.desk.folder import Desk
    from hotdesk.desk.order import DeskOrder
    from hotdesk.engines.request import Root
    from hotdesk.errors import EngineError

CONTAINER_RECORD = "container"
"""The file in a desk's folder that says which container it runs in."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Whether Jupyter runs, what it left behind not counted; `exit_code` where it ended and that is known."""

    runs: bool
    exit_code: int | None = None


class Runner(Protocol):
    """What runs, or ran, the Jupyter of the desk in one folder."""

    def start(self, order: DeskOrder, desk: Desk, record: Callable[[], None]) -> None:
        """Start Jupyter; `record` writes what is to be known of the desk, just before."""

    def activity(self) -> Activity:
        """`EngineError` where that cannot be learned."""

    def end_politely(self, within: float) -> None:
        """Ask Jupyter to end, and wait for it so many seconds."""

    def end(self) -> None:
        """End all that is left; `DeskError` where something does not."""

    def explain_end(self, log: str) -> EngineError | None:
        """Why Jupyter was never started, where it was not; `log` is the end of the desk's."""


def runner_of(folder: Path) -> Runner:
    """What runs the desk in this folder, or ran it last."""
    if os.path.lexists(folder / CONTAINER_RECORD):
        from hotdesk.desk.in_container import ContainerRunner, container_of

        if container := container_of(folder):
            return ContainerRunner(folder, container)
    return _in_sandbox(folder)


def new_runner(root: Root | LoadedImage, folder: Path) -> Runner:
    """What is to run the desk from now on."""
    if not isinstance(root, LoadedImage):
        return _in_sandbox(folder)
    from hotdesk.desk.in_container import ContainerRunner, new_container

    return ContainerRunner(folder, new_container(root.engine))


def _in_sandbox(folder: Path) -> Runner:
    from hotdesk.desk.in_sandbox import SandboxRunner

    return SandboxRunner(folder)
