"""The rows about images: what a build costs, what an edit moves, how both grow."""

from __future__ import annotations

import json
import zlib
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks import big_wheel, small_wheels
from benchmarks.hotdesk_arm import VARIANT, Hotdesk, fetch_seconds
from benchmarks.measure import BenchmarkError, PeakMemory
from benchmarks.samples import Claim, RowResult, run_blocks
from hotdesk.build.image import build_image
from hotdesk.engines.loading import load
from hotdesk.keys import IMAGE_FORMAT, Keys
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.bench import Bench
    from benchmarks.samples import Arm
    from hotdesk.lock import LockedVariant

READY = "seconds until all that a push needs is known"
STORED = "seconds until the registry has it"
BUILD = "seconds of hotdesk build, whole process"
LESS = "seconds of hotdesk build, less the download"
PUSHED = "bytes pushed"
LOADED = "bytes loaded into Docker"
PACKAGE = "bytes of the package and its bytecode"
NEW_LAYER = "bytes of the new layer, not compressed"
ADDED = "seconds of hotdesk build with one package more"
FIRST_BUILD = "seconds of the first hotdesk build"
TOGETHER = "bytes of memory, all of hotdesk's processes together"
LARGEST = "bytes of memory, the largest process"
MEMORY_LIMIT = 300e6
BIG_WHEEL = 700  # MB
SIZES = (50, 100, 200)  # packages
_BASE = "debian:trixie", "3.13"
_FIRST = "hotdesk-benchmark-first"
_IMAGE = "image.json"
# Small, pure Python, not on the desk, requiring nothing that it lacks; row 3 adds others first.
SMALL = ("emoji", "boltons", "unidecode", "pyfiglet", "pyphen", "phonenumbers", "faker", "sqlparse")


def wheels_to_blobs(bench: Bench, blocks: int) -> RowResult:
    arm, docker = bench.hotdesk, bench.docker_with_image
    bench.say("building hotdesk's image once, pushing Docker's once")
    arm.run("build", "--variant", VARIANT)
    number = count()

    def hotdesk(_: int) -> Mapping[str, float]:
        forget_wheel_layers(arm)
        build = arm.run("build", "--variant", VARIANT)
        with bench.registry() as registry:
            push = arm.run("push", f"{registry.host}/desk:1", "--variant", VARIANT)
        return {READY: build, STORED: build + push, "seconds of hotdesk push": push}

    def rebuilt(_: int) -> Mapping[str, float]:
        # Another comment in the requirements: what is below the wheels stays in Docker's cache.
        build = docker.build("uv", "again", extra=f"# {next(number)}\n")
        push = docker.push("again", registry.host)
        both = build + push
        return {READY: both, STORED: both, "seconds of docker build": build, "seconds of docker push": push}

    arms = {"hotdesk build": hotdesk, "docker: uv, cache mounts": rebuilt}
    with bench.registry() as registry:
        docker.push("uv", registry.host)
        samples = run_blocks(arms, blocks, warm_up=False, say=bench.say)
    return RowResult(
        number=7,
        title="All wheels of the desk to push-ready blobs and an image ID",
        samples=samples,
        claims=(
            Claim("hotdesk build", READY, 5.0),
            Claim("hotdesk build", READY, 1 / 8, against="docker: uv, cache mounts"),
            Claim("hotdesk build", STORED, None, against="docker: uv, cache mounts"),
        ),
        notes=(
            "hotdesk: `hotdesk build`, whole process, with the downloads, the wheels' trees and their "
            "bytecode in the store, and of what was measured before only the base system's layer: every "
            "other layer is written and hashed, as a blob and as an archive, and the configuration made. "
            "Blobs are not kept: they are written anew while they are pushed; `hotdesk push` has that in its "
            "time.",
            "Docker: the layers below the wheels are in its build cache and in the registry, the wheels in "
            "uv's cache mount, on the same file system as in row 1. `docker build` installs them (without "
            "bytecode) and exports the layer; `docker push` compresses it and sends it to a registry on the "
            "loopback.",
            "hotdesk's push goes to a registry that is empty, and sends the base system as well.",
        ),
    )


