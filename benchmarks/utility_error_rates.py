"""How often is the utility trial right? Made-up detectors of known sensitivity, judged by the rule of docs/utility.md.

    python benchmarks/utility_error_rates.py --out docs/results/utility_error_rates.json

No image is made and no network is trained. A score is the sum of normal parts: one of the patient, one of the image,
one of the image that is an arm's own, and one that is the detector's own (and in part the patient's); images with a
lesion score higher by a shift, to which every detector's luck adds. So the true sensitivity at the true threshold is
known, and what all pairs owe to the same patients is known too. What is left is the luck of the draw, and how
intervals, rule and plan deal with it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm
from simulation import write_simulation

from scansynth.seeds import generator
from scansynth.statistics import Verdict
from scansynth.utility.statistics.effects import Estimate, measure
from scansynth.utility.statistics.outcomes import BASIC, COMBINED, PLACEBO, POSITIVE_CONTROL, PUBLISHED, Block, Part
from scansynth.utility.statistics.power import Assumed, Counts, Sample, Wish, chance_of_claim, chance_of_gain
from scansynth.utility.statistics.resampling import once, rank
from scansynth.utility.statistics.rulings import adjust, compare, judge

Floats = npt.NDArray[np.float64]

RATE, MARGIN = 0.1, 0.05
PAIRS = 5
ARMS = (BASIC, PUBLISHED, COMBINED, PLACEBO, POSITIVE_CONTROL)


@dataclass(frozen=True)
class Detectors:
    """A made-up family of detectors and their cohort.

    Attributes:
        calibrate: Patients.
        test: Patients.
        each: Images of each patient, every one with a lesion with a chance of one half.
        luck: Standard deviation between pairs of the sensitivity of an arm, about.
        shift: By which images with a lesion score higher.
        patient: Share of the variance that the images of a patient have in common.
        arm: Share of the variance that is an arm's own, the same for all its detectors.
        detector: Share of the variance that is a detector's own.
        alarms: Shift of the negatives of test, but not of calibrate, in the other arm: a detector that is misled.
    """

    calibrate: int = 100
    test: int = 150
    each: int = 2
    luck: float = 0.0
    shift: float = 1.8
    patient: float = 0.3
    arm: float = 0.03
    detector: float = 0.2
    alarms: float = 0.0

    @property
    def limit(self) -> float:
        """The true threshold."""
        return float(norm.ppf(1.0 - RATE))

    @property
    def luck_of_shift(self) -> float:
        """Standard deviation of the shift between the detectors of an arm."""
        return self.luck / float(norm.pdf(self.limit - self.shift))

    def sensitivity(self, gain: float) -> float:
        """True sensitivity of an arm, over the luck of its detectors."""
        spread = math.sqrt(1.0 + self.luck_of_shift**2)
        return float(norm.sf((self.limit - self.shift - gain) / spread))

    def draw_luck(self, arms: int, rng: np.random.Generator) -> Floats:
        """Luck of each detector, (arms, PAIRS)."""
        return np.asarray(self.luck_of_shift * rng.normal(size=(arms, PAIRS)), dtype=np.float64)

    def draw(self, patients: int, gains: Floats, luck: Floats, alarms: Floats, rng: np.random.Generator) -> Part:
        """Scores of all arms and pairs on new patients.

        Args:
            patients: How many.
            gains: Further shift of each arm (arms,).
            luck: Of each detector (arms, pairs).
            alarms: Shift of each arm's negatives (arms,).
            rng: Of this draw.
        """
        names = np.repeat(np.arange(patients), self.each)
        count, (arms, pairs) = len(names), luck.shape
        positive = rng.random(count) < 0.5
        rest = 1.0 - self.patient - self.arm - self.detector
        scores = math.sqrt(self.patient) * rng.normal(size=patients)[names] + math.sqrt(rest) * rng.normal(size=count)
        own = math.sqrt(0.7) * rng.normal(size=(arms, pairs, count))
        own += math.sqrt(0.3) * rng.normal(size=(arms, pairs, patients))[:, :, names]
        arm = math.sqrt(self.arm) * rng.normal(size=(arms, 1, count))
        shifts = (self.shift + gains[:, None] + luck)[:, :, None] * positive + alarms[:, None, None] * ~positive
        return Part(names, positive, scores + arm + math.sqrt(self.detector) * own + shifts)

    def trial(self, arms: Sequence[str], gains: Sequence[float], rng: np.random.Generator) -> Block:
        """One made-up trial."""
        shifts, luck = np.array(gains), self.draw_luck(len(arms), rng)
        quiet, misled = np.zeros(len(arms)), np.array([self.alarms * (arm == COMBINED) for arm in arms])
        calibrate = self.draw(self.calibrate, shifts, luck, quiet, rng)
        test = self.draw(self.test, shifts, luck, misled, rng)
        return Block(
            tuple(arms), calibrate, replace(test, patients=test.patients + self.calibrate)
        )  # nobody is in both


def differences(block: Block, rows: npt.NDArray[np.bool_], at: Floats) -> tuple[float, float, float]:
    """How the two detectors of a pair differ on some test images: share, correlation of pairs, and within patients."""
    called = block.test.scores[:, :, rows] >= at[:, :, None]
    differ = called[0].astype(np.float64) - called[1]
    x = differ - differ.mean(axis=1, keepdims=True)
    variance = float((x**2).mean())
    shared = float((x.sum(axis=0) ** 2 - (x**2).sum(axis=0)).mean()) / (PAIRS * (PAIRS - 1)) / variance
    place = np.unique(block.test.patients[rows], return_inverse=True)[1]
    sums, each = np.stack([np.bincount(place, row) for row in x]), np.bincount(place)
    alike = float((sums**2).sum() - (x**2).sum()) / PAIRS / max(float((each * (each - 1)).sum()), 1.0) / variance
    return float((differ**2).mean()), shared, alike


def assumed(detectors: Detectors, gain: float, cohorts: int = 60, patients: int = 1000) -> Assumed:
    """What the planner has to assume of these detectors: means over trials with very many test patients.

    Thresholds come from calibrate parts of the size of the trial's: the noise in them makes detectors differ more.
    """
    rng, found = generator(0, "assumed", str(detectors), gain), []
    for _ in range(cohorts):
        block = replace(detectors, test=patients).trial((COMBINED, BASIC), (gain, 0.0), rng)
        negative = ~block.calibrate.positive
        ones = once(int(negative.sum()))
        scores = block.calibrate.scores[:, :, negative]
        at = np.array([[rank(one, ones).thresholds(RATE)[0] for one in arm] for arm in scores])
        found.append([differences(block, rows, at) for rows in (block.test.positive, ~block.test.positive)])
    (positive, shared, alike), (quiet, other_shared, other_alike) = np.mean(found, axis=0).tolist()
    distance = [detectors.limit - detectors.shift - g for g in (gain, 0.0)]
    luck = detectors.luck_of_shift * norm.ppf((np.arange(4000) + 0.5) / 4000)
    return Assumed(
        discordance=positive,
        negative_discordance=quiet,
        shared=max((shared + other_shared) / 2.0, 0.0),
        pair_spread=math.sqrt(sum(float(norm.sf(d - luck).var()) for d in distance)),
        correlation=max((alike + other_alike) / 2.0, 0.0),
        slope=float(np.mean([norm.pdf(d) / norm.pdf(detectors.limit) for d in distance])),
    )


@dataclass(frozen=True)
class Tally:
    """Shares of simulations with their 95% intervals."""

    hits: int
    runs: int

    def row(self) -> dict[str, Any]:
        """As JSON."""
        span = binomtest(self.hits, self.runs).proportion_ci(0.95, "exact")
        return {"share": self.hits / self.runs, "interval": [round(span.low, 4), round(span.high, 4)]}


def tally(hits: Sequence[bool]) -> dict[str, Any]:
    """Share of the hits, as JSON."""
    return Tally(int(sum(hits)), len(hits)).row()


def holds(estimate: Estimate, true: float) -> bool:
    """The interval holds the truth."""
    return bool(estimate.interval.low <= true <= estimate.interval.high)


def coverage(detectors: Detectors, gain: float, runs: int, draws: int, first_seed: int = 0) -> dict[str, Any]:
    """Of the intervals of the gain and of the change of false alarms, two arms."""
    true = detectors.sensitivity(gain) - detectors.sensitivity(0.0)
    found: dict[str, list[bool]] = {"gain": [], "false_alarms": [], "gain_above": []}
    values, widths = [], []
    for run in range(runs):
        rng = generator(first_seed + run, "coverage", str(detectors), gain)
        block = detectors.trial((COMBINED, BASIC), (gain, 0.0), rng)
        outcomes = measure(block.calibrate, block.test, RATE, draws, rng)
        change, alarms = outcomes.sensitivity.contrast(0, 1), outcomes.false_alarms.contrast(0, 1)
        found["gain"].append(holds(change, true))
        found["gain_above"].append(change.interval.low > true)
        found["false_alarms"].append(holds(alarms, 0.0))
        values.append(change.value)
        widths.append(change.interval.high - change.interval.low)
    return {
        "runs": runs,
        "images_each": detectors.each,
        "calibrate_patients": detectors.calibrate,
        "test_patients": detectors.test,
        "luck_points": detectors.luck * 100,
        "true_gain_points": round(true * 100, 2),
        "mean_gain_points": round(float(np.mean(values)) * 100, 2),
        "mean_width_points": round(float(np.mean(widths)) * 100, 2),
        "covered_gain": tally(found["gain"]),
        "interval_wholly_above_the_truth": tally(found["gain_above"]),
        "covered_false_alarms": tally(found["false_alarms"]),
    }


def rule(
    name: str, detectors: Detectors, gains: Sequence[float], runs: int, draws: int, seed: int = 0
) -> dict[str, Any]:
    """How often the whole rule says what, with all controls and Holm's adjustment."""
    counts = {verdict.value: 0 for verdict in Verdict}
    anything, harmed, control, placebo = [], [], [], []
    for run in range(runs):
        rng = generator(seed + run, "rule", name)
        block = detectors.trial(ARMS, gains, rng)
        outcomes = measure(block.calibrate, block.test, RATE, draws, rng)
        contrasts = judge(block, outcomes, adjust([compare(block, outcomes)], MARGIN)[0], RATE, MARGIN)
        verdicts = {(one.arm, one.other): one.verdict for one in contrasts}
        counts[verdicts[COMBINED, BASIC].value] += 1
        anything.append(any(one.verdict is Verdict.SHOWN for one in contrasts if one.p_holm is not None))
        harmed.append(any(one.verdict is Verdict.REFUTED for one in contrasts if one.p_holm is not None))
        control.append(verdicts[POSITIVE_CONTROL, BASIC] is Verdict.SHOWN)
        placebo.append(verdicts[PLACEBO, BASIC] is Verdict.SHOWN)
    true = [round((detectors.sensitivity(g) - detectors.sensitivity(0.0)) * 100, 2) for g in gains]
    return {
        "case": name,
        "runs": runs,
        "true_gain_points": dict(zip(ARMS, true, strict=True)),
        "luck_points": detectors.luck * 100,
        "primary": {verdict: tally([True] * hits + [False] * (runs - hits)) for verdict, hits in counts.items()},
        "any_claim_shown": tally(anything),
        "any_claim_refuted": tally(harmed),
        "positive_control_shown": tally(control),
        "placebo_shown": tally(placebo),
    }


