"""From a project to a running desk or command: the path of `hotdesk up`, `start`, `run` and `shell`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hotdesk.build.background import compile_in_background
from hotdesk.build.root import open_root
from hotdesk.desk import (
    Desk,
    DeskOrder,
    EarlyDesk,
    Opened,
    Owner,
    claim,
    condition,
    data_path,
    early_desk,
    occupied,
    open_desk,
)
from hotdesk.desk.folder import damaged
from hotdesk.desk.ports import LOOPBACK, require_free
from hotdesk.engines import on_linux
from hotdesk.engines.folders import check_project
from hotdesk.engines.host import port_variables
from hotdesk.engines.request import (
    ANYWHERE,
    NO_DISPLAY,
    NO_LIMITS,
    WORK,
    ContainerRequest,
    Display,
    Limits,
    LoadedImage,
    Request,
    RunRequest,
)
from hotdesk.errors import DeskError, EngineError
from hotdesk.keys import Keys
from hotdesk.lock import LOCK_NAME, NO_LOCK, Lock, LockedVariant, parse_lock
from hotdesk.progress import SILENT
from hotdesk.project import host_platform
from hotdesk.spec import SPEC_NAME, decode_spec, parse_spec
from hotdesk.store import Store, default_store_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hotdesk.engines.request import ContainerEngineName, EngineName, Root
    from hotdesk.progress import Progress
    from hotdesk.project import Project
    from hotdesk.spec import Variant


_CALLED: Mapping[EngineName, str] = {"sandbox": "the sandbox", "docker": "Docker", "podman": "Podman"}
_ALIVE = ("running", "starting")


@dataclass(frozen=True, slots=True)
class Preparation:
    """How to prepare: with which network, telling whom; what is to run it, with what limits.

    `engine_named`: the caller wants this engine and no other.
    """

    offline: bool = False
    progress: Progress = SILENT
    engine: EngineName = "sandbox"
    engine_named: bool = False
    limits: Limits = NO_LIMITS
    display: Display = NO_DISPLAY


@dataclass(frozen=True, slots=True)
class Opening:
    """How a desk is to be opened, whatever its root will be; `keep` are files to be kept beside it."""

    desk: Desk
    preparation: Preparation
    labels: Mapping[str, str]
    keep: Mapping[str, bytes]
    port_fixed: bool
    ports: Mapping[str, int] = field(default_factory=dict)

    def order(self, root: Root | LoadedImage) -> DeskOrder:
        return DeskOrder(
            name=self.desk.name,
            root=root,
            project=self.desk.project,
            port=int(self.labels["port"]),
            port_fixed=self.port_fixed,
            ports=self.ports,
            labels=self.labels,
            keep=self.keep,
            hidden=own_folders(),
            limits=self.preparation.limits,
            display=self.preparation.display,
        )


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
    check_folder(project.folder, preparation)
    desk = claim(name or project.spec.name, Owner(project.folder, locked.variant), fixed=name is not None)
    preparation = as_it_runs(desk, preparation)
    require_port(desk, port)
    keep = {
        SPEC_NAME: project.spec_path.read_bytes(),
        LOCK_NAME: project.lock_path.read_bytes(),
    }
    _record(Store(default_store_path()), project)
    keys = Keys.of(locked)
    labels = {
        "variant": locked.variant,
        "port": str(port or project.spec.port),
        "packages": f"{keys.system} {keys.environment}",
        **labels_of(preparation),
    }
    fixed = port is not None
    opened = _open(Opening(desk, preparation, labels, keep, fixed, project.spec.ports), locked)
    if opened.already and opened.desk.labels.get("packages") != labels["packages"]:
        preparation.progress.note(
            f"`{desk.name}` still runs on the packages it was opened with; "
            f"`hotdesk stop {desk.name}` and `hotdesk up` take the new lock"
        )
    return opened


def reopen(desk: Desk, preparation: Preparation, *, port: int | None = None) -> Opened:
    """A stopped desk as it was: the lock that it was opened with is kept beside it."""
    try:
        kept = {name: (desk.folder / "keep" / name).read_bytes() for name in (SPEC_NAME, LOCK_NAME)}
    except FileNotFoundError as error:
        raise DeskError(
            f"the desk `{desk.name}` was never opened",
            why=f"{error.filename} is not there",
            hint=f"open it with `hotdesk up` in {desk.project}",
        ) from None
    require_port(desk, port)
    locked = _kept_lock(desk, kept[LOCK_NAME]).select(host_platform(), _kept_variant(desk))
    spec = parse_spec(decode_spec(kept[SPEC_NAME]))
    locked = replace(locked, source=spec.base_reference)
    wanted = port or int(desk.labels.get("port") or spec.port)
    labels = {**desk.labels, "port": str(wanted)}
    preparation = as_it_was(desk, preparation)
    return _open(Opening(desk, preparation, labels, kept, port is not None, spec.ports), locked)


def _kept_lock(desk: Desk, content: bytes) -> Lock:
    try:
        return parse_lock(content.decode())
    except NO_LOCK as error:
        raise damaged(desk.folder, f"it is no lock any more: {error}", f"keep/{LOCK_NAME}") from None


def _kept_variant(desk: Desk) -> str:
    if "variant" not in desk.labels:
        raise damaged(desk.folder, "it was edited, and does not tell which variant the desk shows")
    return desk.labels["variant"]


def _open(opening: Opening, locked: LockedVariant) -> Opened:
    desk, preparation = opening.desk, opening.preparation
    store = Store(default_store_path(), preparation.progress.note)
    if preparation.engine != "sandbox":
        image = load_image(store, locked, preparation.engine, desk.name, preparation)
        in_container = open_desk(opening.order(image), preparation.progress)
        store.record_user(in_container.desk.folder / "keep" / LOCK_NAME)
        return in_container
    # Most of what a first opening waits for is large libraries; Jupyter starts beside them.
    early: EarlyDesk | None = None
    with ExitStack() as started:

        def start_early(root: Root) -> None:
            nonlocal early
            early = started.enter_context(early_desk(opening.order(root)))

        with _root(store, locked, preparation, start_early) as root:
            opened = early.complete(root, preparation.progress) if early else None
            started.close()
            opened = opened or open_desk(opening.order(root), preparation.progress)
            store.record_user(opened.desk.folder / "keep" / LOCK_NAME)
    compile_in_background(store, locked)
    return opened


@dataclass(frozen=True, slots=True)
class Ready:
    """All that commands need is there; `run` starts one, on the terminal, and gives its exit code."""

    desk: Desk
    run: Callable[[tuple[str, ...]], int]


@contextmanager
def ready_to_run(
    project: Project,
    preparation: Preparation,
    *,
    current: Path,
    variant: str | None = None,
    network: Literal["host", "none"] = "host",
    empty_home: bool = False,
) -> Iterator[Ready]:
    """All that has to be there for commands on the desk of `project`, kept as long.

    They start in `current` where that is in the project's folder, else at its top. With `empty_home` they do
    not see the desk's own home, and what was installed there by hand, but one that is gone at the end.
    """
    locked = project.select(variant)
    _refuse_gpu(project.spec.variant(locked.variant))
    check_folder(project.folder, preparation)
    store = Store(default_store_path(), preparation.progress.note)
    _record(store, project)
    with (
        occupied(project.spec.name, Owner(project.folder, locked.variant)) as desk,
        _empty_home(desk) if empty_home else nullcontext(desk.home) as home,
    ):
        in_container = preparation.engine != "sandbox"
        request = Request(
            command=(),
            home=home,
            project=project.folder,
            hostname=desk.name,
            network=network,
            environment=port_variables(ANYWHERE if in_container else LOOPBACK, project.spec.ports),
            directory=_inside(project.folder, current),
            hidden=own_folders(),
            display=preparation.display,
        )
        if preparation.engine != "sandbox":
            image = load_image(store, locked, preparation.engine, desk.name, preparation)
            yield Ready(desk, _in_container(desk, request, image, preparation.limits))
            return
        with _root(store, locked, preparation) as root:
            compile_in_background(store, locked)
            in_sandbox = RunRequest.of(request, root)
            yield Ready(desk, lambda command: on_linux.run(replace(in_sandbox, command=command)))


@contextmanager
def _empty_home(desk: Desk) -> Iterator[Path]:
    import tempfile

    from hotdesk.store import remove_tree

    home = Path(tempfile.mkdtemp(prefix="home-", dir=desk.folder))
    try:
        yield home
    finally:
        remove_tree(home)


def load_image(
    store: Store, locked: LockedVariant, engine: ContainerEngineName, name: str, preparation: Preparation
) -> LoadedImage:
    """The image of `locked` in the engine, built and sent there where it has to be; `name` is for its tag."""
    from hotdesk.engines.loading import find_image, load, tag_of

    require(engine)
    if locked.image and (found := find_image(engine, [locked.image.id])):
        return found
    from hotdesk.build.image import build_image

    tag = tag_of(name, locked.variant)
    with store.using(Keys.of(locked).parts()):
        image = build_image(store, locked, offline=preparation.offline, progress=preparation.progress)
        with store.exclusive(f"load-{engine}-{image.id.partition(':')[2]}"):
            return load(engine, image, tag, preparation.progress)


def _in_container(
    desk: Desk, request: Request, image: LoadedImage, limits: Limits
) -> Callable[[tuple[str, ...]], int]:
    from hotdesk.engines import containers

    folder = desk.folder / "inside"
    folder.mkdir(mode=0o700, exist_ok=True)

    def run(command: tuple[str, ...]) -> int:
        name = f"hotdesk-{desk.name}-run-{os.urandom(6).hex()}"
        one = replace(request, command=command)
        return containers.run(ContainerRequest.of(one, image, name, limits), folder)

    return run


def labels_of(preparation: Preparation) -> dict[str, str]:
    """What a desk keeps of how it was opened, for `as_it_was`."""
    limits = preparation.limits
    display = None if preparation.display == NO_DISPLAY else "host"
    found = {"memory": limits.memory, "processors": limits.processors, "display": display}
    return {name: str(value) for name, value in found.items() if value is not None}


def as_it_was(desk: Desk, preparation: Preparation) -> Preparation:
    """In the engine in which the desk was, with its limits; where it had the display, with that of today."""
    display = NO_DISPLAY
    if "display" in desk.labels and condition(desk).state not in _ALIVE:
        from hotdesk.engines.display import read_display

        try:
            display = read_display()
        except EngineError as error:
            preparation.progress.note(f"the desk is opened without the display that it had: {error.why}")
    return replace(preparation, engine=desk.engine, limits=_kept_limits(desk), display=display)


def _kept_limits(desk: Desk) -> Limits:
    try:
        memory, processors = desk.labels.get("memory"), desk.labels.get("processors")
        return Limits(int(memory) if memory else None, float(processors) if processors else None)
    except ValueError as error:
        raise damaged(desk.folder, f"it was edited, and a limit in it is none: {error}") from None


def _root(
    store: Store,
    locked: LockedVariant,
    preparation: Preparation,
    enough: Callable[[Root], None] | None = None,
) -> AbstractContextManager[Root]:
    if not store.item("environment", Keys.of(locked).environment).exists():
        require("sandbox")
    return open_root(store, locked, offline=preparation.offline, progress=preparation.progress, enough=enough)


def _record(store: Store, project: Project) -> None:
    if project.home == project.folder:  # a template's lock is hotdesk's own and stays for ever
        store.record_user(project.lock_path)


def own_folders() -> tuple[Path, ...]:
    """What no project may bring into its desk: whoever writes there decides what all desks run."""
    return (default_store_path(), data_path())


def check_folder(folder: Path, preparation: Preparation) -> None:
    check_project(folder, own_folders())
    if folder.resolve() == Path.home().resolve():
        preparation.progress.note(
            "your whole home folder is the project: what runs in the desk can read and change all of it"
        )


def _inside(folder: Path, current: Path) -> str:
    """Where the host's folder `current` is inside a sandbox whose project is `folder`."""
    return str(Path(WORK, current.relative_to(folder))) if current.is_relative_to(folder) else WORK


