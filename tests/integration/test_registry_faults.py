"""Push and pull through a proxy that resets, delays, refuses and truncates, and through a killer."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import faulty_proxy as harms
from tests.support.faulty_proxy import FaultyProxy, Harm, faulty_proxy
from tests.support.images import image, layer, noise, small_image
from tests.support.network import home
from tests.support.registry import DockerRegistry, own_reference, registry
from tests.support.stores import other, store
from tests.support.waiting import eventually

from hotdesk.errors import RegistryError
from hotdesk.indexes.http import Retry
from hotdesk.oci.pulled import pulled_image
from hotdesk.oci.registry.pull import pull
from hotdesk.oci.registry.push import push
from hotdesk.oci.registry.reference import Reference, parse_reference
from hotdesk.oci.registry.session import Patience
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.oci.model import Image

__all__ = ["home", "other", "registry", "store"]

pytestmark = pytest.mark.integration

QUICK = Patience(connect=3, silence=1.5, commit=1.5, retry=Retry(tries=4, first=0.01, longest=2))
AMD = "linux/amd64"


@pytest.fixture(autouse=True)
def _on_its_own(home: Path) -> None:
    """No test sees the caller's logins and proxies."""


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[FaultyProxy]:
    with faulty_proxy(registry.host) as started:
        yield started


@pytest.fixture
def reference(proxy: FaultyProxy, request: pytest.FixtureRequest) -> Reference:
    return own_reference(proxy.host, request)


def past(proxy: FaultyProxy, registry: DockerRegistry, reference: Reference) -> Reference:
    """The same place without the proxy."""
    return parse_reference(str(reference).replace(proxy.host, registry.host))


