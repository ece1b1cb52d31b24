"""The root of a desk: found in the store, or made by `hotdesk.build.assembly`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotdesk.engines.request import Root
from hotdesk.keys import Keys
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from hotdesk.lock import LockedVariant
    from hotdesk.progress import Progress
    from hotdesk.store import Store


def make_root(
    store: Store, locked: LockedVariant, *, offline: bool = False, progress: Progress = SILENT
) -> Root:
    """The root of `locked`, made where it is not there yet."""
    keys = Keys.of(locked)
    store.remove_unsettled()
    system, environment = store.item("system", keys.system), store.item("environment", keys.environment)
    if not (system.exists() and environment.exists()):
        from hotdesk.build.assembly import Assembly  # a desk that is there starts without importing this
        from hotdesk.fetch import Fetcher

        with (
            store.in_use(),
            Fetcher(store, offline=offline, snapshot=locked.snapshot, progress=progress) as fetcher,
        ):
            Assembly(store, locked, keys, fetcher, progress).make()
    return Root(system / "tree", environment / "tree")
