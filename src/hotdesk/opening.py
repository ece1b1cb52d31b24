"""From a project to a running desk or command: the path of `hotdesk up`, `start`, `run` and `shell`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hotdesk.build.background import compile_in_background
from hotdesk.build.root import make_root
from hotdesk.desk import Desk, DeskOrder, Opened, desk_home, desks, open_desk
from hotdesk.engines import sandbox
from hotdesk.engines.request import RunRequest
from hotdesk.errors import DeskError, EngineError
from hotdesk.lock import LOCK_NAME, LockedVariant, parse_lock
from hotdesk.progress import SILENT
from hotdesk.project import host_platform
from hotdesk.spec import SPEC_NAME, parse_spec
from hotdesk.store import Store, default_store_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotdesk.engines.request import Root
    from hotdesk.progress import Progress
    from hotdesk.project import Project
    from hotdesk.spec import Variant


@dataclass(frozen=True, slots=True)
class Preparation:
    """How to prepare: with which network, telling whom."""

    offline: bool = False
    progress: Progress = SILENT


def open_project_desk(
    project: Project,
    preparation: Preparation,
    *,
    variant: str | None = None,
    name: str | None = None,
    port: int | None = None,
) -> Opened:
    """The desk of `project`, built where it has to be, started, and answering."""
    locked = project.select(variant)
    _refuse_gpu(project.spec.variant(locked.variant))
    desk_name = _desk_name(project, locked.variant, name)
    keep = {
        SPEC_NAME: project.spec_path.read_bytes(),
        LOCK_NAME: project.lock_path.read_bytes(),
    }
    order = DeskOrder(
        name=desk_name,
        root=_prepare(locked, preparation, project),
        project=project.folder,
        port=port or project.spec.port,
        port_fixed=port is not None,
        labels={
            "variant": locked.variant,
            "port": str(port or project.spec.port),
            "lock": hashlib.sha256(keep[LOCK_NAME]).hexdigest(),
        },
        keep=keep,
    )
    opened = open_desk(order)
    _compile(locked)
    if opened.already and opened.desk.labels.get("lock") != order.labels["lock"]:
        preparation.progress.note(
            f"`{desk_name}` still runs on the packages it was opened with; "
            f"`hotdesk stop {desk_name}` and `hotdesk up` take the new lock"
        )
    return opened


def reopen(desk: Desk, preparation: Preparation, *, port: int | None = None) -> Opened:
    """A stopped desk as it was: the lock that it was opened with is kept beside it."""
    kept = {name: (desk.folder / "keep" / name).read_bytes() for name in (SPEC_NAME, LOCK_NAME)}
    locked = parse_lock(kept[LOCK_NAME].decode()).select(host_platform(), desk.labels["variant"])
    spec = parse_spec(kept[SPEC_NAME].decode())
    order = DeskOrder(
        name=desk.name,
        root=_prepare(locked, preparation),
        project=desk.project,
        port=port or spec.port,
        port_fixed=port is not None,
        labels=desk.labels,
        keep=kept,
    )
    opened = open_desk(order)
    _compile(locked)
    return opened


def prepare_run(
    project: Project,
    command: tuple[str, ...],
    preparation: Preparation,
    *,
    variant: str | None = None,
    network: Literal["host", "none"] = "host",
) -> Callable[[], int]:
    """All that has to be there before `command` runs; the result runs it and gives its exit code."""
    locked = project.select(variant)
    _refuse_gpu(project.spec.variant(locked.variant))
    name = _desk_name(project, locked.variant, None)
    request = RunRequest(
        root=_prepare(locked, preparation, project),
        command=command,
        home=desk_home(name),
        project=project.folder,
        hostname=name,
        network=network,
    )
    _compile(locked)
    return lambda: sandbox.run(request)


def _prepare(locked: LockedVariant, preparation: Preparation, project: Project | None = None) -> Root:
    store = Store(default_store_path())
    if project:
        store.record_user(project.lock_path)
    return make_root(store, locked, offline=preparation.offline, progress=preparation.progress)


def _compile(locked: LockedVariant) -> None:
    compile_in_background(Store(default_store_path()), locked)


def _desk_name(project: Project, variant: str, name: str | None) -> str:
    """`name`, or the spec's, with a number where another folder or variant has a desk of that name."""
    taken = {
        desk.name
        for desk in desks()
        if (desk.project, desk.labels.get("variant")) != (project.folder, variant)
    }
    if name is not None:
        if name in taken:
            raise DeskError(
                f"the desk `{name}` belongs to another folder or variant",
                hint=f"choose another --name, or remove it: `hotdesk rm {name}`",
            )
        return name
    candidate, number = project.spec.name, 1
    while candidate in taken:
        number += 1
        candidate = f"{project.spec.name}-{number}"
    return candidate


def _refuse_gpu(variant: Variant) -> None:
    if variant.gpu:
        raise EngineError(
            f"the variant `{variant.name}` needs a GPU, and this hotdesk cannot pass one to a desk yet",
            why="without it the desk would open and train on the CPU, which is not what was asked for",
            hint="choose another variant with --variant",
        )
