"""The crossed logit: a check on the primary analysis by another model of the same answers.

logit P(called synthetic) = b0 + b1 x + a reader's caution + x (a reader's skill) + an image's own, where x is 1/2 for
synthetic and -1/2 for real images, and the last three are normal with mean 0. b1 is 0 when readers cannot tell. The
three standard deviations maximise the likelihood under Laplace's approximation; given them, b0 and b1 are the mode
together with all effects (as glmer of lme4 does with nAGQ = 0).

It decides nothing. statsmodels' Bayesian mixed model was tried first: on simulated studies its Laplace fit did not
converge, and its variational intervals held the truth too seldom where readers differed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from scansynth.reader.statistics.detection import FIRST_SYNTHETIC
from scansynth.reader.statistics.roc import Floats, Mask
from scansynth.statistics import Interval

MOST_STEPS = 60
SMALLEST, LARGEST = 1e-3, 6.0  # standard deviations on the logit scale that are tried
RUNAWAY = 12.0  # a logit beyond this means that answers and truth agree wholly: there is no estimate


@dataclass(frozen=True)
class Fit:
    """The fitted model.

    Attributes:
        converged: The search ended, and nothing ran away. If not, the figures mean nothing.
        slope: b1.
        error: Its standard error.
        freedom: R - 1: readers are the sample that is small.
        caution_sd: Between readers.
        skill_sd: Between readers, of b1.
        image_sd: Between images.
        note: What went wrong, or which spread came out as nothing.
    """

    converged: bool
    slope: float
    error: float
    freedom: int
    caution_sd: float
    skill_sd: float
    image_sd: float
    note: str

    def interval(self, level: float) -> Interval:
        """Of b1, with a t quantile."""
        half = float(stats.t.ppf((1.0 + level) / 2.0, self.freedom)) * self.error
        return Interval(self.slope - half, self.slope + half)

    def as_row(self, level: float) -> dict[str, Any]:
        """The fit as JSON holds it; no figure where it did not converge."""
        if not self.converged:
            return {"converged": False, "note": self.note}
        interval = self.interval(level)
        return {
            "converged": True,
            "note": self.note,
            "slope": self.slope,
            "interval": [interval.low, interval.high],
            "caution_sd": self.caution_sd,
            "skill_sd": self.skill_sd,
            "image_sd": self.image_sd,
        }


@dataclass(frozen=True)
class Mode:
    """The mode of coefficients and effects, given the three standard deviations.

    Attributes:
        slope: b1.
        error: From the inverse of the joint second derivative.
        criterion: Log likelihood by Laplace, to be made large.
        settled: Newton's method came to rest.
        largest: Largest logit.
    """

    slope: float
    error: float
    criterion: float
    settled: bool
    largest: float


def mode(called: Floats, synthetic: Mask, spreads: NDArray[Any]) -> Mode:
    """Penalised iteratively reweighted least squares; the images' block is diagonal and is eliminated.

    Args:
        called: 1 where a reader called an image synthetic, (R, C).
        synthetic: Class of each image, (C,).
        spreads: Standard deviations of caution, skill and image.
    """
    readers, images = called.shape
    x = np.where(synthetic, 0.5, -0.5)
    penalty = np.r_[0.0, 0.0, np.ones(2 * readers)]
    small, own = np.zeros(2 + 2 * readers), np.zeros(images)
    settled = False
    for _ in range(MOST_STEPS):
        caution, skill = spreads[0] * small[2 : 2 + readers], spreads[1] * small[2 + readers :]
        linear = small[0] + caution[:, None] + (small[1] + skill[:, None]) * x + spreads[2] * own
        chance = 1.0 / (1.0 + np.exp(-linear))
        weight = np.maximum(chance * (1.0 - chance), 1e-10)
        left = called - chance
        slope_small = _summed(left, x, spreads).sum(axis=1) - penalty * small
        slope_own = spreads[2] * left.sum(axis=0) - own
        cross = spreads[2] * _summed(weight, x, spreads)
        diagonal = 1.0 + spreads[2] ** 2 * weight.sum(axis=0)
        schur = _block(weight, x, spreads) + np.diag(penalty) - (cross / diagonal) @ cross.T
        step = np.linalg.solve(schur, slope_small - cross @ (slope_own / diagonal))
        step_own = (slope_own - cross.T @ step) / diagonal
        scale = min(1.0, 4.0 / max(float(np.abs(step).max()), float(np.abs(step_own).max()), 1e-12))
        small, own = small + scale * step, own + scale * step_own
        if scale == 1.0 and max(np.abs(step).max(), np.abs(step_own).max()) < 1e-9:
            settled = True
            break
    likelihood = float(np.sum(called * linear - np.logaddexp(0.0, linear)))
    quiet = float(small[2:] @ small[2:] + own @ own)
    logdet = float(np.linalg.slogdet(schur[2:, 2:])[1] + np.log(diagonal).sum())
    error = math.sqrt(float(np.linalg.inv(schur)[1, 1]))
    return Mode(float(small[1]), error, likelihood - quiet / 2.0 - logdet / 2.0, settled, float(np.abs(linear).max()))


def _summed(values: Floats, x: Floats, spreads: NDArray[Any]) -> Floats:
    """What the columns of the design (1, x, each reader's caution and skill) make of values, image by image.

    The design times the values (R, C), summed over readers: (2 + 2 R, C).
    """
    total = values.sum(axis=0)
    return np.concatenate([[total, x * total], spreads[0] * values, spreads[1] * x * values])


def _block(weight: Floats, x: Floats, spreads: NDArray[Any]) -> Floats:
    """The weighted products of the design's columns, (2 + 2 R, 2 + 2 R): readers meet only themselves."""
    readers = len(weight)
    moments = np.stack([weight.sum(axis=1), weight @ x, weight @ x**2])
    block = np.zeros((2 + 2 * readers, 2 + 2 * readers))
    total = moments.sum(axis=1)
    block[:2, :2] = [[total[0], total[1]], [total[1], total[2]]]
    first = np.arange(2, 2 + readers)
    second = first + readers
    block[:2, first] = spreads[0] * moments[:2]
    block[:2, second] = spreads[1] * moments[1:]
    block[first, :2], block[second, :2] = block[:2, first].T, block[:2, second].T
    block[first, first] = spreads[0] ** 2 * moments[0]
    block[second, second] = spreads[1] ** 2 * moments[2]
    block[first, second] = block[second, first] = spreads[0] * spreads[1] * moments[1]
    return block


def crossed_logit(answers: NDArray[np.int64], synthetic: Mask) -> Fit:
    """Fits the model.

    Args:
        answers: 1..6, (R, C), two readers at least.
        synthetic: Class of each image, (C,).
    """
    called = (answers >= FIRST_SYNTHETIC).astype(np.float64)
    if called.min() == called.max():
        return _failed("All answers are on one side of the scale.", len(answers))

    def cost(logs: Floats) -> float:
        return -mode(called, synthetic, np.exp(logs)).criterion

    bounds = [(math.log(SMALLEST), math.log(LARGEST))] * 3
    try:
        found = optimize.minimize(
            cost,
            np.log([0.5, 0.5, 0.5]),
            method="Nelder-Mead",
            bounds=bounds,
            options={"xatol": 1e-3, "fatol": 1e-5, "maxfev": 600},
        )
        spreads = np.exp(found.x)
        best = mode(called, synthetic, spreads)
    except np.linalg.LinAlgError:
        return _failed("The equations have no solution.", len(answers))
    if not found.success or not best.settled:
        return _failed("The search did not converge.", len(answers))
    if abs(best.slope) > RUNAWAY or best.largest > 4 * RUNAWAY:
        return _failed("Answers and truth agree completely, so the slope cannot be estimated.", len(answers))
    names = ("caution", "skill", "image")
    none = [name for name, spread in zip(names, spreads, strict=True) if spread < 10 * SMALLEST]
    note = f"No variance found for: {', '.join(none)}." if none else ""
    caution, skill, image = (float(spread) for spread in spreads)
    return Fit(True, best.slope, best.error, len(answers) - 1, caution, skill, image, note)


def _failed(note: str, readers: int) -> Fit:
    nothing = math.nan
    return Fit(False, nothing, nothing, readers - 1, nothing, nothing, nothing, note)
