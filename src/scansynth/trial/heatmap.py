"""Lesions as points of a map: targets, loss, and peaks.

The loss is that of CenterNet (Zhou et al., Objects as Points, 2019, arXiv:1904.07850, equation 1) on Gaussian blobs
at the lesions' centres. A positive image whose lesions are not outlined teaches by its highest point alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

_SHARPNESS, _FAR = 2.0, 4.0  # alpha and beta of equation 1
_SHARE = 1.0 / 3.0  # of a lesion's radius: standard deviation of its blob
_LEAST_SPREAD = 0.8  # pixels of the map
_WINDOW = 5  # pixels: a peak is the highest of so many each way
_MOST = 16  # candidates of an image
_LEAST_SCORE = 1e-3
_BLOB = 0.3  # a blob's top after a turn; what is lower is its slope


@dataclass(frozen=True)
class Lesion:
    """One connected lesion of a mask: its centre and radius in pixels of the image."""

    row: float
    column: float
    radius: float


@dataclass(frozen=True)
class Candidate:
    """One peak of a map: its place in pixels of the image, and its score in (0, 1)."""

    row: float
    column: float
    score: float


def find_lesions(mask: NDArray[np.uint8]) -> tuple[Lesion, ...]:
    """Connected parts of a mask (rows, columns), touching corners included, in reading order.

    The radius is that of a circle of the same area.
    """
    parts, count = ndimage.label(mask > 0, structure=np.ones((3, 3)))
    found = []
    for part in range(1, count + 1):
        rows, columns = np.nonzero(parts == part)
        found.append(Lesion(float(rows.mean()), float(columns.mean()), float(np.sqrt(len(rows) / np.pi))))
    return tuple(found)


def draw_target(mask: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """A blob of height 1 at each lesion's centre; where blobs meet, the higher counts.

    Args:
        mask: (side, side), 0 or 1.
        factor: How many pixels of the image make one of the map, each way.

    Returns:
        (side / factor, side / factor) in [0, 1].
    """
    side = mask.shape[0] // factor
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    target = np.zeros((side, side), np.float32)
    for lesion in find_lesions(mask):
        row, column = (min(round((place + 0.5) / factor - 0.5), side - 1) for place in (lesion.row, lesion.column))
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
    found = []
    for one in peaks.cpu().numpy():
        order = np.argsort(-one, axis=None, kind="stable")[:_MOST]
        taken = [(int(place // one.shape[1]), int(place % one.shape[1])) for place in order]
        candidates = [
            Candidate((row + 0.5) * factor - 0.5, (column + 0.5) * factor - 0.5, float(one[row, column]))
            for row, column in taken
            if one[row, column] > 0.0
        ]
        # a whole plateau is one place to the eye: no other peak stands within the window of a higher one
        apart: list[Candidate] = []
        for candidate in candidates:
            near = any(
                max(abs(candidate.row - other.row), abs(candidate.column - other.column)) <= _WINDOW // 2 * factor
                for other in apart
            )
            if not near and (candidate.score >= _LEAST_SCORE or not apart):
                apart.append(candidate)
        found.append(tuple(apart))
    return found
