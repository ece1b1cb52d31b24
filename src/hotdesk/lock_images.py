"""What a lock knows of the images that were built from it: what they must be wherever they are built."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hotdesk.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotdesk.lock import Lock, LockedVariant

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FILES = re.compile(r"[A-Za-z0-9+/]*")


@dataclass(frozen=True, slots=True)
class LockedLayer:
    """A layer's diff ID, and the marks of the files that were made rather than copied, to tell which differ.

    `files` has two characters for each of them, in the order in which they are in the layer.
    """

    diff_id: str
    files: str


@dataclass(frozen=True, slots=True)
class LockedImage:
    """An image's ID, and its layers, the lowest first."""

    id: str
    layers: tuple[LockedLayer, ...]


def format_images(images: Mapping[str, Mapping[str, LockedImage]]) -> str:
    """JSON with a layer a line."""
    platforms = [_format_platform(platform, variants) for platform, variants in sorted(images.items())]
    return "{\n" + ",\n".join(platforms) + "\n }" if platforms else "{}"


def _format_platform(platform: str, variants: Mapping[str, LockedImage]) -> str:
    rows = [f"   {json.dumps(variant)}: {_format(image)}" for variant, image in sorted(variants.items())]
    joined = ",\n".join(rows)
    return f"  {json.dumps(platform)}: {{\n{joined}\n  }}"


def _format(image: LockedImage) -> str:
    rows = [json.dumps([layer.diff_id, layer.files]) for layer in image.layers]
    layers = ",\n".join(f"     {row}" for row in rows)
    return f'{{"id": {json.dumps(image.id)}, "layers": [\n{layers}\n   ]}}'


def parse_images(data: Mapping[str, Any]) -> dict[str, dict[str, LockedImage]]:
    """What `format_images` wrote; `ValueError` where it could not have."""
    return {
        platform: {variant: _parse(image) for variant, image in variants.items()}
        for platform, variants in data.items()
    }


def _parse(image: Mapping[str, Any]) -> LockedImage:
    layers = tuple(
        LockedLayer(_matching(_DIGEST, diff_id), _matching(_FILES, files))
        for diff_id, files in image["layers"]
    )
    return LockedImage(_matching(_DIGEST, image["id"]), layers)


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no digest")
    return text


def with_image(lock: Lock, platform: str, variant: str, image: LockedImage) -> Lock:
    """The lock with the record of an image."""
    images = {**lock.images, platform: {**lock.images.get(platform, {}), variant: image}}
    return replace(lock, images=images)


def keep_images(lock: Lock, previous: Lock) -> Lock:
    """The lock with what the one before it knew of images whose packages are still the same."""
    images = {
        platform: {
            variant: image for variant, image in variants.items() if _same(lock, previous, platform, variant)
        }
        for platform, variants in previous.images.items()
    }
    return replace(lock, images={platform: variants for platform, variants in images.items() if variants})


def _same(lock: Lock, previous: Lock, platform: str, variant: str) -> bool:
    try:
        return _content(lock, platform, variant) == _content(previous, platform, variant)
    except LockError:
        return False


def _content(lock: Lock, platform: str, variant: str) -> LockedVariant:
    """What an image is made from, whatever else the lock holds."""
    locked = lock.select(platform, variant)
    return replace(
        locked,
        image=None,
        snapshot="",
        debian=tuple(replace(package, variants=()) for package in locked.debian),
        pypi=tuple(replace(package, variants=()) for package in locked.pypi),
    )