def power(detectors: Detectors, gain: float, runs: int, draws: int, first_seed: int = 0) -> dict[str, Any]:
    """How often a gain is found, beside what the planner says of the same numbers."""
    positives, both = [], []
    for run in range(runs):
        rng = generator(first_seed + run, "power", str(detectors), gain)
        block = detectors.trial((COMBINED, BASIC), (gain, 0.0), rng)
        outcomes = measure(block.calibrate, block.test, RATE, draws, rng)
        change, alarms = outcomes.sensitivity.contrast(0, 1), outcomes.false_alarms.contrast(0, 1)
        positives.append(change.interval.low > 0.0)
        both.append(change.interval.low > 0.0 and alarms.interval.high < MARGIN)
    some = 1.0 - 0.5**detectors.each  # chance that a patient has an image of a class
    cohort = Counts(
        *(
            Sample(round(patients * detectors.each / 2), round(patients * some))
            for patients in (detectors.test, detectors.test, detectors.calibrate)
        )
    )
    known = assumed(detectors, gain)
    true = detectors.sensitivity(gain) - detectors.sensitivity(0.0)
    return {
        "runs": runs,
        "images_each": detectors.each,
        "calibrate_patients": detectors.calibrate,
        "test_patients": detectors.test,
        "luck_points": detectors.luck * 100,
        "true_gain_points": round(true * 100, 2),
        "assumed": {name: round(value, 4) for name, value in vars(known).items()},
        "planned_gain": round(chance_of_gain(true, cohort, PAIRS, known), 4),
        "simulated_gain": tally(positives),
        "planned_shown": round(chance_of_claim(Wish(true, MARGIN, RATE), cohort, PAIRS, known), 4),
        "simulated_shown": tally(both),
    }


