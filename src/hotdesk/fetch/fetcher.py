"""Many artifacts at once, each handed over as it arrives."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from hotdesk.errors import FetchError, GoneError, HashMismatchError, NotCachedError
from hotdesk.fetch.hints import recall
from hotdesk.fetch.partial import full, writing
from hotdesk.fetch.transfer import Stop, StoppedError, Transfer, is_whole
from hotdesk.indexes import http
from hotdesk.portable.files import free
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import httpx2

    from hotdesk.lock import Artifact
    from hotdesk.progress import Progress, Task
    from hotdesk.store import Store

SECONDS_TO_STOP = 2.0


class Fetcher:
    """Brings artifacts into the store. A context manager: leaving it ends what is still under way.

    Addresses come from `locate`, by default the machine's indexes and Debian mirrors; `snapshot` dates the
    Debian archive (as in the lock).
    """

    def __init__(
        self,
        store: Store,
        *,
        offline: bool = False,
        snapshot: str = "",
        progress: Progress = SILENT,
        locate: Callable[[Artifact], Iterable[str]] | None = None,
        client: httpx2.Client | None = None,
        retry: http.Retry | None = None,
    ) -> None:
        self._store = store
        self._offline = offline
        self._snapshot = snapshot
        self._progress = progress
        self._locate = locate
        self._client = client
        self._retry = retry or http.Retry()
        self._own_client: httpx2.Client | None = None
        self._crew: _Crew | None = None

    @property
    def offline(self) -> bool:
        return self._offline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._crew:
            self._crew.dismiss()
        if self._own_client:
            self._own_client.close()
            self._own_client = None

    def fetch(self, artifacts: Sequence[Artifact]) -> Iterator[tuple[Artifact, Path]]:
        """Each artifact with its verified file: first those in the store, then each as it arrives.

        Raises one error when all is known: `NotCachedError` offline, `GoneError` or `FetchError` naming
        every artifact that failed; `StoreError` at once. What has arrived stays in the store.
        """
        wanted: dict[str, list[Artifact]] = {}
        for artifact in artifacts:
            wanted.setdefault(artifact.sha256, []).append(artifact)
        present, missing = self._divide(wanted)
        if missing and self._offline:
            raise _not_cached(missing)
        self._check_space(missing)
        total = sum(artifact.size for artifact in missing)
        if not missing:
            yield from ((twin, path) for sha256, path in present for twin in wanted[sha256])
            return
        with self._progress.task("downloading", total, "bytes") as task:
            crew = self._crew = _Crew(missing, self._transfer(task))
            try:
                yield from ((twin, path) for sha256, path in present for twin in wanted[sha256])
                for artifact, path in crew.results():
                    yield from ((twin, path) for twin in wanted[artifact.sha256])
            finally:
                crew.dismiss()

    def _divide(self, wanted: dict[str, list[Artifact]]) -> tuple[list[tuple[str, Path]], list[Artifact]]:
        present: list[tuple[str, Path]] = []
        missing: list[Artifact] = []
        for sha256, twins in wanted.items():
            path = self._store.download(sha256)
            if is_whole(path, twins[0]):
                present.append((sha256, path))
            else:
                missing.append(twins[0])
        return present, start_order(missing)

    def _check_space(self, missing: Sequence[Artifact]) -> None:
        needed = sum(artifact.size - self._begun(artifact) for artifact in missing)
        if not needed:
            return
        root = self._store.root
        with writing(root, needed):
            root.mkdir(parents=True, exist_ok=True)
            size = free(root).size
        if size is not None and size < needed:
            raise full(root, needed, f"{size / 1e6:,.1f} MB are free")

    def _begun(self, artifact: Artifact) -> int:
        try:
            return min(self._store.partial(artifact.sha256).stat().st_size, artifact.size)
        except OSError:
            return 0

    def _transfer(self, task: Task) -> Callable[[Artifact, Stop], Path]:
        client = self._open_client()
        locate = self._locate or default_locate(client, self._snapshot)

        def transfer(artifact: Artifact, stop: Stop) -> Path:
            one = Transfer(
                self._store,
                client,
                artifact,
                stop=stop,
                retry=self._retry,
                report=task.advance,
                note=self._progress.note,
            )
            return one.run(_late(locate, artifact), recall(self._store, artifact))

        return transfer

    def _open_client(self) -> httpx2.Client:
        if self._client:
            return self._client
        if self._own_client is None:
            self._own_client = http.make_client()
        return self._own_client


def start_order(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Debian's first, since the base takes longer to build; of each kind the large ones before the small.

    So no large one is left for the end. Equals keep the order given.
    """
    return sorted(artifacts, key=lambda artifact: (artifact.kind != "debian", -artifact.size))


