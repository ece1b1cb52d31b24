"""A few threads that work through a list."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from hotdesk.fetch.fetcher import SECONDS_TO_STOP
from hotdesk.fetch.transfer import Stop, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


def for_each(things: Iterable[T], work: Callable[[T, Stop], None], threads: int) -> None:
    """`work` done on all `things`, `threads` of them at once; the first failure ends it, and is raised.

    The threads are daemons: an interrupted command must not wait for a server that is silent.
    """
    waiting = deque(things)
    total = len(waiting)
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stop = Stop()

    def run() -> None:
        while not stop.now:
            try:
                thing = waiting.popleft()
            except IndexError:
                return
            try:
                work(thing, stop)
                done.put(None)
            except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
                done.put(error)

    names = [f"registry-{number}" for number in range(min(threads, total))]
    crew = [threading.Thread(target=run, name=name, daemon=True) for name in names]
    for thread in crew:
        thread.start()
    try:
        for _ in range(total):
            if (failure := done.get()) and not isinstance(failure, StoppedError):
                raise failure
    finally:
        waiting.clear()
        stop.pull()
        for thread in crew:
            thread.join(SECONDS_TO_STOP / len(crew))
