"""Choosing among synthetic images: the more real-looking half, and no copy of a training image.

What is real-looking is judged against the tune patients by filters of their own seed: neither the generator's monitor
nor the audit that judges the set sees these features, and no test patient does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scansynth.data.tensors import to_signed
from scansynth.errors import CohortError
from scansynth.metrics.features import fit_scale, random_encoder
from scansynth.metrics.ncc import Flip
from scansynth.metrics.search import open_search

FILTER_SEED = 9176201
"""Seed of the filter's features; never that of a judge or a monitor."""

LEAST_TUNE = 20
_NEIGHBOURS = 5
_COPY = 0.99  # quantile of the tune images' likeness to their nearest training image

Images = NDArray[np.uint16]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """Which synthetic images stay.

    Attributes:
        places: Of the images kept, most real-looking first.
        copies: How many were left out as copies of training images.
        limit: Likeness above which an image counts as a copy.
    """

    places: NDArray[np.int64]
    copies: int
    limit: float


def realism(features: Floats, reference: Floats) -> Floats:
    """How well each row lies among the reference: 1 or more is within a reference image's neighbourhood.

    The largest ratio of a reference image's distance to its k-th neighbour and its distance to the row
    (Kynkaanniemi et al., NeurIPS 2019, arXiv:1904.06991, equation 3), over the half of the reference whose
    neighbourhoods are smaller, as there.

    Args:
        features: (n, d).
        reference: (m, d), m > k.
    """
    within = torch.cdist(torch.from_numpy(reference), torch.from_numpy(reference)).numpy()
    radius = np.sort(within, axis=1)[:, min(_NEIGHBOURS, len(reference) - 1)]
    small = radius <= np.median(radius)
    distance = torch.cdist(torch.from_numpy(features), torch.from_numpy(reference[small])).numpy()
    ratios: Floats = radius[small] / np.maximum(distance, 1e-12)
    best: Floats = ratios.max(axis=1)
    return best


def check_tune(images: int) -> None:
    """Passes when there are enough images of the tune patients to know what real ones look like.

    Args:
        images: With the label of the set.

    Raises:
        CohortError: There are too few.
    """
    if images < LEAST_TUNE:
        raise CohortError(
            f"the arm filtered needs {LEAST_TUNE} images of the tune patients with the set's label, and there are "
            f"{images}; add cases, or leave the arm out"
        )


def choose(synthetic: Images, keep: int, train: Images, tune: Images, flips: tuple[Flip, ...]) -> Choice:
    """The images that stay.

    Args:
        synthetic: All of them, (n, side, side).
        keep: How many are wanted.
        train: Training images of the same label: what must not be copied.
        tune: Images of the same label of the tune patients: what real images look like.
        flips: Mirror images in which a copy is looked for.

    Raises:
        CohortError: There are too few tune images.
    """
    check_tune(len(tune))
    search = open_search(train, flips)
    limit = search.threshold(tune, _COPY)
    copies = search.nearest(synthetic).score > limit
    encode = random_encoder(FILTER_SEED)
    scale = fit_scale(encode(to_signed(train)))
    score = realism(scale(encode(to_signed(synthetic))), scale(encode(to_signed(tune))))
    order = np.argsort(np.where(copies, -np.inf, score), kind="stable")[::-1]
    return Choice(order[: min(keep, len(synthetic) - int(copies.sum()))].astype(np.int64), int(copies.sum()), limit)


def nearest_of(synthetic: Images, train: Images, flips: tuple[Flip, ...]) -> NDArray[np.int64]:
    """For each synthetic image the place of the training image nearest to it, (n,)."""
    return open_search(train, flips).nearest(synthetic).index
