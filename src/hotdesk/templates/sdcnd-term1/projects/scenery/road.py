"""The road: how it bends, what is painted on it, what stands beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .camera import Camera

LANE = 3.7  # metres from line to line
SIGHT = 400.0  # metres of road that a view holds

YELLOW = (0.95, 0.72, 0.12)
WHITE = (0.93, 0.93, 0.90)


@dataclass(frozen=True)
class Line:
    """A line painted along the road, `right` metres from the middle of the left lane."""

    right: float
    colour: tuple[float, float, float]
    width: float = 0.15
    dash: float = 0.0  # metres; 0 for a line without gaps
    period: float = 12.0


@dataclass(frozen=True)
class Tree:
    along: float
    right: float
    height: float
    look: int  # which of the painter's trees


@dataclass(frozen=True)
class View:
    """The road as it lies before the car, at steps of a metre, in the car's coordinates."""

    road: "Road"
    bearing: float  # which way the car looks, from the way in which the road began
    along: np.ndarray  # metres from the road's begin
    x: np.ndarray  # of the middle of the left lane
    z: np.ndarray
    heading: np.ndarray  # of the road there, from the car's

    def locate(self, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places on the ground in the road's terms: metres along it, metres right of the left lane."""
        found = cv2.remap(
            self._by_depth, 10 * z, np.zeros_like(z), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        along, middle, sin, cos = cv2.split(found)
        beside = x - middle
        return along + beside * sin, beside * cos

    @cached_property
    def _by_depth(self) -> np.ndarray:
        """For each decimetre ahead: metres along the road, its x there, sine and cosine of its heading."""
        depth = np.arange(0, self.z[-1], 0.1)
        along, x, heading = (np.interp(depth, self.z, value) for value in (self.along, self.x, self.heading))
        return np.stack([along, x, np.sin(heading), np.cos(heading)], axis=-1)[None].astype(np.float32)

    def place(self, along: np.ndarray, right: np.ndarray, up: np.ndarray | float = 0.0) -> np.ndarray:
        """The other way: points (N, 3) in the car's coordinates."""
        x, z, heading = (np.interp(along, self.along, value) for value in (self.x, self.z, self.heading))
        return np.column_stack(
            np.broadcast_arrays(x + right * np.cos(heading), up, z - right * np.sin(heading))
        )

    def lane(self, camera: Camera, near: float = 4.0, far: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
        """The truth: pixels (N, 2) along the left and the right line of the left lane."""
        along = self.along[(self.z > near) & (self.z < far)]
        left, right = (camera.project(self.place(along, side * LANE / 2)) for side in (-1, 1))
        return left, right


class Road:
    """A carriageway of two lanes and more, with trees.

    `curvature` tells for metres along the road how it bends: 1 / radius, positive to the right.
    """

    length_of_woods = 600.0  # metres, after which the same trees come again

    def __init__(
        self, curvature: Callable[[np.ndarray], np.ndarray] | float = 0.0, lanes: int = 2, seed: int = 0
    ):
        self.curvature = curvature if callable(curvature) else lambda along: np.full_like(along, curvature)
        self.left, self.right = -LANE / 2, (lanes - 0.5) * LANE  # the outer lines
        dashed = [Line((lane - 0.5) * LANE, WHITE, dash=3.6) for lane in range(1, lanes)]
        self.lines = [Line(self.left, YELLOW), *dashed, Line(self.right, WHITE)]
        self.trees = list(self._plant(np.random.default_rng(seed)))

    def seen_from(self, position: float, right: float = 0.0, heading: float = 0.0) -> View:
        """The view from a car at `position` metres, `right` of its lane's middle, turned by `heading`."""
        before = np.linspace(0, position, 2 + int(position))
        bearing = float(np.trapezoid(self.curvature(before), before)) + heading
        step = np.arange(0, SIGHT)
        turned = np.concatenate([[0], np.cumsum(self.curvature(position + step + 0.5))]) - heading
        headings, middle = turned[:-1], (turned[:-1] + turned[1:]) / 2
        x = np.concatenate([[0], np.cumsum(np.sin(middle))[:-1]]) - right * np.cos(heading)
        z = np.concatenate([[0], np.cumsum(np.cos(middle))[:-1]]) - right * np.sin(heading)
        ahead = int(np.argmin(np.append(np.abs(headings) < 1.2, False)))  # what turns away is out of sight
        return View(self, bearing, position + step[:ahead], x[:ahead], z[:ahead], headings[:ahead])

    def _plant(self, rng: np.random.Generator):
        for edge, side in ((self.left - 6, -1), (self.right + 4, 1)):
            along = 0.0
            while along < self.length_of_woods:
                yield Tree(along, edge + side * rng.gamma(1.2, 4), rng.uniform(5, 12), int(rng.integers(6)))
                along += rng.gamma(1.5, 6)

    @cached_property
    def shade(self) -> np.ndarray:
        """The trees' shadows: rows are decimetres along the road, columns such from 30 m left of it."""
        shade = np.zeros((int(10 * self.length_of_woods), 600), np.uint8)
        rng = np.random.default_rng(1)
        for tree in self.trees:
            for _ in range(60):  # leaves: the sun comes from the right, so they shade what is left of them
                up, aside = rng.uniform(0.3, 1.0) * tree.height, rng.normal(0, 0.11) * tree.height
                where = (10 * (tree.right - 1.3 * up + 30), 10 * (tree.along - 0.3 * up + aside))
                size = int(10 * tree.height * rng.uniform(0.03, 0.09))
                cv2.circle(shade, tuple(int(value) for value in where), size, 255, cv2.FILLED)
        return cv2.GaussianBlur(shade, (0, 0), 3).astype(np.float32) / 255
