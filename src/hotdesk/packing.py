"""From a project to its image: the path of `hotdesk build` and of all that starts from an image."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from hotdesk.build.background import settle_in_background
from hotdesk.build.image import build_image, locked_image
from hotdesk.errors import LockError, UsageError
from hotdesk.keys import Keys
from hotdesk.lock import read_lock, write_lock
from hotdesk.lock_images import with_image
from hotdesk.store import Store, default_store_path

if TYPE_CHECKING:
    from pathlib import Path

    from hotdesk.lock import LockedVariant
    from hotdesk.lock_images import LockedImage
    from hotdesk.oci.model import Image
    from hotdesk.oci.registry.push import Pushed
    from hotdesk.oci.registry.reference import Reference
    from hotdesk.opening import Preparation
    from hotdesk.progress import Progress
    from hotdesk.project import Project


def build_project_image(
    project: Project,
    preparation: Preparation,
    *,
    variant: str | None = None,
    platform: str | None = None,
    accept: bool = False,
) -> Image:
    """The image of a project's variant for `platform` or this host; its lock learns the ID."""
    locked = project.select(variant, platform)
    store = Store(default_store_path(), preparation.progress.note)
    if project.home == project.folder:
        store.record_user(project.lock_path)
    elif accept:
        raise UsageError(
            "a template's lock is not changed",
            why="it belongs to hotdesk",
            hint=f"`hotdesk init {project.home.name}` makes a project of it, whose lock is yours",
        )
    wanted = replace(locked, image=None) if accept else locked
    image = build_image(store, wanted, offline=preparation.offline, progress=preparation.progress)
    if (locked.image is None or locked.image.id != image.id) and project.home == project.folder:
        with store.exclusive(f"images-of-{hashlib.sha256(os.fsencode(project.lock_path)).hexdigest()[:32]}"):
            _record(project, locked, locked_image(store, locked), preparation.progress)
    settle_in_background(store)
    return image


def write_project_image(
    project: Project,
    preparation: Preparation,
    path: Path,
    *,
    variant: str | None = None,
    platform: str | None = None,
    accept: bool = False,
) -> Image:
    """Build the image and write it to `path`, as an archive where that ends in `.tar`, else as a folder."""
    from hotdesk.oci.layout import write_layout

    store = Store(default_store_path(), preparation.progress.note)
    locked = project.select(variant, platform)
    with store.using(Keys.of(locked).parts()):
        image = build_project_image(project, preparation, variant=variant, platform=platform, accept=accept)
        write_layout([image], path, f"{project.spec.name}:{locked.variant}", preparation.progress)
        return image


def push_project_image(
    project: Project,
    preparation: Preparation,
    reference: Reference,
    *,
    variant: str | None = None,
    platform: str | None = None,
    join: bool = False,
) -> tuple[Image, Pushed]:
    """Build the image and bring it to the registry; what it is made of stays in the store meanwhile."""
    from hotdesk.oci.registry.push import push  # 20 ms, and `hotdesk build` pushes nothing

    store = Store(default_store_path(), preparation.progress.note)
    with store.using(Keys.of(project.select(variant, platform)).parts()):
        image = build_project_image(project, preparation, variant=variant, platform=platform)
        with store.in_use():
            return image, push(store, [image], reference, join=join, progress=preparation.progress)


def _record(project: Project, locked: LockedVariant, image: LockedImage, progress: Progress) -> None:
    """Write the image into the project's lock, unless that was made anew meanwhile."""
    lock = read_lock(project.lock_path)
    try:
        if replace(lock.select(locked.platform, locked.variant), image=None) == replace(locked, image=None):
            write_lock(with_image(lock, locked.platform, locked.variant, image), project.lock_path)
    except LockError as error:
        progress.note(f"the lock does not know the image: {error.what}: {error.why}")
