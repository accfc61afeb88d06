"""Images with text in their pixels, and without."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def anatomy(size: int, seed: int = 0) -> np.ndarray:
    """Bright ellipses with texture in noisy darkness, float32 (size, size), 0 to 1000 or so."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    body = _soft((rows / 0.33) ** 2 + (columns / 0.3) ** 2)
    tissue = 400 + 150 * np.sin(12 * rows) + draw.normal(0, 5, (size, size))
    image = draw.normal(0, 8, (size, size)) ** 2 / 10 + body * tissue
    for row, column in ((-0.05, -0.13), (-0.05, 0.13)):
        image *= 1 - 0.8 * _soft(((rows - row) / 0.18) ** 2 + ((columns - column) / 0.09) ** 2)
    return np.asarray(image, np.float32)


def _soft(distance: np.ndarray) -> np.ndarray:
    """1 within, 0 without, and a soft edge between."""
    return np.asarray(np.clip(3 * (1 - distance), 0, 1))


def with_text(image: np.ndarray, text: str, corner: tuple[int, int], height: int, level: float = 1.0) -> np.ndarray:
    """The image with text in it, from `corner` (row, column) on, at a share of the image's range."""
    layer = Image.new("L", (image.shape[1], image.shape[0]), 0)
    ImageDraw.Draw(layer).text((corner[1], corner[0]), text, fill=255, font=ImageFont.load_default(height))
    share = np.asarray(layer, np.float32) / 255.0
    low, high = float(image.min()), float(image.max())
    return np.asarray(image * (1 - share) + share * (low + level * (high - low)), np.float32)
