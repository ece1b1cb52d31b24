"""Programs that a build runs in a root: Debian's scripts, a package's own build, the desk's Python.

They are Linux programs. The sandbox runs them where this host makes one; else a container engine does, from
a copy of the root that goes there and comes back as archives, so that nothing depends on what the store's
file system or a mount of the engine's makes of it. What comes of it is the same, bit for bit.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import IO, TYPE_CHECKING, Protocol

from hotdesk.engines.choice import chosen_engine, find_container_engine
from hotdesk.engines.on_linux import require_sandbox, sandbox_root
from hotdesk.errors import EngineError
from hotdesk.portable.files import HOLDS_LINUX_TREES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hotdesk.engines.request import EngineName
    from hotdesk.errors import HotdeskError

_HEAD, _TAIL = 1 << 16, 1 << 20  # bytes
_VARIABLE, _SETTING = "HOTDESK_BUILDER", "builder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program, without a terminal, that sees nothing of the host but what is named here.

    As `root` it may change the tree, and chown and mknod answer that they did what they did not; else it is
    an ordinary user in a tree that is read-only. The keys of `shown`, `room` and `made` are paths inside,
    their values files or folders of the host: those `shown` cannot be written, those of `room` and `made`
    can, and what is `made` is on the host afterwards, whatever it may be. Of folders that are shown, files
    that do not end in `needed` may be missing.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    root: bool = False
    directory: str = "/"
    stdin: bytes = b""
    shown: Mapping[str, Path] = field(default_factory=dict)
    room: Mapping[str, Path] = field(default_factory=dict)
    made: Mapping[str, Path] = field(default_factory=dict)
    needed: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit status of a program, and what it said on both streams: the beginning and the end of it."""

    status: int
    said: bytes


class Inside(Protocol):
    """A root that programs can be run in, also several at once."""

    def run(self, program: Program) -> Ended: ...

    def not_started(self, said: str) -> HotdeskError:
        """Why a program that `said` this could not even start."""
        ...


@contextmanager
def open_root(tree: Path, *, changing: bool = False, network: bool = False) -> Iterator[Inside]:
    """The root at `tree` for as long as this lasts; without `changing`, no program may be root.

    Once it is left without an error, `tree` is what the programs made of it.
    """
    engine = builder()
    if engine == "sandbox":
        yield sandbox_root(tree, network=network)
        return
    from hotdesk.engines.programs_in_container import open_container

    with open_container(engine, tree, changing=changing, network=network) as inside:
        yield inside


def builder() -> EngineName:
    """`HOTDESK_BUILDER`, else `builder` in the user's settings, else what this host has.

    `EngineError` with the cause where it has nothing.
    """
    if not HOLDS_LINUX_TREES:
        raise EngineError(
            "a desk cannot be built on this system",
            why="its file systems have neither the links nor the modes of a Linux system",
            hint="run hotdesk in WSL, which is Linux, or open an image that was built elsewhere: "
            "`hotdesk up REFERENCE --engine docker`",
        )
    return chosen_engine(_VARIABLE, _SETTING) or _found()


@cache
def _found() -> EngineName:
    """The sandbox where it starts, else Docker, else Podman."""
    try:
        require_sandbox()
    except EngineError as error:
        trouble = error
    else:
        return "sandbox"
    if found := find_container_engine():
        return found
    raise EngineError(
        trouble.what,
        why=trouble.why,
        hint=f"{trouble.hint}\nor start Docker or Podman: where one answers, hotdesk builds in it by itself",
    )


def read_said(log: IO[bytes]) -> bytes:
    """All of a short log, of a long one the beginning and the end."""
    size = log.seek(0, os.SEEK_END)
    log.seek(0)
    if size <= _HEAD + _TAIL:
        return log.read()
    head = log.read(_HEAD)
    log.seek(-_TAIL, os.SEEK_END)
    return head + b"\n...\n" + log.read()
