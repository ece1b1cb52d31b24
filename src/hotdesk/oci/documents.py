"""Manifests, indexes and configurations that somebody else wrote, read with suspicion.

Source: OCI image specification 1.1; Docker's image manifest version 2, schema 2.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotdesk.errors import UnsafeImageError
from hotdesk.oci.model import CONFIG, INDEX, LAYER, MANIFEST, Descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOCKER = "application/vnd.docker"
DOCKER_MANIFEST = f"{_DOCKER}.distribution.manifest.v2+json"
DOCKER_INDEX = f"{_DOCKER}.distribution.manifest.list.v2+json"
DOCKER_CONFIG = f"{_DOCKER}.container.image.v1+json"
DOCKER_LAYER = f"{_DOCKER}.image.rootfs.diff.tar.gzip"
MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({INDEX, DOCKER_INDEX})
GZIP_LAYERS = frozenset({LAYER, DOCKER_LAYER})
TAR_LAYERS = frozenset({LAYER.removesuffix("+gzip"), DOCKER_LAYER.removesuffix(".gzip")})

LARGEST_DOCUMENT = 4 << 20
"""What registries commonly take for a manifest; configurations are no larger."""
MOST_LAYERS = 127
MOST_PLATFORMS = 256
LARGEST_LAYER = 64 << 30
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NOT_JSON = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its configuration and its layers, the lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Images for several platforms; `rows` are the entries as they were written."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What a configuration says of the layers; `history` has a line for each."""

    platform: str
    diff_ids: tuple[str, ...]
    history: tuple[str, ...]


def parse_document(content: bytes, content_type: str = "") -> Manifest | Index:
    """`UnsafeImageError` for what is no image, or calls itself something else than the registry does."""
    document = _object(content, "manifest")
    claimed = document.get("mediaType", "")
    if not isinstance(claimed, str):
        raise _refused("its manifest does not tell its kind in words")
    if claimed and content_type and claimed != content_type:
        raise _refused(f"its manifest calls itself `{claimed}`, and the registry `{content_type}`")
    kind = claimed or content_type
    if document.get("schemaVersion") != 2:
        raise _refused(
            f"its manifest has version {document.get('schemaVersion')!r}, and 2 is the only one known"
        )
    if "manifests" in document and ("layers" in document or "config" in document):
        raise _refused("its manifest is an index and an image at once")
    if "manifests" in document and (not kind or kind in INDEXES):
        return _index(document, kind or INDEX)
    if "layers" in document and (not kind or kind in MANIFESTS):
        return _manifest(document, kind or MANIFEST)
    raise _refused(f"its manifest is of the kind {kind!r}")


def parse_config(content: bytes, layers: int) -> Config:
    """The configuration of an image with so many layers."""
    document = _object(content, "configuration")
    filesystem = document.get("rootfs")
    diff_ids = filesystem.get("diff_ids") if isinstance(filesystem, dict) else None
    if not isinstance(diff_ids, list) or not all(is_digest(digest) for digest in diff_ids):
        raise _refused("its configuration does not tell the digests of its layers' contents")
    if len(diff_ids) != layers:
        raise _refused(f"its configuration tells of {len(diff_ids)} layers, and its manifest of {layers}")
    return Config(_platform(document), tuple(diff_ids), _history(document.get("history"), layers))


def _index(document: dict[str, Any], media_type: str) -> Index:
    rows = document["manifests"]
    if not isinstance(rows, list) or len(rows) > MOST_PLATFORMS:
        raise _refused(f"its index has no list of manifests, or one of more than {MOST_PLATFORMS}")
    return Index(media_type, tuple(_descriptor(row, LARGEST_DOCUMENT) for row in rows), tuple(rows))


def _manifest(document: dict[str, Any], media_type: str) -> Manifest:
    config = _descriptor(document.get("config"), LARGEST_DOCUMENT)
    if config.media_type not in (CONFIG, DOCKER_CONFIG):
        raise _refused(f"it holds no file system: its configuration is of the kind {config.media_type!r}")
    rows = document["layers"]
    if not isinstance(rows, list) or len(rows) > MOST_LAYERS:
        raise _refused(f"it has no list of layers, or one of more than {MOST_LAYERS}")
    layers = tuple(_descriptor(row, LARGEST_LAYER) for row in rows)
    for layer in layers:
        if layer.media_type not in GZIP_LAYERS | TAR_LAYERS:
            raise _refused(
                f"a layer is of the kind {layer.media_type!r}, and hotdesk reads gzip and plain tar"
            )
    return Manifest(media_type, config, layers)


def _descriptor(row: object, largest: int) -> Descriptor:
    if not isinstance(row, dict):
        raise _refused("a descriptor in its manifest is no object")
    media_type, digest, size = row.get("mediaType"), row.get("digest"), row.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not is_digest(digest):
        raise _refused("a descriptor in its manifest lacks its kind or a SHA-256 digest")
    if type(size) is not int or not 0 <= size <= largest:
        raise _refused(f"{digest} is said to have {size!r} bytes; from 0 to {largest:,} are allowed")
    annotations = row.get("annotations")
    words = annotations if isinstance(annotations, dict) else {}
    plain = {name: text for name, text in words.items() if isinstance(text, str)}
    platform = row.get("platform")
    return Descriptor(
        media_type, digest, size, plain, _platform(platform) if isinstance(platform, dict) else ""
    )


def _platform(row: Mapping[str, Any]) -> str:
    words = [row.get("os"), row.get("architecture"), row.get("variant")]
    found = [word for word in words if isinstance(word, str) and _WORD.fullmatch(word)]
    return "/".join(found)


def _history(rows: object, layers: int) -> tuple[str, ...]:
    """What is said of each layer; nothing where that does not fit their number."""
    told = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    lines = [str(row.get("created_by") or "") for row in told if not row.get("empty_layer")]
    return tuple(lines) if len(lines) == layers else ("",) * layers


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except _NOT_JSON as error:
        raise _refused(f"its {what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _refused(f"its {what} is no JSON object")
    return document


def is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _refused(why: str) -> UnsafeImageError:
    return UnsafeImageError("what was offered is no image that hotdesk takes", why=why)
