"""Photographs of a chessboard, taken with any camera and lens: each pixel's ray is followed to the board."""

from collections.abc import Iterator

import cv2
import numpy as np
from scenery import Camera
from scenery.noise import fractal, smoothstep

CORNERS = (9, 6)  # where four squares meet: columns, rows
SQUARE = 0.04  # metres
PAPER, INK = np.array([238.0, 236.0, 230.0]), np.array([28.0, 28.0, 32.0])
WALL = np.array([142.0, 122.0, 104.0])


def corner_places() -> np.ndarray:
    """The corners on the board, in metres (N, 3): the zero is at the first one, z is out of the paper."""
    columns, rows = np.meshgrid(np.arange(CORNERS[0]), np.arange(CORNERS[1]))
    return SQUARE * np.column_stack([columns.ravel(), rows.ravel(), np.zeros(columns.size)]).astype(
        np.float32
    )


def photographs(camera: Camera, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """The board held in front of the camera, here and there, tilted this way and that, always in sight."""
    rng = np.random.default_rng(seed)
    middle = corner_places().mean(axis=0)
    taken = 0
    while taken < count:
        turn = rng.uniform((-0.6, -0.6, -0.35), (0.6, 0.6, 0.35))
        rotation = cv2.Rodrigues(turn)[0]
        depth = rng.uniform(0.42, 0.75)
        centre = depth * np.append(rng.uniform((-0.42, -0.24), (0.42, 0.24)), 1.0)
        shift = centre - rotation @ middle
        if _in_sight(camera, turn, shift):
            taken += 1
            yield _photograph(camera, rotation, shift, rng)


def _in_sight(camera: Camera, turn: np.ndarray, shift: np.ndarray, margin: int = 25) -> bool:
    pixels, _ = cv2.projectPoints(corner_places(), turn, shift, camera.matrix, np.array(camera.distortion))
    limit = np.array([camera.width, camera.height]) - margin
    return bool(((pixels > margin) & (pixels < limit)).all())


def _photograph(
    camera: Camera, rotation: np.ndarray, shift: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    normal = rotation[:, 2]
    depth = (normal @ shift) / (camera.looks @ normal)  # where each ray meets the board's plane
    x, y, _ = np.moveaxis((camera.looks * depth[..., None] - shift) @ rotation / SQUARE, -1, 0)
    pixel = depth / camera.focal[0] / SQUARE  # a pixel's width on the board, in squares

    ink = 0.5 + 0.5 * _stripes(x, pixel) * _stripes(y, pixel)
    inner = _inside(x, y, 1.0, pixel)  # the squares; around them the white margin
    paper = _inside(x, y, 1.6, pixel)
    board = PAPER + (INK - PAPER) * (ink * inner)[..., None]
    wall = WALL * (1 + 0.05 * _plaster(camera.height, camera.width))[..., None]
    shadow = 1 - 0.45 * _inside(x - 0.25, y - 0.3, 1.6, pixel + 0.8)
    picture = wall * shadow[..., None] + (board - wall * shadow[..., None]) * paper[..., None]

    rows, columns = np.mgrid[-1 : 1 : camera.height * 1j, -1 : 1 : camera.width * 1j]
    lamp = 1.02 - 0.16 * (columns - rng.uniform(-1, 1)) ** 2 - 0.12 * (rows + rng.uniform(0, 1)) ** 2
    picture = cv2.GaussianBlur(
        (picture * lamp[..., None]).astype(np.float32), (0, 0), 0.8
    )  # no lens is perfect
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def _stripes(place: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """+1 and -1 from square to square, and in between where a pixel sees some of both."""
    edge = np.round(place)
    return np.clip(2 * (place - edge) / pixel, -1, 1) * (1 - 2 * (edge % 2))


def _inside(x: np.ndarray, y: np.ndarray, margin: float, pixel: np.ndarray) -> np.ndarray:
    """1 on the rectangle that reaches `margin` squares beyond the outer corners, 0 off it."""
    middle = (np.array(CORNERS) - 1) / 2
    beyond = np.maximum(np.abs(x - middle[0]) - middle[0], np.abs(y - middle[1]) - middle[1]) - margin
    return 1 - smoothstep(beyond / pixel, -0.5, 0.5)


def _plaster(height: int, width: int) -> np.ndarray:
    return cv2.resize(fractal(512, 0.9, seed=5), (width, height), interpolation=cv2.INTER_CUBIC)
