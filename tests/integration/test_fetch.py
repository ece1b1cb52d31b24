"""Downloads among processes, by force, on a full disk, and from the machine's own indexes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from tests.fetch import fetch_in_process
from tests.fetch.web import Web, artifact, client, slowly, store, web
from tests.support.host import lacking
from tests.support.waiting import eventually

from hotdesk.errors import FetchError, StoreError
from hotdesk.fetch import Fetcher
from hotdesk.fetch.partial import Partial
from hotdesk.indexes import pages, pypi
from hotdesk.indexes.http import get, make_client
from hotdesk.lock import Artifact
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx2

__all__ = ["client", "store", "web"]

pytestmark = pytest.mark.integration

CONTENT = random.Random(3).randbytes(2_000_000)
WHEEL = artifact(CONTENT)


def start(web: Web, store: Store, *items: Artifact) -> subprocess.Popen[str]:
    argv = [sys.executable, fetch_in_process.__file__, str(store.root), web.address]
    argv += [f"{item.name}:{item.size}:{item.sha256}" for item in items]
    environment = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def counter(web: Web) -> Callable[[], bool]:
    """Tells whether another request came since."""
    before = len(web.requests)
    return lambda: len(web.requests) > before


def test_many_processes_share_one_download_of_each_file(web: Web, store: Store) -> None:
    contents = [random.Random(number).randbytes(50_000) for number in range(20)]
    items = [artifact(content, f"demo{number}-1-py3-none-any.whl") for number, content in enumerate(contents)]
    for item, content in zip(items, contents, strict=True):
        web.serve(item.name, content)

    processes = [start(web, store, *items) for _ in range(5)]
    outputs = [process.communicate(timeout=300) for process in processes]

    assert [process.returncode for process in processes] == [0] * 5, outputs
    assert all(sorted(out.split()) == sorted(item.name for item in items) for out, _ in outputs)
    assert len(web.requests) == len(items)
    for item, content in zip(items, contents, strict=True):
        assert store.download(item.sha256).read_bytes() == content


def test_the_second_process_waits_for_the_first(web: Web, store: Store) -> None:
    web.serve(WHEEL.name, CONTENT, slowly(1_000_000, seconds=2))
    first = start(web, store, WHEEL)
    eventually(lambda: len(web.requests) == 1)
    second = start(web, store, WHEEL)

    assert [first.communicate(timeout=30)[0], second.communicate(timeout=30)[0]] == [f"{WHEEL.name}\n"] * 2
    assert len(web.requests) == 1


def test_a_killed_download_is_resumed_by_whoever_waits(web: Web, store: Store) -> None:
    web.serve(WHEEL.name, CONTENT, slowly(1_000_000))
    first = start(web, store, WHEEL)
    partial = store.partial(WHEEL.sha256)
    eventually(lambda: partial.exists() and partial.stat().st_size > 700_000)
    kept = partial.stat().st_size  # the last quarter of a megabyte may not be written yet
    second = start(web, store, WHEEL)

    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=10)
    out, err = second.communicate(timeout=30)

    assert (out, second.returncode) == (f"{WHEEL.name}\n", 0), err
    assert web.starts(WHEEL.name) == [0, kept]
    assert store.download(WHEEL.sha256).read_bytes() == CONTENT


def test_killed_at_random_moments_it_ends_with_the_right_file(web: Web, store: Store) -> None:
    moments = random.Random(4)
    for _ in range(6):
        after = moments.randrange(0, 500_000)
        web.serve(WHEEL.name, CONTENT, slowly(after))
        asked_again = counter(web)
        process = start(web, store, WHEEL)
        eventually(asked_again)
        process.kill()
        process.communicate(timeout=10)

    process = start(web, store, WHEEL)
    out, err = process.communicate(timeout=30)

    assert out == f"{WHEEL.name}\n", err
    assert store.download(WHEEL.sha256).read_bytes() == CONTENT
    assert not list(store.partial(WHEEL.sha256).parent.iterdir())


def test_an_interrupt_ends_it_promptly(web: Web, store: Store) -> None:
    web.serve(WHEEL.name, CONTENT, slowly(1_000_000))
    process = start(web, store, WHEEL)
    partial = store.partial(WHEEL.sha256)
    eventually(lambda: partial.exists() and partial.stat().st_size > 700_000)
    before = monotonic()

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert monotonic() - before < 5
    assert "KeyboardInterrupt" in err
    assert partial.stat().st_size == 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Store]:
    """A store on a file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        lacking(f"this host mounts no tmpfs: {mounted.stderr.strip()}")
    yield Store(folder / "store")
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_without_room_is_told_before_the_download(
    web: Web, small_disk: Store, client: httpx2.Client
) -> None:
    url = web.serve(WHEEL.name, CONTENT)

    with (
        Fetcher(small_disk, locate=lambda _: [url], client=client) as fetcher,
        pytest.raises(StoreError, match=r"2\.0 MB more are needed") as raised,
    ):
        list(fetcher.fetch([WHEEL]))

    assert str(small_disk.root) in raised.value.what
    assert "1.0 MB are free" in raised.value.why
    assert "HOTDESK_STORE" in raised.value.hint
    assert web.requests == []


def test_a_disk_that_fills_up_meanwhile_is_told(small_disk: Store) -> None:
    with Partial(small_disk, WHEEL) as partial, pytest.raises(StoreError, match=r"2\.0 MB more") as raised:
        partial.append(CONTENT)

    assert raised.value.why == "No space left on device"


@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_a_read_only_store_is_told(small_disk: Store, client: httpx2.Client, begun: bool) -> None:
    disk = small_disk.root.parent
    if begun:
        (small_disk.root / "locks").mkdir(parents=True)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    with (
        Fetcher(small_disk, locate=lambda _: [], client=client) as fetcher,
        pytest.raises(StoreError, match="cannot be written") as raised,
    ):
        list(fetcher.fetch([artifact(b"small", "small-1-py3-none-any.whl")]))

    assert "Read-only file system" in raised.value.why


def index_of_the_network() -> str:
    index = next((index.url for index in pypi.index_urls() if index.url.startswith("http")), "")
    if not index:
        lacking("this machine has no index on the network")
    return index


def test_a_file_is_found_on_the_machines_index_and_fetched(tmp_path: Path) -> None:
    with make_client() as real:
        index = index_of_the_network()
        page = get(real, f"{index.rstrip('/')}/iniconfig/", accept=pages.ACCEPT)
        link = next(link for link in pages.links(page) if link.file.endswith(".whl") and link.sha256)
        content = get(real, link.url).body
    wheel = Artifact("pypi", "iniconfig", link.file, len(content), link.sha256)

    with Fetcher(Store(tmp_path)) as fetcher:
        [(_, path)] = fetcher.fetch([wheel])

    assert hashlib.sha256(path.read_bytes()).hexdigest() == link.sha256


def test_a_name_that_does_not_resolve_is_told_with_its_cure(tmp_path: Path) -> None:
    with (
        Fetcher(Store(tmp_path), locate=lambda _: ["https://no-such-host.invalid/x"]) as fetcher,
        pytest.raises(FetchError) as raised,
    ):
        list(fetcher.fetch([WHEEL]))

    assert "no-such-host.invalid" in str(raised.value)
    assert "HTTPS_PROXY" in raised.value.hint
