"""The results for people, as Markdown, and for programs, as JSON with every sample."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks import statistics
from benchmarks.samples import Claim, RowResult, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.statistics import Estimate

_VERDICTS = {True: "yes", False: "**no**", None: ""}


def markdown(results: Sequence[RowResult], facts: Mapping[str, str]) -> str:
    """The tables: medians with their 95 % intervals, then what is claimed."""
    lines = ["# Measured results", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    for result in results:
        lines += [f"## {result.number}. {result.title}", "", *_medians(result), "", *_claims(result), ""]
        lines += [*(f"- {note}" for note in result.notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def as_json(results: Sequence[RowResult], facts: Mapping[str, str]) -> dict[str, object]:
    """Everything, samples and warm-ups included, in the order in which they ran."""
    return {
        "machine": dict(facts),
        "rows": [
            asdict(result) | {"judged": [_judged(result, claim) for claim in result.claims]}
            for result in results
        ],
    }


def _medians(result: RowResult) -> Iterator[str]:
    yield "| arm | what | median | 95 % interval | lowest … highest | samples |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for arm, metric in result.arms():
        values = result.series(arm, metric)
        estimate = statistics.median(values)
        what = metric.partition(" ")[2]
        extent = f"{_amount(metric, min(values))} … {_amount(metric, max(values))}"
        yield (
            f"| {arm} | {what} | {_amount(metric, estimate.value)} | {_interval(metric, estimate)} "
            f"| {extent} | {len(values)} |"
        )


def _claims(result: RowResult) -> Iterator[str]:
    yield "| compared | measured | 95 % interval | to reach | reached |"
    yield "| --- | --- | --- | --- | --- |"
    for claim in result.claims:
        estimate, met = result.judge(claim)
        unit = "times" if claim.against else claim.metric
        limit = "" if claim.limit is None else f"≤ {_amount(unit, claim.limit)}"
        yield (
            f"| {_name(claim)} | {_amount(unit, estimate.value)} | {_interval(unit, estimate)} "
            f"| {limit} | {_VERDICTS[met]} |"
        )


def _name(claim: Claim) -> str:
    what = f"{claim.arm}: {claim.metric.partition(' ')[2]}"
    return f"{what}, against {claim.against}" if claim.against else what


def _judged(result: RowResult, claim: Claim) -> dict[str, object]:
    estimate, met = result.judge(claim)
    return {"claim": asdict(claim), "estimate": asdict(estimate), "reached": met}


def _interval(unit: str, estimate: Estimate) -> str:
    return f"{_amount(unit, estimate.low)} … {_amount(unit, estimate.high)}"


def _amount(unit: str, value: float) -> str:
    """`value` in the unit that `unit`'s first word names, with three significant digits."""
    if unit.startswith("bytes"):
        return f"{value / 1e6:,.2f} MB" if value < 1e7 else f"{value / 1e6:,.0f} MB"
    if unit.startswith("seconds"):
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
    return f"{value:.3f} times"


def median(result: RowResult, arm: str, metric: str) -> str:
    """The median of what an arm gave, with its unit."""
    return _amount(metric, statistics.median(result.series(arm, metric)).value)


def from_json(document: Any) -> tuple[list[RowResult], dict[str, str]]:
    """What `as_json` was given."""
    results = [
        RowResult(
            number=row["number"],
            title=row["title"],
            samples=[Sample(**sample) for sample in row["samples"]],
            claims=[Claim(**claim) for claim in row["claims"]],
            notes=row["notes"],
        )
        for row in document["rows"]
    ]
    return results, document["machine"]
