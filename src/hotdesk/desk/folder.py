"""A desk's folder on disk.

    <data>/desks/NAME/           readable by its owner alone
        desk.json                what was started, with the token
        home/                    the desk's own home; it persists
        keep/                    copies that the caller wants kept beside the desk: its spec, its lock
        log                      what Jupyter said
        checks/                  notebooks that `hotdesk check` executed, as HTML
        open.html                leads a browser to the running desk
        status                   what bubblewrap reported: pid 1, at the end the exit code
        alive                    locked by the sandbox's pid 1 for as long as anything runs inside
        container                which container it runs in, where that is no sandbox
        inside/                  files that are mounted in that container alone
        used                     locked by `hotdesk run` and `shell` while a command uses the home
        starting                 locked by the process that starts the desk
    <data>/desks/.names          locked while a name is given or taken away
    <data>/desks/.NAME~HEX/      what `rm` is removing
    <data>/ports/port-PORT       locked while a desk that will listen there starts; on Linux a name does that

The kernel drops a lock with the last process that holds it: no crash, `kill -9` or reboot leaves a desk
that only looks alive, and no process id is trusted without the lock.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotdesk.engines.request import LoadedImage, Root
from hotdesk.errors import DeskError
from hotdesk.portable.files import SAFELY
from hotdesk.portable.locks import Hold, lock, try_lock
from hotdesk.portable.machine import user_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotdesk.engines.request import EngineName

_FORMAT = 1
_LAST_PORT = 65535
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Desk:
    """A desk as it was last started. `started` is in seconds since 1970.

    `ports` are those of the host that lead to the desk's servers beside Jupyter, by the names that they have.
    `labels` are the caller's own, but `port`, where there is one, is a port: the one that was wanted.

    One that is only registered so far has no `root`, and its times, port and token are empty. `stopped` tells
    that its owner asked for its end. `boot` names the machine's run since it was switched on. `early` tells
    that what runs was started before all of its root was there; all else is from before.
    """

    name: str
    folder: Path
    root: Root | LoadedImage | None
    project: Path | None
    port: int
    token: str = field(repr=False)
    started: float
    boot: str
    stopped: bool = False
    early: bool = False
    ports: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def engine(self) -> EngineName:
        """What it was last opened in."""
        return self.root.engine if isinstance(self.root, LoadedImage) else "sandbox"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def url(self) -> str:
        """What opens the desk in a browser; it holds the token."""
        return f"http://127.0.0.1:{self.port}/lab?token={self.token}"


def data_path() -> Path:
    """`HOTDESK_DATA`, else the user's data folder."""
    if configured := os.environ.get("HOTDESK_DATA"):
        return Path(configured).absolute()
    from platformdirs import user_data_path  # 15 ms, and not needed with HOTDESK_DATA

    return user_data_path("hotdesk")


def desk_folder(name: str) -> Path:
    """Where the desk of this name is, or will be."""
    if not _NAME.fullmatch(name):
        raise DeskError(
            f"`{name}` cannot be the name of a desk",
            why="a name has at most 63 letters, digits, `.`, `_` and `-`, and begins with a letter or digit",
            hint="give another with --name",
        )
    return data_path() / "desks" / name


def make_folder(folder: Path, *, private: bool = True) -> None:
    """Make the folder; with `private` refuse one that is there and that others may use."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if private:
            check_private(folder)
    except OSError as error:
        raise DeskError(
            f"the folder {folder} cannot be made",
            why=f"{error.strerror}: {error.filename}",
            hint="mend its permissions or free some space, or set HOTDESK_DATA to another folder",
        ) from error


def check_private(folder: Path) -> None:
    """Raise `DeskError` unless the folder is a real one, the caller's, and closed to everybody else."""
    found = folder.lstat()
    problem = ""
    if not stat.S_ISDIR(found.st_mode):
        problem = "it is a link or a file, not a folder"
    elif found.st_uid != user_ids()[0]:
        problem = f"it belongs to user {found.st_uid}"
    elif found.st_mode & 0o077:
        problem = f"others may use it (mode {stat.S_IMODE(found.st_mode):o})"
    if problem:
        raise DeskError(
            f"the desk's folder {folder} is not safe to use",
            why=problem,
            hint=f"look at what is in it, then chmod 700 or remove it: {folder}",
        )


def write_desk(desk: Desk) -> None:
    """Replace `desk.json` in one step."""
    document = {
        "hotdesk-desk": _FORMAT,
        "name": desk.name,
        "root": _root_to_json(desk.root),
        "project": None if desk.project is None else str(desk.project),
        "port": desk.port,
        "token": desk.token,
        "started": desk.started,
        "boot": desk.boot,
        "stopped": desk.stopped,
        "early": desk.early,
        "ports": dict(desk.ports),
        "labels": dict(desk.labels),
    }
    write_private(desk.folder / "desk.json", json.dumps(document, indent=1).encode())


