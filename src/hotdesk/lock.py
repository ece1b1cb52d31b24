"""The lock: every package of every variant, by version, file name, size and SHA-256. It names no host.

On disk it is JSON with one package a line: a program reads it in a millisecond, a person reads its diff.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hotdesk.errors import LockError
from hotdesk.lock_base import LockedBase, base_from_json, base_to_json
from hotdesk.lock_images import LockedImage, format_images, parse_images
from hotdesk.lock_words import checked, checked_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FORMAT = 1
LOCK_NAME = "hotdesk.lock"
# What reading a text that is no lock raises; a RecursionError where it is nested too deep.
NO_LOCK = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file to download.

    `file` is the file name of a wheel or sdist, or the path of a .deb below its archive
    (`pool/main/…`); `size` is in bytes; `sha256` is hexadecimal. `project` is what an index files it
    under: a normalized PyPI project name, or a Debian archive (`debian`, `debian-security`). A blob of a
    registry is one too, in no lock.
    """

    kind: Literal["pypi", "debian", "blob"]
    project: str
    file: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The bare file name."""
        return self.file.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A locked .deb."""

    name: str
    version: str
    architecture: str
    artifact: Artifact
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Build:
    """How a package without a usable wheel is built: its build requirements, and the wheel that comes out."""

    requires: tuple[Artifact, ...]
    wheel: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PythonPackage:
    """A locked wheel, or a locked sdist with its `build`; `layer` is an index into the lock's layer order."""

    name: str
    version: str
    artifact: Artifact
    variants: tuple[str, ...]
    layer: int
    build: Build | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """The part of a spec that a lock depends on, normalized; two specs with equal inputs share a lock.

    `pypi` and `debian` are sorted; `variants` maps each name to its own (pypi, debian) additions.
    """

    python: str
    base: str
    platforms: tuple[str, ...]
    pypi: tuple[str, ...]
    debian: tuple[str, ...]
    variants: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class LockedVariant:
    """Everything on one desk: one variant on one platform. Package order is layer order.

    `base_image` is the image that it is built on, if any, and `source` where the spec says that it is to be
    had, which is in no lock and no part of what a desk is.
    """

    platform: str
    variant: str
    python: str
    base: str
    snapshot: str
    debian: tuple[DebianPackage, ...]
    pypi: tuple[PythonPackage, ...]
    image: LockedImage | None = None
    base_image: LockedBase | None = None
    source: str = field(default="", compare=False)

    def artifacts(self) -> list[Artifact]:
        """All that must be in the store before the desk can open, build requirements included."""
        found = {package.artifact.sha256: package.artifact for package in self.debian}
        for package in self.pypi:
            found[package.artifact.sha256] = package.artifact
            if package.build:
                found.update((artifact.sha256, artifact) for artifact in package.build.requires)
        return list(found.values())


@dataclass(frozen=True, slots=True)
class PlatformLock:
    """One platform's packages, each once, with the variants that hold it.

    `unavailable` says, for a variant that could not be resolved on a platform nobody insisted on, why.
    """

    debian: tuple[DebianPackage, ...]
    pypi: tuple[PythonPackage, ...]
    unavailable: Mapping[str, str] = field(default_factory=dict)
    base: LockedBase | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """`hotdesk.lock`. `snapshot` is the UTC time of the Debian indexes, as `YYYYMMDDTHHMMSSZ`.

    `images` are those that were built, by platform and variant.
    """

    inputs: Inputs
    snapshot: str
    platforms: Mapping[str, PlatformLock]
    images: Mapping[str, Mapping[str, LockedImage]] = field(default_factory=dict)

    def select(self, platform: str, variant: str) -> LockedVariant:
        """One variant on one platform; `LockError` where the lock does not hold it, saying what it holds."""
        locked = self.platforms.get(platform)
        if locked is None:
            held = ", ".join(f"`{name}`" for name in self.platforms)
            raise LockError(
                f"the lock has no packages for `{platform}`",
                why=f"it was made for {held}",
                hint=f'add "{platform}" to `platforms` in `[desk]` and run `hotdesk lock`',
            )
        if variant in locked.unavailable:
            raise LockError(
                f"the variant `{variant}` cannot be had on `{platform}`", why=locked.unavailable[variant]
            )
        if variant not in self.inputs.variants:
            held = ", ".join(f"`{name}`" for name in self.inputs.variants)
            raise LockError(f"there is no variant `{variant}`", hint=f"choose one of {held}")
        return LockedVariant(
            platform=platform,
            variant=variant,
            python=self.inputs.python,
            base=self.inputs.base,
            snapshot=self.snapshot,
            debian=tuple(package for package in locked.debian if variant in package.variants),
            pypi=tuple(
                sorted(
                    (package for package in locked.pypi if variant in package.variants),
                    key=lambda package: (package.layer, package.name),
                )
            ),
            image=self.images.get(platform, {}).get(variant),
            base_image=locked.base,
        )


