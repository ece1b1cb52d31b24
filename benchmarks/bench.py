"""What the rows share: hotdesk, Docker, and the template's packages."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Self

from benchmarks import machine
from benchmarks.docker_arm import Daemon, Docker
from benchmarks.hotdesk_arm import TEMPLATE, VARIANT, Hotdesk
from benchmarks.registry import Registry
from hotdesk.project import host_platform, read_template

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from hotdesk.lock import LockedVariant


class Bench:
    """What the rows share, each part made when a row first needs it; removes all of it at the end."""

    def __init__(self, scratch: Path, say: Callable[[str], None]) -> None:
        self.scratch = scratch
        self.say = say
        self.facts = machine.facts(scratch)
        self._closing = ExitStack()
        self._registries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    @cached_property
    def locked(self) -> LockedVariant:
        project = read_template(TEMPLATE)
        digest = hashlib.sha256(project.lock_path.read_bytes()).hexdigest()
        self.facts["lock"] = f"{TEMPLATE}, {VARIANT}, SHA-256 {digest[:16]}…"
        return project.read_fresh_lock().select(host_platform(), VARIANT)

    @cached_property
    def docker(self) -> Docker:
        """A daemon that holds the base image and nothing else; a registry has that image as well."""
        self.say("starting a Docker daemon and making its base image")
        daemon = self._closing.enter_context(Daemon(self.scratch / "docker"))
        docker = Docker(daemon, self.locked, self.scratch)
        self.facts["Docker"] = docker.version()
        docker.make_base(self._closing.enter_context(self.registry()).host)
        return docker

    @cached_property
    def docker_with_image(self) -> Docker:
        """The same with the image `uv` and warm caches."""
        self.docker.build("uv", "uv")
        return self.docker

    @cached_property
    def hotdesk(self) -> Hotdesk:
        """A project with the template's desk, opened once, everything cached."""
        self.say("opening hotdesk's desk once")
        hotdesk = self.fresh_hotdesk("cached")
        hotdesk.run("init", TEMPLATE)
        hotdesk.up("--variant", VARIANT, "--name", "benchmark-cached")
        self.say(f"  it went on working for {hotdesk.wait_until_idle():.1f} s")
        hotdesk.stop("benchmark-cached")
        return hotdesk

    def registry(self) -> Registry:
        """An empty one; a context manager."""
        self._registries += 1
        return Registry(self.scratch / f"registry-{self._registries}")

    def fresh_hotdesk(self, name: str) -> Hotdesk:
        """An empty store and no desks; stops and removes what is left of it at the end."""
        folder = self.scratch / name
        Hotdesk(folder).remove_all()  # what a killed run may have left
        hotdesk = Hotdesk(folder)
        self._closing.callback(hotdesk.remove_all)
        return hotdesk
