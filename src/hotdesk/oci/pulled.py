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

from hotdesk.errors import RegistryError
from hotdesk.oci import gzip
from hotdesk.oci.documents import Config, Manifest, parse_config, parse_document
from hotdesk.oci.model import Blob, Image, Layer, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hotdesk.oci.model import Descriptor
    from hotdesk.store import Store

_PIECE = 1 << 20
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
        layer_of(store, descriptor, config, number, size)
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


def layer_of(store: Store, descriptor: Descriptor, config: Config, number: int, size: int) -> Layer:
    path = store.place("blob", bare(descriptor.digest))
    if not is_whole(store, descriptor):
        raise RegistryError(
            f"the layer {descriptor.digest} is not in the store",
            why="it was removed, perhaps because it was damaged",
            hint="pull the image again",
        )
    archived = partial(_archive, path, descriptor.media_type)
    blob = Blob(descriptor, partial(_read, path))
    return Layer(blob, config.diff_ids[number], size, archived, config.history[number])


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
    """What is wrong with a pulled image, the content of its blobs aside; an error where one is missing."""
    content = (item / _MANIFEST).read_bytes()
    if digest_of(content) != f"sha256:{item.name}":
        return [f"{_MANIFEST} is damaged"]
    manifest = parse_document(content)
    assert isinstance(manifest, Manifest)
    if digest_of((item / _CONFIG).read_bytes()) != manifest.config.digest:
        return [f"{_CONFIG} is damaged"]
    pulled_image(store, f"sha256:{item.name}")
    return []


def known_layers(store: Store) -> dict[str, Layer]:
    """The layers of all images in the store, by the digest of their blobs, as they were found to be."""
    known = {}
    folder = store.item("pulled", "")
    for item in folder.iterdir() if folder.is_dir() else ():
        with suppress(RegistryError, OSError, ValueError):
            for layer in pulled_image(store, f"sha256:{item.name}").layers:
                known[layer.blob.descriptor.digest] = layer
    return known


def known_images(store: Store) -> dict[str, frozenset[str]]:
    """The diff IDs of the images in the store, by the references that led to them."""
    found = {}
    folder = store.root / "pulled"
    for note in folder.iterdir() if folder.is_dir() else ():
        with suppress(RegistryError, OSError, ValueError, KeyError, TypeError):
            noted = json.loads(note.read_bytes())
            layers = pulled_image(store, str(noted["digest"])).layers
            found[str(noted["reference"]).partition(" ")[0]] = frozenset(layer.diff_id for layer in layers)
    return found


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


def _archive(path: Path, media_type: str) -> Iterator[bytes]:
    return gzip.archive(media_type, _read(path))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_PIECE):
            yield chunk