def read_lock(path: Path) -> Lock:
    """The lock at `path`; `LockError` where there is none or it is not one we can read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LockError(f"there is no `{path.name}` in {path.parent}", hint="run `hotdesk lock`") from None
    except UnicodeDecodeError as error:
        raise _unreadable(path, error) from None
    try:
        return parse_lock(text)
    except LockError:
        raise
    except NO_LOCK as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> LockError:
    return LockError(
        f"`{path}` is not a lock that this hotdesk can read",
        why=f"{type(error).__name__}: {error}",
        hint="restore it from version control, or remove it and run `hotdesk lock`",
    )


def write_lock(lock: Lock, path: Path) -> None:
    """Replace the lock at `path`; `LockError` for one that could not be read again."""
    text = format_lock(lock)
    try:
        parse_lock(text)
    except ValueError as error:
        raise LockError(
            "what was resolved cannot be locked",
            why=str(error),
            hint="take the package off `hotdesk.toml`, and report it to those who published it",
        ) from None
    write_file(path, text)


def write_file(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old one or the new one, its mode stays."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(text.encode())
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o777)
        partial.replace(path)
    except OSError as error:
        raise LockError(
            f"`{path.name}` cannot be written in {path.parent}",
            why=f"{error.strerror}",
            hint="mend the folder's permissions, or free some space",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def format_lock(lock: Lock) -> str:
    """The text of the lock; the same lock gives the same text."""
    head = {
        "hotdesk-lock": FORMAT,
        "snapshot": lock.snapshot,
        "inputs": _inputs_to_json(lock.inputs),
    }
    lines = ["{"]
    lines += [f" {_dump(key)}: {_dump(value)}," for key, value in head.items()]
    lines.append(' "platforms": {')
    platforms = [_platform_lines(name, platform) for name, platform in lock.platforms.items()]
    lines.append(",\n".join(platforms))
    lines.append(" },")
    lines += [f' "images": {format_images(lock.images)}', "}", ""]
    return "\n".join(lines)


def _platform_lines(name: str, platform: PlatformLock) -> str:
    debian = _rows(debian_to_json(package) for package in platform.debian)
    pypi = _rows(_python_to_json(package) for package in platform.pypi)
    unavailable = _dump(dict(sorted(platform.unavailable.items())))
    base = f'   "base": {_dump(base_to_json(platform.base))},\n' if platform.base else ""
    body = f'{base}   "unavailable": {unavailable},\n   "debian": {debian},\n   "pypi": {pypi}'
    return f"  {_dump(name)}: {{\n{body}\n  }}"


def _rows(rows: Iterable[dict[str, object]]) -> str:
    joined = ",\n".join(f"    {_dump(row)}" for row in rows)
    return f"[\n{joined}\n   ]" if joined else "[]"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _inputs_to_json(inputs: Inputs) -> dict[str, object]:
    return {
        "python": inputs.python,
        "base": inputs.base,
        "platforms": list(inputs.platforms),
        "pypi": list(inputs.pypi),
        "debian": list(inputs.debian),
        "variants": {
            name: {"pypi": list(pypi), "debian": list(debian)}
            for name, (pypi, debian) in inputs.variants.items()
        },
    }


def debian_to_json(package: DebianPackage) -> dict[str, object]:
    return {
        "name": package.name,
        "version": package.version,
        "architecture": package.architecture,
        "archive": package.artifact.project,
        "file": package.artifact.file,
        "size": package.artifact.size,
        "sha256": package.artifact.sha256,
        "variants": list(package.variants),
    }


def _python_to_json(package: PythonPackage) -> dict[str, object]:
    row: dict[str, object] = {
        "name": package.name,
        "version": package.version,
        "file": package.artifact.file,
        "size": package.artifact.size,
        "sha256": package.artifact.sha256,
        "variants": list(package.variants),
        "layer": package.layer,
    }
    if package.build:
        row["build"] = {
            "wheel": package.build.wheel,
            "sha256": package.build.sha256,
            "requires": [
                {"name": item.project, "file": item.file, "size": item.size, "sha256": item.sha256}
                for item in package.build.requires
            ],
        }
    return row


def parse_lock(text: str) -> Lock:
    """The lock in `text`; a name that is a path or a malformed hash is refused, not trusted.

    One of `NO_LOCK` where it is not what `format_lock` writes.
    """
    data: dict[str, Any] = json.loads(text)
    if data.get("hotdesk-lock") != FORMAT:
        raise LockError(
            f"this lock has format {data.get('hotdesk-lock')!r}, and this hotdesk reads format {FORMAT}",
            hint="update hotdesk, or run `hotdesk lock`",
        )
    inputs = data["inputs"]
    return Lock(
        inputs=Inputs(
            python=checked("python", inputs["python"]),
            base=inputs["base"],
            platforms=tuple(inputs["platforms"]),
            pypi=tuple(inputs["pypi"]),
            debian=tuple(inputs["debian"]),
            variants={
                name: (tuple(variant["pypi"]), tuple(variant["debian"]))
                for name, variant in inputs["variants"].items()
            },
        ),
        snapshot=checked_time(data["snapshot"]),
        platforms={
            name: PlatformLock(
                debian=tuple(debian_from_json(row) for row in platform["debian"]),
                pypi=tuple(_python_from_json(row) for row in platform["pypi"]),
                unavailable=platform["unavailable"],
                base=base_from_json(platform["base"]) if "base" in platform else None,
            )
            for name, platform in data["platforms"].items()
        },
        images=parse_images(data.get("images", {})),
    )


def debian_from_json(row: dict[str, Any]) -> DebianPackage:
    return DebianPackage(
        name=checked("debian-name", row["name"]),
        version=checked("debian-version", row["version"]),
        architecture=checked("architecture", row["architecture"]),
        artifact=_artifact("debian", checked("archive", row["archive"]), row),
        variants=tuple(row["variants"]),
    )


def _python_from_json(row: dict[str, Any]) -> PythonPackage:
    build = row.get("build")
    return PythonPackage(
        name=checked("pypi-name", row["name"]),
        version=checked("pypi-version", row["version"]),
        artifact=_artifact("pypi", row["name"], row),
        variants=tuple(row["variants"]),
        layer=int(row["layer"]),
        build=Build(
            requires=tuple(
                _artifact("pypi", checked("pypi-name", item["name"]), item) for item in build["requires"]
            ),
            wheel=checked("file", build["wheel"]),
            sha256=checked("sha256", build["sha256"]),
        )
        if build
        else None,
    )


def _artifact(kind: Literal["pypi", "debian"], project: str, row: dict[str, Any]) -> Artifact:
    file = checked("pool-path" if kind == "debian" else "file", row["file"])
    return Artifact(
        kind=kind, project=project, file=file, size=int(row["size"]), sha256=checked("sha256", row["sha256"])
    )
