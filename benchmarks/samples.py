"""A row of the benchmark: arms, run in random order in blocks, and claims made from their samples."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.statistics import Estimate

    Arm = Callable[[int], Mapping[str, float]]
    """Runs once, given the block's number; gives values by the metric's name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run of an arm gave; `block` counts from 0, and -1 is a discarded warm-up."""

    arm: str
    block: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Claim:
    """`metric` of `arm` stays within `limit`, absolutely or as a multiple of what `against` gave.

    Without a limit it is a comparison for the reader, such as the noise between two equal arms.
    """

    arm: str
    metric: str
    limit: float | None
    against: str | None = None
    against_metric: str | None = None


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row: its samples, what is claimed from them, and what a reader must know to judge them.

    A metric's name begins with its unit: `seconds until …`, `bytes of …`.
    """

    number: int
    title: str
    samples: Sequence[Sample]
    claims: Sequence[Claim]
    notes: Sequence[str] = ()

    def series(self, arm: str, metric: str) -> list[float]:
        """The values in block order, without the warm-up."""
        return [
            sample.values[metric]
            for sample in self.samples
            if sample.arm == arm and sample.block >= 0 and metric in sample.values
        ]

    def arms(self) -> list[tuple[str, str]]:
        """Every (arm, metric) that has samples, in the order of first appearance by arm name."""
        found = {(sample.arm, metric): None for sample in self.samples for metric in sample.values}
        return sorted(found, key=lambda pair: pair[0])

    def judge(self, claim: Claim) -> tuple[Estimate, bool | None]:
        """The estimate that `claim` is about, and whether it is within the limit; None without a limit."""
        values = self.series(claim.arm, claim.metric)
        if claim.against is None:
            estimate = statistics.median(values)
        else:
            estimate = statistics.ratio(
                values, self.series(claim.against, claim.against_metric or claim.metric)
            )
        return estimate, None if claim.limit is None else estimate.value <= claim.limit


def run_blocks(
    arms: Mapping[str, Arm], blocks: int, *, warm_up: bool, say: Callable[[str], None], seed: int = 1
) -> list[Sample]:
    """Run every arm once a block, in an order drawn anew for each block; `seed` fixes the orders."""
    generator = random.Random(seed)
    samples = []
    for block in range(-1 if warm_up else 0, blocks):
        for name in generator.sample(list(arms), k=len(arms)):
            sample = Sample(name, block, dict(arms[name](block)))
            label = "warm-up" if block < 0 else f"block {block + 1}/{blocks}"
            values = "  ".join(f"{metric} {value:,.4g}" for metric, value in sample.values.items())
            say(f"  {label}  {name}: {values}")
            samples.append(sample)
    return samples
