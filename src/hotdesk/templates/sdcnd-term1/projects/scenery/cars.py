"""Cars: a body of a dozen polygons, drawn from behind."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera
from .road import View

Colour = tuple[int, int, int]
Polygon = list[tuple[float, float, float]]  # x from the car's middle, y up, z from its rear to its front

GLASS, SHINE = (46, 56, 66), (112, 130, 146)
TYRE, RIM, BUMPER = (26, 26, 28), (128, 130, 134), (52, 52, 56)
LAMP, PLATE = (196, 28, 30), (226, 226, 214)


@dataclass(frozen=True)
class Car:
    paint: Colour
    width: float = 1.82
    length: float = 4.5
    height: float = 1.45
    waist: float = 0.92  # where the windows begin
    tail: float = 0.75  # how far the rear window's foot is from the rear: long for a saloon, none for a van

    def box(self, view: View, camera: Camera, along: float, right: float) -> tuple[int, int, int, int]:
        """The truth: left, top, right, bottom of the car in the picture, which may reach beyond it."""
        near, far = along, along + self.length
        sides = [right - self.width / 2, right + self.width / 2]
        corners = [view.place(np.array([near, far]), side, up) for side in sides for up in (0.0, self.waist)]
        roof = [
            view.place(np.array([along + self.tail + 0.5]), right + side * 0.38 * self.width, self.height)
            for side in (-1, 1)
        ]
        pixels = camera.project(np.vstack(corners + roof))
        left, top = np.floor(pixels.min(axis=0)).astype(int)
        end, bottom = np.ceil(pixels.max(axis=0)).astype(int)
        return int(left), int(top), int(end), int(bottom)

    def polygons(self, side: int) -> Iterator[tuple[Colour, Polygon]]:
        """Colours and faces, the farthest first; `side` is the flank that is seen, -1 for the left one."""
        half, waist, top, tail, length = self.width / 2, self.waist, self.height, self.tail, self.length
        roof, front, belt = 0.76 * half, 0.62 * length, 0.96 * half
        flank, glass_end = side * half, tail + 0.5

        def quad(x: float, y0: float, y1: float, z: float, taper: float = 1.0) -> Polygon:
            return [(-x, y0, z), (x, y0, z), (x * taper, y1, z), (-x * taper, y1, z)]

        yield TYRE, quad(half - 0.05, 0.0, 0.35, 0.4)
        yield (
            self._lit(1.15),
            [(-belt, waist, front), (belt, waist, front), (half, 0.8, length), (-half, 0.8, length)],
        )
        yield (
            self._lit(0.62),
            [(flank, 0.25, 0), (flank, waist, 0.05), (flank, waist, front), (flank, 0.25, length)],
        )
        lower, upper = side * belt, side * roof
        yield (
            self._lit(0.70),
            [(lower, waist, tail), (upper, top, glass_end), (upper, top, front - 0.7), (lower, waist, front)],
        )
        yield (
            GLASS,
            [
                (0.98 * lower, waist + 0.03, tail + 0.25),
                (0.99 * upper, top - 0.09, glass_end + 0.1),
                (0.99 * upper, top - 0.09, front - 0.8),
                (0.98 * lower, waist + 0.03, front - 0.25),
            ],
        )
        for axle in (0.85, length - 0.85):
            for colour, radius in ((TYRE, 0.34), (RIM, 0.20)):
                turn = np.linspace(0, 2 * np.pi, 20)
                yield (
                    colour,
                    [(1.01 * flank, 0.34 + radius * np.sin(a), axle + radius * np.cos(a)) for a in turn],
                )
        yield (
            self._lit(1.25),
            [(-roof, top, glass_end), (roof, top, glass_end), (roof, top, front), (-roof, top, front)],
        )
        if tail > 0.1:
            yield (
                self._lit(1.2),
                [(-half, waist, 0.05), (half, waist, 0.05), (belt, waist, tail), (-belt, waist, tail)],
            )
        cabin = [(-belt, waist, tail), (belt, waist, tail), (roof, top, glass_end), (-roof, top, glass_end)]
        yield self._lit(0.95), cabin
        yield GLASS, self._inset(cabin, 0.10, 0.88)
        yield SHINE, self._inset(cabin, 0.58, 0.80)
        yield self._lit(0.88), quad(half, 0.55, waist, 0.02, 0.97)
        yield self._lit(0.70), quad(half, 0.30, 0.56, 0.01)
        yield BUMPER, quad(0.97 * half, 0.22, 0.40, 0.0)
        for edge in (-1, 1):
            inner, outer = edge * (half - 0.38), edge * (half - 0.04)
            yield LAMP, [(inner, 0.70, 0), (outer, 0.66, 0), (outer, 0.84, 0), (inner, 0.84, 0)]
            tread = edge * (half - 0.10), edge * (half - 0.34)
            yield TYRE, [(tread[0], 0, 0.3), (tread[1], 0, 0.3), (tread[1], 0.24, 0.3), (tread[0], 0.24, 0.3)]
        yield PLATE, quad(0.26, 0.58, 0.70, 0)

    def _lit(self, light: float) -> Colour:
        red, green, blue = (min(int(light * value + 14 * light), 255) for value in self.paint)
        return red, green, blue

    @staticmethod
    def _inset(quad: Polygon, low: float, high: float) -> Polygon:
        """The part of a quad between two heights, a little narrower than it."""
        left, right, right_top, left_top = (np.array(corner) for corner in quad)
        rows = [(left + (left_top - left) * part, right + (right_top - right) * part) for part in (low, high)]
        ends = [(a + 0.07 * (b - a), b - 0.07 * (b - a)) for a, b in rows]
        return [tuple(map(float, corner)) for corner in (ends[0][0], ends[0][1], ends[1][1], ends[1][0])]


def draw_car(
    picture: np.ndarray,
    car: Car,
    view: View,
    camera: Camera,
    *,
    along: float,
    right: float,
    light: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> None:
    """Into `picture`: the car whose rear is `along` metres along the road, `right` of the left lane."""
    _draw_shadow(picture, car, view, camera, along=along, right=right)
    seen = view.place(np.array([along]), right)[0, 0]
    for colour, polygon in car.polygons(side=-1 if seen > 0 else 1):
        x, y, z = np.array(polygon).T
        pixels = camera.project(view.place(along + z, right + x, y))
        tinted = tuple(min(int(value * part), 255) for value, part in zip(colour, light, strict=True))
        _fill(picture, pixels, tinted)


def _draw_shadow(
    picture: np.ndarray, car: Car, view: View, camera: Camera, *, along: float, right: float
) -> None:
    ends, sides = (
        along + np.array([-0.2, -0.2, car.length, car.length]),
        car.width * np.array([-0.85, 0.5, 0.5, -0.85]),
    )
    corners = camera.project(view.place(ends, right + sides))
    (left, top), (end, bottom) = corners.min(axis=0).astype(int) - 8, corners.max(axis=0).astype(int) + 8
    rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(end, 0))
    part = picture[rows, columns]
    if part.size:
        shade = np.zeros(part.shape[:2], np.uint8)
        _fill(shade, corners - (columns.start, rows.start), (200,))
        shade = cv2.blur(shade, (5, 3))
        part[:] = (part * (1 - shade[..., None] / 255.0)).astype(np.uint8)


def _fill(picture: np.ndarray, pixels: np.ndarray, colour: tuple[int, ...]) -> None:
    """A polygon whose corners are given to a sixteenth of a pixel, with smooth edges."""
    cv2.fillPoly(picture, [np.round(16 * pixels).astype(np.int32)], colour, cv2.LINE_AA, shift=4)