def assert_sound(store: Store) -> None:
    """Nothing in the store has a name that is not its hash."""
    for blob in (store.root / "blobs").glob("*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def assert_same(got: Image, pushed: Image) -> None:
    assert got.manifest.descriptor.digest == pushed.manifest.descriptor.digest
    for ours, theirs in zip(got.blobs(), pushed.blobs(), strict=True):
        assert b"".join(ours.chunks()) == b"".join(theirs.chunks())


PUSH_HARMS: dict[str, tuple[str, Harm, int]] = {
    "looking fails": ("^HEAD", harms.answers(500), 2),
    "looking is reset": ("^HEAD", harms.resets(), 3),
    "too many requests": ("^(HEAD|POST)", harms.answers(429, Retry_After="1"), 2),
    "beginning fails": ("^POST", harms.answers(503), 3),
    "beginning is lost": ("^POST", harms.loses_answer, 2),
    "sending is refused": ("^PUT .*/blobs/", harms.answers(502), 2),
    "sending times out": ("^PUT .*/blobs/", harms.answers(408), 2),
    "sending is reset": ("^PUT .*/blobs/", harms.resets(70_000), 2),
    "half arrives": ("^PUT .*/blobs/", harms.passes_on(70_000), 2),
    "all arrives and nobody hears of it": ("^PUT .*/blobs/", harms.loses_answer, 2),
    "the registry takes its time": ("^PUT .*/blobs/", harms.delays_answer(2), 1),
    "silence": ("^PUT .*/blobs/", harms.delays(2), 1),
    "the upload is gone": ("^PUT .*/blobs/", harms.answers(404), 2),
    "the manifest is refused": ("^PUT .*/manifests/", harms.answers(500), 2),
    "the manifest is lost": ("^PUT .*/manifests/", harms.loses_answer, 2),
}


@pytest.mark.parametrize("harm", PUSH_HARMS)
def test_a_push_ends_right_whatever_happens_in_passing(
    store: Store, other: Store, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference, harm: str
) -> None:
    proxy.harm(*PUSH_HARMS[harm])
    pushed = small_image(seed=hash(harm) % 1000)

    push(store, [pushed], reference, patience=QUICK)

    assert proxy.done == PUSH_HARMS[harm][2]
    assert_same(pulled_image(other, pull(other, past(proxy, registry, reference), AMD).digest), pushed)


PULL_HARMS: dict[str, tuple[str, Harm, int]] = {
    "the manifest fails": ("^GET .*/manifests/", harms.answers(500), 3),
    "the manifest is cut": ("^GET .*/manifests/", harms.truncates(100), 2),
    "too many requests": ("^GET", harms.answers(429, Retry_After="1"), 2),
    "blobs fail": ("^GET .*/blobs/", harms.answers(503), 3),
    "blobs are reset": ("^GET .*/blobs/", harms.resets(), 3),
    "blobs are cut": ("^GET .*/blobs/", harms.truncates(50_000), 3),
    "blobs are late": ("^GET .*/blobs/", harms.delays(2), 1),
}


@pytest.mark.parametrize("harm", PULL_HARMS)
def test_a_pull_ends_right_whatever_happens_in_passing(
    store: Store, other: Store, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference, harm: str
) -> None:
    pushed = small_image()
    push(store, [pushed], past(proxy, registry, reference))
    proxy.harm(*PULL_HARMS[harm])

    pulled = pull(other, reference, AMD, patience=QUICK)

    assert proxy.done == PULL_HARMS[harm][2]
    assert_same(pulled_image(other, pulled.digest), pushed)


@pytest.mark.parametrize("what", ["^PUT .*/blobs/", "^PUT .*/manifests/"])
def test_what_never_works_is_given_up_and_can_be_repeated(
    store: Store, other: Store, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference, what: str
) -> None:
    proxy.harm(what, harms.answers(500, b'{"errors": [{"message": "the disk is full"}]}'), 1000)
    with pytest.raises(RegistryError, match="cannot be pushed") as caught:
        push(store, [small_image()], reference, patience=QUICK)
    assert "the disk is full" in caught.value.why
    proxy.faults.clear()

    push(store, [small_image()], reference, patience=QUICK)

    assert_same(pulled_image(other, pull(other, reference, AMD).digest), small_image())


def test_a_pull_that_is_given_up_goes_on_where_it_was(
    store: Store, other: Store, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference
) -> None:
    one = image(layer("usr/share/one", noise(3_000_000, seed=5)))
    push(store, [one], past(proxy, registry, reference))
    proxy.harm("^GET .*/blobs/" + one.layers[0].blob.descriptor.digest, harms.truncates(1_000_000), 1)
    proxy.harm("^GET .*/blobs/" + one.layers[0].blob.descriptor.digest, harms.answers(500), 10)
    with pytest.raises(RegistryError, match="cannot be pulled"):
        pull(other, reference, AMD, patience=QUICK)
    assert list((other.root / "blobs").iterdir()) == []
    proxy.faults.clear()
    proxy.ranges.clear()

    pulled = pull(other, reference, AMD, patience=QUICK)

    assert_same(pulled_image(other, pulled.digest), one)
    assert proxy.ranges == ["bytes=1000000-"]


def test_a_registry_that_takes_no_large_requests_gets_small_ones(
    store: Store, other: Store, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference
) -> None:
    proxy.limit = 600_000
    pushed = image(layer("usr/share/large", noise(1_400_000, seed=6)))

    push(store, [pushed], reference, patience=QUICK)

    assert proxy.count("^PATCH") >= 3
    assert_same(pulled_image(other, pull(other, reference, AMD).digest), pushed)


def test_parts_are_sent_again_where_they_get_lost(
    store: Store, other: Store, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference
) -> None:
    proxy.limit = 600_000
    proxy.harm("^PATCH", harms.loses_answer, 1)
    proxy.harm("^PATCH", harms.resets(100_000), 1)
    proxy.harm("^PUT .*/blobs/", harms.loses_answer, 1)
    pushed = image(layer("usr/share/large", noise(1_400_000, seed=7)))

    push(store, [pushed], reference, patience=QUICK)

    assert proxy.done == 3
    assert_same(pulled_image(other, pull(other, reference, AMD).digest), pushed)


def test_a_bad_line_is_survived_or_told(
    store: Store, tmp_path: Path, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference
) -> None:
    """Any request may fail in any way; what is repeated ends right, and nothing in between is wrong."""
    proxy.chance = 0.25
    failures = 0
    for seed in range(8):
        pushed, other = small_image(seed), Store(tmp_path / f"store {seed}")
        for work in (
            lambda pushed=pushed: push(store, [pushed], reference, patience=QUICK),
            lambda other=other: pull(other, reference, AMD, patience=QUICK),
        ):
            while True:
                try:
                    work()
                    break
                except RegistryError:
                    failures += 1
                    assert failures < 100
                assert_sound(other)
        got = pull(other, past(proxy, registry, reference), AMD)
        assert_same(pulled_image(other, got.digest), pushed)
    assert proxy.done > 30


# Killing

KILLS = int(os.environ.get("HOTDESK_TEST_KILLS", "4"))

_WORK = """
import sys
from pathlib import Path
from tests.support.images import small_image
from hotdesk.oci.registry.pull import pull
from hotdesk.oci.registry.push import push
from hotdesk.oci.registry.reference import parse_reference
from hotdesk.store import Store

what, store, reference, seed = sys.argv[1:]
image = small_image(int(seed), size=3_000_000)
print("ready", flush=True)
if what == "push":
    push(Store(Path(store)), [image], parse_reference(reference))
else:
    pull(Store(Path(store)), parse_reference(reference), "linux/amd64")
"""


def begin(what: str, store: Store, reference: Reference, seed: int) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", _WORK, what, str(store.root), str(reference), str(seed)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("what", ["push", "pull"])
def test_after_a_kill_the_next_try_works(
    store: Store,
    tmp_path: Path,
    registry: DockerRegistry,
    proxy: FaultyProxy,
    reference: Reference,
    what: str,
) -> None:
    chance = random.Random(4)
    there, got = past(proxy, registry, reference), Store(tmp_path / "got")
    for seed in range(KILLS):
        pushed = small_image(seed, size=3_000_000)
        if what == "pull":
            push(store, [pushed], there)
        with begin(what, got if what == "pull" else store, there, seed) as process:
            time.sleep(chance.uniform(0.0, 0.5))
            process.kill()
        assert_sound(got)
    push(store, [pushed], there)
    assert_same(pulled_image(got, pull(got, there, AMD).digest), pushed)


def test_two_pulls_into_one_store_share_what_arrives(
    store: Store, tmp_path: Path, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference
) -> None:
    pushed, got = small_image(20, size=3_000_000), Store(tmp_path / "got")
    push(store, [pushed], past(proxy, registry, reference))

    with begin("pull", got, reference, 20) as one, begin("pull", got, reference, 20) as two:
        assert (one.wait(300), two.wait(300)) == (0, 0)

    assert proxy.count("GET .*/blobs/") == 3 + 2  # the layers once, the configuration twice
    assert_same(pulled_image(got, pull(got, past(proxy, registry, reference), AMD).digest), pushed)


def test_two_pushes_of_one_image_do_not_harm_each_other(
    store: Store, other: Store, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference
) -> None:
    with begin("push", store, reference, 21) as one, begin("push", other, reference, 21) as two:
        assert (one.wait(300), two.wait(300)) == (0, 0)

    got = pulled_image(other, pull(other, past(proxy, registry, reference), AMD).digest)
    assert_same(got, small_image(21, size=3_000_000))


def test_an_interrupted_push_ends_at_once(
    store: Store, registry: DockerRegistry, proxy: FaultyProxy, reference: Reference
) -> None:
    proxy.harm("^(HEAD|PUT)", harms.delays(20), 100)
    with begin("push", store, reference, 22) as process:
        eventually(lambda: proxy.count("^HEAD") > 0)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(10)

    assert time.monotonic() - begun < 5


# Memory

_LARGE = """
import sys
from functools import partial
from pathlib import Path

from tests.support.images import noise

from hotdesk.layers.entries import File
from hotdesk.oci.layer import blob_chunks, in_order, measure, roots, tar_chunks
from hotdesk.oci.model import LAYER, Blob, Descriptor, Layer, image_of
from hotdesk.oci.registry.pull import pull
from hotdesk.oci.registry.push import push
from hotdesk.oci.registry.reference import parse_reference
from hotdesk.store import Store

COUNT = 30


def peak():
    # Not ru_maxrss, which begins with that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


PIECE = noise(1 << 20)


def large(number):
    def pieces():
        for index in range(COUNT):
            yield b"%8d" % (100 * number + index) + PIECE[8:]

    members = in_order(roots([File(f"usr/share/{number}", COUNT << 20, pieces)]))
    found = measure(members)
    blob = Blob(Descriptor(LAYER, f"sha256:{found.digest}", found.size), partial(blob_chunks, members))
    return Layer(blob, f"sha256:{found.diff_id}", found.tar_size, partial(tar_chunks, members), "large")


reference = parse_reference(sys.argv[1])
image = image_of("linux/amd64", {}, [large(number) for number in range(4)])
before = peak()
pushed = push(Store(Path(sys.argv[2])), [image], reference)
between = peak()
pull(Store(Path(sys.argv[3])), reference, "linux/amd64")
print(pushed.size, before, between, peak())
"""


def test_memory_does_not_grow_with_the_layers(
    registry: DockerRegistry, proxy: FaultyProxy, reference: Reference, tmp_path: Path
) -> None:
    there = past(proxy, registry, reference)
    command = [sys.executable, "-c", _LARGE, str(there), str(tmp_path / "one"), str(tmp_path / "two")]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr

    size, before, between, after = (int(word) for word in done.stdout.split())

    assert size > 120_000_000
    assert between - before < 60_000  # KiB; four blobs at once
    assert after - before < 80_000
    assert after < 130_000
