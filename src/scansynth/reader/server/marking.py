"""Marking: what a page may send of marks, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from scansynth.reader.marks import Mark, read, written
from scansynth.reader.server.refusals import Refused
from scansynth.reader.server.worklist import Display, Marking, Worklist

MOST = 20
"""Marks of one image."""

LEAST_RADIUS = 1.0
"""In pixels."""

_FAR = 1e6  # pixels; an image's own bounds are asked afterwards


class SentMark(BaseModel):
    """A mark as a page sends it; see `marks.Placed`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    row: float = Field(ge=-_FAR, le=_FAR)
    column: float = Field(ge=-_FAR, le=_FAR)
    radius: float = Field(gt=0.0, le=_FAR)
    confidence: int | None = Field(None, ge=1, le=9)


SentMarks = Annotated[tuple[SentMark, ...], Field(max_length=200, strict=False)]
"""Of one image; a study takes fewer, and says so."""


def largest_radius(image: Display) -> float:
    """Half of the image's longer side."""
    return max(image.rows, image.columns) / 2.0


def told(worklist: Worklist, text: str) -> list[dict[str, Any]]:
    """Stored marks as the page takes them; none where the study takes none."""
    return [vars(mark) for mark in read(text)] if worklist.marking else []


def asked(worklist: Worklist) -> dict[str, Any] | None:
    """What the page says of marks, and within which limits it sets them; none where the study takes none."""
    if worklist.marking is None:
        return None
    return {
        "finding": worklist.marking.finding,
        "levels": list(worklist.marking.levels),
        "most": MOST,
        "least_radius": LEAST_RADIUS,
        "largest_radius": largest_radius(worklist.image),
    }


def check(worklist: Worklist, marks: Iterable[SentMark], complete: bool) -> str:
    """The marks as they are stored, when the study takes them and they lie within its limits.

    Args:
        worklist: Of the study.
        marks: What the page sent.
        complete: Whether each must have a confidence.

    Raises:
        Refused: They are too many, one lies outside of the image or is too small or large, or has no or another
            confidence than those offered.
    """
    sent = tuple(marks)
    if sent and worklist.marking is None:
        raise Refused(422, "The answer is not valid: this study takes no marks.")
    if len(sent) > MOST:
        raise Refused(422, f"There are {len(sent)} marks, and {MOST} are the most; remove some.")
    for number, mark in enumerate(read(written(sent)), start=1):
        fault = _fault(mark, worklist.image, worklist.marking, complete)
        if fault:
            raise Refused(422, f"Mark {number} {fault}.")
    return written(sent)


def _fault(mark: Mark, image: Display, marking: Marking | None, complete: bool) -> str:
    """What is wrong with a mark; empty: nothing."""
    inside = -0.5 <= mark.row <= image.rows - 0.5 and -0.5 <= mark.column <= image.columns - 0.5
    if not inside:
        return "lies outside of the image"
    if not LEAST_RADIUS <= mark.radius <= largest_radius(image):
        return f"needs a radius from {LEAST_RADIUS:g} to {largest_radius(image):g} pixels"
    if mark.confidence is None:
        return "lacks its confidence" if complete else ""
    if marking is None or mark.confidence > len(marking.levels):
        return "has a confidence that is not offered"
    return ""
