"""The rows: what is done, by which arms, how often, and what is claimed."""

from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING

from benchmarks import big_wheel, image_rows, import_rows, packages
from benchmarks.hotdesk_arm import TEMPLATE, VARIANT, Hotdesk, Sandbox, fetch_seconds
from benchmarks.measure import BenchmarkError, PeakMemory, disk_usage, run, settle
from benchmarks.native_arm import Native, host_base
from benchmarks.samples import Claim, RowResult, run_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.bench import Bench
    from benchmarks.docker_arm import Recipe
    from benchmarks.samples import Arm, Sample

ANSWERS = "seconds until Jupyter answers"
PROCESS = "seconds of the whole process"
TOGETHER = "bytes of memory, all of hotdesk's processes together"
GROWTH = "bytes of disk that the second one took"
MEMORY_LIMIT = 300e6
BIG_WHEEL = 700  # MB

# Small, pure Python, not on the desk, requiring nothing that it lacks; each block takes a fresh one.
SMALL = (
    "humanize", "tabulate", "cachetools", "toolz", "sortedcontainers", "more-itertools", "xmltodict",
    "inflection", "boltons", "unidecode", "pyfiglet", "colorama",
)  # fmt: skip
SECOND_DESK = "natsort"


def nothing_to_jupyter(bench: Bench, blocks: int) -> RowResult:
    opening = (TEMPLATE, "--variant", VARIANT, "--name", "benchmark-empty")

    def hotdesk(block: int) -> Mapping[str, float]:
        arm = bench.fresh_hotdesk(f"empty-{block}")
        settle(bench.scratch)  # what another arm has left to write is not ours to wait for
        seconds = arm.up(*opening).returned
        afterwards = arm.wait_until_idle()
        arm.remove_all()
        return {ANSWERS: seconds, "seconds of work in the background afterwards": afterwards}

    def watched(_: int) -> Mapping[str, float]:
        arm = bench.fresh_hotdesk("empty-watched")
        with PeakMemory(arm.is_mine) as memory:
            arm.up(*opening)
            arm.wait_until_idle()
        arm.remove_all()
        return {TOGETHER: memory.together, "bytes of memory, the largest process": memory.largest}

    def docker(recipe: Recipe) -> Arm:
        def arm(_: int) -> Mapping[str, float]:
            bench.docker.forget()
            settle(bench.scratch)
            build = bench.docker.build(recipe, recipe)
            start = bench.docker.open(recipe)
            return {ANSWERS: build + start, "seconds of docker build": build, "seconds of docker run": start}

        return arm

    arms = {
        "hotdesk up": hotdesk,
        "docker: uv, cache mounts": docker("uv"),
        "docker: pip": docker("pip"),
    }
    return RowResult(
        number=1,
        title="From nothing until Jupyter answers, downloads included",
        samples=[
            *run_blocks(arms, blocks, warm_up=False, say=bench.say),
            *run_blocks({"hotdesk up, watched": watched}, 1, warm_up=False, say=bench.say),
        ],
        claims=(
            Claim("hotdesk up", ANSWERS, 1 / 3, against="docker: uv, cache mounts"),
            Claim("hotdesk up", ANSWERS, 1 / 5, against="docker: pip"),
            Claim("hotdesk up, watched", TOGETHER, MEMORY_LIMIT),
        ),
        notes=(
            "hotdesk's store is empty, and so are Docker's caches, cache mounts included.",
            "What `FROM` names (Debian's minimal system with Python, certificates and venv) is pulled from a "
            "registry on the loopback; hotdesk downloads and configures its base in its time.",
            "The same wheels by hash; of Debian the same packages by name, without Recommends.",
            "uv compiles no bytecode in its image, which makes the build shorter and the start longer.",
            "hotdesk's time is that of `hotdesk up`, which ends when Jupyter answers and all is there.",
            "Its memory is watched in a run of its own, since looking costs time.",
        ),
    )


