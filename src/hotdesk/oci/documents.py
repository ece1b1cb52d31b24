"""The JSON documents of images that others made: read, checked, and turned into an `Image`.

Source: OCI image specification 1.1; the Docker image manifest version 2, schema 2, has the same fields.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hotdesk.errors import ImageError
from hotdesk.oci import gzip
from hotdesk.oci.model import INDEX, MANIFEST, Blob, Descriptor, Image, Layer, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_LAYERS_OF_ENGINES = 127
LARGEST_DOCUMENT = 4 << 20
"""In bytes; registries refuse larger manifests as well."""

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_INDEX)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LARGEST_BLOB = 1 << 40
_ATTESTATION = "unknown/unknown"


def parse_index(content: bytes) -> list[Descriptor]:
    """The images and indexes that an index names; what only speaks about an image is left out."""
    document = _document(content, "index")
    rows = _list(document, "manifests", "index")
    found = [_descriptor(row, "index") for row in rows]
    wanted = [row for row in found if row.media_type in (*MANIFESTS, *INDEXES)]
    return [row for row in wanted if row.platform != _ATTESTATION]


def parse_manifest(content: bytes) -> tuple[Descriptor, list[Descriptor]]:
    """The descriptors of the configuration and of the layers."""
    document = _document(content, "manifest")
    layers = [_descriptor(row, "manifest") for row in _list(document, "layers", "manifest")]
    if len(layers) > MOST_LAYERS_OF_ENGINES:
        raise _bad("manifest", f"it has {len(layers)} layers, and engines take {MOST_LAYERS_OF_ENGINES}")
    return _descriptor(document.get("config"), "manifest"), layers


def image_of_documents(
    manifest: Blob, config: bytes, open_blob: Callable[[Descriptor], Iterator[bytes]]
) -> Image:
    """The image of a manifest and its configuration, whose layers are had with `open_blob`.

    `ImageError` where the documents are not well-formed; the layers are not looked at.
    """
    content = b"".join(manifest.chunks())
    described, layers = parse_manifest(content)
    if (digest_of(config), len(config)) != (described.digest, described.size):
        raise _bad("configuration", f"its digest is {digest_of(config)}, not {described.digest}")
    document = _document(config, "configuration")
    diff_ids = _diff_ids(document)
    if len(diff_ids) != len(layers):
        raise _bad("configuration", f"it names {len(diff_ids)} layers, and the manifest {len(layers)}")
    history = _histories(document, len(layers))
    made = []
    for row, diff_id, words in zip(layers, diff_ids, history, strict=True):
        blob = Blob(row, partial(open_blob, row))
        made.append(Layer(blob, diff_id, 0, partial(_archive, blob), words))
    platform = _platform(document)
    found = replace(manifest, descriptor=replace(manifest.descriptor, platform=platform))
    return Image(platform, config, tuple(made), found)


def _archive(blob: Blob) -> Iterator[bytes]:
    return gzip.archive(blob.descriptor.media_type, blob.chunks())


def check_manifest(image: Image) -> Iterator[str]:
    """What is wrong with the image's manifest, as sentences."""
    blob = image.manifest
    content = b"".join(blob.chunks())
    if (digest_of(content), len(content)) != (blob.descriptor.digest, blob.descriptor.size):
        yield f"the manifest is {digest_of(content)}, not {blob.descriptor.digest}"
    try:
        config, layers = parse_manifest(content)
    except ImageError as error:
        yield f"{error.what} ({error.why})"
        return
    if (config.digest, config.size) != (image.id, len(image.config)):
        yield f"the manifest names the configuration {config.digest}, and it is {image.id}"
    named = [(row.digest, row.size) for row in layers]
    held = [(layer.blob.descriptor.digest, layer.blob.descriptor.size) for layer in image.layers]
    if named != held:
        yield f"the manifest names {len(named)} layers that are not the {len(held)} of the image"


def check_config(image: Image) -> Iterator[str]:
    """What is wrong with the image's configuration, as sentences."""
    try:
        document = _document(image.config, "configuration")
        diff_ids = _diff_ids(document)
        platform = _platform(document)
        _histories(document, len(image.layers))
    except ImageError as error:
        yield f"{error.what} ({error.why})"
        return
    if diff_ids != [layer.diff_id for layer in image.layers]:
        yield "the configuration names other diff IDs than its layers have"
    if platform != image.platform:
        yield f"the configuration is for {platform}, and the image for {image.platform}"


def _diff_ids(document: dict[str, Any]) -> list[str]:
    filesystem = document.get("rootfs")
    if not isinstance(filesystem, dict) or filesystem.get("type") != "layers":
        raise _bad("configuration", "its `rootfs` does not list layers")
    found = _list(filesystem, "diff_ids", "configuration")
    return [_digest(value, "configuration") for value in found]


def _histories(document: dict[str, Any], layers: int) -> list[str]:
    """What is said of each layer; nothing where nothing is said of any."""
    rows = document.get("history") or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _bad("configuration", "its `history` is no list of objects")
    told = [str(row.get("created_by") or "") for row in rows if not row.get("empty_layer")]
    if told and len(told) != layers:
        raise _bad("configuration", f"its `history` tells of {len(told)} layers, and there are {layers}")
    return told or [""] * layers


def _platform(document: dict[str, Any]) -> str:
    parts = [document.get("os"), document.get("architecture"), document.get("variant") or ""]
    if not all(isinstance(part, str) for part in parts) or not all(parts[:2]):
        raise _bad("configuration", "it does not say for which system and processor it is")
    return "/".join(part for part in parts if part)


def _descriptor(row: object, what: str) -> Descriptor:
    if not isinstance(row, dict):
        raise _bad(what, f"something in it is no descriptor: {row!a:.80}")
    size, media_type = row.get("size"), row.get("mediaType")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST_BLOB:
        raise _bad(what, f"a blob in it has the size {size!a:.40}")
    if not isinstance(media_type, str):
        raise _bad(what, f"a blob in it has the type {media_type!a:.80}")
    annotations = row.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise _bad(what, "a blob in it has annotations that are no object")
    return Descriptor(
        media_type,
        _digest(row.get("digest"), what),
        size,
        {str(key): str(value) for key, value in annotations.items()},
        _described_platform(row.get("platform")),
    )


def _described_platform(row: object) -> str:
    if not isinstance(row, dict):
        return ""
    parts = [str(row.get(name) or "") for name in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part)


def _digest(value: object, what: str) -> str:
    """A digest also names a file: nothing but hexadecimal digits gets through."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise _bad(what, f"a digest in it is no SHA-256: {value!a:.90}")
    return value


def _list(document: dict[str, Any], name: str, what: str) -> list[Any]:
    found = document.get(name)
    if not isinstance(found, list):
        raise _bad(what, f"it has no list of `{name}`")
    return found


def _document(content: bytes, what: str) -> dict[str, Any]:
    if len(content) > LARGEST_DOCUMENT:
        raise _bad(what, f"it has {len(content)} bytes, more than {LARGEST_DOCUMENT}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _bad(what, f"it is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise _bad(what, "it is no JSON object")
    return document


def _bad(what: str, why: str) -> ImageError:
    return ImageError(
        f"the image's {what} cannot be used", why=why, hint="build it, pull it or have it sent again"
    )
