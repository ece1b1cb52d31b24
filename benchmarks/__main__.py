"""`python -m benchmarks`: run the rows, print the tables, keep every sample."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import docker_arm, registry, report
from benchmarks.bench import Bench
from benchmarks.measure import BenchmarkError
from benchmarks.rows import ROWS
from hotdesk.errors import HotdeskError

if TYPE_CHECKING:
    from benchmarks.samples import RowResult

_NEEDS_DOCKER = {1, 3, 4, 5, 7, 8}
_NEEDS_REGISTRY = _NEEDS_DOCKER | {9}


def main() -> int:
    options = _options()
    if missing := _missing(set(options.rows)):
        _say(f"these rows need {', '.join(missing)}")
        _say("on Debian: apt install --no-install-recommends docker.io docker-registry debootstrap iptables")
        return 2
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="hotdesk-benchmark-", dir="/var/tmp"))
    scratch.mkdir(parents=True, exist_ok=True)
    scratch = scratch.resolve()
    results, failed = [], False
    try:
        with Bench(scratch, _say) as bench:
            for number in sorted(set(options.rows)):  # the first empties Docker's caches, later ones use them
                row, blocks = ROWS[number]
                _say(f"row {number}")
                try:
                    results.append(row(bench, options.blocks or blocks))
                except (BenchmarkError, HotdeskError, subprocess.CalledProcessError) as error:
                    _say(f"row {number} failed: {error}{_why(error)}")
                    failed = True
                _write(options.out, results, bench.facts)
            facts = bench.facts
    finally:
        if not options.scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    print(report.markdown(results, facts))
    missed = [claim for result in results for claim in result.claims if result.judge(claim)[1] is False]
    return 1 if failed or missed else 0


def _missing(rows: set[int]) -> list[str]:
    missing = docker_arm.missing_tools() if _NEEDS_DOCKER & rows else []
    if _NEEDS_REGISTRY & rows and not shutil.which(registry.PROGRAM):
        missing.append(f"`{registry.PROGRAM}`")
    return missing


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rows",
        help="which rows; all by default",
        nargs="+",
        type=int,
        choices=sorted(ROWS),
        default=sorted(ROWS),
    )
    parser.add_argument("--blocks", type=int, help="how often each arm runs, for every row")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    parser.add_argument("--scratch", type=Path, help="work here and keep the base image for the next run")
    return parser.parse_args()


def _write(folder: Path, results: list[RowResult], facts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(report.markdown(results, facts), encoding="utf-8")
    text = json.dumps(report.as_json(results, facts), indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")


def _why(error: Exception) -> str:
    return "".join(f"\n  {line}" for line in (getattr(error, "why", ""), getattr(error, "hint", "")) if line)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
