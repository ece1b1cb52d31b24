"""A closed track in a painted landscape, and a camera that looks at it.

Lengths are in metres. x points east and y south, as in a picture of the map; a heading of 0 is east, and
grows clockwise: to steer right is to add to it.
"""

import math

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

cv2.setNumThreads(1)  # for pictures as small as these, sharing the work takes longer than doing it

HALF_WIDTH = 3.0  # of the road
MARGIN = 30  # of meadow around the track
SCALE = 10  # pixels of the painted ground for a metre
BENDS = [(12, 22), (16, 6), (36, 2), (53, 9), (70, 2), (84, 14), (78, 33), (58, 35), (42, 46), (21, 42)]

WIDTH, HEIGHT = 320, 160  # of a camera's picture
FOCAL = 190.0  # in pixels: how strongly the lens enlarges
PITCH = math.radians(6)  # how far it looks down
EYE = 1.4  # how high it is above the road
HORIZON = round(HEIGHT / 2 - FOCAL * math.tan(PITCH))
HAZE = np.array((205, 215, 225))


class Track:
    """The centre line of the road: points 0.25 m apart, which close to a loop."""

    def __init__(self, bends=BENDS):
        corners = np.array([*bends, bends[0]], float)
        steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
        curve = CubicSpline(steps, corners, bc_type="periodic")
        dense = curve(np.linspace(0, steps[-1], 20_000))
        along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(dense, axis=0).T))])
        self.length = along[-1]
        count = round(self.length / 0.25)
        where = np.arange(count) * self.length / count
        self.points = np.stack([np.interp(where, along, dense[:, axis]) for axis in (0, 1)], axis=1)
        forward = np.roll(self.points, -1, axis=0) - np.roll(self.points, 1, axis=0)
        self.headings = np.arctan2(forward[:, 1], forward[:, 0])
        self.to_the_right = np.stack([-np.sin(self.headings), np.cos(self.headings)], axis=1)
        turns = np.roll(self.headings, -1) - np.roll(self.headings, 1)
        self.curvatures = (turns + math.pi) % (2 * math.pi) - math.pi
        self.curvatures /= 2 * self.length / count  # 1 / radius, positive to the right

    def nearest(self, x, y):
        """How far along the track a place is, and how far to the right of the centre line."""
        apart = np.array((x, y)) - self.points
        index = int(np.argmin((apart**2).sum(axis=1)))
        return index / len(self.points) * self.length, float(apart[index] @ self.to_the_right[index])

    def at(self, along, offset=0.0):
        """The place so far along the track and so far to the right of its centre line."""
        index = round(along / self.length * len(self.points)) % len(self.points)
        return self.points[index] + offset * self.to_the_right[index]

    def heading_at(self, along):
        return float(self.headings[round(along / self.length * len(self.points)) % len(self.points)])

    def reversed(self):
        """The same road, driven the other way round."""
        other = Track.__new__(Track)
        other.length = self.length
        other.points = self.points[::-1]
        other.headings = self.headings[::-1] + math.pi
        other.to_the_right = -self.to_the_right[::-1]
        other.curvatures = -self.curvatures[::-1]
        return other


