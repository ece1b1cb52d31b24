"""Row 10: what importing costs on a desk, against a plain environment on the host itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import hotdesk
from benchmarks.hotdesk_arm import CLASSIC, TEMPLATE, VARIANT
from benchmarks.measure import BenchmarkError
from benchmarks.native_arm import Native, host_base
from benchmarks.samples import Claim, RowResult, run_blocks
from hotdesk.project import read_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.bench import Bench
    from benchmarks.samples import Arm

ALL = "seconds of all imports, one after the other"
_SCRIPT = (Path(hotdesk.__file__).parent / "data/check_import.py").read_text(encoding="utf-8")


def imports(bench: Bench, blocks: int) -> RowResult:
    base = host_base()
    if base is None:
        raise BenchmarkError("the host is no Debian with a base and Python that hotdesk knows")
    arms: dict[str, Arm] = {}
    templates = [TEMPLATE]
    if base[0] == read_template(CLASSIC).spec.base:
        templates.append(CLASSIC)
    for template in templates:
        arms |= _arms(bench, template, base)
    claims = [Claim(f"{name}: hotdesk run", ALL, 1.05, against=f"{name}: plain uv") for name in templates]
    claims += [
        Claim(f"{name}: plain uv, again", ALL, None, against=f"{name}: plain uv") for name in templates
    ]
    return RowResult(
        number=10,
        title="The desk's packages imported, warm",
        samples=run_blocks(arms, blocks, warm_up=True, say=bench.say),
        claims=tuple(claims),
        notes=(
            f"Each module of the spec's `[checks] imports` in a process of its own, `import` alone timed, in "
            f"{base[0]}, Python {base[1]}, in both arms; the plain environment is uv's, with its bytecode.",
            "The second plain arm shows the noise.",
        ),
    )


def _arms(bench: Bench, template: str, base: tuple[str, str]) -> Mapping[str, Arm]:
    arm = bench.fresh_hotdesk(f"imports-{template}")
    arm.make_project(*base, template=template)
    native = Native(arm.locked(VARIANT), bench.scratch / f"imports-{template}")
    bench.say(f"{template}: installing the plain environment, opening the desk once")
    native.install()
    arm.run("run", "--variant", VARIANT, "--", "true")
    arm.wait_until_idle()
    modules = read_template(template).spec.checks.imports
    on_desk = (arm.program(), "run", "--variant", VARIANT, "--", "python")

    def hotdesk_run(_: int) -> Mapping[str, float]:
        return _seconds(modules, lambda words: _said([*on_desk, *words], arm.environment, arm.project))

    def plain(_: int) -> Mapping[str, float]:
        return _seconds(
            modules, lambda words: _said([native.python, *words], native.variables(), native.work)
        )

    return {
        f"{template}: hotdesk run": hotdesk_run,
        f"{template}: plain uv": plain,
        f"{template}: plain uv, again": plain,
    }


def _seconds(modules: Sequence[str], run: Callable[[Sequence[str]], str]) -> dict[str, float]:
    each = {}
    for module in modules:
        last = run(("-c", _SCRIPT, module)).rstrip().rpartition("\n")[2]
        each[f"seconds of import {module}"] = float(json.loads(last)["seconds"])
    return {ALL: sum(each.values()), **each}


def _said(words: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        words, env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"{words[-1]} cannot be imported:\n{done.stderr[-3000:]}")
    return done.stdout
