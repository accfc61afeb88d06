"""The claim on marks: do readers find the lesions of synthetic images as they find those of real ones?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.claims.claim import Claim, Control, Floor, Measurement, floor_of, not_assessable, stated
from scansynth.reader.statistics import where
from scansynth.reader.statistics.arms import Compared, compare, judge
from scansynth.reader.statistics.controls import PLANTED_NEEDED
from scansynth.reader.statistics.localisation import OWN, REAL, Marked
from scansynth.reader.statistics.mrmc import areas
from scansynth.reader.statistics.roc import Floats, Mask
from scansynth.reader.statistics.verdict import percent
from scansynth.reader.statistics.where import Columns
from scansynth.statistics import Interval, Verdict

CLAIM = "reader.located"

CLAIMED: Mapping[Compared, Verdict] = {
    Compared.DIFFERENT: Verdict.REFUTED,
    Compared.EQUIVALENT: Verdict.SHOWN,
    Compared.WITHIN: Verdict.SHOWN,
    Compared.INCONCLUSIVE: Verdict.NOT_SHOWN,
    Compared.NOT_ASSESSABLE: Verdict.NOT_ASSESSABLE,
}
"""What the claim says for each outcome of the comparison."""

SHUFFLES, PLANTED_DRAWS = 100, 25


def located(
    told: Mapping[str, Any], marked: Marked, level: float, inputs: Mapping[str, str], rng: np.random.Generator
) -> Claim:
    """The difference of real and synthetic images as a line of evidence.

    Args:
        told: What `localisation` says of these marks.
        marked: The marks.
        level: Of the study's intervals; equivalence is shown at twice the error.
        inputs: Digests for the claim.
        rng: Draws the floor and the control.
    """
    found, everywhere, margin = told["difference"], bool(told["everywhere"]), float(told["margin"])
    outcome = Compared(found["outcome"])
    own = {kind["arm"]: kind for kind in told["kinds"]}
    n = {"readers": len(marked.readers)} | {
        f"{own[arm]['kind']} images with a lesion": int(own[arm]["with_lesions"]) for arm in (REAL, OWN) if arm in own
    }
    if outcome is Compared.NOT_ASSESSABLE:
        return not_assessable(CLAIM, found["why"], n)
    low, high = found["equivalence_interval"]
    ends, holds = (abs(low), abs(high)), low <= 0.0 <= high
    control = found_when_planted(marked, everywhere, margin, level, rng)
    measured = Measurement(
        value=abs(float(found["value"])),
        interval=Interval(0.0 if holds else min(ends), max(ends)),
        level=2.0 * level - 1.0,
        floor=floor(marked, everywhere, rng),
        control=(control,),
        margin=margin,
        n=n,
    )
    verdict, why = CLAIMED[outcome], str(found["why"])
    if verdict is Verdict.SHOWN and not control.passed:
        verdict = Verdict.NOT_ASSESSABLE
        found_in = f"found in {percent(control.found, control.needed)} of the draws, needed {control.needed:.0%}"
        why = f"The study might not have detected a difference ({control.name}: {found_in}). {why}"
    return replace(stated(CLAIM, verdict, why, measured), inputs=inputs)


def floor(marked: Marked, everywhere: bool, rng: np.random.Generator) -> Floor:
    """Size of the readers' mean difference when the kinds are shuffled among the images, those with a lesion apart."""
    columns = where.columns(marked.marks, marked.lesions, len(marked.arms), everywhere)
    draws = []
    for _ in range(SHUFFLES):
        arms = shuffled(marked, rng)[columns.image]
        apart = []
        for row in _seen(marked, columns):
            real, made = (
                _area(row[(arms == arm) & columns.lesion], row[(arms == arm) & ~columns.lesion]) for arm in (REAL, OWN)
            )
            apart.append(real - made)
        draws.append(abs(float(np.mean(apart))))
    return floor_of("the same marks, with randomly permuted kinds of images", np.array(draws))


def found_when_planted(
    marked: Marked, everywhere: bool, margin: float, level: float, rng: np.random.Generator
) -> Control:
    """Share of the draws in which fewer lesions found, worth twice the margin, are found in the readers' own marks.

    Kinds are shuffled first, so that what is planted is all there is: so many of the lesions that are then called
    synthetic are taken for unmarked that each reader's area falls by twice the margin.
    """
    columns = where.columns(marked.marks, marked.lesions, len(marked.arms), everywhere)
    found = 0
    for _ in range(PLANTED_DRAWS):
        arms = shuffled(marked, rng)[columns.image]
        scores = np.array([plant(row, columns, arms == OWN, 2.0 * margin, rng) for row in _seen(marked, columns)])
        first, second = (
            areas(np.where(arms == arm, scores, np.nan), columns.lesion, marked.patients[columns.image])
            for arm in (REAL, OWN)
        )
        found += judge(compare(first, second), margin, level).outcome in {Compared.DIFFERENT, Compared.WITHIN}
    return Control("lesions missed, worth twice the margin", found / PLANTED_DRAWS, PLANTED_NEEDED)


def plant(row: Floats, columns: Columns, synthetic: Mask, by: float, rng: np.random.Generator) -> Floats:
    """One reader's columns with so many lesions of the synthetic images unmarked that the area there falls by `by`.

    Args:
        row: The reader's, not a number where an image was not read, (C,).
        columns: What is compared.
        synthetic: Which columns are of synthetic images, (C,).
        by: How much the area is to fall.
        rng: Draws which lesions.
    """
    lowest = columns.unmarked
    area = _area(row[synthetic & columns.lesion], row[synthetic & ~columns.lesion])
    missed = _area(np.array([lowest]), row[synthetic & ~columns.lesion])
    share = by / max(area - missed, by)
    gone = synthetic & columns.lesion & np.isfinite(row) & (rng.random(len(row)) < share)
    return np.where(gone, lowest, row)


def shuffled(marked: Marked, rng: np.random.Generator) -> NDArray[np.int64]:
    """The arm of each image, real and the study's own set exchanged at random, images with a lesion among themselves.

    Images of a second set keep theirs.
    """
    arms = marked.arms.copy()
    for part in (marked.bearing, ~marked.bearing):
        places = np.flatnonzero(part & (arms <= OWN))
        arms[places] = arms[rng.permutation(places)]
    return arms


def _seen(marked: Marked, columns: Columns) -> Floats:
    """Scores, not a number where a reader did not read an image, (R, C)."""
    return np.where(marked.read[:, columns.image], columns.scores, np.nan)


def _area(lesions: Floats, false: Floats) -> float:
    """Chance that a lesion wins over a false mark; half of the ties count."""
    one, other = lesions[np.isfinite(lesions)], false[np.isfinite(false)]
    return float((np.sign(one[:, None] - other[None, :]) + 1.0).mean() / 2.0)
