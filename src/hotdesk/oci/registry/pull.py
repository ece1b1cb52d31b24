"""An image from a repository into the store; nothing is believed that can be checked."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hotdesk.errors import (
    ImageError,
    NoPlatformError,
    RegistryError,
    UnsafeArchiveError,
    UnsafeImageError,
)
from hotdesk.fetch.partial import full, writing
from hotdesk.fetch.transfer import Transfer
from hotdesk.lock import Artifact
from hotdesk.oci.documents import Config, Index, Manifest, parse_config
from hotdesk.oci.pulled import bare, is_whole, keep, known_layers, layer_of, remember_reference
from hotdesk.oci.registry.crew import for_each
from hotdesk.oci.registry.manifests import Found, find_manifest, read_blob
from hotdesk.oci.registry.origins import remember
from hotdesk.oci.registry.problems import explained
from hotdesk.oci.registry.session import CONNECTIONS, PATIENT, Patience, Session
from hotdesk.oci.stack import Stack
from hotdesk.oci.validate import MOST_UNPACKED, LayerReader, in_one_line
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotdesk.fetch.transfer import Stop
    from hotdesk.oci.model import Descriptor, Layer
    from hotdesk.oci.registry.reference import Reference
    from hotdesk.progress import Progress, Task
    from hotdesk.store import Store


@dataclass(frozen=True, slots=True)
class Pulled:
    """`digest` is that of the image's own manifest; `size` bytes of layers were not in the store yet."""

    reference: Reference
    digest: str
    platform: str
    there: int
    fetched: int
    size: int


def pull(
    store: Store,
    reference: Reference,
    platform: str,
    *,
    progress: Progress = SILENT,
    patience: Patience = PATIENT,
) -> Pulled:
    """Bring the image for `platform` into the store; `oci.pulled.pulled_image` reads it there."""
    session = Session(reference, "pull", patience=patience, note=progress.note)
    with store.in_use(), explained(session, f"`{reference}` cannot be pulled"), session:
        found = _find(session, platform)
        manifest = found.document
        assert isinstance(manifest, Manifest)
        config_bytes = read_blob(session, manifest.config)
        config = parse_config(config_bytes, len(manifest.layers))
        if not _serves(config.platform, platform):
            raise _no_platform(reference, platform, [config.platform])
        missing = _missing(store, manifest.layers)
        _check_space(store, missing)
        known = _fetch(store, session, manifest, config, missing=missing, progress=progress)
        sizes = _sizes(manifest, config, known)
        keep(store, found.content, config_bytes, sizes)
    remember_reference(store, noted_as(reference, platform), found.digest)
    layers = len({layer.digest for layer in manifest.layers})
    size = sum(layer.size for layer in missing)
    return Pulled(reference, found.digest, config.platform, layers - len(missing), len(missing), size)


def noted_as(reference: Reference, platform: str) -> str:
    """Under which words `oci.pulled.recall_reference` finds what was pulled."""
    return f"{reference} {platform}"


def _find(session: Session, platform: str) -> Found:
    """The manifest of the image for the platform, which an index may lead to."""
    reference = session.reference
    found = find_manifest(session, reference.version)
    if found is None:
        raise RegistryError(
            f"there is no image `{reference}`",
            why=f"the registry has nothing at `{reference.version}` in {reference.repository}",
            hint="check the repository and the tag; where it is private, log in with `docker login` or "
            "`podman login`",
        )
    if not isinstance(found.document, Index):
        return found
    offered = [entry for entry in found.document.manifests if entry.platform]
    entry = next((entry for entry in offered if _serves(entry.platform, platform)), None)
    if entry is None:
        raise _no_platform(reference, platform, [entry.platform for entry in offered])
    chosen = find_manifest(session, entry.digest)
    if chosen is None:
        raise UnsafeImageError(f"`{reference}` is not whole", why=f"the registry has no {entry.digest}")
    if isinstance(chosen.document, Index):
        raise UnsafeImageError(f"`{reference}` is no image", why="its index leads to another index")
    if len(chosen.content) != entry.size:
        why = f"{entry.digest} has {len(chosen.content):,} bytes, and its index says {entry.size:,}"
        raise UnsafeImageError(f"`{reference}` lies about itself", why=why)
    return chosen