class Landscape:
    """The ground as a picture seen from above, the sky and hills around it, and trees."""

    def __init__(self, track, seed=3):
        rng = np.random.default_rng(seed)
        self.corner = track.points.min(axis=0) - MARGIN
        size = np.ceil((track.points.max(axis=0) + MARGIN - self.corner) * SCALE).astype(int)
        ground = self.paint_ground(track, size, rng)
        # Far away many metres fall into one pixel: there, coarser and coarser copies are looked at.
        self.grounds = [ground, cv2.pyrDown(ground), cv2.pyrDown(cv2.pyrDown(ground))]
        self.sky = paint_sky(rng)
        self.trees = self.plant_trees(track, size / SCALE, rng)

    def pixels(self, places):
        return ((places - self.corner) * SCALE * 16).round().astype(np.int32)  # cv2 counts in sixteenths

    def paint_ground(self, track, size, rng):
        ground = soft_noise(rng, size, 60, 14) + soft_noise(rng, size, 8, 9) + (88, 132, 58)
        ground = ground.clip(0, 255).astype(np.uint8)

        def stripe(offset, width, colour, part=slice(None)):
            places = (track.points + offset * track.to_the_right)[part]
            closed = part == slice(None)
            thickness = max(1, round(width * SCALE))
            cv2.polylines(ground, [self.pixels(places)], closed, colour, thickness, cv2.LINE_AA, 4)

        stripe(0, 2 * HALF_WIDTH + 1.6, (150, 130, 90))  # a verge of sand
        stripe(0, 2 * HALF_WIDTH, (104, 104, 108))
        for offset in (-1.3, 1.3):
            stripe(offset, 0.9, (94, 94, 98))  # where everybody's wheels roll
        for side in (-1, 1):
            stripe(side * (HALF_WIDTH - 0.35), 0.25, (235, 235, 230))
        self.lay_kerbs(track, stripe)
        count = len(track.points)
        sandy = slice(int(0.60 * count), int(0.66 * count))  # here the line is gone on one side
        stripe(HALF_WIDTH - 0.2, 1.0, (150, 130, 90), sandy)
        start = self.pixels(np.array([track.at(0, side * (HALF_WIDTH - 0.5)) for side in (-1, 1)]))
        cv2.line(ground, start[0].tolist(), start[1].tolist(), (240, 240, 240), 5, cv2.LINE_AA, 4)
        grain = soft_noise(rng, size, 1, 5)
        return (ground + grain).clip(0, 255).astype(np.uint8)

    def lay_kerbs(self, track, stripe):
        """Red and white stones on the inner side of the narrow curves."""
        for start in range(0, len(track.points) - 6, 6):
            curvature = track.curvatures[start + 3]
            if abs(curvature) > 1 / 16:
                colour = (200, 40, 40) if start % 12 else (235, 235, 235)
                stripe(math.copysign(HALF_WIDTH + 0.1, curvature), 0.5, colour, slice(start, start + 7))

    def plant_trees(self, track, size, rng):
        places = self.corner + rng.uniform(0, 1, (320, 2)) * size
        free = [place for place in places if abs(track.nearest(*place)[1]) > 1 and far_off(track, place)]
        shades = rng.uniform(0.75, 1.2, len(free))
        heights = rng.uniform(3, 7, len(free))
        return np.column_stack([np.array(free), heights, shades])


def far_off(track, place):
    return np.hypot(*(track.points - place).T).min() > HALF_WIDTH + 4


