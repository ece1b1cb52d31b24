"""The painter: what a camera sees of a road, as a picture."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from .camera import Camera, Ground
from .cars import Car, draw_car
from .noise import fractal, sample, smoothstep
from .road import View
from .trees import draw_trees
from .weather import SUNNY, Colour, Weather

GRASS: Colour = (0.36, 0.43, 0.17)
HAY: Colour = (0.58, 0.54, 0.28)
GRAVEL: Colour = (0.55, 0.51, 0.45)
ASPHALT: Colour = (0.41, 0.41, 0.42)
FAR_HILLS: Colour = (0.50, 0.60, 0.70)
HILLS: Colour = (0.30, 0.42, 0.33)


def paint(
    view: View,
    camera: Camera,
    weather: Weather = SUNNY,
    cars: Sequence[tuple[Car, float, float]] = (),
    seed: int = 0,
) -> np.ndarray:
    """The picture (height, width, 3); `cars` are (car, metres along, metres right of the left lane)."""
    sky, land = _sky(view, camera, weather), _land(view, camera.ground, weather)
    picture = sky
    below = camera.rays[camera.ground.top :, :, 1:2] < 0
    picture[camera.ground.top :] = np.where(below, land, picture[camera.ground.top :])
    picture = np.clip(picture * (255 * np.array(weather.light, np.float32)), 0, 255).astype(np.uint8)
    draw_trees(picture, view, camera, weather)
    for car, along, right in sorted(cars, key=lambda placed: -placed[1]):
        draw_car(picture, car, view, camera, along=along, right=right, light=weather.light)
    return _develop(picture, weather.grain, seed)


def _sky(view: View, camera: Camera, weather: Weather) -> np.ndarray:
    """Gradient, clouds and hills, so soft that every other pixel is enough; black far below the horizon."""
    rows = camera.ground.top + 60
    x, y, z = (np.ascontiguousarray(part) for part in np.moveaxis(camera.rays[:rows:2, ::2], -1, 0))
    up = np.maximum(y, 1e-3)
    colour = _mix(weather.horizon, weather.zenith, smoothstep(up, -0.05, 0.45))

    cos, sin = np.cos(view.bearing), np.sin(view.bearing)
    east, north = (x * cos + z * sin) / (up + 0.08), (z * cos - x * sin) / (up + 0.08)
    billow = sample(_texture(1.7), 60 * east, 60 * north) + 0.35 * sample(
        _texture(1.2), 200 * east, 200 * north
    )
    cover = smoothstep(billow, 1.6 - 2.4 * weather.clouds, 3.2 - 2.4 * weather.clouds)
    colour = _mix(colour, (0.97, 0.97, 0.98), 0.85 * cover * smoothstep(up, 0.0, 0.12))

    azimuth = np.arctan2(x, z) + view.bearing
    for tint, lift, height, row in ((FAR_HILLS, 0.030, 0.012, 0), (HILLS, 0.012, 0.006, 99)):
        ridge = lift + height * sample(_texture(1.5), 90 * azimuth, np.full_like(azimuth, row))
        hazy = _mix(tint, weather.horizon, np.float32(0.35))
        colour = _mix(colour, hazy, np.clip((ridge - y) * camera.focal[0] / 2 + 0.5, 0, 1))
    picture = np.zeros((camera.height, camera.width, 3), np.float32)
    picture[:rows] = cv2.resize(colour, (camera.width, rows), interpolation=cv2.INTER_LINEAR)
    return picture


def _land(view: View, ground: Ground, weather: Weather) -> np.ndarray:
    """Grass, gravel, asphalt, lines and shadows, each as sharp as the pixels' footprints let it be."""
    along, right = view.locate(ground.x, ground.z)
    blur = np.sqrt(ground.across * ground.along)
    coarse = sample(_texture(1.0), right / 0.5, along / 0.5) * _detail(1.5, blur)
    fine = sample(_texture(0.6), right / 0.03, along / 0.03) * _detail(0.05, blur)
    patches = sample(_texture(1.6), right / 0.2, along / 0.8)

    road = view.road
    middle, half = (road.left + road.right) / 2, (road.right - road.left) / 2
    colour = _mix(GRASS, HAY, smoothstep(patches + 0.5 * coarse, -1.0, 3.0))
    colour *= (1 + 0.16 * coarse + 0.16 * fine)[..., None]
    colour = _mix(colour, GRAVEL, _overlap(right - middle, half + 1.7 + 0.15 * coarse, ground.across))

    tyres = np.cos((right - 0.5 * 3.7) * (4 * np.pi / 3.7))  # two tracks in each lane, worn smooth and dark
    asphalt = (
        np.array(ASPHALT, np.float32)
        * (1 + 0.03 * patches + 0.04 * coarse + 0.10 * fine - 0.03 * tyres)[..., None]
    )
    colour = _mix(colour, asphalt, _overlap(right - middle, half + 0.7, ground.across))
    for line in road.lines:
        paint = _overlap(right - line.right, line.width / 2, ground.across)
        if line.dash:
            place = (along + line.period / 2) % line.period - line.period / 2
            paint = paint * _overlap(place, line.dash / 2, np.minimum(ground.along, line.period))
        colour = _mix(colour, line.colour, paint * np.clip(0.86 - 0.12 * coarse - 0.12 * fine, 0, 1))

    shade = sample(road.shade, 10 * (right + 30), 10 * along)
    colour *= (1 - weather.shadow * shade * _detail(3.0, blur))[..., None]
    return _mix(colour, weather.horizon, 1 - np.exp(-ground.z / weather.haze))


def _develop(picture: np.ndarray, grain: float, seed: int) -> np.ndarray:
    """What lens and sensor add: darker corners, and noise."""
    height, width = picture.shape[:2]
    rng = np.random.default_rng(seed)
    noise = np.roll(_grain(height, width), int(rng.integers(height * width)))
    developed = picture * _vignette(height, width)[..., None] + grain * noise.reshape(height, width, 3)
    return np.clip(developed, 0, 255).astype(np.uint8)


def _mix(colour: np.ndarray | Colour, other: np.ndarray | Colour, part: np.ndarray) -> np.ndarray:
    colour, other = np.asarray(colour, np.float32), np.asarray(other, np.float32)
    mixed = (other - colour) * part[..., None]
    mixed += colour
    return mixed


def _overlap(distance: np.ndarray, half: np.ndarray | float, footprint: np.ndarray) -> np.ndarray:
    """Which part of a pixel `footprint` wide lies within `half` of a line's middle."""
    shared = np.minimum(distance + footprint / 2, half) - np.maximum(distance - footprint / 2, -half)
    return np.clip(shared / footprint, 0, 1)


def _detail(size: float, blur: np.ndarray) -> np.ndarray:
    """What is left of a texture whose grains have `size` metres, where a pixel covers `blur`."""
    return 1 / (1 + (blur / size) ** 2)


@cache
def _texture(roughness: float) -> np.ndarray:
    return fractal(512, roughness, seed=int(100 * roughness))


@cache
def _vignette(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1 - 0.10 * (x**2 + y**2)).astype(np.float32)


@cache
def _grain(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((height, width, 3), np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 0.6).reshape(-1) * 1.6
