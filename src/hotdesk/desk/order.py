"""What to start a desk with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotdesk.desk.register import Owner
from hotdesk.engines.request import NO_DISPLAY, NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hotdesk.engines.request import Display, Limits, LoadedImage, Root


@dataclass(frozen=True, slots=True)
class DeskOrder:
    """What to start; whether the sandbox or a container engine does it is decided by its `root`.

    With `port_fixed`, `port` or an error; else the next free one from `port` on. `ports` are what
    further servers want, by name; each gets the next free one. `keep` are files to be kept beside the desk,
    by name. `jupyter` are further arguments of `jupyter lab`. `hidden` and `display`
    as in `Request`.
    """

    name: str
    root: Root | LoadedImage
    project: Path | None
    port: int = 8888
    port_fixed: bool = False
    ports: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, bytes] = field(default_factory=dict)
    jupyter: tuple[str, ...] = ()
    hidden: tuple[Path, ...] = ()
    limits: Limits = NO_LIMITS
    display: Display = NO_DISPLAY

    @property
    def owner(self) -> Owner:
        return Owner(self.project, self.labels.get("variant", ""))