def soft_noise(rng, size, grain, strength):
    """Spots about `grain` pixels wide, the same in each colour."""
    columns, rows = size
    spots = rng.normal(0, strength, (rows // grain + 2, columns // grain + 2)).astype(np.float32)
    return cv2.resize(spots, (int(columns), int(rows)), interpolation=cv2.INTER_CUBIC)[..., None]


def paint_sky(rng):
    """All that is above the horizon, as one strip for the whole circle."""
    around = round(2 * math.pi * FOCAL)
    down = np.linspace(0, 1, HORIZON)[:, None, None]
    sky = np.array((95, 150, 215)) * (1 - down) + HAZE * down
    sky = np.repeat(sky, around, axis=1)
    angles = np.linspace(0, 2 * math.pi, around, endpoint=False)
    clouds = sum(
        rng.normal()
        * np.sin(wave * angles + rng.uniform(0, 7))
        * np.sin(rise * 9 * down[..., 0] + rng.uniform(0, 7))
        for wave in range(2, 14)
        for rise in (1, 2)
    )
    cover = (clouds / 6).clip(0, 0.75)[..., None] * (1 - down * 0.6)
    sky = sky * (1 - cover) + 248 * cover
    for height, colour in ((22, (150, 170, 190)), (11, (105, 135, 110))):
        ridge = sum(
            rng.normal() / wave**0.7 * np.sin(wave * angles + rng.uniform(0, 7)) for wave in range(2, 30)
        )
        tops = HORIZON - height * (0.6 + 0.3 * ridge)
        sky = np.where((np.arange(HORIZON)[:, None] > tops)[..., None], colour, sky)
    return sky.astype(np.uint8)


class Camera:
    """Looks forward from the car; `aside` is how far to the right of its middle it is fixed."""

    def __init__(self, landscape, aside=0.0):
        self.landscape = landscape
        self.aside = aside
        across = (np.arange(WIDTH) - WIDTH / 2 + 0.5) / FOCAL
        below = (np.arange(HORIZON + 1, HEIGHT) - HEIGHT / 2 + 0.5)[:, None] / FOCAL
        # Each pixel is a ray; this is where it meets the ground, forward and to the right of the camera.
        reach = EYE / (below * math.cos(PITCH) + math.sin(PITCH))
        self.forward = np.repeat(reach * (math.cos(PITCH) - below * math.sin(PITCH)), WIDTH, axis=1)
        self.right = reach * across + aside
        nearness = np.searchsorted((7, 15), self.forward[:, 0])  # which copy of the ground
        self.bands = [np.flatnonzero(nearness == level) for level in range(3)]
        self.sky_columns = np.round(np.arctan(across) * FOCAL).astype(int)
        haze = ((self.forward - 15) / 70).clip(0, 0.7)[..., None]
        self.clear, self.haze = (1 - haze).astype(np.float32), (haze * HAZE).astype(np.float32)

    def look(self, x, y, heading):
        """The picture, HEIGHT x WIDTH x 3 bytes."""
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        turn = round(heading * FOCAL)
        image[: HORIZON + 1] = HAZE
        image[:HORIZON] = self.landscape.sky[:, (self.sky_columns + turn) % self.landscape.sky.shape[1]]
        image[HORIZON + 1 :] = self.look_down(x, y, heading)
        self.draw_trees(image, x, y, heading)
        cv2.ellipse(
            image,
            (WIDTH // 2 - round(self.aside * 45), HEIGHT + 8),
            (120, 26),
            0,
            0,
            360,
            (45, 50, 62),
            -1,
            cv2.LINE_AA,
        )
        return image

    def look_down(self, x, y, heading):
        east = x + self.forward * math.cos(heading) - self.right * math.sin(heading)
        south = y + self.forward * math.sin(heading) + self.right * math.cos(heading)
        columns = ((east - self.landscape.corner[0]) * SCALE).astype(np.float32)
        rows = ((south - self.landscape.corner[1]) * SCALE).astype(np.float32)
        ground = np.empty((*columns.shape, 3), np.float32)
        for level, band in enumerate(self.bands):
            ground[band] = cv2.remap(
                self.landscape.grounds[level],
                columns[band] / 2**level,
                rows[band] / 2**level,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )
        return ground * self.clear + self.haze

    def draw_trees(self, image, x, y, heading):
        places = self.landscape.trees[:, :2] - (x, y)
        forward = places @ (math.cos(heading), math.sin(heading))
        right = places @ (-math.sin(heading), math.cos(heading)) - self.aside
        for tree in np.argsort(-forward):
            near, aside = forward[tree], right[tree]
            if 2 < near < 70 and abs(aside) < near + 4:
                draw_tree(image, near, aside, *self.landscape.trees[tree, 2:])


# A fir: the colour and the outline of its trunk and of the two parts of its crown, for a height of 1.
FIR = [
    (np.array(colour), np.array(outline))
    for colour, outline in (
        ((95, 70, 50), [(-0.04, 0), (0.04, 0), (0.03, 0.5), (-0.03, 0.5)]),
        ((38, 82, 44), [(-0.30, 0.2), (0.30, 0.2), (0, 0.7)]),
        ((52, 100, 52), [(-0.22, 0.45), (0.22, 0.45), (0, 1)]),
    )
]


def draw_tree(image, forward, right, height, shade):
    pixels = FOCAL / forward  # for a metre
    foot = np.array((WIDTH / 2 + right * pixels, HORIZON + EYE * pixels))
    larger = np.array((1, -1)) * height * pixels
    clear = 1 - min(max((forward - 15) / 70, 0), 0.7)
    for colour, outline in FIR:
        corners = ((foot + outline * larger) * 16).astype(np.int32)  # cv2 counts in sixteenths
        cv2.fillPoly(image, [corners], (colour * shade * clear + HAZE * (1 - clear)).tolist(), cv2.LINE_AA, 4)
