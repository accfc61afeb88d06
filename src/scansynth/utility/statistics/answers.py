"""The trial's lines of evidence: claims from the contrasts of the block that was declared first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scansynth.claims.claim import Claim, Control, Floor, Measurement, floor_of, not_assessable, stated
from scansynth.statistics import Verdict
from scansynth.utility.statistics.effects import Estimate, Outcome, Outcomes
from scansynth.utility.statistics.outcomes import BASIC, PLACEBO, POSITIVE_CONTROL, PUBLISHED, REAL, Block
from scansynth.utility.statistics.rulings import PRIMARY, Contrast, points

GAIN, ALARMS = "utility.gain", "utility.false_alarms"
COMPARED: Mapping[str, tuple[str, str]] = {
    GAIN: PRIMARY,
    ALARMS: PRIMARY,
    "utility.published": (PUBLISHED, REAL),
    "utility.placebo": (PLACEBO, BASIC),
    "utility.positive_control": (POSITIVE_CONTROL, BASIC),
}
"""Claims, and the contrast that each rests on."""

MIDDLE = 0.90
"""Of the floor, as of all floors."""


@dataclass(frozen=True)
class Context:
    """What claims are made from.

    Attributes:
        block: The one that was declared first.
        outcomes: Measured on it; None where that was impossible.
        contrasts: Judged.
        why: Why nothing could be measured.
        margin: Most that false alarms may rise.
        level: Of the intervals.
        draws: Of the patients.
    """

    block: Block
    outcomes: Outcomes | None
    contrasts: Sequence[Contrast]
    why: str
    margin: float
    level: float
    draws: int

    def contrast(self, arm: str, other: str) -> Contrast | None:
        """A contrast by its arms."""
        return next((one for one in self.contrasts if (one.arm, one.other) == (arm, other)), None)


def counts(block: Block) -> dict[str, int]:
    """Numbers behind a claim."""
    test, calibrate = block.test, block.calibrate
    return {
        "test images": len(test.patients),
        "test images with a lesion": int(test.positive.sum()),
        "test patients": len(np.unique(test.patients)),
        "test patients with a lesion": test.patients_with(True),
        "test patients without a lesion": test.patients_with(False),
        "calibrate patients": len(np.unique(calibrate.patients)),
        "calibrate images without a lesion": int((~calibrate.positive).sum()),
        "pairs": block.pairs,
    }


def answer(context: Context) -> tuple[Claim, ...]:
    """All claims of the trial, in the order of the rules."""
    return tuple(_answer(context, name, *arms) for name, arms in COMPARED.items())


def _answer(context: Context, name: str, arm: str, other: str) -> Claim:
    one, outcomes, n = context.contrast(arm, other), context.outcomes, counts(context.block)
    if outcomes is None:
        return not_assessable(name, context.why, n)
    if one is None:
        absent = " and ".join(sorted({arm, other} - set(context.block.arms)))
        return not_assessable(name, f"The trial has no arm {absent}.", n)
    figure = one.false_alarms if name == ALARMS else one.gain
    verdict, why = _alarms(one, context) if name == ALARMS else (one.verdict, one.why)
    measured = Measurement(
        value=figure.value,
        interval=figure.interval,
        level=context.level,
        floor=_floor(context, outcomes, name, other),
        control=_controls(context) if arm not in {PLACEBO, POSITIVE_CONTROL} else (),
        margin=context.margin if name == ALARMS else 0.0,
        n=n,
    )
    return stated(name, verdict, why, measured)


def _alarms(one: Contrast, context: Context) -> tuple[Verdict, str]:
    """The verdict on false alarms alone; what voids the contrast voids it too."""
    if one.verdict is Verdict.NOT_ASSESSABLE:
        return one.verdict, one.why
    interval, limit = one.false_alarms.interval, f"{context.margin * 100:g} points"
    told = f"The rate of false alarms changed by {points(one.false_alarms)} points"
    if interval.low > context.margin:
        return Verdict.REFUTED, f"{told}, which is more than {limit}."
    failed = [control.name for control in _controls(context) if not control.passed]
    if failed:
        return Verdict.NOT_ASSESSABLE, f"{told}. A control failed ({'; '.join(failed)}), so this shows nothing."
    if interval.high < context.margin:
        return Verdict.SHOWN, f"{told}, which is less than {limit}."
    return Verdict.NOT_SHOWN, f"{told}: whether it is less than {limit} is open."


def _floor(context: Context, outcomes: Outcomes, name: str, other: str) -> Floor:
    """What a gain from nothing looks like: the placebo, and where it cannot be asked two trainings of the same arm."""
    figure = outcomes.false_alarms if name == ALARMS else outcomes.sensitivity
    if name == "utility.placebo" or context.contrast(PLACEBO, BASIC) is None:
        return _twins(figure, context.block.place(other), other)
    places = context.block.place(PLACEBO), context.block.place(BASIC)
    middle: Estimate = figure.contrast(*places, MIDDLE)
    what = "duplicates of real images in place of synthetic ones"
    return Floor(what, middle.interval.low, middle.value, middle.interval.high, context.draws)


def _twins(figure: Outcome, place: int, arm: str) -> Floor:
    values = figure.values[place]
    apart = values[:, None] - values[None, :]
    return floor_of(f"two trainings of the {arm} arm against each other", apart[~np.eye(len(values), dtype=np.bool_)])


def _controls(context: Context) -> tuple[Control, ...]:
    """Did the trial find a gain that is there, and none where none is?"""
    found = []
    for arm, wanted, name in (
        (POSITIVE_CONTROL, True, "more real patients bring a gain"),
        (PLACEBO, False, "duplicates bring none"),
    ):
        control = context.contrast(arm, BASIC)
        passed = control is not None and (control.verdict is Verdict.SHOWN) is wanted
        found.append(Control(name, float(passed), 1.0))
    return tuple(found)
