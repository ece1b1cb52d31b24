from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from hotdesk.build.processes import SystemBuilder
from hotdesk.keys import system_key
from hotdesk.progress import SILENT
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path


class Notes:
    """Progress that keeps what it is told."""

    task = staticmethod(SILENT.task)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_what_a_worker_waits_for_is_told(tmp_path: Path) -> None:
    store, progress = Store(tmp_path / "store"), Notes()
    store.make("system", system_key([]), lambda _: None)
    item = store.item("system", system_key([]))

    with ExitStack() as stack:
        with store.exclusive(f"system-{item.name}"):
            hidden = item.rename(tmp_path / "hidden")  # as while another process makes it
            builder = stack.enter_context(SystemBuilder(store, [], progress))
            waiting = threading.Thread(target=builder.finish)
            waiting.start()
            deadline = time.monotonic() + 20
            while not progress.notes and time.monotonic() < deadline:
                time.sleep(0.05)
            hidden.rename(item)
        waiting.join()

    assert progress.notes == ["waiting for another process that makes the same system"]
