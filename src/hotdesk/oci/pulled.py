"""Images that were pulled, in the store: the blobs of their layers, and an item for each manifest.

blobs/HEX                         a layer's blob
items/pulled/HEX/manifest.json    as the registry has it; HEX is its SHA-256
items/pulled/HEX/config.json
items/pulled/HEX/layers.json      the uncompressed size of each layer
pulled/HEX                        a reference, by its SHA-256, and the digest it led to
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from isal import igzip, igzip_lib

from hotdesk.errors import RegistryError, UnsafeImageError
from hotdesk.oci.documents import GZIP_LAYERS, Config, Manifest, parse_config, parse_document
from hotdesk.oci.model import Blob, Image, Layer, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hotdesk.oci.model import Descriptor
    from hotdesk.store import Store

MOST_UNPACKED = 256 << 30
"""Bytes of all layers of an image together."""
KEPT_AS = "image"
"""Among what a desk keeps: the file with the digest of the pulled image that it was opened from."""
_PIECE = 1 << 20
_MOST_RATIO = 250
_RATIO_COUNTS_FROM = 1 << 30
_MANIFEST, _CONFIG, _LAYERS = "manifest.json", "config.json", "layers.json"


@dataclass(frozen=True, slots=True)
class PulledImage(Image):
    """With the manifest that somebody wrote, byte for byte."""

    manifest_bytes: bytes
    manifest_type: str
    config_type: str

    @property
    def manifest(self) -> Blob:
        return Blob.of(self.manifest_bytes, self.manifest_type, self.platform)

    @property
    def config_blob(self) -> Blob:
        return Blob.of(self.config, self.config_type)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a layer's blob: the digest and the size of its archive."""

    diff_id: str
    size: int


def pulled_image(store: Store, digest: str) -> PulledImage:
    """The image whose manifest has this digest; `RegistryError` where it was not pulled.

    Its layers read their blobs from the store: keep it there with `store.using([("pulled", HEX)])`.
    """
    item = store.item("pulled", bare(digest))
    try:
        manifest_bytes, config_bytes = (item / _MANIFEST).read_bytes(), (item / _CONFIG).read_bytes()
        sizes = [int(size) for size in json.loads((item / _LAYERS).read_bytes())]
    except FileNotFoundError:
        raise RegistryError(
            f"the image {digest} is not in the store", hint="`hotdesk pull REFERENCE` brings it there"
        ) from None
    manifest = parse_document(manifest_bytes)
    assert isinstance(manifest, Manifest)
    config = parse_config(config_bytes, len(manifest.layers))
    layers = [
        _layer(store, descriptor, config, number, size)
        for number, (descriptor, size) in enumerate(zip(manifest.layers, sizes, strict=True))
    ]
    return PulledImage(
        config.platform,
        config_bytes,
        tuple(layers),
        manifest_bytes,
        manifest.media_type,
        manifest.config.media_type,
    )


def _layer(store: Store, descriptor: Descriptor, config: Config, number: int, size: int) -> Layer:
    path = store.place("blob", bare(descriptor.digest))
    if not is_whole(store, descriptor):
        raise RegistryError(
            f"the layer {descriptor.digest} is not in the store",
            why="it was removed, perhaps because it was damaged",
            hint="pull the image again",
        )
    blob = Blob(descriptor, partial(_read, path))
    archive = partial(archive_chunks, path, descriptor.media_type)
    return Layer(blob, config.diff_ids[number], size, archive, config.history[number])


def is_whole(store: Store, layer: Descriptor) -> bool:
    """Whether the layer's blob is in the store."""
    try:
        return store.place("blob", bare(layer.digest)).stat().st_size == layer.size
    except OSError:
        return False


def keep(store: Store, manifest: bytes, config: bytes, sizes: Sequence[int]) -> str:
    """Note an image whose blobs are in the store; the digest of its manifest."""

    def fill(item: Path) -> None:
        (item / _MANIFEST).write_bytes(manifest)
        (item / _CONFIG).write_bytes(config)
        (item / _LAYERS).write_text(json.dumps(list(sizes)), encoding="ascii")

    digest = digest_of(manifest)
    store.make("pulled", bare(digest), fill)
    return digest


def blobs_of(item: Path) -> set[str]:
    """The SHA-256 of each blob that a pulled image needs."""
    manifest = parse_document((item / _MANIFEST).read_bytes())
    assert isinstance(manifest, Manifest)
    return {bare(layer.digest) for layer in manifest.layers}


def differences(store: Store, item: Path) -> list[str]:
    """What is wrong with a pulled image; the content of its blobs aside."""
    image = pulled_image(store, f"sha256:{item.name}")
    found = []
    if digest_of(image.manifest_bytes) != f"sha256:{item.name}":
        found.append(f"{_MANIFEST} is damaged")
    manifest = parse_document(image.manifest_bytes)
    assert isinstance(manifest, Manifest)
    if image.id != manifest.config.digest:
        found.append(f"{_CONFIG} is damaged")
    return found


def known_contents(store: Store) -> dict[str, Contents]:
    """What the blobs of images in the store were found to hold, by digest."""
    known = {}
    folder = store.item("pulled", "")
    for item in folder.iterdir() if folder.is_dir() else ():
        with suppress(RegistryError, OSError, ValueError):
            for layer in pulled_image(store, f"sha256:{item.name}").layers:
                known[layer.blob.descriptor.digest] = Contents(layer.diff_id, layer.tar_size)
    return known


def contents_of(path: Path, descriptor: Descriptor) -> Contents:
    """What is in a blob; `UnsafeImageError` where it is not what its kind says, or a bomb."""
    import gzip
    import zlib

    digest, size = hashlib.sha256(), 0
    try:
        for chunk in archive_chunks(path, descriptor.media_type):
            digest.update(chunk)
            size += len(chunk)
            if size > MOST_UNPACKED or size > max(_RATIO_COUNTS_FROM, _MOST_RATIO * descriptor.size):
                raise UnsafeImageError(
                    f"the layer {descriptor.digest} unpacks to absurdly many bytes",
                    why=f"{descriptor.size:,} bytes became {size:,} and more",
                )
    except (EOFError, zlib.error, gzip.BadGzipFile, igzip_lib.error) as error:  # type: ignore[misc]
        why = f"it calls itself gzip, and cannot be unpacked: {error}"
        raise UnsafeImageError(f"the layer {descriptor.digest} is damaged", why=why) from None
    return Contents(f"sha256:{digest.hexdigest()}", size)


def archive_chunks(path: Path, media_type: str) -> Iterator[bytes]:
    """The uncompressed archive in a blob."""
    if media_type not in GZIP_LAYERS:
        yield from _read(path)
        return
    with igzip.IGzipFile(path, "rb") as stream:  # type: ignore[no-untyped-call]
        while chunk := stream.read(_PIECE):
            yield chunk


def remember_reference(store: Store, reference: str, digest: str) -> None:
    """Note which image the reference led to."""
    place = _noted(store, reference)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(json.dumps({"reference": reference, "digest": digest}), encoding="utf-8")
    temporary.replace(place)


def recall_reference(store: Store, reference: str) -> str:
    """The digest of the image that the reference led to, if that image is in the store; else nothing."""
    try:
        noted: dict[str, Any] = json.loads(_noted(store, reference).read_bytes())
        digest = str(noted["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return digest if store.item("pulled", bare(digest)).is_dir() else ""


def bare(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _noted(store: Store, reference: str) -> Path:
    return store.root / "pulled" / hashlib.sha256(reference.encode()).hexdigest()


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_PIECE):
            yield chunk
