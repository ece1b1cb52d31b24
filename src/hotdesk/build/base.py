"""The image that a desk is built on: in the store, or brought there from the registry that the spec names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotdesk.errors import ImageError, NotCachedError, RegistryError
from hotdesk.lock_base import LockedBlob
from hotdesk.oci.documents import GZIP_LAYERS
from hotdesk.oci.model import LAYER
from hotdesk.oci.pulled import blobs_of, pulled_image
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from hotdesk.lock import LockedVariant
    from hotdesk.lock_base import LockedBase
    from hotdesk.oci.model import Descriptor, Layer
    from hotdesk.oci.pulled import PulledImage
    from hotdesk.progress import Progress
    from hotdesk.store import Store


def bring_base(
    store: Store, locked: LockedVariant, *, offline: bool = False, progress: Progress = SILENT
) -> None:
    """Have the image that `locked` is built on in the store, if it is built on one."""
    if locked.base_image:
        bring_image(
            store, locked.base_image, locked.source, locked.platform, offline=offline, progress=progress
        )


def bring_image(
    store: Store,
    base: LockedBase,
    source: str,
    platform: str,
    *,
    offline: bool = False,
    progress: Progress = SILENT,
) -> None:
    """Have the locked image in the store; `source` is the spec's reference, whose tag does not matter."""
    if is_there(store, base):
        return
    size = sum(layer.size for layer in base.layers)
    if offline:
        raise NotCachedError(
            f"the image that this desk is built on is not in the store, {size / 1e6:,.1f} MB",
            why="`--offline` promises that nothing is downloaded",
            hint="run it once without `--offline`",
        )
    if not source:
        raise RegistryError(
            f"the image that this desk is built on is not in the store: {base.digest}",
            why="a lock names no registry, and there is no spec at hand that does",
            hint="`hotdesk pull REFERENCE` brings it there",
        )
    from hotdesk.oci.registry.pull import pull
    from hotdesk.oci.registry.reference import parse_reference

    pull(store, parse_reference(source).at(base.digest), platform, progress=progress)
    check_image(pulled_image(store, base.digest), base)


def is_there(store: Store, base: LockedBase) -> bool:
    try:
        blobs = blobs_of(store.item("pulled", base.key))
    except OSError:
        return False
    return all(store.place("blob", blob).is_file() for blob in blobs)


def check_image(image: PulledImage, base: LockedBase) -> None:
    """The digest of its manifest says it all, but a lock may have been edited."""
    manifest, config, layers = locked_blobs(image)
    if (manifest, config, layers) != (base.manifest, base.config, base.layers):
        raise ImageError(
            "the image that this desk is built on is not what the lock says",
            why=f"{base.digest} has other layers, or another configuration, than the lock has for it",
            hint="restore the lock from version control, or run `hotdesk lock --upgrade`",
        )


def locked_blobs(image: PulledImage) -> tuple[LockedBlob, LockedBlob, tuple[LockedBlob, ...]]:
    """Manifest, configuration and layers, as a lock has them."""
    return (
        _locked(image.manifest.descriptor),
        _locked(image.config_blob.descriptor),
        tuple(_locked(layer.blob.descriptor) for layer in image.layers),
    )


def _locked(descriptor: Descriptor) -> LockedBlob:
    return LockedBlob(descriptor.media_type, descriptor.digest, descriptor.size)


def base_layers(store: Store, base: LockedBase | None) -> list[Layer]:
    """The image's layers as they are, named as in an OCI image; empty without an image."""
    if base is None:
        return []
    from dataclasses import replace

    def as_oci(layer: Layer) -> Layer:
        kind = LAYER if layer.blob.descriptor.media_type in GZIP_LAYERS else LAYER.removesuffix("+gzip")
        descriptor = replace(layer.blob.descriptor, media_type=kind, annotations={})
        return replace(layer, blob=replace(layer.blob, descriptor=descriptor))

    return [as_oci(layer) for layer in pulled_image(store, base.digest).layers]
