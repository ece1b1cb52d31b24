"""Medians, and ratios of paired samples with their uncertainty.

Arms run in blocks, each arm once a block, so that what the machine does meanwhile hits all arms alike.
A ratio is taken within a block, and the blocks are what is resampled.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RESAMPLES = 5000
_SEED = 20161126  # any number, but always the same: the same samples give the same interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % bootstrap interval; `blocks` is how many samples it rests on."""

    value: float
    low: float
    high: float
    blocks: int


def median(samples: Sequence[float]) -> Estimate:
    """The median of `samples`."""
    return _bootstrap(list(samples), statistics.median)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """The median of the paired ratios; samples at the same place are from the same block and above zero.

    In logarithms, so that a against b is exactly the inverse of b against a.
    """
    pairs = zip(numerators, denominators, strict=True)
    logs = _bootstrap([math.log(above / below) for above, below in pairs], statistics.median)
    return Estimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.blocks)


def _bootstrap(values: list[float], statistic: Callable[[Sequence[float]], float]) -> Estimate:
    if not values:
        raise ValueError("no samples")
    generator = random.Random(_SEED)
    resampled = sorted(statistic(generator.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    tail = round(_RESAMPLES * 0.025)
    return Estimate(statistic(values), resampled[tail], resampled[-tail - 1], len(values))