def opened_before(bench: Bench, blocks: int) -> RowResult:
    base = host_base()
    if base is None:
        raise BenchmarkError("the host is no Debian with a base and Python that hotdesk knows")
    arm = bench.fresh_hotdesk("opened-before")
    arm.make_project(*base)
    native = Native(arm.locked(VARIANT), bench.scratch)
    bench.say("installing the plain environment, opening the desk once")
    native.install()
    name = "benchmark-before"
    arm.up("--variant", VARIANT, "--name", name)
    arm.wait_until_idle()
    arm.stop(name)

    def hotdesk(_: int) -> Mapping[str, float]:
        opened = arm.up("--variant", VARIANT, "--name", name, polled=True)
        arm.stop(name)
        return {ANSWERS: opened.answered, "seconds until the URL is printed": opened.returned}

    def plain(_: int) -> Mapping[str, float]:
        return {ANSWERS: native.open()}

    arms = {"hotdesk up": hotdesk, "jupyter lab": plain, "jupyter lab, again": plain}
    samples = run_blocks(arms, blocks, warm_up=True, say=bench.say)
    arm.remove_all()
    return RowResult(
        number=2,
        title="Opened before, until Jupyter answers",
        samples=samples,
        claims=(
            Claim("hotdesk up", ANSWERS, 1.1, against="jupyter lab"),
            Claim("jupyter lab, again", ANSWERS, None, against="jupyter lab"),
        ),
        notes=(
            f"`jupyter lab` runs on the host itself, from a uv environment with compiled bytecode; the desk "
            f"is of the same release ({base[0]}, Python {base[1]}) and has the same wheels by hash.",
            "From the start of the process; warm page cache. The second `jupyter lab` shows the noise.",
        ),
    )


def one_more_package(bench: Bench, blocks: int) -> RowResult:
    if blocks > len(SMALL):
        raise BenchmarkError(f"there are {len(SMALL)} small packages, and each block needs its own")
    arm, docker = bench.hotdesk, bench.docker_with_image
    assert not {package.name for package in bench.locked.pypi} & set(SMALL)
    pins = {name: packages.pin(name, bench.locked.python) for name in SMALL[:blocks]}

    def hotdesk(block: int) -> Mapping[str, float]:
        name = SMALL[block]
        with arm.project_kept():
            added = arm.run("add", name)
            ran = arm.run("run", "--variant", VARIANT, "--", "python", "-c", _import(name))
            arm.wait_until_idle()  # or it would compile while the other arm runs
            (artifact,) = [each.artifact for each in arm.locked(VARIANT).pypi if each.name == name]
        download = fetch_seconds(arm, artifact, bench.scratch)
        return {
            "seconds until importable": added + ran,
            "seconds until importable, less the download": added + ran - download,
            "seconds of the download": download,
            "seconds of hotdesk add": added,
        }

    def rebuilt(block: int) -> Mapping[str, float]:
        name = SMALL[block]
        built = docker.build("uv", "more", extra=pins[name])
        ran = docker.run("more", "python", "-c", _import(name))
        return {"seconds until importable": built + ran, "seconds of docker build": built}

    arms = {"hotdesk add": hotdesk, "docker: uv, cache mounts": rebuilt}
    return RowResult(
        number=3,
        title="One more small package, until it can be imported",
        samples=run_blocks(arms, blocks, warm_up=False, say=bench.say),
        claims=(
            Claim("hotdesk add", "seconds until importable, less the download", 2.0),
            Claim("hotdesk add", "seconds until importable", None, against="docker: uv, cache mounts"),
        ),
        notes=(
            "`hotdesk add` resolves anew, over the network; Docker gets the new pin for nothing. Each block "
            f"adds another package to the same desk: {', '.join(SMALL[:blocks])}.",
            "The download is the transfer of the wheel alone, from a known address, measured separately.",
        ),
    )


def isolation_alone(bench: Bench, blocks: int) -> RowResult:
    arm, docker = bench.hotdesk, bench.docker_with_image
    sandbox = Sandbox(arm, VARIANT, bench.scratch)
    arms: dict[str, Arm] = {
        "hotdesk run -- true": lambda _: {PROCESS: arm.run("run", "--variant", VARIANT, "--", "true")},
        "the sandbox itself": lambda _: {PROCESS: sandbox.run()},
        "docker run --rm": lambda _: {PROCESS: docker.run("uv", "true")},
        "true on the host": lambda _: {PROCESS: run(["true"]).seconds},
    }
    return RowResult(
        number=4,
        title="The isolation's start alone",
        samples=run_blocks(arms, blocks, warm_up=True, say=bench.say),
        claims=(
            Claim("hotdesk run -- true", PROCESS, 0.150),
            Claim("the sandbox itself", PROCESS, 0.020),
            Claim("hotdesk run -- true", PROCESS, None, against="docker run --rm"),
        ),
        notes=("Everything cached. The sandbox itself: hotdesk's own call, without starting Python.",),
    )