def _serves(offered: str, wanted: str) -> bool:
    """A platform without its variant means any."""
    both = sorted((f"{offered}/", f"{wanted}/"), key=len)
    return "/" in offered and both[1].startswith(both[0])


def _no_platform(reference: Reference, platform: str, offered: Sequence[str]) -> NoPlatformError:
    return NoPlatformError(
        f"`{reference}` is not for {platform}",
        why=f"it is for {', '.join(dict.fromkeys(offered)) or 'no platform at all'}",
        hint="choose one of these with --platform" if offered else "",
    )


def _missing(store: Store, layers: Sequence[Descriptor]) -> list[Descriptor]:
    unique = {layer.digest: layer for layer in layers}
    return [layer for layer in unique.values() if not is_whole(store, layer)]


def _check_space(store: Store, missing: Sequence[Descriptor]) -> None:
    needed = sum(max(layer.size - _begun(store, layer), 0) for layer in missing)
    with writing(store.root, needed):
        store.root.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(store.root)
    if disk.total and disk.free < needed:  # some file systems do not count
        raise full(store.root, needed, f"{disk.free / 1e6:,.1f} MB are free")


def _begun(store: Store, layer: Descriptor) -> int:
    try:
        return store.partial(bare(layer.digest)).stat().st_size
    except OSError:
        return 0


def _fetch(
    store: Store,
    session: Session,
    manifest: Manifest,
    config: Config,
    *,
    missing: Sequence[Descriptor],
    progress: Progress,
) -> dict[str, Layer]:
    """All layers, by digest: brought into the store and checked, the large ones first."""
    known = known_layers(store)
    fresh = {layer.digest for layer in missing}
    numbers = {layer.digest: number for number, layer in enumerate(manifest.layers)}
    todo = [number for digest, number in numbers.items() if digest in fresh or digest not in known]
    if not todo:
        return known
    with progress.task("pulling", sum(layer.size for layer in missing), "bytes") as task:

        def bring(number: int, stop: Stop) -> None:
            descriptor = manifest.layers[number]
            if descriptor.digest in fresh:
                _transfer(store, session, descriptor, stop=stop, task=task, progress=progress)
            remember(store, descriptor.digest, session.reference)
            known[descriptor.digest] = _checked(layer_of(store, descriptor, config, number, 0), stop)

        for_each(sorted(todo, key=lambda number: -manifest.layers[number].size), bring, CONNECTIONS)
    return known


def _checked(layer: Layer, stop: Stop) -> Layer:
    """The layer with the size of its archive; `UnsafeImageError` where it is not what it should be."""
    reader, stack = LayerReader(layer), Stack()
    stack.begin()
    try:
        for header, _ in reader.members():
            stop.pause(0)
            stack.add(header)
    except (UnsafeArchiveError, ImageError) as error:
        raise UnsafeImageError(
            f"the layer {layer.blob.descriptor.digest} is no layer that hotdesk takes",
            why=in_one_line(error),
            hint="do not use the image; ask whoever made it",
        ) from None
    return replace(layer, tar_size=reader.unpacked)


def _transfer(
    store: Store, session: Session, layer: Descriptor, *, stop: Stop, task: Task, progress: Progress
) -> None:
    sha256 = bare(layer.digest)
    name = f"layer {sha256[:12]}"
    artifact = Artifact("blob", session.reference.repository, name, layer.size, sha256)
    transfer = Transfer(
        store,
        session,
        artifact,
        shelf="blob",
        stop=stop,
        retry=session.patience.retry,
        report=task.advance,
        note=progress.note,
    )
    transfer.run([session.url(f"blobs/{layer.digest}")])


def _sizes(manifest: Manifest, config: Config, known: Mapping[str, Layer]) -> list[int]:
    """The size of each layer's archive; `UnsafeImageError` where the configuration names another one."""
    sizes = []
    for descriptor, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        layer = known[descriptor.digest]
        if layer.diff_id != diff_id:
            raise UnsafeImageError(
                f"the layer {descriptor.digest} holds something else than the image says",
                why=f"its archive has the digest {layer.diff_id}, and the configuration names {diff_id}",
            )
        sizes.append(layer.tar_size)
    if sum(sizes) > MOST_UNPACKED:
        raise UnsafeImageError(
            "the image unpacks to more than any desk has", why=f"its layers have {sum(sizes):,} bytes"
        )
    return sizes
