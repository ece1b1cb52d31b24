"""The root of a desk out of an image, which anybody may have made: found in the store, or unpacked.

tree/            all of the image; what is below /opt/desk is the environment
contents.json    every entry of it, to verify
ownership.json   the owners and modes that the disk does not have

The sandbox sees the tree twice: as its system, and what is in /opt/desk there once more, as its environment.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hotdesk.build.inside import resolved
from hotdesk.build.ownership import write_ownership
from hotdesk.engines.request import MOUNT_POINTS, PREFIX, Root
from hotdesk.errors import ConfigureError, ImageError
from hotdesk.keys import unpacked_key
from hotdesk.layers.contents import TREE, Contents, write_contents
from hotdesk.layers.entries import Written
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hotdesk.oci.model import Image
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_ENVIRONMENT = PREFIX.strip("/")
_FILES = ("etc/hosts", "etc/resolv.conf")
_PROGRAMS = {
    f"{_ENVIRONMENT}/bin/python": "it is no image of a desk",
    f"{_ENVIRONMENT}/bin/jupyter": "Jupyter is not on it",
    "bin/sh": "it has no base system",
    "usr/bin/env": "it has no base system",
}
_NO_CONTENT = f"sha256:{hashlib.sha256().hexdigest()}"


@contextmanager
def open_image_root(
    store: Store, image_id: str, image: Callable[[], Image], progress: Progress = SILENT
) -> Iterator[Root]:
    """The root of the image with this ID; `image` is asked for it where it is not unpacked yet.

    Garbage collection leaves it alone meanwhile. `ImageError` where no desk can be opened from the image.
    """
    key = unpacked_key(image_id)
    with store.using([("unpacked", key)]):
        item = store.item("unpacked", key)
        if not item.exists():
            found = image()
            with store.in_use():
                store.make("unpacked", key, lambda folder: _fill(folder, found, progress))
        yield Root(item / TREE, item / TREE / _ENVIRONMENT)


def _fill(item: Path, image: Image, progress: Progress) -> None:
    from hotdesk.oci.unpack import unpack  # a desk that is there starts without importing this

    tree = item / TREE
    tree.mkdir()
    tree.chmod(0o755)
    unpacked = unpack(image, tree, progress)
    for path, reason in _PROGRAMS.items():
        _require_program(tree, path, reason)
    written = {entry.path: entry for entry in unpacked.written}
    for path in MOUNT_POINTS:
        _make_mount_point(tree, path, written)
    write_ownership(unpacked.owners, item)
    write_contents(Contents.of(written.values()), item)


def _require_program(tree: Path, path: str, reason: str) -> None:
    try:
        found = (tree / resolved(tree, path)).lstat().st_mode
    except (OSError, ConfigureError):
        found = 0
    if not stat.S_ISREG(found) or not found & 0o100:
        raise _unusable(f"{reason}: there is no program /{path}")


def _make_mount_point(tree: Path, path: str, written: dict[str, Written]) -> None:
    """Make what the sandbox mounts over, where it is missing; a link could lead the mount anywhere."""
    *folders, last = path.split("/")
    here = ""
    for part in folders if path in _FILES else (*folders, last):
        here = f"{here}/{part}" if here else part
        if not os.path.lexists(tree / here):
            (tree / here).mkdir()
            (tree / here).chmod(0o755)
            written[here] = Written(here, 0o755, 0, "directory")
        if not stat.S_ISDIR((tree / here).lstat().st_mode):
            raise _unusable(f"/{here} is no directory, and the sandbox needs one there")
    if path not in _FILES:
        return
    place = tree / path
    if place.is_symlink():
        place.unlink()
    if not os.path.lexists(place):
        place.touch()
        place.chmod(0o644)
        written[path] = Written(path, 0o644, 0, _NO_CONTENT)
    if not stat.S_ISREG(place.lstat().st_mode):
        raise _unusable(f"/{path} is no file, and the sandbox needs one there")


def _unusable(why: str) -> ImageError:
    return ImageError(
        "no desk can be opened from this image",
        why=why,
        hint="take one that `hotdesk build` or `hotdesk push` made, or one made on top of such an image",
    )
