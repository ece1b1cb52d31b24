"""The root of a desk: found in the store, or made by `hotdesk.build.assembly`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hotdesk.engines.request import Root
from hotdesk.keys import Keys
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotdesk.lock import LockedVariant
    from hotdesk.progress import Progress
    from hotdesk.store import Store


@contextmanager
def open_root(
    store: Store,
    locked: LockedVariant,
    *,
    offline: bool = False,
    progress: Progress = SILENT,
    enough: Callable[[Root], None] | None = None,
) -> Iterator[Root]:
    """The root of `locked`, made where it is not there yet; garbage collection leaves it alone meanwhile.

    `enough` is called where that takes long, as soon as Jupyter can start; the root that it gets is not the
    one to keep, and large libraries are still to come.
    """
    keys = Keys.of(locked)
    with store.using([("system", keys.system), ("environment", keys.environment)]):
        system, environment = store.item("system", keys.system), store.item("environment", keys.environment)
        if not (system.exists() and environment.exists()):
            from hotdesk.build.assembly import Assembly  # a desk that is there starts without importing this
            from hotdesk.fetch import Fetcher

            with (
                store.in_use(),
                Fetcher(store, offline=offline, snapshot=locked.snapshot, progress=progress) as fetcher,
            ):
                Assembly(store, locked, fetcher, progress=progress, enough=enough).make()
        yield Root(system / "tree", environment / "tree")
