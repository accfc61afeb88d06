"""The rule of the trial: contrasts, several at once, and what each comes to. It stands in `docs/utility.md`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.statistics import Verdict
from scansynth.utility.statistics.effects import LEAST_KEPT, Estimate, Outcomes
from scansynth.utility.statistics.outcomes import (
    BASIC,
    COMBINED,
    PLACEBO,
    POSITIVE_CONTROL,
    PUBLISHED,
    REAL,
    RIVAL,
    Block,
    Part,
)
from scansynth.utility.statistics.power import least_patients
from scansynth.utility.statistics.resampling import least_negatives

Floats = NDArray[np.float64]

PRIMARY = (COMBINED, BASIC)
"""The contrast that the trial is about."""

CONTROLS = (POSITIVE_CONTROL, PLACEBO, "nearest", "shuffled", "real")
"""Arms without a claim on synthetic images: they are compared to know what the trial can see, not to gain."""


@dataclass(frozen=True)
class Contrast:
    """One arm less another, pair by pair.

    Attributes:
        arm: The one.
        other: The other.
        gain: Change of the sensitivity.
        false_alarms: Change of the rate of false alarms.
        auc: Change of the AUC; decides nothing.
        p_holm: Of the claim, among all contrasts that hold one; None for controls.
        p_harm: Of a harm, among the same; None for controls.
        verdict: By the rule.
        why: In a sentence.
        discordance: Share of the positive test images on which the two detectors of a pair differ.
        negative_discordance: The same of negative ones; both are what a plan has to assume.
    """

    arm: str
    other: str
    gain: Estimate
    false_alarms: Estimate
    auc: Estimate
    p_holm: float | None
    p_harm: float | None
    verdict: Verdict
    why: str
    discordance: float = 0.0
    negative_discordance: float = 0.0


def contrast_names(arms: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Which arms are compared, in the order of the report: the primary first, the controls last."""
    fixed = [PRIMARY, (PUBLISHED, REAL), (COMBINED, PLACEBO), (COMBINED, RIVAL)]
    others = [(arm, BASIC) for arm in arms if arm not in {BASIC, COMBINED, *CONTROLS}]
    controls = [(arm, BASIC) for arm in CONTROLS if arm in arms]
    return tuple(pair for pair in (*fixed, *others, *controls) if set(pair) <= set(arms))


