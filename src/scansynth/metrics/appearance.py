"""How images look as a whole, as curves: power by frequency, and grey levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CHUNK = 256
"""Images transformed at a time: memory stays linear in this, not in the set."""


def radial_power(images: NDArray[Any]) -> tuple[Floats, Floats]:
    """Power of each image by spatial frequency, averaged over all directions.

    The azimuthal mean of the squared discrete Fourier transform (Durall et al., CVPR 2020, arXiv:2003.01826), which
    shows what upsampling leaves behind. Each image loses its mean and is weighted by a Hann window (Harris, Proc. IEEE
    66, 1978), or its borders, which do not fit together, would pass for fine detail. Power is divided by the window's,
    so that independent noise has its variance at every frequency.

    Args:
        images: (n, side, side); side >= 4.

    Returns:
        Frequencies in cycles per pixel, the middle of rings of 1/side from one ring out to 0.5, (b,); and the power in
        each, (n, b).

    Raises:
        ValueError: The images are not square, or smaller than 4 pixels.
    """
    side = images.shape[1]
    if images.ndim != 3 or images.shape[2] != side or side < 4:
        raise ValueError(f"need square images of 4 pixels a side at least, not {images.shape}")
    window = np.hanning(side + 2)[1:-1]
    weights = np.outer(window, window)
    steps = np.fft.fftfreq(side) * side
    columns = steps[: side // 2 + 1]
    ring = np.rint(np.hypot(steps[:, None], np.abs(columns)[None, :])).astype(np.int64)
    # the half plane holds every frequency twice, but for the columns that mirror themselves
    doubled = np.where((columns == 0) | (np.abs(columns) * 2 == side), 1.0, 2.0)
    counted = np.broadcast_to(doubled, ring.shape)
    rings = side // 2
    kept = (ring >= 1) & (ring <= rings)
    sums = np.zeros((int(kept.sum()), rings))
    sums[np.arange(len(sums)), ring[kept] - 1] = counted[kept]
    sums /= sums.sum(axis=0)
    power = np.zeros((len(images), rings))
    for start in range(0, len(images), _CHUNK):
        part = np.asarray(images[start : start + _CHUNK], dtype=np.float64)
        part = (part - part.mean(axis=(1, 2), keepdims=True)) * weights
        spectrum = np.abs(np.fft.rfft2(part)) ** 2 / float(np.sum(weights**2))
        power[start : start + _CHUNK] = spectrum[:, kept] @ sums
    return np.arange(1, rings + 1) / side, power


def grey_shares(images: NDArray[Any], bins: int, low: float = -1.0, high: float = 1.0) -> tuple[Floats, Floats]:
    """Share of each image's pixels by grey level; values beyond the ends count in the last bins.

    Args:
        images: (n, height, width).
        bins: Number of even bins.
        low: Lower end.
        high: Upper end.

    Returns:
        Middles of the bins (bins,), and shares that add up to 1, (n, bins).
    """
    edges = np.linspace(low, high, bins + 1)
    shares = np.zeros((len(images), bins))
    for place, image in enumerate(images):
        level = ((np.asarray(image, dtype=np.float64).ravel() - low) * (bins / (high - low))).astype(np.int64)
        shares[place] = np.bincount(level.clip(0, bins - 1), minlength=bins) / level.size
    middles: Floats = (edges[:-1] + edges[1:]) / 2.0
    return middles, shares
