"""What a lock knows of the image that a desk is built on. It names no registry: a digest says which image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][A-Za-z0-9.+-]*/[A-Za-z0-9.+-]+")
_RELEASE = re.compile(r"[a-z]+:[a-z]+")
_PYTHON = re.compile(r"3\.[0-9]+\.[0-9]+")


@dataclass(frozen=True, slots=True)
class LockedBlob:
    """A document or a layer; `digest` is `sha256:HEX`, `size` in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class LockedBase:
    """An image for one platform, with what packages have to fit.

    `release` is such as `debian:trixie`; `python` is the whole version of the desk's interpreter, the image's
    own or the one that is installed on it, and `glibc` the minor version of glibc 2.
    """

    manifest: LockedBlob
    config: LockedBlob
    layers: tuple[LockedBlob, ...]
    release: str
    python: str
    glibc: int

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def key(self) -> str:
        """The name of the image's item in the store."""
        return self.digest.removeprefix("sha256:")


def base_to_json(base: LockedBase) -> dict[str, Any]:
    return {
        "release": base.release,
        "python": base.python,
        "glibc": base.glibc,
        "manifest": _blob_to_json(base.manifest),
        "config": _blob_to_json(base.config),
        "layers": [_blob_to_json(layer) for layer in base.layers],
    }


def base_from_json(data: dict[str, Any]) -> LockedBase:
    """What `base_to_json` wrote; `ValueError` where it could not have."""
    return LockedBase(
        manifest=_blob_from_json(data["manifest"]),
        config=_blob_from_json(data["config"]),
        layers=tuple(map(_blob_from_json, data["layers"])),
        release=_matching(_RELEASE, data["release"]),
        python=_matching(_PYTHON, data["python"]),
        glibc=int(data["glibc"]),
    )


def _blob_to_json(blob: LockedBlob) -> list[object]:
    return [blob.media_type, blob.digest, blob.size]


def _blob_from_json(row: list[Any]) -> LockedBlob:
    media_type, digest, size = row
    return LockedBlob(_matching(_MEDIA_TYPE, media_type), _matching(_DIGEST, digest), int(size))


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no word of a base image")
    return text
