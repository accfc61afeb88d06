"""The same picture under two patients: found by its pixels, before roles are assigned.

A person who was exported twice has two numbers and would get two roles, and a generator's training image would stand
among the test images. Equal pixels are found by their digest. Pictures that were changed on the way (another window,
8 bits, JPEG, noise, a shift, a mirror) are found by the search for copies (`metrics.ncc`), among candidates alone: the
magnitude of the Fourier transform does not change when a picture is shifted, and one matrix product compares all.

On the real cohorts at hand (chest CT slices, CT patches, chest MR; 5,483 images) the most alike images of two patients
reach an aligned correlation of 0.948, and copies with 10% noise or in 8 bits 0.985 and more.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scansynth.console import Progress, silent
from scansynth.data.grouping import grouped
from scansynth.data.stack import forget_pages
from scansynth.metrics import ncc

ALIKE, SURELY = 0.97, 0.995
"""Aligned correlation above which two pictures are taken for one; the second where patients are much alike."""
_TOO_CLOSE = 0.01  # usual distance of other patients below which no copy can be told from them
_NEARER = 8.0
"""A copy lies this many times nearer, as 1 - correlation, than the second of other patients commonly does."""
MOST_IMAGES = 50_000
"""Above so many images only equal pixels are looked for: the search takes the square of their number."""
_CANDIDATES = 5
_LEAST = 0.75  # likeness of two descriptors; that of a copy found by `ALIKE` is 0.83 and more, but for strong blur
_COARSE, _SLACK = 2, 0.07
"""Pairs are first compared by every second pixel that counts; one that stays so far below `ALIKE` there is no copy."""
_WAVES = 12  # frequencies of the descriptor, each way
_SMALLEST = 2 * ncc.RADIUS + 8  # side of an image that can be shifted and compared
_TILE, _READ, _ROWS = 512, 64, 64  # pairs compared, images read, and images held beside all others, at a time
_SAMPLE = 200  # images that show how far patients are from each other
LARGEST, SHARE = 5, 0.05
"""Numbers, and share of the cohort's patients, that one person may have; more are no person."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pictures:
    """Images among which the same picture is looked for.

    Attributes:
        images: (n, rows, columns) or (n, channels, rows, columns), any unit; may lie on disk.
        digests: Of each image's own pixels, keyed; empty: unknown.
        patients: Keyed hash of each image's patient.
    """

    images: npt.NDArray[np.uint16]
    digests: Sequence[str]
    patients: Sequence[str]


@dataclass(frozen=True)
class Twin:
    """One picture of two patients, by the images' places; places past the cohort's own are those of the other study.

    Attributes:
        first: Place of the one.
        second: Place of the other.
        score: Aligned correlation; 1 for equal pixels.
        equal: The pixels are equal.
    """

    first: int
    second: int
    score: float
    equal: bool


@dataclass(frozen=True)
class Twins:
    """What was found.

    Attributes:
        pairs: The equal ones first, then the most alike.
        limit: Aligned correlation from which pictures were taken for one; none: only equal pixels were.
        searched: Near copies were looked for; else there were too many or too small images.
    """

    pairs: tuple[Twin, ...]
    limit: float | None
    searched: bool


def find_twins(own: Pictures, other: Pictures | None = None, progress: Progress = silent) -> Twins:
    """Pictures that two patients share.

    Args:
        own: The cohort's.
        other: Those of a study with which it shares roles; pairs within that study are not looked for.
        progress: Told how far the work is.
    """
    parts = [own] if other is None or not len(other.images) else [own, other]
    patients = [patient for part in parts for patient in part.patients]
    equal = _equal([digest for part in parts for digest in part.digests], patients, len(own.images))
    side = min([ncc.WORKING, *(size for part in parts for size in part.images.shape[-2:])])
    if side < _SMALLEST or len(patients) > MOST_IMAGES or not len(own.images):
        return Twins(tuple(equal), None, False)
    bands = _Bands([part.images for part in parts], side)
    vectors, codes = _descriptors(bands), np.unique(np.array(patients), return_inverse=True)[1]
    known = {(twin.first, twin.second) for twin in equal}
    near = [
        twin
        for twin in _near(bands, vectors, codes, len(own.images), progress)
        if (twin.first, twin.second) not in known
    ]
    if not near:
        return Twins(tuple(equal), ALIKE, True)
    usual = _usual_distance(bands, vectors, codes, len(own.images))
    if usual < _TOO_CLOSE:
        return Twins(tuple(equal), None, True)
    lowest = max(ALIKE, 1.0 - usual / _NEARER)
    for limit in (lowest, max(lowest, SURELY)):
        found = [twin for twin in near if twin.score >= limit]
        if _largest(found, patients) <= max(LARGEST, SHARE * len(set(patients))):
            return Twins((*equal, *sorted(found, key=lambda twin: -twin.score)), limit, True)
    return Twins(tuple(equal), None, True)


def _largest(twins: Sequence[Twin], patients: Sequence[str]) -> int:
    """Patients of the largest group that some pairs make."""
    groups = grouped((patients[twin.first], patients[twin.second]) for twin in twins)
    sizes: Mapping[str, int] = {one: list(groups.values()).count(one) for one in set(groups.values())}
    return max(sizes.values(), default=0)


