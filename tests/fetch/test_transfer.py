"""One artifact over a bad line, from a bad server, or from a wrong one."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from tests.fetch.web import (
    QUICK,
    Web,
    answer,
    artifact,
    breaks_off,
    endless,
    ignores_range,
    lies_about_range,
    other,
    whole,
)

from hotdesk.errors import FetchError, GoneError, HashMismatchError
from hotdesk.fetch import Fetcher

if TYPE_CHECKING:
    import httpx2

    from hotdesk.lock import Artifact
    from hotdesk.store import Store

CONTENT = random.Random(1).randbytes(300_000)
WHEEL = artifact(CONTENT)

Fetch = Callable[..., bytes]


@pytest.fixture
def fetch(store: Store, client: httpx2.Client) -> Fetch:
    """Fetch the wheel from these addresses; the content of what arrives."""

    def run(*urls: str, wheel: Artifact = WHEEL) -> bytes:
        with Fetcher(store, locate=lambda _: urls, client=client, retry=QUICK) as fetcher:
            [(found, path)] = fetcher.fetch([wheel])
        assert found == wheel
        assert path == store.download(wheel.sha256)
        assert not store.partial(wheel.sha256).exists()
        return path.read_bytes()

    return run


def begun(store: Store, content: bytes) -> None:
    partial = store.partial(WHEEL.sha256)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(content)


def test_a_good_server_is_asked_once(web: Web, fetch: Fetch) -> None:
    assert fetch(web.serve("a", CONTENT)) == CONTENT
    assert web.starts("a") == [0]


def test_nothing_is_asked_for_when_the_store_has_it(web: Web, fetch: Fetch) -> None:
    url = web.serve("a", CONTENT)
    fetch(url)

    assert fetch(url) == CONTENT
    assert len(web.requests) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_download_goes_on_where_it_broke(web: Web, fetch: Fetch, reset: bool) -> None:
    url = web.serve("a", CONTENT, breaks_off(100_000), breaks_off(100_000, reset=reset))

    assert fetch(url) == CONTENT
    first, second, third = web.starts("a")
    assert first == 0
    assert second == 100_000
    # A reset may destroy what was sent and not yet read.
    assert 100_000 <= third <= 200_000
    assert reset or third == 200_000


def test_what_an_earlier_process_left_is_used(web: Web, store: Store, fetch: Fetch) -> None:
    begun(store, CONTENT[:123_456])

    assert fetch(web.serve("a", CONTENT)) == CONTENT
    assert web.starts("a") == [123_456]


def test_what_an_earlier_process_left_whole_needs_no_server(web: Web, store: Store, fetch: Fetch) -> None:
    begun(store, CONTENT)

    assert fetch(web.serve("a", CONTENT)) == CONTENT
    assert web.requests == []


@pytest.mark.parametrize(
    "rubbish",
    [bytes(123_456), bytes(len(CONTENT)), CONTENT + b"and more"],
    ids=["wrong beginning", "wrong throughout", "too long"],
)
def test_a_corrupt_beginning_is_thrown_away(web: Web, store: Store, fetch: Fetch, rubbish: bytes) -> None:
    begun(store, rubbish)

    assert fetch(web.serve("a", CONTENT)) == CONTENT
    assert web.starts("a")[-1] == 0
    assert len(web.requests) <= 2


def test_a_server_that_ignores_ranges_sends_it_all(web: Web, store: Store, fetch: Fetch) -> None:
    begun(store, CONTENT[:100_000])

    assert fetch(web.serve("a", CONTENT, ignores_range)) == CONTENT
    assert web.starts("a") == [100_000]


def test_a_part_that_was_not_asked_for_is_not_used(web: Web, store: Store, fetch: Fetch) -> None:
    begun(store, CONTENT[:100_000])

    assert fetch(web.serve("a", CONTENT, lies_about_range)) == CONTENT
    assert web.starts("a") == [100_000, 0]


def test_a_range_beyond_the_end_starts_over(web: Web, store: Store, fetch: Fetch) -> None:
    begun(store, CONTENT[:100_000])

    assert fetch(web.serve("a", CONTENT, answer(416))) == CONTENT
    assert web.starts("a") == [100_000, 0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_failures_that_pass_are_waited_out(web: Web, fetch: Fetch, status: int) -> None:
    assert fetch(web.serve("a", CONTENT, *[answer(status)] * 4)) == CONTENT
    assert len(web.starts("a")) == 5


def test_after_five_failures_it_is_given_up(web: Web, fetch: Fetch) -> None:
    url = web.serve("a", CONTENT, *[answer(503)] * 9)

    with pytest.raises(FetchError, match=r"1 file cannot be downloaded:\n  demo-1-.*answers 503"):
        fetch(url)
    assert len(web.starts("a")) == 5


def test_a_line_that_breaks_again_and_again_is_given_up_unless_it_gets_on(web: Web, fetch: Fetch) -> None:
    large = random.Random(2).randbytes(9 << 20)
    wheel = artifact(large, "large-1-py3-none-any.whl")
    url = web.serve("large", large, *[breaks_off(5 << 18)] * 7)

    assert fetch(url, wheel=wheel) == large
    assert web.starts("large") == [number * (5 << 18) for number in range(8)]

    with pytest.raises(FetchError, match="cannot be downloaded"):
        fetch(web.serve("a", CONTENT, *[breaks_off(1000)] * 9))
    assert len(web.starts("a")) == 5


def test_retry_after_is_honoured(web: Web, fetch: Fetch) -> None:
    before = monotonic()

    fetch(web.serve("a", CONTENT, answer(429, Retry_After="1")))

    assert monotonic() - before >= 1.0


def test_retry_after_may_be_a_date_and_too_far_away(web: Web, fetch: Fetch) -> None:
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)

    with pytest.raises(FetchError, match="answers 503"):
        fetch(web.serve("a", CONTENT, answer(503, Retry_After=tomorrow)))
    assert len(web.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_are_not_repeated_and_the_next_address_is_tried(web: Web, fetch: Fetch, status: int) -> None:
    refusing = web.serve("a", CONTENT, answer(status))

    assert fetch(refusing, web.serve("b", CONTENT)) == CONTENT
    assert [request.path for request in web.requests] == ["/a", "/b"]


def test_a_download_begun_at_one_address_goes_on_at_the_next(web: Web, fetch: Fetch) -> None:
    first = web.serve("a", CONTENT, breaks_off(100_000), answer(404))

    assert fetch(first, web.serve("b", CONTENT)) == CONTENT
    assert web.starts("b") == [100_000]


def test_a_good_address_is_not_blamed_for_the_beginning_that_another_sent(web: Web, fetch: Fetch) -> None:
    rubbish = bytes(len(CONTENT))
    bad = web.serve("bad", rubbish, breaks_off(100_000), answer(404))
    good = web.serve("good", CONTENT)

    assert fetch(bad, good) == CONTENT
    assert web.starts("good") == [100_000, 0]


def test_wrong_content_is_never_kept(web: Web, store: Store, fetch: Fetch) -> None:
    url = web.serve("a", bytes(len(CONTENT)))

    with pytest.raises(HashMismatchError) as raised:
        fetch(url)

    assert f"expected SHA-256 {WHEEL.sha256}, got " in str(raised.value)
    assert "demo-1-py3-none-any.whl" in str(raised.value)
    assert url in str(raised.value)
    assert not store.download(WHEEL.sha256).exists()
    assert not store.partial(WHEEL.sha256).exists()
    assert len(web.requests) == 1


def test_wrong_content_at_one_address_leads_to_the_next(web: Web, fetch: Fetch) -> None:
    assert fetch(web.serve("a", bytes(len(CONTENT))), web.serve("b", CONTENT)) == CONTENT
    assert web.starts("b") == [0]


def test_a_page_instead_of_the_file_is_refused_by_its_size(web: Web, fetch: Fetch) -> None:
    login = other(b"<html>please log in to this hotel's network</html>")

    with pytest.raises(HashMismatchError, match="it has 50 bytes, and 300,000 were locked"):
        fetch(web.serve("a", CONTENT, login))


def test_a_flood_is_cut_off(web: Web, store: Store, fetch: Fetch) -> None:
    with pytest.raises(HashMismatchError, match="larger than the 300,000 bytes locked"):
        fetch(web.serve("a", CONTENT, endless))

    assert web.sent["/a"] < 1000 << 16
    assert not store.partial(WHEEL.sha256).exists()


def test_an_answer_without_length_that_is_too_short_is_asked_for_again(web: Web, fetch: Fetch) -> None:
    short = other(CONTENT[:50_000], tell_length=False)

    assert fetch(web.serve("a", CONTENT, short, whole)) == CONTENT
    assert web.starts("a") == [0, 50_000]


def test_a_file_that_no_address_has_is_gone(web: Web, fetch: Fetch) -> None:
    with pytest.raises(GoneError, match=r"(?s)not to be found on 127\.0\.0\.1\n.*`hotdesk lock --upgrade`"):
        fetch(f"{web.address}/nowhere", f"{web.address}/neither")
    assert len(web.requests) == 2


def test_a_file_that_no_index_offers_is_gone(fetch: Fetch) -> None:
    with pytest.raises(GoneError, match="none of the configured indexes lists this file"):
        fetch()


def test_what_went_wrong_says_more_than_that_another_address_had_no_such_file(web: Web, fetch: Fetch) -> None:
    with pytest.raises(FetchError, match="access is denied") as raised:
        fetch(f"{web.address}/nowhere", web.serve("a", CONTENT, answer(403)), f"{web.address}/neither")
    assert not isinstance(raised.value, GoneError)


def test_an_empty_file_is_a_file(web: Web, fetch: Fetch) -> None:
    empty = artifact(b"", "empty-1-py3-none-any.whl")

    assert fetch(web.serve("a", b""), wheel=empty) == b""
