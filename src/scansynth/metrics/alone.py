"""Is an image near to one patient alone? Its likeness to the nearest patient, less that to the next one.

A generator that repeats a scan keeps what is coarse, loses what is fine, and seldom moves it. How near such an image
comes depends on the scan: a plain one is near to many. So it is compared by its leading principal components, each
divided by the root of its spread (half way to whitening: whole whitening trusts the fine ones too much), and counts by
how much nearer it is to one patient than to any other.

With c_1 the largest cosine with an image of any patient, mirrored as permitted, and c_2 that of any other patient,

    nearness = tanh(atanh c_1 - atanh c_2)

which is 0 where two patients are as near, and 1 for a copy of one. Distances to the nearest and the next are an old
pair (Lowe, IJCV 60(2), 2004, section 7.1); here the next is of another patient, so that several scans of one do not
hide a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.metrics.ncc import Flip, average, mirror

SIDE = 32
"""Pixels a side at which images are compared."""

COMPONENTS = 64
_IMAGES_EACH = (
    12  # images that a component is learned from: with 5, real images of new patients came nearer than chance
)
_MOST = 4000  # images that components are learned from
_CHUNK = 512
_ALMOST_ONE = 1.0 - 1e-6
_FLAT = 1e-6  # grey range of a constant image

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Alone:
    """Real images, ready to be compared.

    Attributes:
        mean: Of the images, pixel by pixel (p,).
        axes: Principal components over the root of their spread (p, k).
        directions: Unit vectors of the images (t, k), sorted by patient.
        order: Position of each of them among the images that were given (t,).
        starts: Where the images of each patient begin (g,).
        flips: Mirrorings that are compared.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    directions: NDArray[np.float32]
    order: Places
    starts: Places
    flips: tuple[Flip, ...]

    def nearest(self, images: NDArray[Any]) -> tuple[Floats, Floats, Places]:
        """Of each image (n, rows, columns): nearness to one patient alone, the largest cosine, and with which image."""
        return self._searched(images, None)

    def own_left_out(self, images: NDArray[Any]) -> tuple[Floats, Floats, Places]:
        """The same of the images that it was made of, each without all images of its own patient."""
        return self._searched(images, self._patients())

    def _patients(self) -> Places:
        """Number of the patient of each image that was given (t,)."""
        numbers = np.empty(len(self.order), dtype=np.int64)
        numbers[self.order] = np.searchsorted(self.starts, np.arange(len(self.order)), side="right") - 1
        return numbers

    def _searched(self, images: NDArray[Any], own: Places | None) -> tuple[Floats, Floats, Places]:
        score, cosine, index = np.empty(len(images)), np.empty(len(images)), np.empty(len(images), dtype=np.int64)
        ends = np.append(self.starts[1:], len(self.order))
        for start in range(0, len(images), _CHUNK):
            part = slice(start, start + _CHUNK)
            by_patient, each = self._by_patient(images[part])
            rows = np.arange(len(each))
            if own is not None:
                by_patient[rows, own[part]] = -1.0
                for row, patient in zip(rows, own[part], strict=True):
                    each[row, self.starts[patient] : ends[patient]] = -1.0
            first, second = _two_largest(by_patient)
            score[part], cosine[part], index[part] = _less(first, second), first, self.order[each.argmax(axis=1)]
        flat = np.ptp(images, axis=(1, 2)) < _FLAT
        return np.where(flat, 0.0, score), np.where(flat, 0.0, np.clip(cosine, -1.0, 1.0)), index

    def _by_patient(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Largest cosine with each patient (n, g) and with each image, sorted by patient (n, t)."""
        each = np.full((len(images), len(self.directions)), -1.0, np.float32)
        for flip in self.flips:
            np.maximum(each, _directions(mirror(images, flip), self.mean, self.axes) @ self.directions.T, out=each)
        return np.maximum.reduceat(each, self.starts, axis=1), each


def open_alone(images: NDArray[Any], patients: NDArray[Any], flips: Sequence[Flip]) -> Alone:
    """Makes real images (t, rows, columns) of at least two patients (t,) ready."""
    some = _small(images[:: -(-len(images) // _MOST)]).astype(np.float64)
    mean = some.mean(axis=0)
    spread, vectors = np.linalg.eigh((some - mean).T @ (some - mean) / len(some))
    kept = slice(-max(1, min(COMPONENTS, len(some) // _IMAGES_EACH, len(spread))), None)
    axes = (vectors[:, kept] / np.maximum(spread[kept], 1e-12) ** 0.25).astype(np.float32)
    order = np.argsort(patients, kind="stable")
    starts = np.unique(np.asarray(patients)[order], return_index=True)[1]
    directions = _directions(images[order], mean.astype(np.float32), axes)
    return Alone(mean.astype(np.float32), axes, directions, order, starts, tuple(flips))


def _small(images: NDArray[Any]) -> NDArray[np.float32]:
    return average(images, SIDE).reshape(len(images), -1)


def _directions(images: NDArray[Any], mean: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors (n, k)."""
    found = (_small(images) - mean) @ axes
    unit: NDArray[np.float32] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return unit


def _two_largest(values: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Of each row; of a single column the second is -1."""
    if values.shape[1] == 1:
        return values[:, 0].astype(np.float64), np.full(len(values), -1.0)
    top = np.partition(values, -2, axis=1)[:, -2:].astype(np.float64)
    return top[:, 1], top[:, 0]


def _less(first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """tanh(atanh first - atanh second), without leaving -1..1: the difference of velocities has the same form."""
    one, two = (np.clip(np.asarray(x, np.float64), -_ALMOST_ONE, _ALMOST_ONE) for x in (first, second))
    return np.asarray((one - two) / (1.0 - one * two), dtype=np.float64)