def _late(locate: Callable[[Artifact], Iterable[str]], artifact: Artifact) -> Iterator[str]:
    """The addresses; `locate` is not asked before the first is wanted."""
    yield from locate(artifact)


def default_locate(client: httpx2.Client, snapshot: str) -> Callable[[Artifact], Iterable[str]]:
    """Where the machine's configuration says an artifact may be."""
    from hotdesk.indexes import debian, pypi

    indexes = pypi.PythonIndexes(client)

    def locate(artifact: Artifact) -> Iterable[str]:
        if artifact.kind == "debian":
            return debian.locations(artifact, snapshot)
        return indexes.locations(artifact.project, artifact.file, artifact.sha256)

    return locate


class _Crew:
    """The threads that work through the artifacts, and what came of them."""

    def __init__(self, artifacts: Sequence[Artifact], transfer: Callable[[Artifact, Stop], Path]) -> None:
        self._waiting = deque(artifacts)
        self._outstanding = len(artifacts)
        self._transfer = transfer
        self._done: queue.SimpleQueue[tuple[Artifact, Path | BaseException]] = queue.SimpleQueue()
        self._stop = Stop()
        # Daemons: an interrupted command must not wait for a server that is silent.
        self._threads = [
            threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True)
            for number in range(min(http.CONNECTIONS, len(artifacts)))
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while not self._stop.now:
            try:
                artifact = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._done.put((artifact, self._transfer(artifact, self._stop)))
            except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
                self._done.put((artifact, error))

    def results(self) -> Iterator[tuple[Artifact, Path]]:
        """What arrives, as it arrives; then the failures, in one error."""
        failures: list[tuple[Artifact, FetchError]] = []
        while self._outstanding:
            artifact, outcome = self._done.get()
            self._outstanding -= 1
            if isinstance(outcome, StoppedError):
                continue
            if isinstance(outcome, FetchError):
                failures.append((artifact, outcome))
                self._give_up(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            elif not failures:
                yield artifact, outcome
        if failures:
            raise summary(failures, self._skipped)

    _skipped = 0

    def _give_up(self, error: FetchError) -> None:
        """After a failure nothing more is downloaded; it is worth knowing, though, what else is gone."""
        if isinstance(error, (GoneError, HashMismatchError)):
            self._stop.survey()
            return
        while self._waiting:
            try:
                self._waiting.popleft()
            except IndexError:
                break
            self._outstanding -= 1
            self._skipped += 1
        self._stop.pull()

    def dismiss(self) -> None:
        """End all threads; one that hangs in the network is left behind and touches nothing any more."""
        self._waiting.clear()
        self._stop.pull()
        for thread in self._threads:
            thread.join(SECONDS_TO_STOP / len(self._threads))


def _not_cached(missing: Sequence[Artifact]) -> NotCachedError:
    names = "\n".join(f"  {artifact.name}" for artifact in missing)
    size = sum(artifact.size for artifact in missing)
    return NotCachedError(
        f"{len(missing)} files of this desk are not in the store, {size / 1e6:,.1f} MB:\n{names}",
        why="`--offline` promises that nothing is downloaded",
        hint="run it once without `--offline`",
    )


def summary(failures: Sequence[tuple[Artifact, FetchError]], skipped: int) -> FetchError:
    """One error for all; of the kind that they share."""
    first = failures[0][1]
    kinds = {type(error) for _, error in failures}
    kind = kinds.pop() if len(kinds) == 1 else FetchError
    lines = [
        f"  {_label(artifact)}: {error.why or error.what}"
        for artifact, error in sorted(failures, key=lambda failure: failure[0].name)
    ]
    count = "1 file" if len(failures) == 1 else f"{len(failures)} files"
    rest = f"\n{skipped} more were not tried" if skipped else ""
    return kind(f"{count} cannot be downloaded:\n" + "\n".join(lines) + rest, hint=first.hint)


def _label(artifact: Artifact) -> str:
    if artifact.kind == "debian":
        package, _, rest = artifact.name.partition("_")
        return f"{package} {rest.partition('_')[0]}"
    return artifact.name
