"""Every claim of an image recomputed: documents, digests, sizes, diff IDs, and what its layers hold.

Nothing is trusted, so that the same code judges what hotdesk built, what a registry sent and what lay in a
file. Layers are streamed; what grows with the image is one small record for each path.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from hotdesk.errors import HotdeskError, ImageError, UnsafeArchiveError
from hotdesk.oci import gzip
from hotdesk.oci.documents import Manifest, parse_config, parse_document
from hotdesk.oci.model import digest_of
from hotdesk.oci.stack import Stack
from hotdesk.oci.untar import Header, members, refuse
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotdesk.oci.model import Blob, Image, Layer
    from hotdesk.oci.stack import Change
    from hotdesk.progress import Progress

    Visit = Callable[[int, Change, Iterator[memoryview]], None]

MOST_UNPACKED = 200_000_000_000
"""Bytes that all layers of one image may inflate to."""
_SURELY_NO_BOMB = 1 << 28
_MOST_IT_INFLATES = 100


def validate(image: Image, progress: Progress = SILENT) -> None:
    """`ImageError` with everything about `image` that is not as it says."""
    refuse_problems(problems(image, progress))


def problems(image: Image, progress: Progress = SILENT) -> list[str]:
    """Everything about `image` that is not as it says, as sentences."""
    return examine(image, _pass_by, progress)[0]


def measured(image: Image, progress: Progress = SILENT) -> Image:
    """The image, which is valid, with the size of each layer's archive; `ImageError` else."""
    found, sizes = examine(image, _pass_by, progress)
    refuse_problems(found)
    layers = [replace(layer, tar_size=size) for layer, size in zip(image.layers, sizes, strict=True)]
    return replace(image, layers=tuple(layers))


def examine(image: Image, visit: Visit, progress: Progress = SILENT) -> tuple[list[str], list[int]]:
    """The problems of `image`, and the size of each layer's archive; `visit` sees every member on the way.

    It is given the number of the layer, from 0, what the member changes in the tree, and its content.
    """
    found = [*_manifest_problems(image), *_config_problems(image)]
    stack = Stack()
    sizes: list[int] = []
    size = sum(layer.blob.descriptor.size for layer in image.layers)
    with progress.task("verifying the image", size, "bytes") as task:
        for number, layer in enumerate(image.layers, 1):
            stack.begin()
            reader = LayerReader(layer, MOST_UNPACKED - sum(sizes))
            try:
                for header, content in reader.members():
                    visit(number - 1, stack.add(header), content)
            except (UnsafeArchiveError, ImageError) as error:
                found.append(f"layer {number} ({layer.blob.descriptor.digest}): {in_one_line(error)}")
            sizes.append(reader.unpacked)
            task.advance(layer.blob.descriptor.size)
    return found, sizes


def _pass_by(number: int, change: Change, content: Iterator[memoryview]) -> None:
    pass


def refuse_problems(found: list[str]) -> None:
    """`ImageError` with all of them, where there are any."""
    if found:
        raise ImageError(
            "the image is not what it claims to be",
            why="\n".join(found),
            hint="do not use it; build it, pull it or have it sent again",
        )


def _manifest_problems(image: Image) -> Iterator[str]:
    blob = image.manifest
    content = b"".join(blob.chunks())
    if (digest_of(content), len(content)) != (blob.descriptor.digest, blob.descriptor.size):
        yield f"the manifest is {digest_of(content)}, not {blob.descriptor.digest}"
    try:
        manifest = parse_document(content, blob.descriptor.media_type)
    except HotdeskError as error:
        yield in_one_line(error)
        return
    if not isinstance(manifest, Manifest):
        yield "the manifest is an index"
        return
    if (manifest.config.digest, manifest.config.size) != (image.id, len(image.config)):
        yield f"the manifest names the configuration {manifest.config.digest}, and it is {image.id}"
    named = [(row.digest, row.size) for row in manifest.layers]
    held = [(layer.blob.descriptor.digest, layer.blob.descriptor.size) for layer in image.layers]
    if named != held:
        yield f"the manifest names {len(named)} layers that are not the {len(held)} of the image"


