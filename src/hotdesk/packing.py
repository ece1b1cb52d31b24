"""From a project to its image: the path of `hotdesk build` and of all that starts from an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hotdesk.build.image import build_image, locked_image
from hotdesk.lock import read_lock, write_lock
from hotdesk.lock_images import with_image
from hotdesk.store import Store, default_store_path

if TYPE_CHECKING:
    from hotdesk.lock import LockedVariant
    from hotdesk.lock_images import LockedImage
    from hotdesk.oci.model import Image
    from hotdesk.opening import Preparation
    from hotdesk.project import Project


def build_project_image(
    project: Project, preparation: Preparation, *, variant: str | None = None, accept: bool = False
) -> Image:
    """The image of a project's variant for this host; the lock learns its ID where it does not know it."""
    locked = project.select(variant)
    store = Store(default_store_path(), preparation.progress.note)
    if project.home == project.folder:
        store.record_user(project.lock_path)
    wanted = replace(locked, image=None) if accept else locked
    image = build_image(store, wanted, offline=preparation.offline, progress=preparation.progress)
    if locked.image is None or locked.image.id != image.id:
        _record(project, locked, locked_image(store, locked))
    return image


def _record(project: Project, locked: LockedVariant, image: LockedImage) -> None:
    """Write the image into the project's lock, unless that is a template's, or was made anew meanwhile."""
    lock = read_lock(project.lock_path)
    now = lock.select(locked.platform, locked.variant)
    if project.home == project.folder and replace(now, image=None) == replace(locked, image=None):
        write_lock(with_image(lock, locked.platform, locked.variant, image), project.lock_path)