def read_desk(folder: Path) -> Desk | None:
    """What `write_desk` wrote, None where no desk was ever started there; `DeskError` where it is damaged."""
    try:
        check_private(folder)
        descriptor = os.open(folder / "desk.json", os.O_RDONLY | SAFELY)
        with os.fdopen(descriptor, "rb") as file:
            return _parse(file.read(), folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise damaged(folder, error.strerror or str(error)) from error


def write_opener(desk: Desk) -> Path:
    """A page for its owner alone that leads a browser to the desk: no argument list needs the token."""
    path = desk.folder / "open.html"
    page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={desk.url}">'
    write_private(path, page.encode())
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replace the file in one step; only its owner may read it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def open_private(path: Path, flags: int = os.O_RDWR) -> int:
    """A descriptor of a file that is made when it is not there; never through a link."""
    return os.open(path, flags | os.O_CREAT | SAFELY, 0o600)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock on this file alone; waits for whoever holds it.

    `FileNotFoundError` where its folder is gone by then.
    """
    while True:
        descriptor = open_private(path)
        try:
            lock(descriptor)
            if _is_still(path, descriptor):  # else who held it has removed it, and it locks nothing
                yield
                return
        finally:
            os.close(descriptor)


@contextmanager
def try_exclusive(path: Path) -> Iterator[bool]:
    """Hold the lock on this file alone where nobody holds it; tells whether we do, and never waits."""
    descriptor = open_private(path)
    try:
        yield try_lock(descriptor) and _is_still(path, descriptor)
    finally:
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def is_locked(path: Path, probe: Hold = "shared") -> bool:
    """Whether somebody holds a lock on the file that keeps `probe` away."""
    try:
        descriptor = os.open(path, os.O_RDONLY | SAFELY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor, probe)
    finally:
        os.close(descriptor)


def _parse(content: bytes, folder: Path) -> Desk:
    try:
        document = json.loads(content)
    except RecursionError:
        raise damaged(folder, "it was overwritten: nothing in it is nested so deep") from None
    except ValueError as error:
        raise damaged(folder, f"it was cut short or overwritten, and is no JSON any more: {error}") from None
    written = document.get("hotdesk-desk") if isinstance(document, dict) else None
    if written is None:
        raise damaged(folder, "it describes no desk")
    if written != _FORMAT:
        raise damaged(
            folder, f"another version of hotdesk wrote it: in format {written!a:.40}, not {_FORMAT}"
        )
    try:
        return _desk(document, folder)
    except KeyError as error:
        raise damaged(folder, f"it lacks {error}: another version wrote it, or it was edited") from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise damaged(folder, f"it was edited, and a value in it is none that can be: {error}") from None


def damaged(folder: Path, why: str, file: str = "desk.json") -> DeskError:
    return DeskError(
        f"what is known of the desk `{folder.name}` cannot be read",
        why=f"{folder / file}: {why}",
        hint=f"save what you need from {folder / 'home'}, then `hotdesk rm {folder.name}`",
    )


def _desk(document: dict[str, Any], folder: Path) -> Desk:
    project, root = document["project"], document["root"]
    port, started = int(document["port"]), float(document["started"])
    labels = {str(name): str(value) for name, value in document["labels"].items()}
    wanted = int(labels.get("port", "1"))
    ports = {str(name): int(number) for name, number in document.get("ports", {}).items()}
    if not (0 <= port <= _LAST_PORT and math.isfinite(started)):
        raise ValueError(f"port {port}, started {started}")
    if not all(1 <= number <= _LAST_PORT for number in (wanted, *ports.values())):
        raise ValueError(f"wanted port {wanted}, further ports {ports}")
    "".join([*labels, *labels.values(), *ports]).encode()  # half of a surrogate pair cannot be printed
    return Desk(
        name=folder.name,
        folder=folder,
        root=_root(root),
        project=None if project is None else _path(project),
        port=port,
        token=str(document["token"]),
        started=started,
        boot=str(document["boot"]),
        stopped=bool(document["stopped"]),
        early=bool(document.get("early")),
        ports=ports,
        labels=labels,
    )


def _root_to_json(root: Root | LoadedImage | None) -> object:
    match root:
        case Root(system, environment):
            return [str(system), str(environment)]
        case LoadedImage(engine, identity):
            return {"engine": engine, "image": identity}
    return None


def _root(found: Any) -> Root | LoadedImage | None:
    match found:
        case None:
            return None
        case {"engine": "docker" | "podman" as engine, "image": str(identity)}:
            return LoadedImage(engine, identity)
    return Root(_path(found[0]), _path(found[1]))


def _path(text: str) -> Path:
    if b"\0" in os.fsencode(text):
        raise ValueError("no path holds a NUL")
    return Path(text)
