"""`python -m benchmarks.layers`: in how many layers an image should be.

The Term-1 desk is built in few layers and in many. Measured: how long Docker takes to load it for the first
time. Simulated, from the lock alone: what a random edit of one package moves, in bytes of wheels. As root on
Debian, with Docker; without, `--simulate` prints the second half.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks import machine
from benchmarks.docker_arm import Daemon, Docker
from benchmarks.hotdesk_arm import TEMPLATE, VARIANT
from hotdesk.build.image import build_image
from hotdesk.engines.loading import archive
from hotdesk.keys import Keys
from hotdesk.layers.entries import File
from hotdesk.layers.plan import fresh_plan
from hotdesk.oci.layer import blob_chunks, measure, roots, tar_chunks
from hotdesk.oci.model import LAYER, Blob, Descriptor, Layer, image_of
from hotdesk.project import host_platform, read_template
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotdesk.lock import LockedVariant, PythonPackage
    from hotdesk.oci.model import Image

COUNTS = (5, 10, 15, 20, 30, 40, 60, 80, 100)
EDITS = 20
_SEED = 20161126
NOT_WHEELS = 2  # the base system and the empty environment have a layer each

Plan = tuple["PythonPackage", ...]
Stack = list[frozenset[tuple[str, str, int]]]
"""What the wheels' layers hold, from the lowest: name, version and size."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One package is added, upgraded or removed; an added one has the size of `package`."""

    kind: Literal["add", "upgrade", "remove"]
    package: PythonPackage


@dataclass(frozen=True, slots=True)
class Moved:
    """What an edit changes: layers, the bytes of those, and of all from the first of them up."""

    layers: int
    changed: int
    above: int


def random_edits(packages: Sequence[PythonPackage], count: int = EDITS, seed: int = _SEED) -> list[Edit]:
    generator = random.Random(seed)
    kinds: list[Literal["add", "upgrade", "remove"]] = ["add", "upgrade", "remove"]
    ordered = sorted(packages, key=lambda package: package.name)
    return [Edit(generator.choice(kinds), generator.choice(ordered)) for _ in range(count)]


def edited(packages: Sequence[PythonPackage], edit: Edit) -> Plan:
    """The packages after the edit: what is kept keeps its layer, what is new is on top."""
    package = edit.package
    match edit.kind:
        case "add":
            top = max(each.layer for each in packages) + 1
            return (*packages, replace(package, name=f"{package.name}-too", layer=top))
        case "upgrade":
            version = f"{package.version}.1"
            return tuple(
                replace(each, version=version) if each.name == package.name else each for each in packages
            )
        case "remove":
            return tuple(each for each in packages if each.name != package.name)


def stack(packages: Sequence[PythonPackage]) -> Stack:
    layers: dict[int, list[tuple[str, str, int]]] = {}
    for package in packages:
        row = package.name, package.version, package.artifact.size
        layers.setdefault(package.layer, []).append(row)
    return [frozenset(layers[number]) for number in sorted(layers)]


def moved(before: Stack, after: Stack) -> Moved:
    new = [layer for layer in after if layer not in before]
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    return Moved(len(new), sum(map(_size, new)), sum(map(_size, after[same:])))


def _size(layer: frozenset[tuple[str, str, int]]) -> int:
    return sum(size for _, _, size in layer)


def average(plan: Sequence[PythonPackage], edits: Sequence[Edit]) -> tuple[float, float, float]:
    """Layers, bytes of them and bytes from the lowest of them up that an edit changes, on average."""
    found = [moved(stack(plan), stack(edited(plan, edit))) for edit in edits]
    return (
        statistics.fmean(each.layers for each in found),
        statistics.fmean(each.changed for each in found),
        statistics.fmean(each.above for each in found),
    )


def every_edit(packages: Sequence[PythonPackage]) -> list[Edit]:
    """Each package upgraded once: what the number of layers is judged by, without luck."""
    return [Edit("upgrade", package) for package in packages]


def plan_in(packages: Sequence[PythonPackage], count: int) -> Plan:
    """The plan in an image of `count` layers that moves least where any package is upgraded.

    There is one for each number of packages that are alone, the largest; the others share the rest.
    """
    wheels = count - NOT_WHEELS
    plans = []
    for alone in range(wheels):
        for shared in range(wheels - alone, 3 * wheels):  # some buckets may stay empty
            plan = fresh_plan(packages, big=0, most_big=alone, most_small=shared)
            if len(stack(plan)) == wheels:
                plans.append(plan)
                break
    return min(plans, key=_moved_by_an_upgrade)


def _moved_by_an_upgrade(plan: Plan) -> float:
    """The bytes of the layer that a package is in, on average."""
    return sum(len(layer) * _size(layer) for layer in stack(plan)) / len(plan)


def plans(locked: LockedVariant, counts: Sequence[int] = COUNTS) -> dict[str, Plan]:
    """The plans by name: hotdesk's own for all variants, the lock's, which had additions, and the best."""
    packages = [replace(package, variants=()) for package in locked.pypi]
    found = {"hotdesk's": own_plan(), "the lock's": locked.pypi}
    named = {f"{len(stack(plan)) + NOT_WHEELS}, {name}": plan for name, plan in found.items()}
    return named | {str(count): plan_in(packages, count) for count in counts}


def own_plan() -> Plan:
    """A fresh plan of all variants' packages; those that `VARIANT` has."""
    packages = read_template(TEMPLATE).read_fresh_lock().platforms[host_platform()].pypi
    return tuple(package for package in fresh_plan(packages) if VARIANT in package.variants)


