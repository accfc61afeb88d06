"""Outlines: where the lesions of the images are that readers mark, by the masks of cohort and sets.

An image of which this is not known, because its set has no masks or a positive image lacks its own, is read and marked
like any other, and counts nowhere when marks are compared with lesions.
"""

from __future__ import annotations

from scansynth.errors import ReaderError
from scansynth.reader.design import Design
from scansynth.reader.pool import Pool
from scansynth.reader.truth import Outlined

_DIGITS = 2  # a hundredth of a pixel


def require_outlines(pool: Pool) -> None:
    """Passes when marks of real images can be compared with lesions.

    Raises:
        ReaderError: The cohort has no masks, or none of a test patient.
    """
    if pool.real_masks is None:
        raise ReaderError(
            "reader.marks asks where findings are, and the cohort has no masks to compare marks with; give masks or "
            "boxes in labels.csv and run scansynth ingest again, or unset reader.marks"
        )
    if not pool.real_masks.any():
        raise ReaderError(
            "reader.marks asks where findings are, and no test image that readers may see has a mask; give masks of "
            "test patients in labels.csv, or unset reader.marks"
        )


def outlines(design: Design, pool: Pool) -> tuple[Outlined | None, ...]:
    """The lesions of each image that is read; none where it is not known."""
    found = (pool.lesions(subject) for subject in design.subjects)
    return tuple(
        None
        if lesions is None
        else tuple((round(one.row, _DIGITS), round(one.column, _DIGITS), round(one.radius, _DIGITS)) for one in lesions)
        for lesions in found
    )
