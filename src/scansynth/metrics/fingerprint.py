"""Knowing an image again after it was compressed, resized or cropped: fine structure, correlated at every place.

An image is brought to `SIDE` pixels, without what varies slowly and without the finest noise; a query is laid over it
at every size from 78% to all of it and at every place (normalised cross-correlation, Lewis 1995). Grey levels may be
stretched and shifted; mirrored and turned images are not looked for.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

SIDE = 48
SMALLEST = 0.78
"""Least share of an image's side that a query may show."""

_SLOW, _FINE = 3.0, 0.6  # standard deviations, pixels, of what is taken off at both ends
_RIM = 3  # pixels at the border of a query that its filters could not know
_STEPS = 24.0  # levels a standard deviation
_AGAIN = 3  # fingerprints that are looked at between the pixels

Floats = NDArray[np.float32]
Prints = NDArray[np.int8]


def fingerprint(image: NDArray[Any]) -> Prints:
    """The fingerprint of one image (rows, columns) of any size, int8 (SIDE, SIDE)."""
    found = _structure(image, (SIDE, SIDE))
    spread = max(float(found.std()), 1e-12)
    levels: Prints = np.clip(np.rint(found / spread * _STEPS), -127, 127).astype(np.int8)
    return levels


def likeness(image: NDArray[Any], prints: Prints, aspect: float) -> Floats:
    """How well an image lies on each fingerprint, (n,), at most 1: the best place and size.

    The likeliest few are looked at again between the pixels.

    Args:
        image: The query (rows, columns).
        prints: Fingerprints (n, SIDE, SIDE).
        aspect: Rows over columns of the images behind them.
    """
    best = np.full(len(prints), -1.0, np.float32)
    where = np.zeros((len(prints), 4), np.int64)
    values = prints.astype(np.float32)
    spectrum = fft.rfft2(values)
    sums, squares = _integral(values), _integral(values**2)
    ratio = image.shape[1] / image.shape[0] * aspect  # of the shares of columns and rows that the query shows
    sizes = {
        (round(share * min(1.0, 1.0 / ratio)), round(share * min(1.0, ratio)))
        for share in range(round(SIDE * SMALLEST), SIDE + 1)
    }
    for rows, columns in sorted(sizes):
        if min(rows, columns) >= SIDE * SMALLEST - 1:
            found, corner = _correlated(_part(image, rows, columns), spectrum, sums, squares)
            better = found > best
            best[better] = found[better]
            where[better] = np.column_stack([np.tile((rows, columns), (len(prints), 1)), corner])[better]
    for place in np.argsort(best)[::-1][:_AGAIN]:
        if best[place] > 0.0:
            best[place] = max(best[place], _between_pixels(image, values[place], tuple(where[place])))
    return best


def _part(image: NDArray[Any], rows: int, columns: int) -> Floats:
    """The query at a size, without its rim."""
    return _structure(image, (rows, columns))[_RIM:-_RIM, _RIM:-_RIM]


def _between_pixels(image: NDArray[Any], values: Floats, where: tuple[int, ...]) -> float:
    """The best correlation near a place and a size, by halving steps of place (pixels) and size (shares)."""
    rows, columns, top, left = where
    part = _part(image, rows, columns)
    part = part - part.mean()
    part /= max(float(np.sqrt((part**2).sum())), 1e-12)
    curve = spline_filter(values.astype(np.float64))
    down, across = (np.arange(_RIM, side - _RIM) - (side - 1) / 2.0 for side in (rows, columns))

    def at(y: float, x: float, size: float) -> float:
        grid = np.meshgrid(
            top - _RIM + (rows - 1) / 2.0 + y + down * size,
            left - _RIM + (columns - 1) / 2.0 + x + across * size,
            indexing="ij",
        )
        seen = map_coordinates(curve, grid, order=3, mode="nearest", prefilter=False)
        seen -= seen.mean()
        return float((seen * part).sum() / max(float(np.sqrt((seen**2).sum())), 1e-12))

    best, found = (0.0, 0.0, 1.0), at(0.0, 0.0, 1.0)
    for step, share in ((0.5, 0.02), (0.25, 0.01), (0.125, 0.005)):
        middle = best
        for y, x, size in itertools.product((-step, 0.0, step), (-step, 0.0, step), (-share, 0.0, share)):
            tried = (middle[0] + y, middle[1] + x, middle[2] + size)
            value = at(*tried)
            if value > found:
                best, found = tried, value
    return found


def _structure(image: NDArray[Any], shape: tuple[int, int]) -> Floats:
    """What an image has between slow and fine, at a size; resized by areas, so that nothing aliases."""
    picture = Image.fromarray(np.ascontiguousarray(image, np.float32), mode="F")
    small = np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.LANCZOS), np.float32)
    made: Floats = gaussian_filter(small, _FINE) - gaussian_filter(small, _SLOW)
    return made


def _integral(values: Floats) -> NDArray[np.float64]:
    """Sums over all rectangles from the first corner, with a row and a column of 0 before."""
    return np.pad(values.astype(np.float64).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))


def _correlated(
    part: Floats, spectrum: NDArray[Any], sums: NDArray[np.float64], squares: NDArray[np.float64]
) -> tuple[Floats, NDArray[np.int64]]:
    """The best correlation of a part with each fingerprint over all places, (n,), and its first row and column."""
    rows, columns = part.shape
    centred = part - part.mean()
    length = float(np.sqrt((centred**2).sum()))
    if length < 1e-12:
        return np.full(len(spectrum), -1.0, np.float32), np.zeros((len(spectrum), 2), np.int64)
    places = (slice(None), slice(0, SIDE - rows + 1), slice(0, SIDE - columns + 1))
    products = fft.irfft2(spectrum * np.conj(fft.rfft2(centred, (SIDE, SIDE))), (SIDE, SIDE))[places]
    within = [
        table[:, rows:, columns:]
        - table[:, :-rows, columns:]
        - table[:, rows:, :-columns]
        + table[:, :-rows, :-columns]
        for table in (sums, squares)
    ]
    spread = np.sqrt(np.maximum(within[1] - within[0] ** 2 / (rows * columns), 1e-6))
    found = (products / (spread * length)).reshape(len(spectrum), -1)
    corner = np.column_stack(np.divmod(found.argmax(1), SIDE - columns + 1))
    best: Floats = found.max(1).astype(np.float32)
    return best, corner
