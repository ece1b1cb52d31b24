from __future__ import annotations

import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotdesk.cli.treemap import Box, Part, page, squarified


def parts(sizes: list[int]) -> list[Part]:
    return [Part(str(number), "", size) for number, size in enumerate(sizes)]


def overlap(one: Box, other: Box) -> float:
    wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    return max(wide, 0) * max(high, 0)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
def test_boxes_are_as_large_as_their_parts_and_beside_each_other(sizes: list[int]) -> None:
    boxes = squarified(parts(sizes))

    total = sum(sizes) or 1
    for size, box in zip(sizes, boxes, strict=True):
        assert abs(box.width * box.height - 10_000 * size / total) < 0.01
        assert -0.01 <= box.left <= box.left + box.width <= 100.01
        assert -0.01 <= box.top <= box.top + box.height <= 100.01
    for number, box in enumerate(boxes):
        assert all(overlap(box, other) < 0.01 for other in boxes[number + 1 :])


def test_equal_parts_are_nearly_squares() -> None:
    for box in squarified(parts([5] * 9), aspect=1.0):
        assert 0.5 < box.width / box.height < 2


def test_the_page_asks_nobody_for_anything_and_obeys_no_name() -> None:
    hostile = '<script src="//evil.example/x.js">"&'
    drawn = page(
        hostile, hostile, [Part("l", hostile, 5, (Part(hostile, hostile, 5),))], [hostile], [[hostile]]
    )

    assert "<script" not in drawn
    assert not re.search(r'(src|href|action)="', drawn)
    assert "default-src 'none'" in drawn
    assert drawn.count("&lt;script src=&quot;//evil.example/x.js&quot;&gt;&quot;&amp;") == 8
