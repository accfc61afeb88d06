"""The whole analysis of a trial: scores of all blocks in, every figure of the report and the claims out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scansynth.console import Progress, silent
from scansynth.errors import EvidenceError
from scansynth.seeds import generator
from scansynth.utility.statistics.answers import Context, answer
from scansynth.utility.statistics.calibration import calibrations
from scansynth.utility.statistics.caught import newly_caught
from scansynth.utility.statistics.curves import curve_of, roc_curves
from scansynth.utility.statistics.effects import Estimate, Outcomes, measure
from scansynth.utility.statistics.froc import CURVE, Detections, Froc, measure_froc
from scansynth.utility.statistics.groups import GroupRow, by_group, gaps, row_of
from scansynth.utility.statistics.outcomes import BASIC, Block
from scansynth.utility.statistics.results import Analysis, ArmRow, BlockAnalysis, LesionFloor, Terms
from scansynth.utility.statistics.rulings import PRIMARY, Contrast, adjust, compare, contrast_names, judge, obstacle

Attributes = Mapping[str, Sequence[str]]


def analyse(
    blocks: Sequence[Block],
    terms: Terms,
    seed: int,
    attributes: Attributes | None = None,
    detections: Mapping[int, Detections] | None = None,
    progress: Progress = silent,
) -> Analysis:
    """All figures, verdicts and claims.

    The claims are made on the first block. Its contrasts are one family for Holm's adjustment; those of all other
    blocks together are another.

    Args:
        blocks: The one that was declared first, and any others.
        terms: Fixed in advance.
        seed: Of the study; every figure has a generator of its own.
        attributes: Of each test image, in the order of the first block's test part; empty where not stated.
        detections: What the detectors of a block found, by its place; for lesion-level arms alone.
        progress: Told of each block.

    Raises:
        EvidenceError: There is no block, or the blocks have other test images than the first.
    """
    _check(blocks)
    measured = [_measure(block, terms, seed) for block in blocks]
    contrasts = _adjusted(blocks, measured, terms)
    judged = [
        () if found is None else judge(block, found, some, terms.false_alarm_rate, terms.margin, terms.level)
        for block, found, some in zip(blocks, measured, contrasts, strict=True)
    ]
    analysed = []
    for place, (block, outcomes, some) in enumerate(zip(blocks, measured, judged, strict=True)):
        progress(place, len(blocks), "analysis")
        described = Describing(block, terms, seed, attributes or {}, (detections or {}).get(place))
        analysed.append(described.of(outcomes, some))
    context = Context(blocks[0], measured[0], judged[0], analysed[0].why, terms.margin, terms.level, terms.draws)
    first = blocks[0]
    places = range(len(blocks))
    return Analysis(
        terms,
        tuple(analysed),
        answer(context),
        dose=tuple(sorted((k for k in places if blocks[k].fraction == first.fraction), key=lambda k: blocks[k].ratio)),
        low_data=tuple(sorted((k for k in places if blocks[k].ratio == first.ratio), key=lambda k: blocks[k].fraction)),
    )


def _check(blocks: Sequence[Block]) -> None:
    """Passes when there is a block, and all have the same test images."""
    if not blocks:
        raise EvidenceError("there is nothing to analyse: no block of jobs is finished; run the trial again")
    for name in ("cases", "patients"):
        if not all(np.array_equal(getattr(one.test, name), getattr(blocks[0].test, name)) for one in blocks):
            raise EvidenceError("the blocks were tested on different images; run the trial again")


def _rng(block: Block, seed: int, purpose: str) -> np.random.Generator:
    return generator(seed, "utility", block.fraction, block.ratio, purpose)


def _measure(block: Block, terms: Terms, seed: int) -> Outcomes | None:
    """The rates of a block; None where a class is missing or there is one pair."""
    parts = (block.calibrate, block.test)
    if block.pairs < 2 or not all(0 < part.positive.sum() < len(part.positive) for part in parts):
        return None
    found = measure(*parts, terms.false_alarm_rate, terms.draws, _rng(block, seed, "patients"))
    return found if found.kept > 0.5 else None  # what is left of fewer draws describes nothing


def _adjusted(blocks: Sequence[Block], measured: Sequence[Outcomes | None], terms: Terms) -> list[tuple[Contrast, ...]]:
    """Contrasts with Holm's p: the first block is one family, the others together are another."""
    compared = [
        () if found is None else compare(block, found, terms.level)
        for block, found in zip(blocks, measured, strict=True)
    ]
    return [*adjust(compared[:1], terms.margin), *adjust(compared[1:], terms.margin)]