def require_port(desk: Desk, port: int | None) -> None:
    """Rather now than after the downloads: `DeskError` where the desk cannot have this port."""
    if port is not None and condition(desk).state not in _ALIVE:
        require_free(port)


def require(engine: EngineName) -> None:
    """Rather now than after the downloads: `EngineError` where the engine is not to be had here."""
    if engine == "sandbox":
        on_linux.require_sandbox()
    else:
        from hotdesk.engines.loading import require_engine

        require_engine(engine)


def as_it_runs(desk: Desk, preparation: Preparation) -> Preparation:
    """A desk that runs is taken as it does; `DeskError` where another engine, or the display, is wanted."""
    wanted = preparation.engine
    lacks_display = preparation.display != NO_DISPLAY and "display" not in desk.labels
    if (wanted == desk.engine and not lacks_display) or condition(desk).state not in _ALIVE:
        return preparation
    if lacks_display:
        raise DeskError(
            f"the desk `{desk.name}` is open already, without the display",
            why="it can be given to a desk only when that is started",
            hint=f"stop it first: `hotdesk stop {desk.name}`",
        )
    if not preparation.engine_named:
        return replace(preparation, engine=desk.engine)
    raise DeskError(
        f"the desk `{desk.name}` is open already, in {_CALLED[desk.engine]}",
        why=f"it cannot be in {_CALLED[wanted]} as long as it runs there",
        hint=f"stop it first: `hotdesk stop {desk.name}`",
    )


def _refuse_gpu(variant: Variant) -> None:
    if variant.gpu:
        raise EngineError(
            f"the variant `{variant.name}` needs a GPU, and this hotdesk cannot pass one to a desk yet",
            why="without it the desk would open and train on the CPU, which is not what was asked for",
            hint="choose another variant with --variant",
        )