def _equal(digests: Sequence[str], patients: Sequence[str], own: int) -> list[Twin]:
    """One pair for each image whose pixels another patient has, too."""
    places: dict[str, list[int]] = {}
    for place, digest in enumerate(digests):
        if digest:
            places.setdefault(digest, []).append(place)
    found = []
    for same in places.values():
        for place in same[1:]:
            partner = next((one for one in same if one < place and patients[one] != patients[place]), None)
            if partner is not None and partner < own:
                found.append(Twin(partner, place, 1.0, True))
    return sorted(found, key=lambda twin: (twin.first, twin.second))


class _Bands:
    """The middle band of detail of each image, in a file without a name, so that memory does not grow with the cohort.

    Args:
        parts: Images (n, rows, columns) or (n, channels, rows, columns).
        side: Rows and columns of the bands.
    """

    def __init__(self, parts: Sequence[npt.NDArray[np.uint16]], side: int) -> None:
        self.side, self.count = side, sum(map(len, parts))
        self._stream = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this does)
        for images in parts:
            for start in range(0, len(images), _READ):
                part = np.asarray(images[start : start + _READ], np.float32)
                flat = part.mean(axis=1) if part.ndim == 4 else part
                self._stream.write(ncc.prepare(flat, side).tobytes())
                forget_pages(images)
        self._stream.flush()

    def __getitem__(self, places: Iterable[int]) -> Floats:
        """The bands of some images, (k, side, side)."""
        size = 4 * self.side * self.side
        read = b"".join(os.pread(self._stream.fileno(), size, size * int(place)) for place in places)
        return np.frombuffer(read, np.float32).reshape(-1, self.side, self.side)


def _descriptors(bands: _Bands) -> Floats:
    """Unit vectors that a shift or a mirror changes little: magnitudes of low frequencies, (n, d)."""
    side = bands.side
    waves = min(_WAVES, side // 2 - 1)
    window = np.hanning(side)[:, None] * np.hanning(side)[None, :]
    found = []
    for start in range(0, bands.count, _READ):
        part = bands[range(start, min(start + _READ, bands.count))]
        magnitude = np.abs(np.fft.rfft2(part * window))[:, :, : waves + 1]
        down, up = magnitude[:, : waves + 1], magnitude[:, -np.arange(waves + 1)]
        both = (down + up) / 2.0  # a mirrored picture has the frequencies of the one sign at the other
        both = np.log1p(both / (both.mean(axis=(1, 2), keepdims=True) + 1e-12))
        found.append(both.reshape(len(both), -1).astype(np.float32))
    vectors = np.concatenate(found)
    vectors -= vectors.mean(axis=0)
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9), np.float32)


def _usual_distance(bands: _Bands, vectors: Floats, codes: npt.NDArray[np.int64], own: int) -> float:
    """How far the second nearest of other patients commonly is: 1 - aligned correlation, the median over some images.

    The second, since the nearest may be the same person. 1 when there are no two other patients.
    """
    pairs = []
    for place in np.unique(np.linspace(0, own - 1, _SAMPLE).astype(np.int64)):
        order = np.argsort(-(vectors @ vectors[place]))
        others = order[codes[order] != codes[place]]
        first = np.unique(codes[others], return_index=True)[1]  # the likest image of each other patient
        pairs += [(place, other) for other in others[np.sort(first)[:3]]]
    if not pairs:
        return 1.0
    places = np.array(pairs)
    scores = ncc.aligned(bands[places[:, 0]], bands[places[:, 1]]).score
    of_image: dict[int, list[float]] = {}
    for place, score in zip(places[:, 0].tolist(), scores.tolist(), strict=True):
        of_image.setdefault(place, []).append(score)
    second = [sorted(found)[-2] for found in of_image.values() if len(found) > 1]
    return float(1.0 - np.median(second)) if second else 1.0


def _scores(bands: _Bands, places: npt.NDArray[np.int64], step: int) -> npt.NDArray[np.float64]:
    """Aligned correlation of pairs (n, 2), from every `step`-th pixel of every `step`-th row."""
    scores = np.empty(len(places))
    for start in range(0, len(places), _TILE):
        part = places[start : start + _TILE]
        scores[start : start + _TILE] = ncc.aligned(bands[part[:, 0]], bands[part[:, 1]], step=step).score
    return scores


def _near(bands: _Bands, vectors: Floats, codes: npt.NDArray[np.int64], own: int, progress: Progress) -> list[Twin]:
    """Pairs of different patients whose aligned correlation is at least `ALIKE`."""
    chosen: set[tuple[int, int]] = set()
    for start in range(0, own, _ROWS):
        rows_here = slice(start, min(start + _ROWS, own))
        likeness = vectors[rows_here] @ vectors.T
        likeness[codes[rows_here, None] == codes[None, :]] = -1.0
        count = min(_CANDIDATES, likeness.shape[1])
        best = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        rows, ranks = np.nonzero(np.take_along_axis(likeness, best, axis=1) >= _LEAST)
        pairs = zip((rows + start).tolist(), best[rows, ranks].tolist(), strict=True)
        chosen |= {(min(pair), max(pair)) for pair in pairs}
        progress(min(start + _ROWS, own), own, "same pictures")
    places = np.array(sorted(chosen), np.int64).reshape(-1, 2)
    coarse = _scores(bands, places, _COARSE * ncc.STEP)
    places = places[coarse >= ALIKE - _SLACK]
    scores = _scores(bands, places, ncc.STEP)
    return [
        Twin(int(first), int(second), float(score), False)
        for (first, second), score in zip(places, scores, strict=True)
        if score >= ALIKE
    ]
