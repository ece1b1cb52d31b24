"""Photographs of traffic signs by a poor camera.

`photograph(sign, rng)` shows a drawn sign as a car sees it: small, crooked, badly lit, out of focus, noisy.
`take_photographs(counts, seed)` gives a data set of them.
"""

import math

import cv2
import numpy as np
from signs import SIDE, SIGNS, draw_sign

cv2.setNumThreads(1)  # for pictures as small as these, sharing the work takes longer than doing it

PHOTOGRAPH = 32  # pixels across a photograph


def roadside(rng, side):
    """What may be behind a sign: soft patches of the colours of sky, leaves, walls and asphalt."""
    colours = np.array([(170, 195, 225), (60, 95, 50), (140, 115, 95), (105, 105, 110)])
    patches = colours[rng.integers(len(colours), size=(4, 4))] + rng.normal(0, 15, (4, 4, 3))
    return cv2.resize(patches.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)


def place(sign, rng, side, variety):
    """Hangs the sign crooked: turned, shifted, nearer or farther, seen from aside."""
    angle = math.radians(rng.normal(0, 7) * variety)
    radius = side / 2 * (0.80 + rng.uniform(-0.14, 0.12) * variety)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) @ turn.T * radius
    corners *= 1 - rng.uniform((0, 0), (0.15, 0.05)) * variety  # aside: narrower
    corners += side / 2 + (rng.normal(0, side / 28, 2) + rng.normal(0, side / 50, (4, 2))) * variety
    whole = np.array([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)], np.float32)
    return cv2.warpPerspective(
        sign, cv2.getPerspectiveTransform(whole, corners.astype(np.float32)), (side, side)
    ).astype(np.float32)


def light(image, rng, variety):
    """Dusk or glare, a colour cast, and at times a shadow across the picture."""
    image = image * np.exp(rng.uniform(-1.0, 0.3) * variety) * rng.normal(1, 0.05, 3)
    if rng.random() < 0.3 * variety:
        y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
        angle = rng.uniform(0, 2 * math.pi)
        dark = x * math.cos(angle) + y * math.sin(angle) > rng.uniform(-0.4, 0.4)
        image = image * np.where(dark, rng.uniform(0.4, 0.8), 1)[..., None]
    return image + rng.uniform(0, 30)  # haze


def photograph(sign, rng, variety=1.0):
    """A small picture of a drawn sign, of PHOTOGRAPH x PHOTOGRAPH x 3 bytes.

    `variety` says how much pictures differ: 0 is a calm noon with the sign straight ahead, 1 all weathers.
    """
    side = 2 * PHOTOGRAPH
    placed = place(sign, rng, side, variety)
    cover = placed[..., 3:] / 255
    scene = light(placed[..., :3] * cover + roadside(rng, side) * (1 - cover), rng, variety)
    scene = cv2.GaussianBlur(scene.astype(np.float32), (0, 0), 0.3 + rng.uniform(0, 1.8) * variety)
    small = cv2.resize(scene, (PHOTOGRAPH, PHOTOGRAPH), interpolation=cv2.INTER_AREA)
    small += rng.normal(0, 1 + rng.uniform(0, 7) * variety, small.shape)
    return np.clip(small, 0, 255).astype(np.uint8)


def take_photographs(counts, seed, variety=1.0):
    """`counts[number]` photographs of each sign: the pictures and the signs' numbers, shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(SIGNS)), counts))
    return np.stack([photograph(draw_sign(label), rng, variety) for label in labels]), labels