def forget_wheel_layers(arm: Hotdesk) -> None:
    """Leave of all that was measured of layers the base system's alone."""
    store = Store(arm.store)
    images = arm.store / "items" / "image"
    records = [json.loads(path.read_bytes()) for path in images.glob(f"*/{_IMAGE}")]
    system = [row for record in records for row in record["layers"] if row[0]["system"]]
    for item in list(images.iterdir()):
        store.remove("image", item.name)

    def fill(item: Any) -> None:
        (item / _IMAGE).write_text(json.dumps({"format": IMAGE_FORMAT, "layers": system}))

    store.make("image", Keys.of(arm.locked(VARIANT)).system, fill)


def one_package_in_an_image(bench: Bench, blocks: int) -> RowResult:
    if blocks > len(SMALL):
        raise BenchmarkError(f"there are {len(SMALL)} small packages, and each block needs its own")
    arm, docker = bench.hotdesk, bench.docker
    assert not {package.name for package in bench.locked.pypi} & set(SMALL)
    tag = "hotdesk-benchmark:desk"
    bench.say("building hotdesk's image once, pushing and loading it")
    arm.run("build", "--variant", VARIANT)
    with bench.registry() as registry, docker.by_default():
        reference = f"{registry.host}/desk:1"
        first = pushed_bytes(arm, reference)
        store = Store(arm.store)
        load("docker", build_image(store, arm.locked(VARIANT)), tag)

        def unchanged(_: int) -> Mapping[str, float]:
            return {BUILD: arm.run("build", "--variant", VARIANT)}

        def added(block: int) -> Mapping[str, float]:
            with arm.project_kept():
                arm.run("add", SMALL[block])
                build = arm.run("build", "--variant", VARIANT)
                sent = pushed_bytes(arm, reference)
                locked = arm.locked(VARIANT)
                image = build_image(store, locked)
                counter = Counter()
                load("docker", image, tag, counter)
                own = own_bytes(store, locked, SMALL[block])
                (artifact,) = [each.artifact for each in locked.pypi if each.name == SMALL[block]]
            download = fetch_seconds(arm, artifact, bench.scratch)
            return {
                BUILD: build,
                LESS: build - download,
                PUSHED: sent,
                LOADED: counter.bytes,
                NEW_LAYER: image.layers[-1].tar_size,
                PACKAGE: own,
            }

        arms: dict[str, Arm] = {"nothing changed": unchanged, "one small package added": added}
        samples = run_blocks(arms, blocks, warm_up=False, say=bench.say)
    return RowResult(
        number=8,
        title="An image that was built before, and one more small package",
        samples=samples,
        claims=(
            Claim("nothing changed", BUILD, 0.3),
            Claim("one small package added", LESS, 1.0),
            Claim("one small package added", PUSHED, 1.2, "one small package added", PACKAGE),
            Claim(
                "one small package added",
                LOADED,
                1.0,
                "one small package added",
                NEW_LAYER,
            ),
        ),
        notes=(
            f"`hotdesk add` is not in the time: it resolves. Each block adds another: "
            f"{', '.join(SMALL[:blocks])}. The build downloads, unpacks and compiles it, and "
            "writes its layer; the download alone is measured apart and taken off.",
            f"The first push sent {first / 1e6:.0f} MB. What is pushed now is the new layer, and a "
            "configuration of some 10 kB, which names every layer and package: with a wheel of 20 kB "
            "that is 1.4 times the package.",
            "Docker's count is of the layers' bytes in what `docker load` reads.",
        ),
    )


class Counter:
    """Progress that adds up bytes."""

    def __init__(self) -> None:
        self.bytes = 0

    @contextmanager
    def task(self, label: str, total: int, unit: str = "items") -> Iterator[Counter]:
        del label, total, unit
        yield self

    def advance(self, amount: int) -> None:
        self.bytes += amount

    def grow(self, amount: int) -> None:
        del amount

    def note(self, message: str) -> None:
        del message


