"""Images out of tar archives that a test makes, right or wrong in one way."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

from hotdesk.oci.model import CONFIG, LAYER, MANIFEST, Blob, Image, Layer, canonical, digest_of, image_of
from hotdesk.oci.pulled import PulledImage

if TYPE_CHECKING:
    from collections.abc import Mapping

PLATFORM = "linux/amd64"


def info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, target, mode
    return member


def archive(*members: tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo, pax: bool = False) -> bytes:
    """A tar archive as Python's own library writes it."""
    held = io.BytesIO()
    with tarfile.open(
        fileobj=held, mode="w", format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    ) as tar:
        for member in members:
            header, content = member if isinstance(member, tuple) else (member, b"")
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return held.getvalue()


def tree(files: Mapping[str, bytes | str | None]) -> bytes:
    """An archive of files by their content, of links by their target, of directories by None."""
    members: list[tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo] = []
    for name, content in files.items():
        if content is None:
            members.append(info(name, tarfile.DIRTYPE, mode=0o755))
        elif isinstance(content, str):
            members.append(info(name, tarfile.SYMTYPE, content, 0o777))
        else:
            members.append((info(name), content))
    return archive(*members)


def layer(tar: bytes, blob: bytes | None = None, history: str = "a test's") -> Layer:
    packed = gzip.compress(tar, mtime=0) if blob is None else blob
    return Layer(Blob.of(packed, LAYER), digest_of(tar), len(tar), lambda: iter((tar,)), history)


def image(*layers: Layer | bytes, platform: str = PLATFORM) -> Image:
    return image_of(
        platform, {"Cmd": ["true"]}, [one if isinstance(one, Layer) else layer(one) for one in layers]
    )


def with_config(changed: Image, **values: object) -> Image:
    """The image with other values in its configuration, and a manifest that goes with it."""
    return replace(changed, config=canonical(json.loads(changed.config) | values))


def found_with(read: Image, manifest: bytes) -> Image:
    """The image as it is read where this is its manifest."""
    return PulledImage(read.platform, read.config, read.layers, manifest, MANIFEST, CONFIG)
