"""Images as files: an OCI image layout, in a folder or in one tar archive, which `docker load` takes as well.

    oci-layout               which version of the layout this is
    index.json               the images
    manifest.json            the same for Docker before its version 25, which knows no index
    blobs/sha256/HEX         manifests, configurations, layers

Sources: OCI image specification 1.1, "Image Layout"; the format of `docker save`, "Combined Image JSON +
Filesystem Changeset".
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Protocol

from hotdesk.errors import ImageError
from hotdesk.oci import tar
from hotdesk.oci.archive import Archive
from hotdesk.oci.documents import (
    INDEXES,
    LARGEST_DOCUMENT,
    MANIFESTS,
    Index,
    Manifest,
    parse_config,
    parse_document,
)
from hotdesk.oci.gzip import archive
from hotdesk.oci.model import INDEX, REF_NAME, Blob, Layer, canonical
from hotdesk.oci.pulled import PulledImage
from hotdesk.oci.validate import Sum, checked
from hotdesk.portable.files import SAFELY
from hotdesk.portable.locks import try_lock
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hotdesk.oci.model import Descriptor, Image
    from hotdesk.progress import Progress, Task

CONTAINERD_NAME = "io.containerd.image.name"
_LAYOUT = canonical({"imageLayoutVersion": "1.0.0"})
_DOCUMENTS = ("oci-layout", "manifest.json", "index.json")
_BLOBS = "blobs/sha256"
_PARTIAL = ".partial"
_ATTESTATION = "unknown/unknown"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CHUNK = 1 << 20


def write_layout(images: Sequence[Image], path: Path, name: str, progress: Progress = SILENT) -> None:
    """Write the images, one for each platform, to `path`: a folder, or a tar archive where it ends in `.tar`.

    `name` is what engines call it, such as `desk:latest`. An archive appears when it is whole, in the place
    of an older one; a folder is a layout when its `index.json` appears, and blobs it had are not written
    again. The bytes depend on the images and the name alone.
    """
    blobs = {blob.descriptor.digest: blob for image in images for blob in (image.manifest, *image.blobs())}
    documents = _documents(images, name)
    size = sum(blob.descriptor.size for blob in blobs.values())
    write = _write_archive if path.suffix == ".tar" else _write_folder
    try:
        with progress.task(f"writing {path.name}", size, "bytes") as task:
            write(path, documents, list(blobs.values()), task)
    except OSError as error:
        raise _not_written(path, error, size) from error


def read_layout(path: Path) -> list[Image]:
    """The images in the layout at `path`, a folder or a tar archive, for as many platforms as it has.

    Their documents are checked; their layers are read when somebody wants them, and not checked before.
    """
    place = open_layout(path)
    try:
        descriptors = list(_manifests(place, _rows(place.document("index.json"))))
        if not descriptors:
            raise _unreadable(path, "it names no image")
        return [_image(place, descriptor) for descriptor in descriptors]
    except FileNotFoundError as error:
        raise _unreadable(path, f"it lacks {error.filename}") from None


def is_layout(path: Path) -> bool:
    """Whether `path` looks like what `read_layout` reads."""
    return (path / "oci-layout").is_file() or (path.is_file() and path.name.endswith((".tar", ".oci")))


class Place(Protocol):
    """Where files of a layout lie; `FileNotFoundError` for one that is not there."""

    def size(self, name: str) -> int: ...

    def chunks(self, name: str) -> Iterator[bytes]: ...


class Layout:
    """A layout to read from."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def document(self, name: str) -> bytes:
        size = self._place.size(name)
        if size > LARGEST_DOCUMENT:
            raise ImageError(
                "the image cannot be read", why=f"its {name} has {size} bytes, over {LARGEST_DOCUMENT}"
            )
        return b"".join(self._place.chunks(name))

    def blob(self, descriptor: Descriptor) -> Blob:
        return Blob(descriptor, lambda: self._place.chunks(_blob_name(descriptor)))

    def small(self, descriptor: Descriptor) -> bytes:
        """A document among the blobs, its digest checked."""
        if self._place.size(_blob_name(descriptor)) > LARGEST_DOCUMENT:
            self.document(_blob_name(descriptor))
        return b"".join(checked(self.blob(descriptor)))


