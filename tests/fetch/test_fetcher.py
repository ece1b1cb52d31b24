"""Many artifacts: order, overlap, failures, offline, two processes."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from tests.fetch.web import QUICK, Web, answer, artifact, breaks_off, other, slowly
from tests.support.waiting import eventually

from hotdesk.errors import (
    FetchError,
    GoneError,
    HashMismatchError,
    IndexConfigurationError,
    NotCachedError,
    StoreError,
)
from hotdesk.fetch import Fetcher, remember
from hotdesk.fetch.fetcher import start_order, summary
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import httpx2

    from hotdesk.lock import Artifact
    from hotdesk.progress import Unit


class Counting:
    """Progress that adds up."""

    def __init__(self) -> None:
        self.label = ""
        self.total = 0
        self.done = 0
        self.unit: Unit = "items"
        self._lock = threading.Lock()

    @contextmanager
    def task(self, label: str, total: int, unit: Unit = "items") -> Iterator[Counting]:
        self.label, self.total, self.unit = label, total, unit
        yield self

    def advance(self, amount: int) -> None:
        assert amount > 0
        with self._lock:
            self.done += amount

    def grow(self, amount: int) -> None:
        self.total += amount

    def note(self, message: str) -> None:
        pass


def make(count: int, *, extension: str = "-1-py3-none-any.whl", size: int = 2000) -> dict[Artifact, bytes]:
    contents = [random.Random(f"{extension}{number}").randbytes(size + number) for number in range(count)]
    return {
        artifact(
            content, f"{'pool/main/d/' if extension.endswith('.deb') else ''}demo{number}{extension}"
        ): content
        for number, content in enumerate(contents)
    }


def debs(count: int, *, size: int = 1000) -> dict[Artifact, bytes]:
    return make(count, extension="_2.1-3_amd64.deb", size=size)


def served(web: Web, contents: dict[Artifact, bytes]) -> dict[Artifact, bytes]:
    for item, content in contents.items():
        web.serve(item.name, content)
    return contents


@pytest.fixture
def fetcher(web: Web, store: Store, client: httpx2.Client) -> Iterator[Fetcher]:
    with make_fetcher(web, store, client) as made:
        yield made


def make_fetcher(web: Web, store: Store, client: httpx2.Client, progress: Counting | None = None) -> Fetcher:
    def locate(item: Artifact) -> Sequence[str]:
        return [f"{web.address}/{item.name}"]

    return Fetcher(store, locate=locate, client=client, retry=QUICK, progress=progress or Counting())


def test_all_arrive_with_their_content(web: Web, fetcher: Fetcher) -> None:
    contents = served(web, make(60) | debs(60))

    arrived = dict(fetcher.fetch(list(contents)))

    assert {item: path.read_bytes() for item, path in arrived.items()} == contents
    assert len(web.requests) == 120


def test_what_a_power_failure_may_have_emptied_is_fetched_again(
    web: Web, store: Store, fetcher: Fetcher
) -> None:
    list(fetcher.fetch(list(served(web, make(2)))))
    assert len(list((store.root / "downloads").iterdir())) == 2
    for mark in (store.root / "unsettled").iterdir():
        mark.rename(mark.with_name(f"another-boot.{mark.name.partition('.')[2]}"))

    with store.in_use():
        assert list((store.root / "downloads").iterdir()) == []


def test_connections_are_kept(web: Web, client: httpx2.Client, fetcher: Fetcher) -> None:
    contents = served(web, make(80))

    list(fetcher.fetch(list(contents)))

    assert all(request.headers.get("Connection", "keep-alive") == "keep-alive" for request in web.requests)
    assert {request.headers["User-Agent"].partition("/")[0] for request in web.requests} == {"hotdesk"}


def test_debian_is_started_first_and_the_larger_before_the_smaller() -> None:
    small, large = make(2, size=50_000)
    deb, large_deb = debs(2, size=10)

    assert start_order([small, deb, large, large_deb]) == [large_deb, deb, large, small]


def test_equals_are_started_in_the_order_given() -> None:
    items = [artifact(bytes([number]), f"demo{number}-1-py3-none-any.whl") for number in (3, 1, 2)]

    assert start_order(items) == items


def test_each_is_handed_over_while_others_are_under_way(web: Web, fetcher: Fetcher) -> None:
    contents = served(web, make(3))
    slow = artifact(b"x" * 5000, "slow-1-py3-none-any.whl")
    web.serve(slow.name, b"x" * 5000, slowly(10, seconds=30))

    arrivals = fetcher.fetch([slow, *contents])
    first_three = {next(arrivals)[0] for _ in range(3)}

    assert first_three == set(contents)
    assert slow.name in [request.path.lstrip("/") for request in web.requests]


def test_what_is_in_the_store_comes_before_what_must_be_fetched(web: Web, fetcher: Fetcher) -> None:
    contents = served(web, make(4))
    items = list(contents)
    list(fetcher.fetch(items[2:3]))
    web.turns[f"/{items[0].name}"].append(slowly(0, seconds=30))

    arrivals = fetcher.fetch([items[0], items[2]])

    assert next(arrivals)[0] == items[2]


def test_two_names_of_one_content_are_fetched_once(web: Web, fetcher: Fetcher) -> None:
    first, second = artifact(b"same", "a-1-py3-none-any.whl"), artifact(b"same", "b-1-py3-none-any.whl")
    web.serve(first.name, b"same")

    assert {item for item, _ in fetcher.fetch([first, second])} == {first, second}
    assert len(web.requests) == 1


def test_progress_counts_what_is_missing_and_ends_full(web: Web, store: Store, client: httpx2.Client) -> None:
    contents = served(web, make(10, size=40_000))
    items = list(contents)
    progress = Counting()
    with make_fetcher(web, store, client, progress) as fetcher:
        list(fetcher.fetch(items[:3]))
        web.turns[f"/{items[5].name}"] += [breaks_off(10_000), other(contents[items[5]])]
        list(fetcher.fetch(items))

    assert (progress.label, progress.unit) == ("downloading", "bytes")
    assert progress.total == sum(item.size for item in items[3:])
    assert progress.done == sum(item.size for item in items)


def test_every_package_that_is_gone_is_named_in_one_error(web: Web, store: Store, fetcher: Fetcher) -> None:
    contents = served(web, debs(40) | make(5, size=100_000))
    gone = [item for item in contents if item.kind == "debian"][::4]
    for item in gone:
        del web.files[f"/{item.name}"]

    with pytest.raises(GoneError) as raised:
        list(fetcher.fetch(list(contents)))

    for item in gone:
        assert f"  {item.name.partition('_')[0]} 2.1-3: " in raised.value.what
    assert raised.value.what.count("demo") == len(gone)
    assert "hotdesk lock --upgrade" in raised.value.hint


def test_after_a_failure_nothing_more_is_downloaded(web: Web, store: Store, fetcher: Fetcher) -> None:
    gone = debs(1)
    large = make(30, size=3_000_000)
    served(web, large)
    for item in large:
        web.turns[f"/{item.name}"].append(slowly(100_000, seconds=30))
    before = monotonic()

    with pytest.raises(GoneError):
        list(fetcher.fetch([*gone, *large]))

    assert monotonic() - before < 10
    assert not any(store.download(item.sha256).exists() for item in large)


def test_a_dead_network_is_reported_before_everything_was_tried(web: Web, fetcher: Fetcher) -> None:
    contents = served(web, make(100))
    for item in contents:
        web.turns[f"/{item.name}"] += [answer(500)] * 9

    with pytest.raises(FetchError, match=r"answers 500(.|\n)*\d+ more were not tried"):
        list(fetcher.fetch(list(contents)))

    assert len({request.path for request in web.requests}) < 50


def test_a_wrong_hash_is_named_with_its_file(web: Web, fetcher: Fetcher) -> None:
    contents = served(web, make(20))
    wrong = list(contents)[7]
    web.serve(wrong.name, bytes(wrong.size))

    with pytest.raises(HashMismatchError) as raised:
        list(fetcher.fetch(list(contents)))

    assert (
        f"1 file cannot be downloaded:\n  {wrong.name}: expected SHA-256 {wrong.sha256}" in raised.value.what
    )


def test_failures_of_two_kinds_make_one_plain_error() -> None:
    gone, denied = make(2)
    failures = [(gone, GoneError("g", why="no such file")), (denied, FetchError("d", why="access is denied"))]

    error = summary(failures, skipped=7)

    assert type(error) is FetchError
    assert error.what == (
        f"2 files cannot be downloaded:\n  {gone.name}: no such file\n  {denied.name}: access is denied\n"
        "7 more were not tried"
    )


def test_an_unknown_index_is_told_as_such(store: Store, client: httpx2.Client) -> None:
    def locate(_: Artifact) -> Iterator[str]:
        raise IndexConfigurationError("no mirror")

    with (
        Fetcher(store, locate=locate, client=client) as fetcher,
        pytest.raises(IndexConfigurationError, match="no mirror"),
    ):
        list(fetcher.fetch(list(make(40))))


def test_offline_lists_what_is_missing_and_asks_nobody(web: Web, store: Store, client: httpx2.Client) -> None:
    contents = served(web, make(5))
    items = list(contents)
    with make_fetcher(web, store, client) as fetcher:
        list(fetcher.fetch(items[:2]))
    asked = len(web.requests)

    with Fetcher(store, offline=True) as fetcher:
        assert len(list(fetcher.fetch(items[:2]))) == 2
        with pytest.raises(NotCachedError) as raised:
            list(fetcher.fetch(items))

    assert [item.name in raised.value.what for item in items] == [False, False, True, True, True]
    assert len(web.requests) == asked


def test_a_file_cut_off_by_a_power_failure_is_fetched_again(web: Web, store: Store, fetcher: Fetcher) -> None:
    [(item, content)] = served(web, make(1)).items()
    [(_, path)] = fetcher.fetch([item])
    path.write_bytes(b"")

    [(_, path)] = fetcher.fetch([item])

    assert path.read_bytes() == content


def test_a_hint_saves_asking_the_index(web: Web, store: Store, client: httpx2.Client) -> None:
    [(item, content)] = make(1).items()
    remember(store, item, web.serve("elsewhere", content))

    def locate(_: Artifact) -> Iterator[str]:
        raise AssertionError("the index was asked")

    with Fetcher(store, locate=locate, client=client) as fetcher:
        [(_, path)] = fetcher.fetch([item])

    assert path.read_bytes() == content


def test_a_hint_that_is_wrong_leads_to_the_index(web: Web, store: Store, fetcher: Fetcher) -> None:
    contents = served(web, make(5))
    lost, replaced, broken, denied, dead = contents
    remember(store, denied, web.serve("denied", b"", answer(403)))
    remember(store, dead, "http://127.0.0.1:1/dead")
    remember(store, lost, f"{web.address}/lost")
    remember(store, replaced, web.serve("replaced", bytes(replaced.size)))
    (store.root / "locations" / broken.sha256).write_text("http://[not an address")

    assert {item: path.read_bytes() for item, path in fetcher.fetch(list(contents))} == contents


def test_a_hint_that_is_wrong_is_not_what_went_wrong(store: Store, client: httpx2.Client) -> None:
    [item] = make(1)
    remember(store, item, "http://127.0.0.1:1/dead")

    with (
        Fetcher(store, locate=lambda _: [], client=client, retry=QUICK) as fetcher,
        pytest.raises(GoneError, match="none of the configured indexes"),
    ):
        list(fetcher.fetch([item]))


def test_an_address_with_a_query_is_no_hint(store: Store) -> None:
    item = artifact(b"x")

    remember(store, item, "https://host.example/demo.whl?token=secret")

    assert not (store.root / "locations").exists()


def test_a_hint_holds_no_credentials(store: Store) -> None:
    [item] = make(1)

    remember(store, item, "https://user:secret@host.example/a/demo.whl")

    texts = [path.read_text() for path in store.root.rglob("*") if path.is_file()]
    assert texts == ["https://host.example/a/demo.whl"]


def test_leaving_early_stops_and_keeps_what_came(web: Web, store: Store, client: httpx2.Client) -> None:
    [(item, content)] = make(1, size=1_000_000).items()
    web.serve(item.name, content, slowly(700_000))
    with make_fetcher(web, store, client) as fetcher:
        arrivals = fetcher.fetch([item])
        waiting = threading.Thread(target=lambda: list(arrivals), daemon=True)
        waiting.start()
        partial = store.partial(item.sha256)
        eventually(lambda: partial.exists() and partial.stat().st_size > 500_000)
        before = monotonic()

    waiting.join(5)
    assert not waiting.is_alive()
    assert monotonic() - before < 20  # the silence lasts a minute
    kept = partial.read_bytes()
    assert len(kept) > 500_000
    assert content.startswith(kept)


def test_a_disk_that_is_too_small_is_told_before_anything_is_asked(web: Web, fetcher: Fetcher) -> None:
    [item] = make(1)
    giant = artifact(b"", "giant-1-py3-none-any.whl", size=1 << 60)

    with pytest.raises(StoreError, match=r"1,152,921,504,6.* MB more are needed"):
        list(fetcher.fetch([item, giant]))
    assert web.requests == []


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path, client: httpx2.Client) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "store")

    with Fetcher(store, locate=lambda _: [], client=client) as fetcher, pytest.raises(StoreError) as raised:
        list(fetcher.fetch(list(make(1))))

    assert str(store.root) in raised.value.what