def others() -> dict[str, Plan]:
    """Plans of other kinds, with as many layers as hotdesk's."""
    packages = [replace(package, variants=()) for package in own_plan()]
    count = len(stack(packages))
    by_size = sorted(packages, key=lambda package: -package.artifact.size)
    each = [replace(package, layer=number) for number, package in enumerate(by_size)]
    total, running, even = sum(package.artifact.size for package in packages), 0, []
    for package in by_size:
        even.append(replace(package, layer=running * count // total))
        running += package.artifact.size
    return {
        "hash buckets alone": fresh_plan(packages, most_big=0, most_small=count),
        "by size, the same bytes in each": tuple(even),
        "a layer for each package": tuple(each),
    }


def first_loads(
    docker: Docker, store: Store, locked: LockedVariant, wanted: Mapping[str, Plan], blocks: int
) -> dict[str, list[float]]:
    """Seconds of each first `docker load`, the plans in an order drawn anew for each block."""
    generator = random.Random(_SEED)
    seconds: dict[str, list[float]] = {name: [] for name in wanted}
    for block in range(blocks):
        for name in generator.sample(list(wanted), k=len(wanted)):
            variant = replace(locked, pypi=wanted[name], image=None)
            known = store.item("image", Keys.of(variant).image).exists()
            image = build_image(store, variant)
            seconds[name].append(docker.load(archive(image, "docker", "hotdesk-benchmark:layers")))
            docker.remove(image.id)
            if not known and block == blocks - 1:
                store.remove("image", Keys.of(variant).image)
            _say(f"  block {block + 1}/{blocks}  {name} layers: {seconds[name][-1]:.1f} s")
    return seconds


def nearly_empty(count: int) -> Image:
    """An image of `count` layers with one small file each: what a layer costs by itself."""
    layers = []
    for number in range(count):
        content = str(number).encode()
        members = roots([File(f"opt/{number}", len(content), partial(iter, (content,)))])
        found = measure(members)
        blob = Blob(Descriptor(LAYER, f"sha256:{found.digest}", found.size), partial(blob_chunks, members))
        archived = partial(tar_chunks, members)
        layers.append(Layer(blob, f"sha256:{found.diff_id}", found.tar_size, archived, "one file"))
    return image_of(host_platform(), {}, layers)


def by_themselves(docker: Docker, counts: Sequence[int], blocks: int) -> list[str]:
    """Seconds of `docker load` of layers that hold next to nothing."""
    lines = ["| nearly empty layers | load | lowest … highest |", "| --- | --- | --- |"]
    for count in counts:
        image, seconds = nearly_empty(count), []
        for _ in range(2 * blocks + 1):
            seconds.append(docker.load(archive(image, "docker", "hotdesk-benchmark:empty")))
            docker.remove(image.id)
        extent = f"{min(seconds):.2f} … {max(seconds):.2f}"
        lines.append(f"| {count} | {statistics.median(seconds):.2f} s | {extent} |")
    return lines


def table(
    wanted: Mapping[str, Plan], edits: Sequence[Edit], seconds: Mapping[str, Sequence[float]]
) -> list[str]:
    few = seconds.get(str(COUNTS[0]), ())
    lines = [
        "| layers | first load | times that of 5 | layers changed | MB in them | MB from the lowest up "
        "| any upgrade: MB | from the lowest up |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, plan in wanted.items():
        measured, against = "", ""
        if loads := seconds.get(name, ()):
            measured = f"{statistics.median(loads):.1f} s ({min(loads):.1f} … {max(loads):.1f})"
            pairs = zip(loads, few, strict=True)
            against = f"{statistics.median(this / that for this, that in pairs):.2f}"
        layers, changed, above = average(plan, edits)
        _, any_changed, any_above = average(plan, every_edit(plan))
        lines.append(
            f"| {name} | {measured} | {against} | {layers:.2f} | {changed / 1e6:.1f} | {above / 1e6:.1f} "
            f"| {any_changed / 1e6:.1f} | {any_above / 1e6:.1f} |"
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    parser.add_argument("--blocks", type=int, default=2, help="how often each plan is loaded")
    parser.add_argument(
        "--counts", type=int, nargs="+", choices=COUNTS, default=COUNTS, help="how many layers; 5 among them"
    )
    parser.add_argument("--simulate", action="store_true", help="load nothing")
    parser.add_argument("--store", type=Path, help="a store that has the desk's parts, to save time")
    parser.add_argument("--scratch", type=Path, help="where Docker keeps its data")
    options = parser.parse_args()
    locked = read_template(TEMPLATE).read_fresh_lock().select(host_platform(), VARIANT)
    wanted = plans(locked, sorted({COUNTS[0], *options.counts}))
    seconds: Mapping[str, Sequence[float]] = {}
    alone: list[str] = []
    scratch = Path(tempfile.mkdtemp(prefix="hotdesk-layers-", dir=options.scratch or "/var/tmp"))
    try:
        if not options.simulate:
            with Daemon(scratch / "docker") as daemon:
                docker = Docker(daemon, locked, scratch)
                alone = by_themselves(docker, COUNTS, options.blocks)
                store = Store(options.store or scratch / "store")
                seconds = first_loads(docker, store, locked, wanted, options.blocks)
        facts = machine.facts(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    edits = random_edits(locked.pypi)
    print(*(f"- {name}: {value}" for name, value in facts.items()), "", sep="\n")
    print(*table(wanted, edits, seconds), "", sep="\n")
    print(*table(others(), edits, {}), "", sep="\n")
    print(*alone, sep="\n")
    return 0


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