def pushed_bytes(arm: Hotdesk, reference: str) -> int:
    """Bytes of layers and configuration that `hotdesk push` sent."""
    answer: dict[str, int] = arm.answer("push", reference, "--variant", VARIANT)
    return answer["bytes"]


def own_bytes(store: Store, locked: LockedVariant, name: str) -> int:
    """The wheel as it is downloaded, and its bytecode as zlib compresses it."""
    keys = Keys.of(locked)
    ((artifact, key),) = [
        (package.artifact, key)
        for package, key in zip(locked.pypi, keys.bytecode, strict=True)
        if package.name == name
    ]
    compiled = store.item("bytecode", key).rglob("*.pyc")
    return artifact.size + sum(len(zlib.compress(path.read_bytes())) for path in compiled)


def growth(bench: Bench, blocks: int) -> RowResult:
    index = bench.scratch / "small-index"
    arm = bench.fresh_hotdesk("growth")
    names = [f"hotdesk-benchmark-{number:03}" for number in range(max(SIZES))]
    bench.say(f"making {len(names)} wheels")
    arm.environment["UV_INDEX"] = small_wheels.add_to_index(index, [*names, _FIRST])
    arm.write_spec(*_BASE, _FIRST)
    arm.run("lock")
    arm.run("build")  # the base system
    sizes = {_named(size): _sized(bench, arm, names[:size]) for size in SIZES}
    samples = run_blocks(sizes, blocks, warm_up=True, say=bench.say)
    samples += run_blocks({f"a wheel of {BIG_WHEEL} MB": _big(bench)}, 1, warm_up=False, say=bench.say)
    few, *_, many = (_named(size) for size in SIZES)
    return RowResult(
        number=9,
        title="Time against the image's size, and memory",
        samples=samples,
        claims=(
            Claim(many, ADDED, 1.5, few),
            Claim(many, FIRST_BUILD, None, few),
            Claim(f"a wheel of {BIG_WHEEL} MB", TOGETHER, MEMORY_LIMIT),
        ),
        notes=(
            f"Synthetic wheels of half a megabyte and {small_wheels.MODULES} modules each, from a local "
            "index, on the same base system, which is there beforehand. First all of them are built into an "
            "image at once, unpacking and compiling included; then one more at a time, also unpacked and "
            "compiled in its time.",
            "Memory is that of hotdesk's own Python processes, during `hotdesk build` from nothing (base "
            "system included) and `hotdesk push`; pages that processes share count in each.",
        ),
    )


def _sized(bench: Bench, arm: Hotdesk, names: list[str]) -> Arm:
    """A desk of these packages, built; each run builds it with one more."""
    arm.write_spec(*_BASE, *names)
    arm.run("lock")
    first = arm.run("build")
    files = {path: path.read_bytes() for path in arm.project.iterdir() if path.is_file()}

    def added(block: int) -> Mapping[str, float]:
        name = f"hotdesk-benchmark-{len(names)}-{block + 1}"
        small_wheels.add_to_index(bench.scratch / "small-index", [name])
        for path, content in files.items():
            path.write_bytes(content)
        arm.run("add", name)
        return {ADDED: arm.run("build"), FIRST_BUILD: first}

    return added


def _named(size: int) -> str:
    return f"{size} packages"


def _big(bench: Bench) -> Arm:
    address = big_wheel.make_index(bench.scratch / "index", BIG_WHEEL)

    def arm(_: int) -> Mapping[str, float]:
        hotdesk = bench.fresh_hotdesk("big-image")
        hotdesk.environment["UV_INDEX"] = address
        hotdesk.write_spec(*_BASE, big_wheel.PROJECT)
        hotdesk.run("lock")
        with bench.registry() as registry, PeakMemory(hotdesk.is_mine) as memory:
            hotdesk.run("build")
            hotdesk.run("push", f"{registry.host}/big:1")
        hotdesk.remove_all()
        return {TOGETHER: memory.together, LARGEST: memory.largest}

    return arm
