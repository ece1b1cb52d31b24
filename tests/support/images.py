"""Small images, made of layers as hotdesk writes them."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from hotdesk.layers.entries import File
from hotdesk.oci.layer import blob_chunks, in_order, measure, roots, tar_chunks
from hotdesk.oci.model import LAYER, Blob, Descriptor, Image, Layer, image_of
from hotdesk.oci.pulled import bare, keep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.store import Store


def layer(path: str, content: bytes) -> Layer:
    """A layer with one file."""
    file = File(path, len(content), partial(_pieces, content))
    members = in_order(roots([file]))
    found = measure(members)
    blob = Blob(Descriptor(LAYER, f"sha256:{found.digest}", found.size), partial(blob_chunks, members))
    return Layer(blob, f"sha256:{found.diff_id}", found.tar_size, partial(tar_chunks, members), path)


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 1 << 18):
        yield content[start : start + (1 << 18)]


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def image(*layers: Layer, platform: str = "linux/amd64") -> Image:
    return image_of(platform, {"Cmd": ["sh"]}, layers)


def small_image(seed: int = 0, platform: str = "linux/amd64", size: int = 300_000) -> Image:
    """Three layers, the first the same for every seed."""
    layers = [
        layer("usr/share/base", noise(size)),
        layer("usr/share/mine", noise(size // 2, seed + 1)),
        layer("usr/share/note", f"{seed} {platform}\n".encode() * 100),
    ]
    return image(*layers, platform=platform)


def put_in_store(store: Store, image: Image) -> str:
    """As if it had been pulled; the digest of its manifest."""
    for layer in image.layers:
        place = store.place("blob", bare(layer.blob.descriptor.digest))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"".join(layer.blob.chunks()))
    sizes = [layer.tar_size for layer in image.layers]
    return keep(store, b"".join(image.manifest.chunks()), image.config, sizes)