def holm(p: Sequence[float]) -> list[float]:
    """Values of p adjusted for being several (Holm, Scand. J. Stat. 6, 1979).

    The i-th smallest of m times m - i + 1, never less than the one before, 1 at most.
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(one) for one in adjusted]


def obstacle(block: Block, rate: float) -> str | None:
    """Why nothing can be said of a block, with how many patients are missing; None where nothing stands against it.

    Args:
        block: All arms.
        rate: Of false alarms at which thresholds are set.
    """
    if block.pairs < 2:
        return "There is one pair only, so a gain cannot be told from the luck of a training; two are needed."
    for name, part in (("calibrate", block.calibrate), ("test", block.test)):
        for positive, what in ((True, "with a lesion"), (False, "without a lesion")):
            if not (part.positive == positive).any():
                return f"No image of the {name} patients is {what}."
    negatives, needed = int((~block.calibrate.positive).sum()), least_negatives(rate)
    if negatives < needed:
        return (
            f"{negatives} images without a lesion in calibrate cannot set a rate of {rate:.0%}: {needed} are needed, "
            f"{needed - negatives} are missing."
        )
    parts = {"calibrate": block.calibrate, "test": block.test}
    missing = [
        f"{least - have} patients {what} are missing in {name} ({have} of {least})"
        for (name, positive), least in least_patients(rate).items()
        for what in ("with a lesion" if positive else "without a lesion",)
        if (have := parts[name].patients_with(positive)) < least
    ]
    return f"Too few patients for an interval that holds: {'; '.join(missing)}." if missing else None


def unreached(calibrate: Part, thresholds: Floats, arm: int) -> bool:
    """No pair of an arm calls a single positive image of calibrate at its threshold."""
    found = calibrate.scores[arm][:, calibrate.positive] >= thresholds[arm][:, None]
    return not found.any()


def compare(block: Block, outcomes: Outcomes, level: float = 0.95) -> tuple[Contrast, ...]:
    """All contrasts of a block, not yet judged.

    Args:
        block: All arms.
        outcomes: Measured on it.
        level: Of the intervals.
    """
    return tuple(_measured(block, outcomes, arm, other, level) for arm, other in contrast_names(block.arms))


def p_of_claim(one: Contrast, margin: float) -> float:
    """The p of "more is found, and false alarms rise by less than the margin".

    Both must be true, so it is the larger of the two (intersection-union: Berger, Technometrics 24, 1982); each is
    twice the one-sided p, so that it is below 0.05 exactly when the two-sided 95% interval lies on the right side.
    """
    alarms = one.false_alarms
    below = 2.0 * float(stats.t.sf((margin - alarms.value) / alarms.error, alarms.freedom))
    return min(max(one.gain.p if one.gain.value > 0 else 1.0, below), 1.0)


def p_of_harm(one: Contrast, margin: float) -> float:
    """The p of "fewer lesions are found, or false alarms rise by more than the margin".

    One is enough. Each p is twice the one-sided one, and their minimum is the p of either: both together are below 0.05
    by chance in at most 2.5% + 2.5%.
    """
    alarms = one.false_alarms
    above = 2.0 * float(stats.t.sf((alarms.value - margin) / alarms.error, alarms.freedom))
    return min(one.gain.p if one.gain.value < 0 else 1.0, above, 1.0)


def adjust(families: Sequence[Sequence[Contrast]], margin: float) -> list[tuple[Contrast, ...]]:
    """The contrasts of one or more blocks with their p, of the claim and of a harm, among all of these blocks' claims.

    Args:
        families: The contrasts of each block that belongs to the family.
        margin: Most that false alarms may rise.
    """
    places = [(b, c) for b, block in enumerate(families) for c, one in enumerate(block) if one.arm not in CONTROLS]
    gains, harms = (
        dict(zip(places, holm([p_of(families[b][c], margin) for b, c in places]), strict=True))
        for p_of in (p_of_claim, p_of_harm)
    )
    return [
        tuple(replace(one, p_holm=gains.get((b, c)), p_harm=harms.get((b, c))) for c, one in enumerate(block))
        for b, block in enumerate(families)
    ]


def judge(
    block: Block,
    outcomes: Outcomes,
    contrasts: Sequence[Contrast],
    rate: float,
    margin: float,
    level: float = 0.95,
) -> tuple[Contrast, ...]:
    """The contrasts of a block with their verdicts.

    Args:
        block: All arms.
        outcomes: Measured on it.
        contrasts: Of this block, adjusted.
        rate: Of false alarms at which thresholds were set.
        margin: Most that false alarms may rise.
        level: Of the intervals; 1 - level is the error that is allowed.
    """
    silent = {arm for arm in block.arms if unreached(block.calibrate, outcomes.thresholds, block.place(arm))}
    judged = [_ruled(one, margin, level, rate, silent & {one.arm, one.other}) for one in contrasts]
    hindered = obstacle(block, rate) or _few_draws(outcomes)
    if hindered:
        return tuple(_void(one, hindered) for one in judged)
    return tuple(_gated(one, judged) for one in judged)


def _gated(one: Contrast, judged: Sequence[Contrast]) -> Contrast:
    """The verdict that the controls leave: each of them gates one side.

    The positive control says whether a gain could have been seen, so a harm stands without it. The placebo says what
    comes of repetition alone, so it takes a gain away when it gains, and a harm when it harms.
    """
    by_arm = {control.arm: control for control in judged if control.other == BASIC}
    placebo = by_arm.get(PLACEBO)
    if one.arm == POSITIVE_CONTROL or one.verdict is Verdict.NOT_ASSESSABLE:
        return one if placebo is not None else _void(one, NO_PLACEBO)
    if placebo is None:
        return _void(one, NO_PLACEBO)
    if one.p_holm is not None and one.other == BASIC and one.verdict is placebo.verdict:
        if one.verdict is Verdict.SHOWN:
            return _void(one, _alike(placebo, "gained", "a gain over basic augmentation"))
        if one.verdict is Verdict.REFUTED:
            return _void(one, _alike(placebo, "did harm", "a harm beside basic augmentation"))
    failed = _failed_control(by_arm.get(POSITIVE_CONTROL))
    if not failed:
        return one
    if one.verdict is Verdict.REFUTED:
        return replace(one, why=f"{one.why} This stands, although no gain could have been shown. {failed}")
    return _void(one, failed)


def _void(one: Contrast, why: str) -> Contrast:
    return replace(one, verdict=Verdict.NOT_ASSESSABLE, why=why)


def _measured(block: Block, outcomes: Outcomes, arm: str, other: str, level: float) -> Contrast:
    places = (block.place(arm), block.place(other))
    called, positive = block.test.scores >= outcomes.thresholds[:, :, None], block.test.positive
    differ = called[places[0]] != called[places[1]]
    return Contrast(
        arm=arm,
        other=other,
        gain=outcomes.sensitivity.contrast(*places, level),
        false_alarms=outcomes.false_alarms.contrast(*places, level),
        auc=outcomes.auc.contrast(*places, level),
        p_holm=None,
        p_harm=None,
        verdict=Verdict.NOT_ASSESSABLE,
        why="",
        discordance=float(differ[:, positive].mean()),
        negative_discordance=float(differ[:, ~positive].mean()),
    )


def _few_draws(outcomes: Outcomes) -> str | None:
    """Draws of the patients that lacked a class are too many."""
    if outcomes.kept >= LEAST_KEPT:
        return None
    return (
        f"Of the resamples of the patients {1 - outcomes.kept:.0%} lacked images with or without a lesion: "
        "there are too few patients."
    )


NO_PLACEBO = f"The trial has no placebo (the arm {PLACEBO}), so a change could come from repetition alone."


def _failed_control(control: Contrast | None) -> str | None:
    """Why no gain could have been shown: a positive control that is absent, or shows nothing."""
    if control is None:
        return (
            f"The trial has no positive control (the arm {POSITIVE_CONTROL}), so it is not known what gain it could "
            "have seen."
        )
    if control.verdict is Verdict.SHOWN:
        return None
    return (
        "The positive control failed: with more real patients the trial could not show a gain either "
        f"({points(control.gain)} points of sensitivity, {points(control.false_alarms)} of false alarms), "
        "so it says nothing of a gain from synthetic images."
    )


def _alike(placebo: Contrast, what: str, so: str) -> str:
    """Why a change beside basic augmentation proves nothing of synthetic images: duplicates bring it too."""
    return (
        f"Duplicates of real images {what} too ({points(placebo.gain)} points of sensitivity, "
        f"{points(placebo.false_alarms)} of false alarms), so {so} is none of synthetic images; the comparison with "
        "the duplicates stands."
    )


def points(one: Estimate) -> str:
    """A change in points with its interval."""
    low, high = one.interval.low * 100, one.interval.high * 100
    return f"{one.value * 100:+.1f} ({low:+.1f} to {high:+.1f})"


def _ruled(one: Contrast, margin: float, level: float, rate: float, silent: set[str]) -> Contrast:
    """The verdict of one contrast by itself, before the controls have their say."""
    if silent:
        why = (
            f"At {rate:.0%} false alarms no detector of {' and of '.join(sorted(silent))} finds a single lesion of "
            "the calibrate patients, so there is no threshold at which to compare."
        )
        return replace(one, verdict=Verdict.NOT_ASSESSABLE, why=why)
    gain, alarms = one.gain.interval, one.false_alarms.interval
    figures = f"Sensitivity changed by {points(one.gain)} points and false alarms by {points(one.false_alarms)} points"
    limit = f"{margin * 100:g} points"
    harms = ["fewer lesions are found"] if gain.high < 0 else []
    harms += [f"false alarms rise by more than {limit}"] if alarms.low > margin else []
    if harms and (one.p_harm is None or one.p_harm < 1 - level):
        return replace(one, verdict=Verdict.REFUTED, why=f"{figures}: {' and '.join(harms)}.")
    doubts = []
    if harms:
        doubts.append(f"the harm does not hold among so many comparisons (adjusted p {one.p_harm:.3f})")
    if gain.low <= 0 and not harms:
        doubts.append("the interval of the gain includes 0")
    if alarms.high >= margin and not harms:
        doubts.append(f"false alarms may rise by {limit} or more")
    if not doubts and one.p_holm is not None and one.p_holm >= 1 - level:
        doubts.append(f"the gain does not hold among so many comparisons (adjusted p {one.p_holm:.3f})")
    if doubts:
        return replace(one, verdict=Verdict.NOT_SHOWN, why=f"{figures}: {' and '.join(doubts)}.")
    return replace(
        one, verdict=Verdict.SHOWN, why=f"{figures}: a gain, and false alarms rise by less than {limit} if at all."
    )
