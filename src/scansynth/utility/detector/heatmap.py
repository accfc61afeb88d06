"""Lesions as points of a map: targets, loss, and peaks.

The loss is that of CenterNet (Zhou et al., Objects as Points, 2019, arXiv:1904.07850, equation 1) on Gaussian blobs
at the lesions' centres. A positive image whose lesions are not outlined teaches by its highest point alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scansynth.metrics.lesions import find_lesions

_SHARPNESS, _FAR = 2.0, 4.0  # alpha and beta of equation 1
_SHARE = 1.0 / 3.0  # of a lesion's radius: standard deviation of its blob
_LEAST_SPREAD = 0.8  # pixels of the map
_WINDOW = 5  # pixels: a peak is the highest of so many each way
_MOST = 16  # candidates of an image
_LEAST_SCORE = 1e-3
_BLOB = 0.3  # a blob's top after a turn; what is lower is its slope


@dataclass(frozen=True)
class Candidate:
    """One peak of a map: its place in pixels of the image, and its score in (0, 1)."""

    row: float
    column: float
    score: float


def draw_target(mask: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """A blob of height 1 at each lesion's centre; where blobs meet, the higher counts.

    Args:
        mask: (rows, columns), 0 or 1.
        factor: How many pixels of the image make one of the map, each way.

    Returns:
        (rows / factor, columns / factor) in [0, 1].
    """
    height, width = (side // factor for side in mask.shape)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    target = np.zeros((height, width), np.float32)
    for lesion in find_lesions(mask):
        row = min(round((lesion.row + 0.5) / factor - 0.5), height - 1)
        column = min(round((lesion.column + 0.5) / factor - 0.5), width - 1)
        spread = max(lesion.radius / factor * _SHARE, _LEAST_SPREAD)
        blob = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2.0 * spread**2))
        np.maximum(target, blob, out=target)
    return target


def map_loss(places: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Penalty-reduced focal loss (equation 1 there), a sum over pixels for each lesion of the batch.

    Args:
        places: Logits (n, h, w), float32.
        targets: (n, h, w) in [0, 1]; highest at a lesion's centre.
        known: (n,) whether the lesions of an image are outlined, or it has none; others do not count.
    """
    hit, miss = functional.logsigmoid(places), functional.logsigmoid(-places)
    chance = torch.sigmoid(places)
    # a blob that was turned with its image is no longer 1 at its centre: the highest pixel of it is the centre
    highest = functional.max_pool2d(targets[:, None], 3, stride=1, padding=1)[:, 0]
    centre = ((targets >= highest) & (targets > _BLOB)).to(places.dtype)
    of_centres = centre * (1.0 - chance) ** _SHARPNESS * hit
    of_others = (1.0 - centre) * (1.0 - targets) ** _FAR * chance**_SHARPNESS * miss
    counted = known.to(places.dtype)[:, None, None]
    return -((of_centres + of_others) * counted).sum() / (centre * counted).sum().clamp(min=1.0)


def find_peaks(places: Tensor, factor: int) -> list[tuple[Candidate, ...]]:
    """The peaks of each map, highest first; the first one's score is the image's.

    Args:
        places: Logits (n, h, w).
        factor: How many pixels of the image make one of the map, each way.
    """
    highest = functional.max_pool2d(places[:, None], _WINDOW, stride=1, padding=_WINDOW // 2)[:, 0]
    scores = torch.sigmoid(places.double())
    peaks = torch.where((places >= highest), scores, torch.zeros_like(scores))
    every, of_peaks = scores.cpu().numpy(), peaks.cpu().numpy()
    return [
        tuple(Candidate(*_middle(one, row, column, factor), float(one[row, column])) for row, column in _apart(of_peak))
        for one, of_peak in zip(every, of_peaks, strict=True)
    ]


def _apart(peaks: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Rows and columns of the highest peaks of one map, none within the window of a higher one: a plateau is one place.

    Args:
        peaks: Scores at the peaks, 0 elsewhere (h, w).
    """
    apart: list[tuple[int, int]] = []
    for place in np.argsort(-peaks, axis=None, kind="stable")[: 4 * _MOST]:
        row, column = divmod(int(place), peaks.shape[1])
        score = peaks[row, column]
        if score <= 0.0 or (apart and score < _LEAST_SCORE) or len(apart) == _MOST:
            break
        if all(max(abs(row - other[0]), abs(column - other[1])) > _WINDOW // 2 for other in apart):
            apart.append((row, column))
    return apart


def _middle(scores: NDArray[np.float64], row: int, column: int, factor: int) -> tuple[float, float]:
    """A peak's place in pixels of the image: the middle of the scores around it, finer than a pixel of the map."""
    rows = slice(max(0, row - 1), row + 2)
    columns = slice(max(0, column - 1), column + 2)
    around = scores[rows, columns]
    total = float(around.sum())
    if total <= 0.0:
        return (row + 0.5) * factor - 0.5, (column + 0.5) * factor - 0.5
    down, across = (
        np.arange(rows.start, rows.start + around.shape[0]),
        np.arange(columns.start, columns.start + around.shape[1]),
    )
    at = (float((around.sum(axis=1) * down).sum()) / total, float((around.sum(axis=0) * across).sum()) / total)
    return (at[0] + 0.5) * factor - 0.5, (at[1] + 0.5) * factor - 0.5
