"""Images into Docker and Podman, through `load`: what the engine has already is left out of the stream.

    Docker, graph driver     docker-archive; the layers of the longest stack that it has are left out
    Docker, containerd       OCI layout; the blobs of layers that any of its images has are left out
    Podman                   the same, with plain archives for blobs: it knows layers by their diff IDs

Nothing is written to the disk on this side. What an engine answers to `load` differs from version to
version, so only what it has afterwards counts.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from hotdesk.engines.client import PODMAN, Client
from hotdesk.engines.request import LoadedImage
from hotdesk.engines.trouble import refuse_other_machines
from hotdesk.oci import tar
from hotdesk.oci.model import INDEX, REF_NAME, Blob, Descriptor, canonical, chain_ids
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from hotdesk.engines.request import ContainerEngineName
    from hotdesk.oci.model import Image, Layer
    from hotdesk.progress import Progress

_PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONTAINERD_NAME = "io.containerd.image.name"

Form = Literal["docker", "oci", "plain oci"]
"""What `load` reads; a plain one holds the layers as archives that are not compressed."""


def load(engine: ContainerEngineName, image: Image, tag: str, progress: Progress = SILENT) -> LoadedImage:
    """The image in the engine, which is sent only what it lacks; `tag` is for people who list its images."""
    names = (image.id, image.manifest.descriptor.digest)
    if found := find_image(engine, names):
        return found
    client = Client.of(engine)
    form = _form(client)
    said = ""
    for there in _attempts(client, image, form):
        total = sum(
            _blob(layer, form).descriptor.size for layer in image.layers if layer.diff_id not in there
        )
        with progress.task(f"loading into {client.engine.title}", total, "bytes") as task:
            said = client.feed(("load", "--quiet"), archive(image, form, tag, there, task.advance))
        if found := find_image(engine, names):
            return found
    raise client.refused(("load",), f"{said}\nit has no image {image.id} afterwards")


def require_engine(engine: ContainerEngineName) -> None:
    """`EngineError` with the cause where the engine is not to be had here."""
    client = Client.of(engine)
    refuse_other_machines(client)
    client.require()


def find_image(engine: ContainerEngineName, names: Sequence[str]) -> LoadedImage | None:
    """The image that the engine knows by one of these digests: its own ID, or that of its manifest."""
    found = Client.of(engine).image_id(names)
    return LoadedImage(engine, found) if found else None


def tag_of(name: str, variant: str) -> str:
    """A tag that no registry has."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "desk"
    return f"localhost/hotdesk/{plain}:{variant}"


def _form(client: Client) -> Form:
    if client.engine is PODMAN:
        return "plain oci"
    return "oci" if client.server().containerd else "docker"


def _attempts(client: Client, image: Image, form: Form) -> Iterator[frozenset[str]]:
    """The diff IDs to leave out: first of all that the engine should have, then of none."""
    diff_ids = [layer.diff_id for layer in image.layers]
    if there := left_out(diff_ids, client.layers(), stacked=form == "docker"):
        yield there
    yield frozenset()


def left_out(wanted: Sequence[str], there: Iterable[Sequence[str]], *, stacked: bool) -> frozenset[str]:
    """Those of the diff IDs `wanted` that need not be sent to an engine with these images.

    `stacked`: it knows a layer only on top of those below it.
    """
    if not stacked:
        return frozenset(wanted) & {diff_id for image in there for diff_id in image}
    known = {chain_id for image in there for chain_id in chain_ids(image)}
    lowest = takewhile(lambda pair: pair[1] in known, zip(wanted, chain_ids(wanted), strict=True))
    return frozenset(diff_id for diff_id, _ in lowest)


def archive(
    image: Image,
    form: Form,
    tag: str,
    without: Collection[str] = (),
    sent: Callable[[int], None] = lambda _: None,
) -> Iterator[bytes]:
    """What `load` reads, without the layers of the diff IDs `without`; `sent` is told of bytes of layers."""
    layers = {blob.descriptor.digest: blob for blob in (_blob(layer, form) for layer in image.layers)}
    gone = {_blob(layer, form).descriptor.digest for layer in image.layers if layer.diff_id in without}
    small = _docker_files(image, tag) if form == "docker" else _oci_files(image, form, tag)
    for path, content in small.items():
        yield from _member(path, len(content), (content,))
    for digest, blob in layers.items():
        if digest not in gone:
            yield from _member(_path(digest), blob.descriptor.size, _told(blob.chunks(), sent))
    yield tar.END


def _docker_files(image: Image, tag: str) -> dict[str, bytes]:
    config = _path(image.id)
    row = {"Config": config, "RepoTags": [tag], "Layers": [_path(layer.diff_id) for layer in image.layers]}
    return {"manifest.json": canonical([row]), config: image.config}


def _oci_files(image: Image, form: Form, tag: str) -> dict[str, bytes]:
    manifest = image.manifest if form == "oci" else _plain_manifest(image)
    names = {REF_NAME: tag, _CONTAINERD_NAME: tag}
    row = replace(manifest.descriptor, annotations=names).to_json()
    return {
        "oci-layout": canonical({"imageLayoutVersion": "1.0.0"}),
        "index.json": canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": [row]}),
        _path(manifest.descriptor.digest): b"".join(manifest.chunks()),
        _path(image.id): image.config,
    }


def _plain_manifest(image: Image) -> Blob:
    plain = [replace(layer, blob=_blob(layer, "plain oci")) for layer in image.layers]
    return replace(image, layers=tuple(plain)).manifest


def _blob(layer: Layer, form: Form) -> Blob:
    if form == "oci":
        return layer.blob
    return Blob(Descriptor(_PLAIN_LAYER, layer.diff_id, layer.tar_size), layer.tar_chunks)


def _member(path: str, size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield tar.header("file", path, mode=0o644, size=size)
    yield from chunks
    yield tar.padding(size)


def _told(chunks: Iterable[bytes], sent: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        sent(len(chunk))


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
