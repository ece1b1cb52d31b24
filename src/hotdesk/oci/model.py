"""Images as immutable values: descriptors, layers, manifests, configurations, in canonical JSON.

Source: OCI image specification 1.1.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hotdesk.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
REF_NAME = "org.opencontainers.image.ref.name"
CREATED = "1980-01-01T00:00:00Z"
MOST_LAYERS = 100


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob by what is known of it; `digest` is `sha256:HEX`, `size` in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            row["annotations"] = dict(self.annotations)
        if self.platform:
            row["platform"] = platform_to_json(self.platform)
        return row


@dataclass(frozen=True, slots=True)
class Blob:
    """Some bytes with their descriptor; `chunks` gives them anew at each call."""

    descriptor: Descriptor
    chunks: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, content: bytes, media_type: str, platform: str = "") -> Blob:
        descriptor = Descriptor(media_type, digest_of(content), len(content), platform=platform)
        return cls(descriptor, lambda: iter((content,)))


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's blob, and the uncompressed archive in it; `history` says what it holds, in words.

    `tar_size` is 0 where nobody has unpacked it yet.
    """

    blob: Blob
    diff_id: str
    tar_size: int
    tar_chunks: Callable[[], Iterator[bytes]]
    history: str


@dataclass(frozen=True, slots=True)
class Image:
    """A configuration and its layers, the lowest first; `id` is the digest of the configuration."""

    platform: str
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def id(self) -> str:
        return digest_of(self.config)

    @property
    def config_blob(self) -> Blob:
        return Blob.of(self.config, CONFIG)

    @property
    def manifest(self) -> Blob:
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config_blob.descriptor.to_json(),
            "layers": [layer.blob.descriptor.to_json() for layer in self.layers],
        }
        return Blob.of(canonical(document), MANIFEST, self.platform)

    def blobs(self) -> tuple[Blob, ...]:
        """All that the manifest names."""
        return (*(layer.blob for layer in self.layers), self.config_blob)


def image_of(platform: str, settings: Mapping[str, Any], layers: Sequence[Layer]) -> Image:
    """The image of these layers; `settings` is the configuration's `config` object.

    `ImageError` for more layers than every engine takes.
    """
    if len(layers) > MOST_LAYERS:
        raise ImageError(
            f"the image would have {len(layers)} layers",
            why=f"engines take no more than {MOST_LAYERS}",
            hint="remove `hotdesk.lock` and run `hotdesk lock`: it plans the layers anew",
        )
    document = {
        "architecture": platform_to_json(platform)["architecture"],
        "config": settings,
        "created": CREATED,
        "history": [{"created": CREATED, "created_by": layer.history} for layer in layers],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return Image(platform, canonical(document), tuple(layers))


def index_of(images: Sequence[Image]) -> Blob:
    """The index of one image for each platform."""
    manifests = [image.manifest.descriptor.to_json() for image in images]
    return Blob.of(canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}), INDEX)


def platform_to_json(platform: str) -> dict[str, str]:
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    found = {"os": system, "architecture": architecture}
    return found | {"variant": variant} if variant else found


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def canonical(document: object) -> bytes:
    """JSON in one spelling: sorted keys, no blanks, UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """What engines call the stack of layers up to each."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
