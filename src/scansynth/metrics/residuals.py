"""What is left of an image when its content is taken off: some hundred figures that faint traces of processing move.

A generator, a blur, another noise or another rounding change how neighbouring pixels differ long before they change
what an image shows. Steganalysis tells such traces by statistics of high-pass residuals (Fridrich and Kodovsky, IEEE
TIFS 7, 2012); here are their strengths, shapes and correlations, the spectrum by fineness, and the grey steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.metrics.appearance import radial_power

Floats = NDArray[np.float64]

_FAINTEST = 1e-7
"""Keeps the logarithm of a flat image finite."""

_STEPS = (255.0, 1023.0)
"""Grey scales of 8 and of 10 bits, in which an image may have been kept."""

_QUANTILES = (0.1, 0.5, 0.9)
_RINGS = 12


def residual_features(images: NDArray[Any]) -> Floats:
    """Figures of each image by itself.

    Args:
        images: (n, side, side) in [-1, 1], sides of 16 pixels at least.

    Returns:
        (n, d) float64, all finite.
    """
    x = np.asarray(images, dtype=np.float64)
    columns = [figure for residual in _residuals(x) for figure in _figures(residual)]
    return np.column_stack([*columns, *_rings(x), *(_on_steps(x, steps) for steps in _STEPS)])


def _rings(x: Floats) -> list[Floats]:
    """Logarithm of the power in twelve rings of the spectrum, (n,) each; none of images that are not square."""
    if x.shape[1] != x.shape[2]:
        return []
    spectrum = np.log(radial_power(x)[1] + _FAINTEST)
    return [part.mean(axis=1) for part in np.array_split(spectrum, min(_RINGS, spectrum.shape[1]), axis=1)]


def _residuals(x: Floats) -> list[Floats]:
    """First, second and third differences both ways, the diagonal one, a 3 x 3 and a 5 x 5 kernel, each (n, h, w)."""
    across, down = np.diff(x, axis=2), np.diff(x, axis=1)
    found = [across, down, np.diff(across, axis=2), np.diff(down, axis=1)]
    found += [np.diff(found[2], axis=2), np.diff(found[3], axis=1)]
    diagonal = np.diff(across, axis=1)
    square = np.diff(np.diff(diagonal, axis=1), axis=2)  # the kernel of 3 x 3 (1, -2, 1) both ways
    return [*found, diagonal, square, np.diff(np.diff(square, axis=1), axis=2)]


def _figures(residual: Floats) -> list[Floats]:
    """Strength at three quantiles, spread, tails, and the correlation with the next pixel both ways: (n,) each."""
    flat = np.abs(residual).reshape(len(residual), -1)
    strength = np.log(np.quantile(flat, _QUANTILES, axis=1) + _FAINTEST)
    power = np.mean(residual**2, axis=(1, 2)) + _FAINTEST**2
    spread = 0.5 * np.log(power)
    tails = np.log(flat.mean(axis=1) + _FAINTEST) - spread
    right = np.mean(residual[:, :, 1:] * residual[:, :, :-1], axis=(1, 2)) / power
    below = np.mean(residual[:, 1:] * residual[:, :-1], axis=(1, 2)) / power
    zero = np.mean(flat < _FAINTEST, axis=1)
    return [*strength, spread, tails, right, below, zero]


def _on_steps(x: Floats, steps: float) -> Floats:
    """How far the grey values stand from whole steps, 0 where all stand on them; even values give 0.25: (n, 2)."""
    place = (x + 1.0) / 2.0 * steps
    off = np.abs(place - np.round(place)).reshape(len(x), -1)
    return np.column_stack([off.mean(axis=1), np.mean(off < 0.02, axis=1)])
