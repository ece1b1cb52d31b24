"""Steps of the recipe that run in processes of their own.

Threads share one interpreter, and downloading, unpacking the base system and unpacking 35,000 files of
wheels would each keep it busy. The base system takes longest from its first package to the last script, so
wheels are unpacked at a lower priority.

A worker reads jobs from its standard input and answers on its standard output, a line of JSON each. It ends
when its input does: a parent that is killed leaves none behind.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import PriorityQueue
from typing import TYPE_CHECKING, Any, Self

from hotdesk import COLLECTS_AFTER, errors
from hotdesk.lock import debian_from_json, debian_to_json
from hotdesk.lock_base import base_from_json, base_to_json
from hotdesk.portable.machine import be_nice, processors
from hotdesk.progress import SILENT
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hotdesk.lock import DebianPackage
    from hotdesk.lock_base import LockedBase
    from hotdesk.progress import Progress, Task, Unit

_NICENESS_OF_WHEELS = 19
_HUGE = 100 << 20  # bytes
_MOST_UNPACKERS = 4  # more would only wait for the disk


class Worker:
    """One process that works on `store`; `task` is `wheels` or `system`."""

    def __init__(self, task: str, store: Store) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hotdesk.build.processes", task, os.fspath(store.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            # Ctrl-C is for the parent, which ends its workers. Not a session of its own: Linux shares the
            # processors out among sessions first, and niceness would only count within one.
            process_group=0,
        )
        self._lock = threading.Lock()

    def tell(self, message: object) -> None:
        """Send one line; a worker that is gone is found by `listen`."""
        assert self._process.stdin
        try:
            with self._lock:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def listen(self, job: str, progress: Progress) -> Any:
        """Show what the worker reports until it answers, which is returned; raises its error.

        `job` is what errors call what it does.
        """
        assert self._process.stdout
        with ExitStack() as stack:
            tasks: dict[str, tuple[ExitStack, Task]] = {}
            for line in self._process.stdout:
                message = json.loads(line)
                match message:
                    case {"begin": label, "total": total, "unit": unit}:
                        shown = stack.enter_context(ExitStack())
                        tasks[label] = shown, shown.enter_context(progress.task(label, total, unit))
                    case {"advance": label, "amount": amount}:
                        tasks[label][1].advance(amount)
                    case {"end": label}:
                        tasks[label][0].close()
                    case {"note": text}:
                        progress.note(text)
                    case {"error": [kind, what, why, hint]}:
                        raise getattr(errors, kind)(what, why=why, hint=hint)
                    case {"done": answer}:
                        return answer
        raise errors.StoreError(
            f"{job} could not be finished",
            why=f"the process at it ended with status {self._process.wait()}; perhaps memory ran out",
            hint="run the same command again: it goes on from what is there",
        )

    def end(self) -> None:
        """Kill it: what it was making is scratch, and after an answer it is idle."""
        self._process.kill()
        self._process.communicate()


class Unpackers:
    """Processes that unpack wheels into the store, or measure layers; of what is there, the largest first.

    There is one for each core but those that are `spared`, until `take_core` adds one. A context manager:
    leaving it ends them.
    """

    def __init__(self, store: Store, python: str, *, spared: int = 0) -> None:
        self._store = store
        self._python = python
        self._jobs: PriorityQueue[tuple[tuple[int, int], int, _Job]] = PriorityQueue()
        self._number = itertools.count()
        self._most = min(_MOST_UNPACKERS, processors())
        self._begin_with = max(1, self._most - spared)
        self._threads: list[threading.Thread] = []
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._ended = False

    def __enter__(self) -> Self:
        for _ in range(self._begin_with):
            self.take_core()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True
        for worker in self._workers:
            worker.end()
        for _thread in self._threads:
            self._put((-1, 0), _Job({}))
        for thread in self._threads:
            thread.join()

    def take_core(self) -> None:
        """Use one more core than so far, where there is one."""
        if len(self._threads) < self._most:
            # A daemon: should leaving be interrupted, the command must not wait for what is under way.
            thread = threading.Thread(target=self._work, name="unpacker", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(
        self,
        wheel: Path,
        sha256: str,
        name: str,
        *,
        late: bool = False,
        then: Callable[[], None] = lambda: None,
    ) -> Future[None]:
        """Unpack the file `wheel`, behind others where it may be `late`, and call `then`, in a thread.

        `name` is what errors call it.
        """
        message = {"wheel": os.fspath(wheel), "sha256": sha256, "name": name, "python": self._python}
        size = wheel.stat().st_size
        # What takes longer than Jupyter's own start is begun before what that start needs.
        order = 0 if size >= _HUGE else 2 if late else 1
        return self._put((order, -size), _Job({"unpack": message}, f"unpacking `{name}`", then))

    def measure(self, recipe: dict[str, Any], size: int) -> Future[dict[str, Any]]:
        """What `hotdesk.oci.layer.measure` finds of a recipe's layer; the largest `size` comes first."""
        return self._put((0, -size), _Job({"measure": recipe}, "writing a layer"))

    def _put(self, order: tuple[int, int], job: _Job) -> Future[Any]:
        self._jobs.put((order, next(self._number), job))
        return job.done

    def _work(self) -> None:
        worker = None
        while (job := self._jobs.get()[-1]).message and not self._ended:
            try:
                worker = worker or self._hire()
                worker.tell(job.message)
                answer = worker.listen(job.name, SILENT)
                job.then()
            except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
                job.done.set_exception(error)
            else:
                job.done.set_result(answer)

    def _hire(self) -> Worker:
        with self._lock:
            if self._ended:
                raise errors.StoreError("nobody waits for this any more")
            self._workers.append(Worker("wheels", self._store))
            return self._workers[-1]