def open_layout(path: Path) -> Layout:
    if not path.exists():
        raise _unreadable(path, "there is no such file or folder")
    try:
        return Layout(_Folder(path) if path.is_dir() else Archive(path))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, name: str) -> int:
        return self._file(name).stat().st_size

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._file(name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def _file(self, name: str) -> Path:
        if not (self._root / name).is_file():  # a pipe would be waited for
            raise FileNotFoundError(errno.ENOENT, "there is no such file in the folder", name)
        return self._root / name


def _rows(content: bytes) -> list[Descriptor]:
    """The images and indexes that an index names; what only speaks about an image is left out."""
    document = parse_document(content, INDEX)
    assert isinstance(document, Index)
    return [
        row
        for row in document.manifests
        if row.media_type in MANIFESTS | INDEXES and row.platform != _ATTESTATION
    ]


def _manifests(layout: Layout, rows: Sequence[Descriptor], depth: int = 2) -> Iterator[Descriptor]:
    """The manifests that an index names, and those in indexes that it names."""
    for row in rows:
        if row.media_type not in INDEXES:
            yield row
        elif depth:
            yield from _manifests(layout, _rows(layout.small(row)), depth - 1)


def _image(layout: Layout, descriptor: Descriptor) -> Image:
    content = layout.small(descriptor)
    manifest = parse_document(content, descriptor.media_type)
    assert isinstance(manifest, Manifest)
    config = layout.small(manifest.config)
    parsed = parse_config(config, len(manifest.layers))
    layers = [
        _layer(layout.blob(row), diff_id, words)
        for row, diff_id, words in zip(manifest.layers, parsed.diff_ids, parsed.history, strict=True)
    ]
    return PulledImage(
        parsed.platform, config, tuple(layers), content, manifest.media_type, manifest.config.media_type
    )


def _layer(blob: Blob, diff_id: str, history: str) -> Layer:
    return Layer(blob, diff_id, 0, lambda: archive(blob.descriptor.media_type, blob.chunks()), history)


def _documents(images: Sequence[Image], name: str) -> dict[str, bytes]:
    """The three documents at the top, `index.json` last: with it a folder becomes a layout."""
    named = {REF_NAME: name, CONTAINERD_NAME: name}
    rows = [replace(image.manifest.descriptor, annotations=named).to_json() for image in images]
    docker = [
        {
            "Config": _blob_name(image.config_blob.descriptor),
            "RepoTags": [name if len(images) == 1 else f"{name}-{image.platform.split('/')[1]}"],
            "Layers": [_blob_name(layer.blob.descriptor) for layer in image.layers],
        }
        for image in images
    ]
    return {
        "oci-layout": _LAYOUT,
        "manifest.json": canonical(docker),
        "index.json": canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}),
    }


def _blob_name(descriptor: Descriptor) -> str:
    return f"{_BLOBS}/{descriptor.digest.partition(':')[2]}"


def _write_archive(path: Path, documents: Mapping[str, bytes], blobs: Sequence[Blob], task: Task) -> None:
    if path.is_dir():
        raise _occupied(path, "it is a folder")
    with _partial(path) as file:
        for name, content in documents.items():
            file.write(tar.header("file", name, mode=0o644, size=len(content)))
            file.write(content + tar.padding(len(content)))
        for folder in ("blobs", _BLOBS):
            file.write(tar.header("directory", folder, mode=0o755))
        for blob in blobs:
            size = blob.descriptor.size
            file.write(tar.header("file", _blob_name(blob.descriptor), mode=0o644, size=size))
            for chunk in checked(blob):
                file.write(chunk)
                task.advance(len(chunk))
            file.write(tar.padding(size))
        file.write(tar.END)


