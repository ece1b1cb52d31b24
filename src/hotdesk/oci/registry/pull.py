"""An image from a repository into the store; nothing is believed that can be checked."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotdesk.errors import NoPlatformError, RegistryError, UnsafeImageError
from hotdesk.fetch.partial import full, writing
from hotdesk.fetch.transfer import Transfer
from hotdesk.lock import Artifact
from hotdesk.oci.documents import Index, Manifest, parse_config
from hotdesk.oci.pulled import Contents, bare, contents_of, is_whole, keep, known_contents, remember_reference
from hotdesk.oci.registry.crew import for_each
from hotdesk.oci.registry.manifests import Found, find_manifest, read_blob
from hotdesk.oci.registry.origins import remember
from hotdesk.oci.registry.problems import explained
from hotdesk.oci.registry.session import CONNECTIONS, PATIENT, Patience, Session
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotdesk.fetch.transfer import Stop
    from hotdesk.oci.model import Descriptor
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
    session = Session(reference, "pull", patience=patience)
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
        contents = _fetch(store, session, manifest, progress, missing)
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            _check_contents(layer, contents[layer.digest], diff_id)
        sizes = [contents[layer.digest].size for layer in manifest.layers]
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
    needed = sum(layer.size for layer in missing)
    with writing(store.root, needed):
        store.root.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(store.root)
    free = disk.f_bavail * disk.f_frsize
    if needed and disk.f_blocks and free < needed:
        raise full(store.root, needed, f"{free / 1e6:,.1f} MB are free")


def _fetch(
    store: Store, session: Session, manifest: Manifest, progress: Progress, missing: Sequence[Descriptor]
) -> dict[str, Contents]:
    """All layers in the store, and what is in each; the large ones first."""
    contents = known_contents(store)
    fresh = {layer.digest for layer in missing}
    unique = {layer.digest: layer for layer in manifest.layers}
    todo = [layer for layer in unique.values() if layer.digest in fresh or layer.digest not in contents]
    lock = threading.Lock()
    with progress.task("pulling", sum(layer.size for layer in missing), "bytes") as task:

        def bring(layer: Descriptor, stop: Stop) -> None:
            if layer.digest in fresh:
                _transfer(store, session, layer, stop=stop, task=task, progress=progress)
            found = contents_of(store.place("blob", bare(layer.digest)), layer)
            remember(store, layer.digest, session.reference)
            with lock:
                contents[layer.digest] = found

        for_each(sorted(todo, key=lambda layer: -layer.size), bring, CONNECTIONS)
    return contents


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


def _check_contents(layer: Descriptor, contents: Contents, diff_id: str) -> None:
    if contents.diff_id != diff_id:
        raise UnsafeImageError(
            f"the layer {layer.digest} holds something else than the image says",
            why=f"its content has the digest {contents.diff_id}, and the configuration names {diff_id}",
        )
