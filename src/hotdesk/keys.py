"""The names in the store of everything that a lock becomes, from the lock alone.

Garbage collection knows by them what to keep without making anything, and `hotdesk run` finds its root
without importing what would build it. A recipe's number goes up whenever its result changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotdesk.store import item_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hotdesk.lock import DebianPackage, Lock, LockedVariant, PythonPackage
    from hotdesk.lock_base import LockedBase
    from hotdesk.store import Kind

_SYSTEM = "system 2"
_SYSTEM_ON_IMAGE = "system on an image 1"
_WHEEL = "wheel-tree 3"
_BUILT = "built 1"
_BYTECODE = "bytecode 1"
_ENVIRONMENT = "environment 6"
IMAGE_FORMAT = 7
_IMAGE = f"image {IMAGE_FORMAT}"
_UNPACKED = "unpacked 1"

IMAGE_NAME = "image.json"
"""The file beside a desk that was opened straight from an image, which says what image that is."""


@dataclass(frozen=True, slots=True)
class Keys:
    """One locked variant; `wheels` and `bytecode` are in the order of its packages.

    `base` is empty where it is not built on an image.
    """

    system: str
    built: dict[str, str]
    wheels: tuple[str, ...]
    bytecode: tuple[str, ...]
    environment: str
    image: str
    downloads: tuple[str, ...]
    base: str = ""

    @classmethod
    def of(cls, locked: LockedVariant) -> Keys:
        system = system_key(locked.debian, locked.base_image)
        wheels = tuple(wheel_tree_key(wheel_sha256(package), locked.python) for package in locked.pypi)
        interpreter = interpreter_hashes(locked)
        environment = environment_key(wheels, locked.python, interpreter)
        built = {
            package.name: built_key(
                package.artifact.sha256, [item.sha256 for item in package.build.requires], system
            )
            for package in locked.pypi
            if package.build
        }
        return cls(
            system=system,
            built=built,
            wheels=wheels,
            bytecode=tuple(bytecode_key(wheel, locked.python, interpreter) for wheel in wheels),
            environment=environment,
            image=image_key(locked, system, environment, built.values()),
            downloads=tuple(package.artifact.sha256 for package in locked.pypi if not package.build),
            base=locked.base_image.key if locked.base_image else "",
        )

    def items(self) -> Iterator[tuple[Kind, str]]:
        yield "system", self.system
        yield "environment", self.environment
        yield "image", self.image
        if self.base:
            yield "pulled", self.base
        yield from (("built", key) for key in self.built.values())
        yield from (("wheel", key) for key in self.wheels)
        yield from (("bytecode", key) for key in self.bytecode)

    def parts(self) -> Iterator[tuple[str, str]]:
        """All that an image's layers are read from; `download` is no item, but a file."""
        yield from self.items()
        yield from (("download", sha256) for sha256 in self.downloads)


@dataclass(frozen=True, slots=True)
class Needs:
    """What of the store something needs: artifacts by SHA-256, items by kind and key."""

    downloads: frozenset[str]
    items: frozenset[tuple[Kind, str]]


def needs_of(lock: Lock) -> Needs:
    """What every variant of `lock` needs on every platform."""
    downloads: set[str] = set()
    items: set[tuple[Kind, str]] = set()
    for name, platform in lock.platforms.items():
        for variant in lock.inputs.variants.keys() - platform.unavailable.keys():
            locked = lock.select(name, variant)
            downloads.update(artifact.sha256 for artifact in locked.artifacts())
            items.update(Keys.of(locked).items())
    return Needs(frozenset(downloads), frozenset(items))


def system_key(packages: Iterable[DebianPackage], base: LockedBase | None = None) -> str:
    """A base system, in whatever order its packages come; `base` is the image that they are installed on."""
    recipe = (_SYSTEM_ON_IMAGE, base.digest) if base else (_SYSTEM,)
    return item_key(*recipe, *sorted(f"{package.name} {package.artifact.sha256}" for package in packages))


def wheel_sha256(package: PythonPackage) -> str:
    """The hash of the wheel that gets installed: the locked one, or the one that is built."""
    return package.build.sha256 if package.build else package.artifact.sha256


def wheel_tree_key(sha256: str, python: str) -> str:
    """A wheel's tree; `python` is a version such as `3.13`."""
    return item_key(_WHEEL, sha256, python)


def built_key(sdist: str, requires: Sequence[str], system: str) -> str:
    """A wheel built from an sdist, by the hashes of all that goes into it."""
    return item_key(_BUILT, system, sdist, *sorted(requires))


def bytecode_key(wheel: str, python: str, interpreter: Sequence[str]) -> str:
    """A wheel's bytecode; `wheel` is its tree's key, `interpreter` what `interpreter_hashes` gives."""
    return item_key(_BYTECODE, wheel, python, *sorted(interpreter))


def environment_key(wheels: Sequence[str], python: str, interpreter: Sequence[str]) -> str:
    """An environment with its bytecode, which is that of `interpreter`.

    The order of its wheels counts, since the later wins where two hold a path.
    """
    return item_key(_ENVIRONMENT, python, *sorted(interpreter), "", *wheels)


def image_key(locked: LockedVariant, system: str, environment: str, built: Iterable[str]) -> str:
    """An image; the layers that the packages are in are part of it."""
    layers = (str(package.layer) for package in locked.pypi)
    parts = (locked.platform, locked.variant, locked.base, system, environment)
    return item_key(_IMAGE, *parts, *sorted(built), "", *layers)


def unpacked_key(image_id: str) -> str:
    """The tree of an image, by the image's ID."""
    return item_key(_UNPACKED, image_id)


def interpreter_packages(python: str) -> tuple[str, ...]:
    """The Debian packages whose bytes decide what the interpreter compiles."""
    return (
        f"python{python}-minimal",
        f"libpython{python}-minimal",
        f"libpython{python}-stdlib",
        f"python{python}",
    )


def interpreter_hashes(locked: LockedVariant) -> tuple[str, ...]:
    """The SHA-256 of each of them, and of the image that may have the interpreter already."""
    names = interpreter_packages(locked.python)
    image = (locked.base_image.key,) if locked.base_image else ()
    return (*image, *(package.artifact.sha256 for package in locked.debian if package.name in names))
