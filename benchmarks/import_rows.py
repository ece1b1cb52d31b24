"""Row 10: what importing costs on a desk, against a plain environment on the host itself."""

from __future__ import annotations

import json
import random
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import hotdesk
from benchmarks.hotdesk_arm import CLASSIC, TEMPLATE, VARIANT
from benchmarks.measure import BenchmarkError
from benchmarks.native_arm import Native, host_base
from benchmarks.samples import Claim, RowResult, Sample
from hotdesk.project import read_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.bench import Bench

    Import = Callable[[str], float]
    """Imports the module of this name in a fresh process; gives the seconds that the import took."""

ALL = "seconds of all imports, one after the other"
_SCRIPT = (Path(hotdesk.__file__).parent / "data/check_import.py").read_text(encoding="utf-8")


def imports(bench: Bench, blocks: int) -> RowResult:
    base = host_base()
    if base is None:
        raise BenchmarkError("the host is no Debian with a base and Python that hotdesk knows")
    templates = [TEMPLATE]
    if base[0] == read_template(CLASSIC).spec.base:
        templates.append(CLASSIC)
    samples = [
        sample
        for template in templates
        for sample in _samples(bench, template, _arms(bench, template, base), blocks)
    ]
    claims = [Claim(f"{name}: hotdesk run", ALL, 1.05, against=f"{name}: plain uv") for name in templates]
    claims += [
        Claim(f"{name}: plain uv, again", ALL, None, against=f"{name}: plain uv") for name in templates
    ]
    return RowResult(
        number=10,
        title="The desk's packages imported, warm",
        samples=samples,
        claims=tuple(claims),
        notes=(
            f"Each module of the spec's `[checks] imports` in a process of its own, `import` alone timed, in "
            f"{base[0]}, Python {base[1]}, in both arms; the plain environment is uv's, with its bytecode.",
            "The arms take turns with each module, in an order drawn anew: what slows the machine a while "
            "slows all. The second plain arm shows the noise.",
        ),
    )


def _arms(bench: Bench, template: str, base: tuple[str, str]) -> Mapping[str, Import]:
    arm = bench.fresh_hotdesk(f"imports-{template}")
    arm.make_project(*base, template=template)
    native = Native(arm.locked(VARIANT), bench.scratch / f"imports-{template}")
    bench.say(f"{template}: installing the plain environment, opening the desk once")
    native.install()
    arm.run("run", "--variant", VARIANT, "--", "true")
    arm.wait_until_idle()
    on_desk = (arm.program(), "run", "--variant", VARIANT, "--", "python")

    def hotdesk_run(module: str) -> float:
        return _seconds([*on_desk, "-c", _SCRIPT, module], arm.environment, arm.project)

    def plain(module: str) -> float:
        return _seconds([native.python, "-c", _SCRIPT, module], native.variables(), native.work)

    return {
        f"{template}: hotdesk run": hotdesk_run,
        f"{template}: plain uv": plain,
        f"{template}: plain uv, again": plain,
    }


def _samples(bench: Bench, template: str, arms: Mapping[str, Import], blocks: int) -> list[Sample]:
    generator = random.Random(1)
    samples = []
    for block in range(-1, blocks):
        seconds: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for module in read_template(template).spec.checks.imports:
            for name in generator.sample(list(arms), k=len(arms)):
                seconds[name][f"seconds of import {module}"] = arms[name](module)
        for name, each in seconds.items():
            samples.append(Sample(name, block, {ALL: sum(each.values()), **each}))
            bench.say(f"  block {block + 1}/{blocks}  {name}: {samples[-1].values[ALL]:.2f} s")
    return samples


def _seconds(words: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> float:
    done = subprocess.run(
        words, env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"{words[-1]} cannot be imported:\n{done.stderr[-3000:]}")
    return float(json.loads(done.stdout.rstrip().rpartition("\n")[2])["seconds"])