def _write_folder(path: Path, documents: Mapping[str, bytes], blobs: Sequence[Blob], task: Task) -> None:
    _check_folder(path, documents)
    folder = path / _BLOBS
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, path):
        for blob in blobs:
            target = path / _blob_name(blob.descriptor)
            if not _is_whole(target, blob.descriptor):
                with _partial(target) as file:
                    for chunk in checked(blob):
                        file.write(chunk)
                        task.advance(len(chunk))
        for name, content in documents.items():
            with _partial(path / name) as file:
                file.write(content)
        named = {_blob_name(blob.descriptor).rpartition("/")[2] for blob in blobs}
        for other in folder.iterdir():
            if other.name not in named:
                other.unlink()


def _check_folder(path: Path, documents: Mapping[str, bytes]) -> None:
    """Refuse a folder that holds anything but an older state of this very image: what is in it would go."""
    if not path.exists():
        return
    if not path.is_dir():
        raise _occupied(path, "it is a file; an archive's name ends in `.tar`")
    strangers = sorted({entry.name for entry in path.iterdir()} - {*_DOCUMENTS, "blobs"} - _partials())
    if strangers:
        raise _occupied(path, f"it holds `{strangers[0]}`, and is no layout of an image alone")
    try:
        old = _names((path / "index.json").read_bytes())
    except FileNotFoundError:
        return
    if others := sorted(old - _names(documents["index.json"])):
        raise _occupied(path, f"it holds another image, `{others[0]}`")


def _partials() -> set[str]:
    return {f".{name}{_PARTIAL}" for name in _DOCUMENTS}


def _names(index: bytes) -> set[str]:
    return {row.annotations.get(REF_NAME, "") for row in _rows(index)}


def _is_whole(path: Path, descriptor: Descriptor) -> bool:
    try:
        if path.stat().st_size != descriptor.size:
            return False
        found = Sum()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.add(chunk)
    except FileNotFoundError:
        return False
    return found.digest == descriptor.digest


@contextmanager
def _partial(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is whole; what a killed process left of it is written over."""
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(partial, path) as descriptor, open(descriptor, "wb", _CHUNK, closefd=False) as file:
        try:
            file.truncate()
            yield file
            file.flush()
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def _alone(lock: Path, path: Path) -> Iterator[int]:
    """A descriptor of `lock`, a file or folder that no other process holds; errors speak of `path`."""
    while True:
        flags = os.O_RDONLY if lock.is_dir() else os.O_WRONLY | os.O_CREAT
        descriptor = os.open(lock, flags | SAFELY, 0o666)
        try:
            if not try_lock(descriptor):
                raise _occupied(path, "another process is writing it")
            if _is_still(lock, descriptor):  # else who held it has just renamed it
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _not_written(path: Path, error: OSError, size: int) -> ImageError:
    if error.errno in _FULL:
        return ImageError(
            f"{path} cannot be written: the disk is full",
            why=f"the image has {size / 1e6:.0f} MB; what was written of it is removed",
            hint="free some space, or give another place with -o",
        )
    return ImageError(
        f"{path} cannot be written",
        why=f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror),
        hint="mend its permissions, or give another place with -o",
    )


def _occupied(path: Path, why: str) -> ImageError:
    return ImageError(f"{path} cannot be written", why=why, hint="give another place with -o")


def _unreadable(path: Path, why: str) -> ImageError:
    return ImageError(
        f"{path} is no image that can be read",
        why=why,
        hint="an OCI image layout is needed, a folder or a tar archive, as `hotdesk build -o` writes it",
    )


def index_names(path: Path) -> list[str]:
    """What the layout at `path` calls its images."""
    return sorted(_names(open_layout(path).document("index.json")) - {""})