def _config_problems(image: Image) -> Iterator[str]:
    try:
        config = parse_config(image.config, len(image.layers))
    except HotdeskError as error:
        yield in_one_line(error)
        return
    if list(config.diff_ids) != [layer.diff_id for layer in image.layers]:
        yield "the configuration names other diff IDs than its layers have"
    if config.platform != image.platform:
        yield f"the configuration is for {config.platform or 'nothing'}, and the image for {image.platform}"


def check_recipes(image: Image, progress: Progress = SILENT) -> list[str]:
    """Each layer whose archive, as its recipe gives it, is not the one inside of its blob."""
    found = []
    with progress.task("making layers anew", sum(layer.tar_size for layer in image.layers), "bytes") as task:
        for number, layer in enumerate(image.layers, 1):
            archive = Sum()
            for chunk in layer.tar_chunks():
                archive.add(chunk)
            if archive.digest != layer.diff_id or archive.size != layer.tar_size:
                found.append(f"layer {number}: its archive is {archive.digest} of {archive.size} bytes")
            task.advance(layer.tar_size)
    return found


def in_one_line(error: HotdeskError) -> str:
    return error.what + (f" ({error.why})" if error.why else "")


class Sum:
    """The digest and the size of what passes."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size = 0

    def add(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        self.size += len(chunk)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"


class LayerReader:
    """One layer, every byte of it hashed on the way. `unpacked` counts what came out so far."""

    def __init__(self, layer: Layer, most: int = MOST_UNPACKED) -> None:
        self.layer = layer
        self._most = most
        self._blob, self._archive = Sum(), Sum()

    @property
    def unpacked(self) -> int:
        return self._archive.size

    def members(self) -> Iterator[tuple[Header, Iterator[memoryview]]]:
        """Its members, as `untar.members` gives them.

        `UnsafeArchiveError` where one may not be, where it inflates without measure, and at the end where
        blob or archive are not those that the image names.
        """
        yield from members(self._archived())
        descriptor = self.layer.blob.descriptor
        if self._blob.size != descriptor.size:
            refuse("its blob has another size", f"{self._blob.size} bytes, not {descriptor.size}")
        if self._blob.digest != descriptor.digest:
            refuse("its blob has another digest", f"{self._blob.digest}, not {descriptor.digest}")
        if self._archive.digest != self.layer.diff_id:
            refuse("its archive has another diff ID", f"{self._archive.digest}, not {self.layer.diff_id}")
        if self.layer.tar_size not in (0, self._archive.size):
            refuse("its archive has another size", f"{self._archive.size}, not {self.layer.tar_size} bytes")

    def _archived(self) -> Iterator[bytes]:
        for chunk in gzip.archive(self.layer.blob.descriptor.media_type, self._blob_chunks()):
            self._archive.add(chunk)
            if self._archive.size > self._most:
                refuse("it inflates to more than any desk has", f"over {self._most} bytes")
            much = self._archive.size > _SURELY_NO_BOMB
            if much and self._archive.size > self._blob.size * _MOST_IT_INFLATES:
                refuse("it inflates without measure", f"over {_MOST_IT_INFLATES} times its size")
            yield chunk

    def _blob_chunks(self) -> Iterator[bytes]:
        size = self.layer.blob.descriptor.size
        for chunk in self.layer.blob.chunks():
            self._blob.add(chunk)
            if self._blob.size > size:
                refuse("its blob is larger than the manifest says", f"over {size} bytes")
            yield chunk


def checked(blob: Blob) -> Iterator[bytes]:
    """The blob's bytes; `ImageError` at the end, or before, where they are not what its descriptor says."""
    found = Sum()
    for chunk in blob.chunks():
        found.add(chunk)
        if found.size > blob.descriptor.size:
            break
        yield chunk
    if (found.digest, found.size) != (blob.descriptor.digest, blob.descriptor.size):
        raise ImageError(
            f"a blob of the image is not what its digest says: {blob.descriptor.digest}",
            why=f"it is {found.digest}, {found.size} bytes where {blob.descriptor.size} belong",
            hint="build it, pull it or have it sent again",
        )
