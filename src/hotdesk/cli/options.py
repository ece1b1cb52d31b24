"""Options that several commands share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotdesk.engines.request import EngineName
    from hotdesk.opening import Preparation
    from hotdesk.progress import Progress

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class _Memory(click.ParamType[int]):
    """An amount such as `4G` or `512m`, in bytes."""

    name = "AMOUNT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        amount = value if isinstance(value, int) else amount_of_memory(str(value))
        if amount is None:
            self.fail(f"`{value}` is no amount of memory, such as `4G` or `512M`.", param, ctx)
        return amount


def amount_of_memory(text: str) -> int | None:
    """The bytes that `4G` or `512M` means, in units of 1024; None where it means none."""
    found = _MEMORY.fullmatch(text.strip())
    return int(float(found[1]) * 1024 ** _UNITS[found[2].lower()]) if found else None


@dataclass(frozen=True, slots=True)
class ChosenEngine:
    """What `--engine`, `--memory`, `--cpus` and `--display` say."""

    name: EngineName | None
    memory: int | None
    cpus: float | None
    display: bool

    def preparation(self, progress: Progress, *, offline: bool) -> Preparation:
        from hotdesk.engines.choice import default_engine
        from hotdesk.engines.request import NO_DISPLAY, Limits
        from hotdesk.errors import UsageError
        from hotdesk.opening import Preparation

        engine = self.name or default_engine()
        if engine == "sandbox" and (self.memory is not None or self.cpus is not None):
            raise UsageError(
                "the sandbox has no limits",
                why="--memory and --cpus need an engine that sets them",
                hint="add `--engine docker` or `--engine podman`",
            )
        limits = Limits(self.memory, self.cpus)
        display = NO_DISPLAY
        if self.display:
            from hotdesk.engines.display import read_display

            display = read_display()
        named = self.name is not None
        return Preparation(offline, progress, engine, engine_named=named, limits=limits, display=display)


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """The engine, the limits that some have, and the display; the command gets all of it as `engine`."""

    @wraps(command)
    def with_engine(
        *,
        engine: EngineName | None,
        memory: int | None,
        cpus: float | None,
        display: bool,
        **others: object,
    ) -> None:
        command(engine=ChosenEngine(engine, memory, cpus, display), **others)

    for option in (
        click.option(
            "--display", is_flag=True, help="Give it this desktop's display, for windows; see isolation.md."
        ),
        click.option(
            "--cpus", type=click.FloatRange(min=0.01), help="At most so many processors; Docker and Podman."
        ),
        click.option("--memory", type=_Memory(), help="At most so much memory, as 4G; Docker and Podman."),
        click.option(
            "--engine",
            type=click.Choice(["sandbox", "docker", "podman"]),
            help="What runs it. Default: HOTDESK_ENGINE, `engine` in config.toml, or the first there is.",
        ),
    ):
        with_engine = option(with_engine)
    return with_engine


offline_option: Callable[[Any], Any] = click.option(
    "--offline", is_flag=True, help="Promise to use no network: fail where something is not in the store."
)
platform_option: Callable[[Any], Any] = click.option(
    "--platform", help="Such as `linux/arm64`; this machine's by default."
)
variant_option: Callable[[Any], Any] = click.option(
    "--variant", help="Which variant of the spec; its first by default."
)
