"""From a project to its image: the path of `hotdesk build` and of all that starts from an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hotdesk.build.image import build_image, locked_image
from hotdesk.keys import Keys
from hotdesk.lock import read_lock, write_lock
from hotdesk.lock_images import with_image
from hotdesk.oci.registry.push import push
from hotdesk.store import Store, default_store_path

if TYPE_CHECKING:
    from hotdesk.lock import LockedVariant
    from hotdesk.lock_images import LockedImage
    from hotdesk.oci.model import Image
    from hotdesk.oci.registry.push import Pushed
    from hotdesk.oci.registry.reference import Reference
    from hotdesk.opening import Preparation
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
    wanted = replace(locked, image=None) if accept else locked
    image = build_image(store, wanted, offline=preparation.offline, progress=preparation.progress)
    if locked.image is None or locked.image.id != image.id:
        _record(project, locked, locked_image(store, locked))
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
    store = Store(default_store_path(), preparation.progress.note)
    with store.using(Keys.of(project.select(variant, platform)).items()):
        image = build_project_image(project, preparation, variant=variant, platform=platform)
        with store.in_use():
            return image, push(store, [image], reference, join=join, progress=preparation.progress)


def _record(project: Project, locked: LockedVariant, image: LockedImage) -> None:
    """Write the image into the project's lock, unless that is a template's, or was made anew meanwhile."""
    lock = read_lock(project.lock_path)
    now = lock.select(locked.platform, locked.variant)
    if project.home == project.folder and replace(now, image=None) == replace(locked, image=None):
        write_lock(with_image(lock, locked.platform, locked.variant, image), project.lock_path)
