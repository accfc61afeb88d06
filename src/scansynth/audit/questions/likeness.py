"""How alike an image is to its nearest training image: several scores, brought to one scale.

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
from scansynth.metrics.ncc import Flip, Nearest, aligned, average, nearest, nearest_direction, prepare

Floats = NDArray[np.float64]

ALIGNED = "aligned correlation"
PLAIN = "plain correlation"
LEARNED = "learned likeness"

_ALMOST_ONE = 1.0 - 1e-6  # where float32 cannot tell a score from 1
_FLAT = 1e-6  # grey range of an image of one grey value
_LEAST_SPREAD = 1e-3  # after Fisher's transform; scores that are all the same have none


@dataclass(frozen=True)
class Likeness:
    """What each score found for n images.

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
class Search:
    """Training images made ready to be searched.

    Attributes:
        bands: Their middle band of detail (t, side, side).
        pixels: The images at the same size (t, side, side).
        directions: Their embeddings (t, e), where there is an encoder.
        flips: Mirror images that are looked for.
        embed: Images to unit vectors, or none.
        device: Where the correlations are computed.
    """

    bands: Images
    pixels: Images
    directions: Floats | None
    flips: tuple[Flip, ...]
    embed: Encoder | None
    device: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scores."""
        return (ALIGNED, PLAIN) if self.directions is None else (ALIGNED, PLAIN, LEARNED)

    def nearest(self, images: Images, progress: Progress = silent) -> Likeness:
        """Each image (n, side, side) in [-1, 1] against every training image."""
        by_band = nearest(prepare(images), self.bands, self.flips, progress=progress, device=self.device)
        by_pixel = nearest(average(images), self.pixels, self.flips, radius=0, step=1, device=self.device)
        found = [by_band, by_pixel]
        if self.embed is not None and self.directions is not None:
            score, index = nearest_direction(self.embed(images), self.directions)
            # what shows nothing is like nobody, whatever the encoder makes of it
            found.append(_unmoved(np.where(np.ptp(images, axis=(1, 2)) < _FLAT, 0.0, score), index))
        return Likeness(self.names, tuple(found))

    def paired(self, images: Images, places: NDArray[np.int64]) -> Floats:
        """Scores of each image with one training image (k, n), for copies whose original is known."""
        scores = [
            aligned(prepare(images), self.bands[places], self.flips).score,
            aligned(average(images), self.pixels[places], self.flips, radius=0, step=1).score,
        ]
        if self.embed is not None and self.directions is not None:
            scores.append((self.embed(images) * self.directions[places]).sum(axis=1))
        return np.stack(scores)

    def mirrored(self, image: Images, place: int) -> Flip:
        """How an image (side, side) is mirrored to lie best on one training image."""
        return aligned(prepare(image[None]), self.bands[[place]], self.flips).flip[0]


def open_search(train: Images, flips: Sequence[Flip], embed: Encoder | None = None, device: str = "cpu") -> Search:
    """Makes training images (t, side, side) ready."""
    directions = None if embed is None else embed(train)
    return Search(prepare(train), average(train), directions, tuple(flips), embed, device)


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
    """The scale on which scores (k, n) that come about by chance are alike."""
    ordered = np.sort(_straight(scores), axis=1)
    last = ordered.shape[1] - 1
    middle, high = ordered[:, round(0.5 * last)], ordered[:, round(0.9 * last)]
    return Scale(middle, np.maximum(high - middle, _LEAST_SPREAD))


def _straight(scores: Floats) -> Floats:
    return np.asarray(np.arctanh(np.clip(scores, -_ALMOST_ONE, _ALMOST_ONE)), dtype=np.float64)
