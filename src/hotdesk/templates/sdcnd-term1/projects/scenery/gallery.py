"""Pictures small enough to show on a page."""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

GALLERY = Path("output/gallery")
LARGEST = 200_000  # bytes


def keep(picture: np.ndarray | Figure, name: str, width: int = 960) -> Path:
    """Write a picture or figure to the gallery as a PNG with a palette, shrunk until it fits into 200 KB."""
    if isinstance(picture, Figure):
        drawn = BytesIO()
        picture.savefig(drawn, dpi=110, bbox_inches="tight", facecolor="white")
        image = Image.open(drawn).convert("RGB")
    else:
        image = Image.fromarray(picture)
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    GALLERY.mkdir(parents=True, exist_ok=True)
    path = GALLERY / f"{name}.png"
    while True:
        image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            return path
        image = image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.LANCZOS)
