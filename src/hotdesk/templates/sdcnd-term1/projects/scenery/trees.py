"""Trees: six of them grown leaf by leaf, then set up along the road like stage scenery."""

from functools import cache

import cv2
import numpy as np

from .camera import Camera
from .road import View

SIZE = 256  # pixels of a tree's picture
BARK = (84, 66, 50)


def draw_trees(
    picture: np.ndarray,
    view: View,
    camera: Camera,
    light: tuple[float, float, float],
    horizon: tuple[float, float, float],
    haze: float,
) -> None:
    """Into `picture`, the farthest first."""
    begin, woods = float(view.along[0]), view.road.length_of_woods
    placed = [(begin + (tree.along - begin) % woods, tree) for tree in view.road.trees]
    for along, tree in sorted(placed, key=lambda item: -item[0]):
        if along > view.along[-1]:
            continue
        foot = view.place(np.array([along]), tree.right)
        depth = float(foot[0, 2])
        if depth < 8 or abs(foot[0, 0]) > 0.9 * depth:
            continue
        (column, row), (_, top) = camera.project(np.vstack([foot, foot + (0, tree.height, 0)]))
        veil = float(1 - np.exp(-depth / haze))
        tint = np.array([*light, 1.0]), np.array([*(255 * np.array(horizon) * light), 0.0])
        _paste(picture, _grown(tree.look), (column, row), int(row - top), tint, veil)


def _paste(
    picture: np.ndarray,
    sprite: np.ndarray,
    foot: tuple[float, float],
    size: int,
    tint: tuple[np.ndarray, np.ndarray],
    veil: float,
) -> None:
    """The square sprite, `size` pixels high, its lower edge's middle at `foot`, paled by the haze."""
    if size < 3:
        return
    left, top = int(foot[0]) - size // 2, int(foot[1]) - size
    rows = slice(max(top, 0), min(top + size, picture.shape[0]))
    columns = slice(max(left, 0), min(left + size, picture.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    shrink = size < SIZE
    scaled = cv2.resize(sprite, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    part = scaled[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    light, air = tint
    colour = (part * light * (1 - veil) + air * veil * (part[..., 3:] / 255))[..., :3]
    behind = picture[rows, columns] * (1 - part[..., 3:] / 255.0)
    picture[rows, columns] = np.clip(colour + behind, 0, 255).astype(np.uint8)


@cache
def _grown(look: int) -> np.ndarray:
    """The picture of a tree: RGB, already multiplied by its fourth channel, opacity."""
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
