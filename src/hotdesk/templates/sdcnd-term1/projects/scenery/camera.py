"""The camera in the car: where each pixel looks, and where a point of the world is seen."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np


@dataclass(frozen=True)
class Ground:
    """What the pixels from row `top` down see of flat ground: a place, and how much of it."""

    top: int
    x: np.ndarray  # metres to the right of the camera
    z: np.ndarray  # metres ahead of it
    across: np.ndarray  # width of the pixel's footprint on the ground
    along: np.ndarray  # and its length


@dataclass(frozen=True)
class Camera:
    """A camera with a lens, looking ahead.

    The world's axes are the car's: x to the right, y up, z ahead, from the ground below the camera.
    """

    width: int = 960
    height: int = 540
    focal: tuple[float, float] = (860.0, 860.0)  # pixels
    centre: tuple[float, float] = (480.0, 270.0)  # where the optical axis meets the picture
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)  # k1, k2, p1, p2, k3 as OpenCV has them
    mount: float = 1.4  # metres above the ground
    pitch: float = 0.03  # upwards

    @cached_property
    def matrix(self) -> np.ndarray:
        (fx, fy), (cx, cy) = self.focal, self.centre
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    @cached_property
    def axes(self) -> np.ndarray:
        """The camera's own axes (right, down, forward) as rows, in the world's coordinates."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[1, 0, 0], [0, -cos, sin], [0, sin, cos]])

    @cached_property
    def looks(self) -> np.ndarray:
        """For each pixel the point at depth 1 that it sees, in the camera's coordinates; the lens undone."""
        columns, rows = np.meshgrid(np.arange(self.width), np.arange(self.height))
        pixels = np.stack([columns, rows], axis=-1).reshape(-1, 1, 2).astype(np.float64)
        until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
        seen = cv2.undistortPoints(pixels, self.matrix, np.array(self.distortion), criteria=until)
        return np.dstack([seen.reshape(self.height, self.width, 2), np.ones((self.height, self.width))])

    @cached_property
    def rays(self) -> np.ndarray:
        """The same in the world's directions."""
        return (self.looks @ self.axes).astype(np.float32)

    @cached_property
    def ground(self) -> Ground:
        down = -self.rays[..., 1]
        top = int(np.argmax((down > 0).any(axis=1)))
        down = np.maximum(down[top:], 1e-4)  # the last rays above the horizon: as good as endless
        x, z = self.mount * self.rays[top:, :, 0] / down, self.mount * self.rays[top:, :, 2] / down
        return Ground(top, x, z, across=z / self.focal[0], along=z**2 / (self.focal[1] * self.mount))

    def project(self, points: np.ndarray) -> np.ndarray:
        """The pixels (N, 2) at which points of the world (N, 3) are seen; all must lie ahead."""
        local = (np.asarray(points, dtype=float) - (0, self.mount, 0)) @ self.axes.T
        still = np.zeros(3)
        return cv2.projectPoints(local, still, still, self.matrix, np.array(self.distortion))[0].reshape(
            -1, 2
        )
