"""Environments without a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotdesk.build.environment import EnvironmentBuild
from hotdesk.keys import environment_key
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hotdesk.progress import Progress
    from hotdesk.store import Store


def make_environment(
    store: Store,
    wheels: Sequence[Path],
    python: str,
    *,
    interpreter: Sequence[str] = (),
    bytecode: Sequence[Path] = (),
    progress: Progress = SILENT,
) -> Path:
    """The item of the environment that holds these wheel items, in layer order, and their bytecode items."""

    def fill(item: Path) -> None:
        build = EnvironmentBuild(item, python)
        for wheel in wheels:
            build.link(wheel)
        build.finish(wheels, bytecode, progress)

    key = environment_key([wheel.name for wheel in wheels], python, interpreter)
    return store.make("environment", key, fill)
