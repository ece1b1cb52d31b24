"""A few files of an image, without unpacking it: each of its layers is read once, and checked on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotdesk.oci.stack import Stack
from hotdesk.oci.untar import refuse
from hotdesk.oci.validate import MOST_UNPACKED, LayerReader
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Collection

    from hotdesk.oci.model import Image
    from hotdesk.progress import Progress

_LARGEST = 64 << 20


def read_files(image: Image, paths: Collection[str], progress: Progress = SILENT) -> dict[str, bytes]:
    """The content of those of `paths` that are regular files in the image, and no second names of others.

    `UnsafeArchiveError` where a layer is not what the image says, or holds what no layer may.
    """
    stack = Stack()
    contents: dict[str, bytes] = {}
    left = MOST_UNPACKED
    size = sum(layer.blob.descriptor.size for layer in image.layers)
    with progress.task("reading the image", size, "bytes") as task:
        for layer in image.layers:
            stack.begin()
            reader = LayerReader(layer, left)
            for header, content in reader.members():
                change = stack.add(header)
                if change.node is None or header.path not in paths:
                    continue
                contents.pop(header.path, None)
                if header.size > _LARGEST:
                    refuse("a file is absurdly large", f"{header.path!r}: {header.size} bytes")
                if header.kind == "file":
                    contents[header.path] = b"".join(content)
            left -= reader.unpacked
            task.advance(layer.blob.descriptor.size)
    return {path: content for path, content in contents.items() if stack.find(path)}
