"""Similarity of an image to its nearest training image: several scores on one scale.

The scores find different kinds of copies: aligned correlation in the middle band of detail (Lewis 1995), plain
correlation of the pixels, and the cosine of two embeddings that were learned, on the training images, to be the same
for an image and its changed copies (`metrics/embedding.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import Images
from scansynth.audit.encoders import Encoder
from scansynth.console import Progress, silent
from scansynth.metrics.ncc import Flip, Nearest, average, nearest_direction
from scansynth.metrics.search import Search, open_search

Floats = NDArray[np.float64]

ALIGNED = "aligned correlation"
PLAIN = "plain correlation"
LEARNED = "learned similarity"

_ALMOST_ONE = 1.0 - 1e-6  # where float32 cannot distinguish a score from 1
_FLAT = 1e-6  # grey range of a constant image
_LEAST_SPREAD = 1e-3  # after Fisher's transform; scores that are all the same have none


@dataclass(frozen=True)
class Likeness:
    """Result of each score for n images.

    Attributes:
        names: Of the k scores.
        found: Nearest training image by each score; the learned one knows no shift and no mirroring.
    """

    names: tuple[str, ...]
    found: tuple[Nearest, ...]

    @property
    def scores(self) -> Floats:
        """Each score of each image, -1..1, (k, n)."""
        return np.stack([nearest_one.score for nearest_one in self.found])


@dataclass(frozen=True)
class Likenesses:
    """Training images made ready to be searched by every score.

    Attributes:
        bands: By their middle band of detail, moved and mirrored.
        pixels: By their pixels, mirrored.
        directions: Their embeddings (t, e), where there is an encoder.
        embed: Images to unit vectors, or none.
    """

    bands: Search
    pixels: Search
    directions: Floats | None
    embed: Encoder | None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scores."""
        return (ALIGNED, PLAIN) if self.directions is None else (ALIGNED, PLAIN, LEARNED)

    def nearest(self, images: Images, progress: Progress = silent) -> Likeness:
        """Each image (n, side, side) in [-1, 1] against every training image."""
        found = [self.bands.nearest(images, progress), self.pixels.nearest(images)]
        if self.embed is not None and self.directions is not None:
            score, index = nearest_direction(self.embed(images), self.directions)
            # a constant image resembles nobody, whatever the encoder gives
            found.append(_unmoved(np.where(np.ptp(images, axis=(1, 2)) < _FLAT, 0.0, score), index))
        return Likeness(self.names, tuple(found))

    def paired(self, images: Images, places: NDArray[np.int64]) -> Floats:
        """Scores of each image with one training image (k, n), for copies whose original is known."""
        scores = [search.paired(images, places).score for search in (self.bands, self.pixels)]
        if self.embed is not None and self.directions is not None:
            scores.append((self.embed(images) * self.directions[places]).sum(axis=1))
        return np.stack(scores)

    def mirrored(self, image: Images, place: int) -> Flip:
        """Which mirroring of an image (side, side) best matches one training image."""
        return self.bands.paired(image[None], np.array([place])).flip[0]


def open_likenesses(
    train: Images, flips: Sequence[Flip], embed: Encoder | None = None, device: str = "cpu"
) -> Likenesses:
    """Makes training images (t, side, side) ready."""
    bands = open_search(train, flips, device=device)
    pixels = open_search(train, flips, average, radius=0, step=1, device=device)
    return Likenesses(bands, pixels, None if embed is None else embed(train), embed)


def _unmoved(score: Floats, index: NDArray[np.int64]) -> Nearest:
    return Nearest(score, index, np.zeros((len(score), 2), dtype=np.int64), (Flip.NONE,) * len(score))


@dataclass(frozen=True)
class Scale:
    """Brings k scores to one scale, on which chance has the median 0 and the 90% quantile 1.

    Each score is first straightened by Fisher's z = atanh(score) (Biometrika 10, 1915): near 1, where copies lie,
    equal steps of z are equal factors of 1 - score.

    Attributes:
        middle: Median of z by chance (k,).
        spread: 90% quantile less median (k,).
    """

    middle: Floats
    spread: Floats

    def joint(self, scores: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """The largest of the k scores on the common scale, and which it was: (k, n) to (n,) each."""
        standard = (_straight(scores) - self.middle[:, None]) / self.spread[:, None]
        return standard.max(axis=0), standard.argmax(axis=0)


def fit_scale(scores: Floats) -> Scale:
    """The scale on which chance scores (k, n) are comparable."""
    ordered = np.sort(_straight(scores), axis=1)
    last = ordered.shape[1] - 1
    middle, high = ordered[:, round(0.5 * last)], ordered[:, round(0.9 * last)]
    return Scale(middle, np.maximum(high - middle, _LEAST_SPREAD))


def _straight(scores: Floats) -> Floats:
    return np.asarray(np.arctanh(np.clip(scores, -_ALMOST_ONE, _ALMOST_ONE)), dtype=np.float64)
