"""Which wheels fit a desk: by the desk's own Python and platform, never by those of the host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
# A stable release keeps its interpreter's and its C library's version: (Python, glibc's minor version).
_RELEASES = {"debian:trixie": ("3.13.5", 41), "debian:bookworm": ("3.11.2", 36)}
_UV_KNOWS_GLIBC = 40
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, slots=True)
class Target:
    """What packages are chosen for: a platform such as `linux/amd64`, and a base such as `debian:trixie`.

    `versions` are those of the interpreter and the C library where the base is an image, which has its own.
    """

    platform: str
    base: str
    versions: tuple[str, int] | None = None

    @property
    def machine(self) -> str:
        return MACHINES[self.platform]

    @property
    def python(self) -> str:
        """The interpreter's full version, for markers and `Requires-Python`."""
        return (self.versions or _RELEASES[self.base])[0]

    @property
    def interpreter(self) -> str:
        """Its path in the base; a release has one, and an image may have several."""
        return f"/usr/bin/python{self.python.rpartition('.')[0]}" if self.versions else "/usr/bin/python3"

    @property
    def glibc(self) -> int:
        """The minor version of glibc 2."""
        return (self.versions or _RELEASES[self.base])[1]

    @property
    def uv_platform(self) -> str:
        """As `uv --python-platform` spells it."""
        return f"{self.machine}-manylinux_2_{min(self.glibc, _UV_KNOWS_GLIBC)}"


@lru_cache
def supported_tags(target: Target) -> dict[Tag, int]:
    """The rank of each tag that the desk supports; 0 fits best."""
    major, minor, _ = target.python.split(".")
    version = (int(major), int(minor))
    interpreter = f"cp{major}{minor}"
    platforms = list(_platforms(target))
    ordered = (
        *cpython_tags(version, [interpreter], platforms),
        *compatible_tags(version, interpreter, platforms),
    )
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}


def _platforms(target: Target) -> Iterator[str]:
    oldest = 5 if target.machine == "x86_64" else 17
    for minor in range(target.glibc, oldest - 1, -1):
        yield f"manylinux_2_{minor}_{target.machine}"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_{target.machine}"
    yield f"linux_{target.machine}"


def wheel_rank(file: str, target: Target) -> tuple[int, tuple[int, ...], str] | None:
    """How well the wheel of this file name fits, smaller is better; None where it does not."""
    try:
        _, _, build, tags = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return None
    supported = supported_tags(target)
    ranks = [supported[tag] for tag in tags if tag in supported]
    if not ranks:
        return None
    newest_build = tuple(-part for part in build[:1] if isinstance(part, int)) or (1,)
    return min(ranks), newest_build, file


def best_wheel(files: Iterable[str], target: Target) -> str | None:
    """The wheel that an installer inside the desk would take; None where none fits."""
    ranked = [(rank, file) for file in files if (rank := wheel_rank(file, target))]
    return min(ranked)[1] if ranked else None