def second_desk(bench: Bench, blocks: int) -> RowResult:
    del blocks  # disk does not vary
    arm, docker = bench.hotdesk, bench.docker_with_image
    first = "bytes of disk that the first one took"

    def hotdesk(_: int) -> Mapping[str, float]:
        before = disk_usage(arm.store)
        with arm.project_kept():
            arm.run("add", SECOND_DESK)
            arm.run("run", "--variant", VARIANT, "--", "python", "-c", _import(SECOND_DESK))
            arm.wait_until_idle()
            (artifact,) = [each.artifact for each in arm.locked(VARIANT).pypi if each.name == SECOND_DESK]
        growth = disk_usage(arm.store) - before
        with zipfile.ZipFile(arm.store / "downloads" / artifact.sha256) as wheel:
            own = artifact.size + sum(member.file_size for member in wheel.infolist())
        return {first: before, GROWTH: growth, "bytes of that beyond the package": max(growth - own, 0)}

    def image(_: int) -> Mapping[str, float]:
        extra = packages.pin(SECOND_DESK, bench.locked.python)
        before = disk_usage(docker.data())
        docker.build("uv", "second", extra=extra)
        return {first: before, GROWTH: disk_usage(docker.data()) - before}

    arms = {"hotdesk": hotdesk, "docker: uv, cache mounts": image}
    samples = run_blocks(arms, 1, warm_up=False, say=bench.say)
    (taken,) = [sample.values[first] for sample in samples if sample.arm == "hotdesk"]
    return RowResult(
        number=5,
        title="A second desk that shares all but one package",
        samples=samples,
        claims=(
            Claim("hotdesk", "bytes of that beyond the package", taken / 100),
            Claim("hotdesk", GROWTH, None, against="docker: uv, cache mounts"),
        ),
        notes=(
            "Blocks on disk, hard links once. The package's own bytes: its wheel and what is in it. The "
            "directories of an environment are its own, and so are the links in them: 1 % is for these.",
        ),
    )


def memory_and_help(bench: Bench, blocks: int) -> RowResult:
    bench.say(f"making a wheel of {BIG_WHEEL} MB")
    address = big_wheel.make_index(bench.scratch / "index", BIG_WHEEL)

    def big(block: int) -> Mapping[str, float]:
        arm = bench.fresh_hotdesk(f"big-{block}")
        arm.environment["UV_INDEX"] = address
        arm.write_spec("debian:trixie", "3.13", big_wheel.PROJECT)
        with PeakMemory(arm.is_mine) as memory:
            arm.run("lock")
            seconds = arm.run("run", "--", "python", "-c", f"import {big_wheel.PROJECT.replace('-', '_')}")
            arm.wait_until_idle()
        arm.remove_all()
        return {
            TOGETHER: memory.together,
            "bytes of memory, the largest process": memory.largest,
            "seconds of hotdesk run, base included": seconds,
        }

    samples: list[Sample] = []
    samples += run_blocks({f"a wheel of {BIG_WHEEL} MB": big}, 1, warm_up=False, say=bench.say)
    helping: dict[str, Arm] = {
        "hotdesk --help": lambda _: {PROCESS: run([Hotdesk.program(), "--help"]).seconds},
        "python -c pass": lambda _: {PROCESS: run([sys.executable, "-c", "pass"]).seconds},
    }
    samples += run_blocks(helping, blocks, warm_up=True, say=bench.say)
    return RowResult(
        number=6,
        title="hotdesk's own memory, and how fast it helps",
        samples=samples,
        claims=(
            Claim(f"a wheel of {BIG_WHEEL} MB", TOGETHER, MEMORY_LIMIT),
            Claim("hotdesk --help", PROCESS, 0.100),
        ),
        notes=(
            "Resident memory of all of hotdesk's Python processes at one moment; shared pages count in each.",
            "uv and what runs inside the sandbox are not hotdesk's own. Row 1 has the Term-1 desk's.",
        ),
    )


def _import(name: str) -> str:
    return f"import {name.replace('-', '_')}"


ROWS: dict[int, tuple[Callable[[Bench, int], RowResult], int]] = {
    1: (nothing_to_jupyter, 3),
    2: (opened_before, 20),
    3: (one_more_package, 5),
    4: (isolation_alone, 20),
    5: (second_desk, 1),
    6: (memory_and_help, 20),
    7: (image_rows.wheels_to_blobs, 5),
    8: (image_rows.one_package_in_an_image, 5),
    9: (image_rows.growth, 5),
    10: (import_rows.imports, 10),
}
"""Each row, and how many blocks it has unless told otherwise."""
