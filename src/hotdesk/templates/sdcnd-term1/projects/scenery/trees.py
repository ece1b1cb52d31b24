"""Trees: six of them grown leaf by leaf, then set up along the road like stage scenery."""

from functools import cache

import cv2
import numpy as np

from .camera import Camera
from .road import View
from .weather import Weather

SIZE = 256  # pixels of a tree's picture
SIGHT = 260.0  # metres, beyond which a tree is not missed
BARK = (84, 66, 50)


def draw_trees(picture: np.ndarray, view: View, camera: Camera, weather: Weather) -> None:
    """Into `picture`, the farthest first."""
    trees = view.road.trees
    woods, begin = view.road.length_of_woods, view.along[0]
    along = begin + (np.array([tree.along for tree in trees]) - begin) % woods
    feet = view.place(along, np.array([tree.right for tree in trees]))
    tops = feet + np.outer([tree.height for tree in trees], (0, 1, 0))
    depths = feet[:, 2]
    near = (along < view.along[-1]) & (depths > 8) & (depths < SIGHT) & (np.abs(feet[:, 0]) < 0.9 * depths)
    feet[~near], tops[~near] = (0, 0, 1), (0, 0, 1)  # out of sight, whatever the lens would make of them
    low, high = camera.project(feet), camera.project(tops)
    light = np.float32(weather.light)
    for which in sorted(np.flatnonzero(near), key=lambda which: -depths[which]):
        veil = np.float32(1 - np.exp(-depths[which] / weather.haze))
        leaves = light * (1 - veil)
        air = light * np.float32(weather.horizon) * (255 * veil)
        size = int(low[which, 1] - high[which, 1])
        _paste(picture, trees[which].look, low[which], size, light=leaves, air=air)


def _paste(
    picture: np.ndarray,
    look: int,
    foot: np.ndarray,
    size: int,
    *,
    light: np.ndarray,
    air: np.ndarray,
) -> None:
    """A tree `size` pixels high, the middle of its lower edge at `foot`, with `air` before it."""
    if size < 5:
        return
    left, top = int(foot[0]) - size // 2, int(foot[1]) - size
    rows = slice(max(top, 0), min(top + size, picture.shape[0]))
    columns = slice(max(left, 0), min(left + size, picture.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    sprite = _grown(look, small=size < SIZE // 4)
    scale = size / sprite.shape[0]
    placed = np.array([[scale, 0, left - columns.start], [0, scale, top - rows.start]])
    seen = (columns.stop - columns.start, rows.stop - rows.start)
    part = cv2.warpAffine(sprite, placed, seen, flags=cv2.INTER_LINEAR)
    opaque = part[..., 3:] * np.float32(1 / 255)
    behind = picture[rows, columns]
    behind[:] = np.clip(part[..., :3] * light + opaque * (air - behind) + behind, 0, 255)


@cache
def _grown(look: int, small: bool = False) -> np.ndarray:
    """The picture of a tree: RGB, already multiplied by its fourth channel, opacity."""
    if small:
        return cv2.resize(_grown(look), (SIZE // 4, SIZE // 4), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(look)
    fir = look % 3 == 2
    green = np.array((52, 84, 44) if fir else (84, 112, 44)) * rng.uniform(0.85, 1.15, 3)
    tree = np.zeros((SIZE, SIZE, 4), np.uint8)
    cv2.line(tree, (128, 255), (128, 120), (*BARK, 255), 8 if fir else 12, cv2.LINE_AA)
    for _ in range(900):
        x, y = rng.uniform(-1, 1), rng.uniform(-1, 1)  # in the crown, up is -1
        if (abs(x) > (y + 1) / 2) if fir else (x * x + y * y > 1):
            continue
        centre = (int(128 + (60 if fir else 88) * x), int((122 if fir else 92) * (1 + y)) + 8)
        lit = 0.75 + 0.30 * x - 0.30 * y + rng.normal(0, 0.10)  # the sun stands to the right
        colour = tuple(float(value) for value in np.clip(green * max(lit, 0.35), 0, 255))
        cv2.circle(tree, centre, int(rng.integers(4, 11)), (*colour, 255), cv2.FILLED, cv2.LINE_AA)
    return cv2.GaussianBlur(tree, (0, 0), 0.8)