@dataclass(frozen=True, slots=True)
class _Job:
    """What the worker is told, and what errors call that; an empty message ends a thread."""

    message: dict[str, Any]
    name: str = ""
    then: Callable[[], None] = lambda: None
    done: Future[Any] = field(default_factory=Future)


class SystemBuilder:
    """A process that makes the base system of `packages`, on an image where there is a `base`.

    A context manager: leaving it ends the process.
    """

    def __init__(
        self,
        store: Store,
        packages: Sequence[DebianPackage],
        progress: Progress,
        *,
        base: LockedBase | None = None,
    ) -> None:
        self._worker = Worker("system", store)
        rows = [debian_to_json(package) for package in packages]
        self._worker.tell([rows, base_to_json(base) if base else None])
        self._thread = ThreadPoolExecutor(1, "system")
        self._listening = self._thread.submit(self._worker.listen, "the base system", progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.end()
        self._thread.shutdown()

    def arrived(self, sha256: str) -> None:
        """The .deb of this hash is in the store."""
        self._worker.tell(sha256)

    def finish(self) -> None:
        """Wait until the base system is in the store; raises what went wrong."""
        self._listening.result()


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class _Reports:
    """Progress that goes to the parent."""

    @contextmanager
    def task(self, label: str, total: int, unit: Unit = "items") -> Iterator[Task]:
        _say({"begin": label, "total": total, "unit": unit})
        yield _Report(label)
        _say({"end": label})

    def note(self, message: str) -> None:
        _say({"note": message})


class _Report:
    def __init__(self, label: str) -> None:
        self._label = label

    def advance(self, amount: int) -> None:
        _say({"advance": self._label, "amount": amount})

    def grow(self, amount: int) -> None:
        raise NotImplementedError("no task of these grows")


def _answer(work: Callable[[], object]) -> None:
    try:
        _say({"done": work()})
    except errors.HotdeskError as error:
        _say({"error": [type(error).__name__, error.what, error.why, error.hint]})
    except OSError as error:
        why = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
        hint = "free some space or mend its permissions, or set HOTDESK_STORE to another folder"
        _say({"error": ["StoreError", "the store cannot be used", why, hint]})


def _work_on_wheels(store: Store) -> None:
    for line in sys.stdin:
        match json.loads(line):
            case {"unpack": job}:
                be_nice(_NICENESS_OF_WHEELS)
                _answer(partial(_unpack, store, job))
            case {"measure": recipe}:
                _answer(partial(_measure, store, recipe))


def _unpack(store: Store, job: dict[str, Any]) -> None:
    from hotdesk.layers.wheels import make_wheel_tree

    make_wheel_tree(store, Path(job["wheel"]), job["sha256"], job["python"], job["name"])


def _measure(store: Store, recipe: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    from hotdesk.build.recipe import Recipe
    from hotdesk.oci.layer import measure

    return asdict(measure(Recipe.from_json(recipe).members(store.root)))


def _make_system(store: Store) -> None:
    from hotdesk.build.system import make_system

    rows, image = json.loads(sys.stdin.readline())
    packages = [debian_from_json(row) for row in rows]
    base = base_from_json(image) if image else None
    by_hash = {package.artifact.sha256: package for package in packages}

    def debs() -> Iterator[tuple[DebianPackage, Path]]:
        for _ in packages:
            if not (line := sys.stdin.readline()):
                os._exit(1)  # the parent is gone
            yield by_hash[json.loads(line)], store.download(json.loads(line))

    def make() -> None:
        make_system(store, packages, debs(), _Reports(), base=base)

    _answer(make)


if __name__ == "__main__":
    gc.set_threshold(COLLECTS_AFTER)
    {"wheels": _work_on_wheels, "system": _make_system}[sys.argv[1]](
        Store(Path(sys.argv[2]), _Reports().note)
    )