@dataclass(frozen=True)
class Describing:
    """What the figures of one block are made from."""

    block: Block
    terms: Terms
    seed: int
    attributes: Attributes
    detections: Detections | None

    def of(self, outcomes: Outcomes | None, contrasts: tuple[Contrast, ...]) -> BlockAnalysis:
        """All figures of the block."""
        block, terms = self.block, self.terms
        why = obstacle(block, terms.false_alarm_rate) or ""
        if outcomes is None:
            why = why or "Most resamples of the patients lack a class: there are too few patients."
            return BlockAnalysis(block.fraction, block.ratio, why)
        froc = None
        if self.detections is not None and len(self.detections.marks[0][0].found):  # a lesion is there to be found
            froc = measure_froc(self.detections, terms.draws, self.rng("lesions"))
        return BlockAnalysis(
            block.fraction,
            block.ratio,
            why,
            self.rows(outcomes, froc),
            contrasts,
            {} if froc is None else self.lesion_contrasts(froc),
            None if froc is None else self.lesion_floor(froc),
            {name: self.groups(name) for name in self.attributes},
            tuple(self.external(name) for name in sorted(block.external)),
            newly_caught(block, outcomes.thresholds, *PRIMARY),
            outcomes.kept,
        )

    def rng(self, *purpose: str) -> np.random.Generator:
        """Of one purpose."""
        return _rng(self.block, self.seed, " ".join(purpose))

    def rows(self, outcomes: Outcomes, froc: Froc | None) -> tuple[ArmRow, ...]:
        """A row for each arm."""
        block, draws, level = self.block, self.terms.draws, self.terms.level
        learned = gaps(block, outcomes, draws, level, self.rng("gaps"))
        calibrated = calibrations(block, draws, level, self.rng("calibration"))
        curves = roc_curves(block, draws, level, self.rng("curves"))
        return tuple(
            ArmRow(
                arm,
                outcomes.sensitivity.arm(place, level),
                outcomes.false_alarms.arm(place, level),
                outcomes.auc.arm(place, level),
                tuple(float(one) for one in outcomes.thresholds[place]),
                learned.get(arm),
                calibrated[arm],
                curves[arm],
                None if froc is None else froc.cpm.arm(place, level),
                None if froc is None else curve_of(CURVE, [point.arm(place, level) for point in froc.points]),
            )
            for place, arm in enumerate(block.arms)
        )

    def lesion_contrasts(self, froc: Froc) -> dict[str, Estimate]:
        """Changes of CPM; without a verdict, because the rule is on images."""
        place = self.block.place
        return {
            f"{arm} - {other}": froc.cpm.contrast(place(arm), place(other), self.terms.level)
            for arm, other in contrast_names(self.block.arms)
        }

    def lesion_floor(self, froc: Froc) -> LesionFloor:
        """CPM of marks at places of other images, and what the arm basic finds beyond."""
        basic, dealt, level = self.block.place(BASIC), len(self.block.arms), self.terms.level
        curve = curve_of(CURVE, [point.arm(dealt, level) for point in froc.points])
        return LesionFloor(froc.cpm.arm(dealt, level), froc.cpm.contrast(basic, dealt, level), curve)

    def groups(self, name: str) -> tuple[GroupRow, ...]:
        """The groups of one attribute."""
        terms, rng = self.terms, self.rng("groups", name)
        return by_group(self.block, self.attributes[name], terms.false_alarm_rate, terms.draws, terms.level, rng)

    def external(self, name: str) -> GroupRow:
        """A cohort from elsewhere."""
        terms, part = self.terms, self.block.external[name]
        rng = self.rng("external", name)
        return row_of(self.block, part, name, terms.false_alarm_rate, terms.draws, terms.level, rng)
