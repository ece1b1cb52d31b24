"""A treemap as one HTML page that asks nobody for anything: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SMALLEST = 0.04  # per cent of the page's width or height; what is smaller cannot be seen
_GOLDEN = 137.508  # degrees: neighbours in the list never have colours that are alike
_NOTHING_FROM_ELSEWHERE = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body{font:14px/1.35 system-ui,sans-serif;margin:1.2rem;color:#1c2430;background:#fff}
h1{font-size:1.25rem;margin:0}p{margin:.3rem 0 .8rem;color:#56606f}
.map{position:relative;width:100%;height:72vh;min-height:26rem;background:#dfe3e8}
.layer,.part{position:absolute;overflow:hidden;box-sizing:border-box}
.layer{border:1px solid #fff}.part{border:1px solid #fff6;padding:1px 3px;font-size:11px;white-space:nowrap}
.layer:hover{outline:2px solid #1c2430;z-index:1}.part:hover{filter:brightness(1.12)}
table{border-collapse:collapse;margin-top:1.2rem;width:100%}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;vertical-align:top;border-bottom:1px solid #e4e7eb}
td.n{text-align:right;white-space:nowrap}code{font-size:12px}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#e4e9f0}p{color:#9aa6b5}
.map{background:#232a33}.layer{border-color:#12161c}th,td{border-color:#2b333d}.part{color:#10141a}
.layer:hover{outline-color:#fff}}
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Something with a size, and what is in it. `title` shows where the pointer rests."""

    label: str
    title: str
    size: int
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in per cent of the one around it."""

    left: float
    top: float
    width: float
    height: float


def page(
    heading: str, summary: str, parts: Sequence[Part], columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """The parts as nested rectangles, as large as their sizes, above a table of the rows."""
    blocks = [
        _block(part, box, number)
        for number, (part, box) in enumerate(zip(parts, squarified(parts), strict=True))
    ]
    cells = "".join(f"<tr>{''.join(_cell(text) for text in row)}</tr>" for row in rows)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_ELSEWHERE}">'
        f"<title>{html.escape(heading)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(heading)}</h1><p>{html.escape(summary)}</p>"
        f'<div class="map">{"".join(blocks)}</div>'
        f"<table><thead><tr>{''.join(f'<th>{html.escape(name)}</th>' for name in columns)}</tr></thead>"
        f"<tbody>{cells}</tbody></table></html>\n"
    )


def squarified(parts: Sequence[Part], aspect: float = 1.8) -> list[Box]:
    """A box for each part, in the same order: row by row, each as near to squares as it gets.

    `aspect` is how many times wider than high the whole is. Source: Bruls, Huizing, van Wijk, "Squarified
    Treemaps", 2000.
    """
    total = sum(part.size for part in parts) or 1
    waiting = sorted(range(len(parts)), key=lambda number: -parts[number].size)
    areas = [part.size * aspect / total for part in parts]
    boxes = [Box(0, 0, 0, 0)] * len(parts)
    left, top, width, height = 0.0, 0.0, aspect, 1.0
    while waiting:
        side = min(width, height)
        row = [waiting.pop(0)]
        while waiting and _worst(row, areas, side) >= _worst([*row, waiting[0]], areas, side):
            row.append(waiting.pop(0))
        area = sum(areas[number] for number in row)
        depth = area / side if side else 0.0
        at = 0.0
        for number in row:
            length = areas[number] / depth if depth else 0.0
            lying = width >= height
            x, y, w, h = (left, top + at, depth, length) if lying else (left + at, top, length, depth)
            boxes[number] = Box(100 * x / aspect, 100 * y, 100 * w / aspect, 100 * h)
            at += length
        if width >= height:
            left, width = left + depth, max(width - depth, 0.0)
        else:
            top, height = top + depth, max(height - depth, 0.0)
    return boxes


def _worst(row: Sequence[int], areas: Sequence[float], side: float) -> float:
    """The longest of the row's boxes, as how many times longer than wide it is."""
    total = sum(areas[number] for number in row)
    smallest = min(areas[number] for number in row)
    largest = max(areas[number] for number in row)
    if not smallest or not side:
        return float("inf")
    return max(side * side * largest / total**2, total**2 / (side * side * smallest))


def _block(part: Part, box: Box, number: int) -> str:
    hue = number * _GOLDEN % 360
    inner = "".join(
        _part(below, place, hue, index)
        for index, (below, place) in enumerate(zip(part.parts, squarified(part.parts), strict=True))
        if place.width * box.width > 100 * _SMALLEST and place.height * box.height > 100 * _SMALLEST
    )
    return (
        f'<div class="layer" style="{_place(box)};background:hsl({hue:.0f} 45% 62%)" '
        f'title="{html.escape(part.title)}">{inner or html.escape(part.label)}</div>'
    )


def _part(part: Part, box: Box, hue: float, index: int) -> str:
    light = 66 + 7 * (index % 3)
    return (
        f'<div class="part" style="{_place(box)};background:hsl({hue:.0f} 45% {light}%)" '
        f'title="{html.escape(part.title)}">{html.escape(part.label)}</div>'
    )


def _place(box: Box) -> str:
    return f"left:{box.left:.3f}%;top:{box.top:.3f}%;width:{box.width:.3f}%;height:{box.height:.3f}%"


def _cell(text: str) -> str:
    number = text[:1].isdigit() and text[-1:] == "B"
    return f"<td{' class=n' if number else ''}>{html.escape(text)}</td>"