PLAIN = Detectors()
BIG = Detectors(calibrate=300, test=300, detector=0.1)
COVERAGE: tuple[tuple[Detectors, float], ...] = (
    *((replace(PLAIN, each=1, luck=luck), 0.0) for luck in (0.0, 0.05)),
    *((replace(PLAIN, each=3, luck=luck), 0.0) for luck in (0.0, 0.02, 0.05)),
    (replace(PLAIN, each=3, luck=0.02), 0.4),
    (replace(PLAIN, each=6, luck=0.02), 0.0),
    (replace(PLAIN, each=1, calibrate=24, test=64, luck=0.02), 0.0),
)
RULES: tuple[tuple[str, Detectors, tuple[float, ...]], ...] = (
    ("error: no gain but in the control", replace(BIG, luck=0.01), (0.0, 0.0, 0.0, 0.0, 1.0)),
    ("error: no gain, much luck", replace(BIG, luck=0.03), (0.0, 0.0, 0.0, 0.0, 1.0)),
    ("error: a gain bought with false alarms, 5 points more", replace(BIG, alarms=0.2451), (0.0, 0.0, 0.8, 0.0, 1.0)),
    ("a gain", replace(BIG, luck=0.01), (0.0, 0.2, 0.5, 0.0, 1.0)),
    ("harm", replace(BIG, luck=0.01), (0.0, -0.3, -0.3, 0.0, 1.0)),
    ("a gain, but the reserve brings none", replace(BIG, luck=0.01), (0.0, 0.2, 0.5, 0.0, 0.0)),
)
POWER: tuple[tuple[Detectors, float], ...] = (
    (replace(BIG, luck=0.01), 0.15),
    (replace(BIG, luck=0.03), 0.25),
    (replace(BIG, each=1, calibrate=200), 0.3),
    (replace(BIG, each=4, calibrate=100, test=200), 0.25),
)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=2000, help="made-up trials for each row; fewer where little hangs on it"
    )
    parser.add_argument("--draws", type=int, default=120, help="of the patients, in each trial")
    parser.add_argument("--first-seed", type=int, default=0, help="run i has the seed first-seed + i")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def main() -> None:
    """Runs all rows, prints them, and writes JSON."""
    options = arguments()
    started = time.process_time()
    runs, draws, seed = options.runs, options.draws, options.first_seed
    rows: dict[str, list[dict[str, Any]]] = {"coverage": [], "power": [], "rule": []}
    for detectors, gain in COVERAGE:
        rows["coverage"].append(coverage(detectors, gain, runs, draws, seed))
        print(rows["coverage"][-1], flush=True)
    for detectors, gain in POWER:
        rows["power"].append(power(detectors, gain, max(runs // 2, 1), draws, seed))
        print(rows["power"][-1], flush=True)
    for name, detectors, gains in RULES:
        few = runs if "error" in name else max(runs // 5, 1)
        rows["rule"].append(rule(name, detectors, gains, few, draws, seed))
        print(rows["rule"][-1], flush=True)
    write_simulation(
        options.out,
        started,
        runs=runs,
        draws=draws,
        first_seed=seed,
        pairs=PAIRS,
        false_alarm_rate=RATE,
        margin=MARGIN,
        model={name: value for name, value in vars(PLAIN).items() if name in {"shift", "patient", "arm", "detector"}},
        **rows,
    )


if __name__ == "__main__":
    main()
