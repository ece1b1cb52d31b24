import pytest
from benchmarks.statistics import median, ratio


def test_the_median_lies_within_its_interval() -> None:
    estimate = median([5.0, 1.0, 2.0, 9.0, 3.0])

    assert estimate.value == 3.0
    assert estimate.low <= 3.0 <= estimate.high
    assert estimate.blocks == 5


def test_equal_samples_leave_no_uncertainty() -> None:
    estimate = median([2.0, 2.0, 2.0])

    assert (estimate.low, estimate.value, estimate.high) == (2.0, 2.0, 2.0)


def test_a_ratio_is_taken_within_each_block() -> None:
    # The machine was ten times slower in the second block; the ratio does not notice.
    estimate = ratio([1.0, 10.0, 1.0], [2.0, 20.0, 2.0])

    assert estimate.value == pytest.approx(0.5)
    assert estimate.low == pytest.approx(0.5)
    assert estimate.high == pytest.approx(0.5)


def test_a_ratio_turned_round_is_its_inverse() -> None:
    ours, theirs = [1.0, 1.2, 0.9, 1.1], [2.0, 2.1, 2.5, 1.9]

    assert ratio(ours, theirs).value * ratio(theirs, ours).value == pytest.approx(1.0)


def test_more_noise_widens_the_interval() -> None:
    steady = ratio([1.00, 1.01, 0.99, 1.00, 1.01, 0.99], [1.0] * 6)
    noisy = ratio([1.0, 1.5, 0.6, 1.0, 1.4, 0.7], [1.0] * 6)

    assert noisy.high - noisy.low > steady.high - steady.low


def test_the_same_samples_give_the_same_interval() -> None:
    samples = [1.0, 1.3, 0.8, 1.1, 0.9]

    assert median(samples) == median(samples)


def test_blocks_that_lack_an_arm_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median([])
