"""Marks against lesions: which lesions are found, and which marks are false; of detectors and of readers.

As in LUNA16 (Setio et al., Med. Image Anal. 42, 2017): a candidate within the radius of a lesion finds it, and further
candidates on the same lesion count neither as found nor as false.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Lesions:
    """Where lesions are.

    Attributes:
        image: Place of the image (L,).
        row: Of the centre, in pixels (L,).
        column: Of the centre (L,).
        radius: In pixels (L,).
    """

    image: Places
    row: Floats
    column: Floats
    radius: Floats


@dataclass(frozen=True)
class Candidates:
    """Where one detector, or one reader, suspects lesions.

    Attributes:
        image: Place of the image (c,).
        row: In pixels (c,).
        column: In pixels (c,).
        score: Higher is more suspicious, or more confident (c,).
    """

    image: Places
    row: Floats
    column: Floats
    score: Floats


@dataclass(frozen=True)
class Marks:
    """Candidates after they were compared with the lesions.

    Attributes:
        found: Score of the best candidate on each lesion, -inf where there is none (L,).
        lesion_image: Image of each lesion (L,).
        false: Scores of the candidates on no lesion (f,).
        false_image: Their images (f,).
        images: How many there are.
    """

    found: Floats
    lesion_image: Places
    false: Floats
    false_image: Places
    images: int


def mark(candidates: Candidates, lesions: Lesions, images: int) -> Marks:
    """Which lesions are found, and which candidates are false.

    A candidate on the rim hits. One that lies in two lesions finds both, as in LUNA16.

    Args:
        candidates: Of one detector or reader.
        lesions: Of all images.
        images: How many images there are, with and without lesions.
    """
    found, on_lesion = np.full(len(lesions.image), -np.inf), np.zeros(len(candidates.image), dtype=np.bool_)
    for lesion in range(len(found)):
        near = np.hypot(candidates.row - lesions.row[lesion], candidates.column - lesions.column[lesion])
        hit = (candidates.image == lesions.image[lesion]) & (near <= lesions.radius[lesion])
        on_lesion |= hit
        found[lesion] = candidates.score[hit].max(initial=-np.inf)
    return Marks(found, lesions.image, candidates.score[~on_lesion], candidates.image[~on_lesion], images)
