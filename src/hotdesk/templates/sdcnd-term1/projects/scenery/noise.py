"""Noise that looks like nature: asphalt, grass, clouds, hills."""

import cv2
import numpy as np


def fractal(size: int, roughness: float, seed: int) -> np.ndarray:
    """A square of noise, mean 0 and deviation 1, whose edges meet; the higher `roughness`, the smoother."""
    white = np.random.default_rng(seed).standard_normal((size, size))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(white) / frequency**roughness, s=(size, size))
    return (noise / noise.std()).astype(np.float32)


def sample(texture: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The texture's values at any places, as if it were laid again and again in both directions."""
    height, width = texture.shape
    column = (column - width * np.floor(column / width)).astype(np.float32)
    row = (row - height * np.floor(row / height)).astype(np.float32)
    return cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """From 0 at `low` to 1 at `high`, without a corner."""
    value = np.clip((value - low) / (high - low), 0, 1)
    return value * value * (3 - 2 * value)
