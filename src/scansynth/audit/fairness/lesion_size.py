"""Are the smallest or the largest lesions missing? The claim `fairness.lesion_size`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.audit.fairness.shares import counts
from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, not_assessable, percent
from scansynth.metrics.attributes import (
    GroupPredictor,
    ShareMeter,
    SizePredictor,
    learn_groups,
    learn_size,
    shares_below,
)
from scansynth.statistics import Interval, Mask, Verdict

NAME = "fairness.lesion_size"
TAIL = 1.0 / 3.0
MARGIN = 0.2 * TAIL
"""A third of the lesions may lose a fifth of its share: the factor of 1.25 of `fairness.share`."""

LEAST_R2 = 0.3
LEAST_IN_TAIL = 10
"""Patients in a third, and outside of it: two for each fold."""

CONTROL_DRAWS = 50
NEEDED = 0.8
QUANTILES = (0.1, 0.5, 0.9)
SMALLEST, LARGEST = "smallest", "largest"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """Lesion sizes of the training patients, and the predictors trained on them.

    Attributes:
        size: Predicts the logarithm of a size.
        low: Separates the smallest third (group 0) from the others (group 1).
        high: Separates the largest third (group 0) from the others (group 1).
        cuts: Sizes at which the smallest third ends and the largest begins.
    """

    size: SizePredictor
    low: GroupPredictor
    high: GroupPredictor
    cuts: tuple[float, float]


def too_few_tails(sizes: Floats, patients: NDArray[Any]) -> bool:
    """Whether a third, or what is left of it, holds fewer than `LEAST_IN_TAIL` patients: sizes may be tied."""
    low, high = np.quantile(sizes, (TAIL, 1.0 - TAIL))
    parts = [part for own in (sizes <= low, sizes >= high) for part in (own, ~own)]
    return min(len(np.unique(patients[part])) for part in parts) < LEAST_IN_TAIL


def learn(features: Floats, sizes: Floats, patients: NDArray[Any], seed: int) -> Sizes:
    """Trains on the images whose lesion size is stated.

    Args:
        features: At scale (n, d).
        sizes: (n,), of more than three values.
        patients: Patient of each (n,).
        seed: Of the folds.
    """
    low, high = (float(cut) for cut in np.quantile(sizes, (TAIL, 1.0 - TAIL)))
    small, large = (
        learn_groups(features, (~own).astype(np.int64), patients, seed) for own in (sizes <= low, sizes >= high)
    )
    return Sizes(learn_size(features, sizes, patients), small, large, (low, high))


@dataclass(frozen=True)
class Said:
    """Predictions for images.

    Attributes:
        size: Logarithm of the size, by each model (folds, n).
        low: Probability of the smallest third and of the others (n, 2).
        high: Probability of the largest third and of the others (n, 2).
    """

    size: Floats
    low: Floats
    high: Floats

    def at(self, places: NDArray[np.int64]) -> Said:
        """A subset of the images; repeats are allowed."""
        return Said(self.size[:, places], self.low[places], self.high[places])


def say(sizes: Sizes, features: Floats) -> Said:
    """Predictions for new images (n, d)."""
    return Said(sizes.size(features), sizes.low(features), sizes.high(features))


class _Tails:
    """Measures how much a set lacks of the smallest and the largest third."""

    def __init__(self, sizes: Sizes, level: float) -> None:
        self._meters = (ShareMeter(sizes.low), ShareMeter(sizes.high))
        self.real = np.array([float((tail.truth == 0).mean()) for tail in (sizes.low, sizes.high)])
        patients = len(np.unique(sizes.low.patients))
        self._z = float(stats.t.ppf(1.0 - (1.0 - level) / 4.0, patients - 1))

    def shares(self, said: Said) -> tuple[Floats, Floats]:
        """Share of each third in a set, and half the width of its interval; both (2,)."""
        found = [meter(one) for meter, one in zip(self._meters, (said.low, said.high), strict=True)]
        return np.array([one.value[0] for one in found]), self._z * np.array([one.error[0] for one in found])

    def shortfall(self, said: Said) -> tuple[float, Interval]:
        """The larger of both shortfalls, with an interval that holds for both at once."""
        value, half = self.shares(said)
        lacks = self.real - value
        return float(lacks.max()), Interval(float((lacks - half).max()), float((lacks + half).max()))


def assess(
    sizes: Sizes,
    synthetic: Said,
    test: Said,
    test_sizes: Floats,
    halves: Mask,
    level: float,
    rng: np.random.Generator,
) -> Finding:
    """Sizes of the lesions, by the rule in `docs/evidence.md`.

    Args:
        sizes: Learned from the training images.
        synthetic: What is said of the set (m images).
        test: The same of the test images whose size is stated (t images).
        test_sizes: True sizes of those (t,).
        halves: First half of the test patients in each draw (draws, t).
        level: Of both intervals together.
        rng: Draws the planted sets.
    """
    count = len(synthetic.low)
    n = counts(count, sizes.low)
    pictures = _pictures(sizes.size, synthetic.size, test.size)
    if sizes.size.r2 < LEAST_R2:
        why = (
            f"The size of a lesion can hardly be predicted from the image here: R² is "
            f"{percent(max(sizes.size.r2, 0.0))} and {percent(LEAST_R2)} is needed."
        )
        return Finding(not_assessable(NAME, why, n), pictures)
    tails = _Tails(sizes, level)
    figure, interval = tails.shortfall(synthetic)
    drawn = [test.at(rng.choice(np.flatnonzero(half), count)) for half in halves if half.any()]
    measured = Measurement(
        value=figure,
        interval=interval,
        level=level,
        floor=floor_of("images of half of the test patients", np.array([tails.shortfall(said)[0] for said in drawn])),
        control=_planted(sizes, tails, test, test_sizes, count, rng),
        margin=MARGIN,
        n=n,
    )
    shares, half = tails.shares(synthetic)
    pictures["tails"] = [
        _row(name, *figures) for name, *figures in zip((SMALLEST, LARGEST), tails.real, shares, half, strict=True)
    ]
    return Finding(_claim(measured, shares, pictures), pictures)


def _row(name: str, real: float, share: float, half: float) -> dict[str, Any]:
    """A tail for the report."""
    ends = [round(max(float(share + side * half), 0.0), 4) for side in (-1.0, 1.0)]
    return {"tail": f"{name} third", "real": round(float(real), 4), "set": round(float(share), 4), "interval": ends}


def _planted(
    sizes: Sizes, tails: _Tails, test: Said, truth: Floats, count: int, rng: np.random.Generator
) -> tuple[Control, ...]:
    """The share of real sets lacking the smallest or the largest third that would be refuted."""
    found = []
    for name, left in ((SMALLEST, truth > sizes.cuts[0]), (LARGEST, truth < sizes.cuts[1])):
        kept = np.flatnonzero(left)
        drawn = [test.at(rng.choice(kept, count)) for _ in range(CONTROL_DRAWS)] if len(kept) else []
        share = float(np.mean([tails.shortfall(said)[1].low > MARGIN for said in drawn])) if drawn else 0.0
        found.append(Control(f"the {name} third of the lesions left out", share, NEEDED))
    return tuple(found)


def _pictures(predictor: SizePredictor, synthetic: Floats, test: Floats) -> dict[str, Any]:
    """Predicted sizes, in the unit of the column: their quantiles, and the largest difference of the distributions."""
    made, real, new = np.exp(synthetic).ravel(), np.exp(predictor.unseen), np.exp(test).ravel()
    cuts = np.unique(np.concatenate([predictor.unseen, np.quantile(synthetic, np.linspace(0.0, 1.0, 400))]))
    gap = np.abs(shares_below([synthetic], cuts) - shares_below([predictor.unseen], cuts))
    low, high = np.quantile(predictor.unseen, (QUANTILES[0], QUANTILES[-1]))
    ends = np.quantile(np.concatenate([made, real]), (0.005, 0.995))
    edges = np.linspace(float(ends[0]), float(ends[1]), 25)

    def shares(values: Floats) -> list[float]:
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        return [round(float(count / len(values)), 5) for count in counts]

    return {
        "r2": round(predictor.r2, 3),
        "ks": round(float(gap.max()), 4),
        "beyond": {
            "the real 10% quantile": round(float((synthetic <= low).mean()), 4),
            "the real 90% quantile": round(float((synthetic >= high).mean()), 4),
        },
        "quantiles": {
            name: [round(float(q), 3) for q in np.quantile(values, QUANTILES)]
            for name, values in (("synthetic", made), ("training", real), ("test", new))
        },
        "edges": [round(float(edge), 3) for edge in edges],
        "synthetic": shares(made),
        "real": shares(real),
    }


def _claim(measured: Measurement, shares: Floats, pictures: Mapping[str, Any]) -> Claim:
    interval, median = measured.interval, [pictures["quantiles"][name][1] for name in ("synthetic", "training")]
    start = (
        f"Of the set, {percent(float(shares[0]))} show a lesion as small as the smallest third of the training images, "
        f"and {percent(float(shares[1]))} one as large as the largest third. The larger shortfall is "
        f"{_signed(measured.value)} of the set ({measured.level:.0%} interval for both {_signed(interval.low)} to "
        f"{_signed(interval.high)}); {percent(MARGIN)} is the margin. The predicted median size is "
        f"{median[0]:.3g}, and {median[1]:.3g} among training patients."
    )
    return decide(
        NAME,
        measured,
        {
            Verdict.SHOWN: f"{start} So small and large lesions appear as often as they should.",
            Verdict.REFUTED: f"{start} So lesions of some sizes are missing.",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more synthetic images or training "
            "patients would help.",
        },
    )


def _signed(value: float) -> str:
    return percent(value) if value >= 0 else f"-{percent(-value)}"
