from collections.abc import Callable, Mapping

from benchmarks.samples import Claim, RowResult, Sample, run_blocks


def test_every_arm_runs_once_a_block_after_the_warm_up() -> None:
    samples = run_blocks(
        {"a": lambda _: {"seconds": 1.0}, "b": lambda _: {"seconds": 2.0}},
        3,
        warm_up=True,
        say=lambda _: None,
    )

    assert sorted((sample.block, sample.arm) for sample in samples) == [
        (block, arm) for block in (-1, 0, 1, 2) for arm in ("a", "b")
    ]


def test_the_order_within_blocks_varies() -> None:
    ran: list[str] = []

    def arm(name: str) -> Callable[[int], Mapping[str, float]]:
        def run(_: int) -> dict[str, float]:
            ran.append(name)
            return {"seconds": 1.0}

        return run

    run_blocks({"a": arm("a"), "b": arm("b")}, 20, warm_up=False, say=lambda _: None)

    assert {ran[at] for at in range(0, 40, 2)} == {"a", "b"}


def test_a_warm_up_does_not_count() -> None:
    result = row(Sample("ours", -1, {"seconds": 100.0}), Sample("ours", 0, {"seconds": 1.0}))

    assert result.series("ours", "seconds") == [1.0]


def test_a_claim_against_another_arm_is_judged_by_the_ratio() -> None:
    result = row(Sample("ours", 0, {"seconds": 1.0}), Sample("theirs", 0, {"seconds": 4.0}))

    estimate, met = result.judge(Claim("ours", "seconds", 1 / 3, against="theirs"))

    assert estimate.value == 0.25
    assert met


def test_a_claim_that_misses_its_limit_says_so() -> None:
    result = row(Sample("ours", 0, {"seconds": 1.0}))

    _, met = result.judge(Claim("ours", "seconds", 0.5))

    assert met is False


def test_a_comparison_without_a_limit_is_neither_met_nor_missed() -> None:
    result = row(Sample("ours", 0, {"seconds": 1.0}))

    _, met = result.judge(Claim("ours", "seconds", None))

    assert met is None


def row(*samples: Sample) -> RowResult:
    return RowResult(number=1, title="a job", samples=samples, claims=())
