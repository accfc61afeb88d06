"""How many distinct images does the set hold? `diversity.nearest`, `diversity.vendi` and the effective sample size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.audit.questions.coverage import draw_images, draw_parts, half_size, take
from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, sensible
from scansynth.metrics.diversity import (
    distances,
    gaussian_similarity,
    independent_images,
    nearest_distances,
    vendi_scores,
)
from scansynth.metrics.structure import SMALLEST, pair_similarity, random_pairs
from scansynth.statistics import Interval, Verdict

NEAREST, VENDI = CLAIMS = ("diversity.nearest", "diversity.vendi")
REPEATED, EIGHT, CALM = "one image in three a repeat", "eight images", "half the variation"
FAULTS: Mapping[str, tuple[str, ...]] = {NEAREST: (REPEATED,), VENDI: (EIGHT, CALM)}
"""What each claim must find."""

NEEDED = 0.8
"""Share of the draws in which a planted fault must be found."""

CONTROL_DRAWS = 50
ORDERS = 10
PAIRS = 100
_LARGEST = 500  # images on a side of the worth: eigenvalues cost their cube
_LEAST = 1e-9  # keeps the logarithm of a set of one repeated image finite
_FLOOR = "two random halves of the test patients, one image of each patient"

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Spoiled:
    """Features of test images with slight noise, and with half the variation, (n, d) each."""

    repeats: Floats
    calm: Floats


def bandwidth(real: Floats, patients: NDArray[Any]) -> float:
    """The distance at which two images count as distinct.

    The median distance of a test image to the nearest one of another patient; the set does not enter.
    """
    return max(float(np.median(nearest_distances(distances(real), patients))), _LEAST)


def assess(
    synthetic: Floats,
    real: Floats,
    patients: NDArray[Any],
    spoiled: Spoiled,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[Finding, ...]:
    """Both figures of a set against test patients at equal numbers, by the rules in `docs/evidence.md`.

    Args:
        synthetic: Features of the set (m, d); m >= 4.
        real: Features of the test images (n, d); four patients at least.
        patients: Patient of each test image (n,).
        spoiled: Features of which planted sets are made.
        draws: Number of random splits of the patients into halves.
        level: Of the intervals.
        rng: Draws halves, images and parts of the set.
    """
    size = half_size(patients, len(synthetic))
    width = bandwidth(real, patients)
    images = draw_images(patients, size, (draws, 1), rng)[:, 0]
    of_real, of_set = distances(real), distances(synthetic)
    halves = np.stack([_logs(take(of_real, draw, draw), width) for draw in images])
    parts = np.stack([_logs(take(of_set, draw, draw), width) for draw in draw_parts(len(synthetic), size, draws, rng)])
    poor = [_poor_sets(real, spoiled, half) for half in images[:CONTROL_DRAWS, 1]]
    planted = {
        fault: np.stack([_logs(distances(sets[fault]), width) for sets in poor]) - halves[: len(poor), 0]
        for fault in (REPEATED, EIGHT, CALM)
    }
    n = {"synthetic images": len(synthetic), "real images": len(real), "real patients": len(np.unique(patients))}
    return tuple(
        _finding(name, size, (halves[..., i], parts[..., i]), {f: planted[f][:, i] for f in FAULTS[name]}, n, level)
        for i, name in enumerate(CLAIMS)
    )


def _logs(matrix: Floats, width: float) -> Floats:
    """Logarithms of the median nearest distance and of the Vendi score, (..., 2), from distances within sets."""
    nearest = (matrix + np.diag(np.full(matrix.shape[-1], np.inf))).min(axis=-1)
    typical = np.maximum(np.median(nearest, axis=-1), _LEAST)
    return np.stack([np.log(typical), np.log(vendi_scores(gaussian_similarity(matrix, width)))], axis=-1)


def _poor_sets(real: Floats, spoiled: Spoiled, half: Places) -> dict[str, Floats]:
    """Sets without variety, of as many images as the half of the patients of which they are made."""
    size = len(half)
    twice = half[: round(size / 3)]
    once = half[: size - len(twice)]
    eight = half[:8]
    both = np.concatenate([real[eight], spoiled.repeats[eight]])
    return {
        REPEATED: np.concatenate([real[once], spoiled.repeats[twice]]),
        EIGHT: both[np.arange(size) % len(both)],
        CALM: spoiled.calm[half],
    }


def _finding(
    name: str,
    size: int,
    logs: tuple[Floats, Floats],
    planted: Mapping[str, Floats],
    n: Mapping[str, int],
    level: float,
) -> Finding:
    """One claim, from the logarithms of halves of the patients and of parts of the set, (draws, 2) each."""
    halves, parts = logs
    floor = halves[:, 1] - halves[:, 0]
    margin = float(np.exp(np.quantile(floor, 0.05)))
    log = float(parts.mean() - halves.mean())
    half = float(stats.t.ppf(0.5 + level / 2.0, 2 * size - 1)) * _error(halves, parts, size, n)
    measured = Measurement(
        value=math.exp(log),
        interval=Interval(math.exp(max(log - half, -50.0)), math.exp(min(log + half, 50.0))),
        level=level,
        floor=floor_of(_FLOOR, np.exp(floor)),
        control=tuple(Control(fault, float(np.mean(np.exp(d) < margin)), NEEDED) for fault, d in planted.items()),
        margin=margin,
        n=n,
    )
    figures = {
        "floor": np.exp(floor).tolist(),
        "synthetic": np.exp(parts.mean(axis=1) - halves.mean(axis=1)).tolist(),
        "planted": np.exp(next(iter(planted.values()))).tolist(),
    }
    return Finding(_claim(name, measured), figures)


def _error(halves: Floats, parts: Floats, size: int, n: Mapping[str, int]) -> float:
    """Standard error of the mean over all draws, from halves: the delete-half jackknife.

    Half of the squared difference of two halves is the variance of one half's figure; the mean over all halves that
    can be drawn varies by `size`/G of it at most (Hoeffding, Ann. Math. Stat. 19, 1948, theorem 5.2; Shao and Wu,
    Ann. Stat. 17, 1989). It does not vanish with more draws, and errs on the wide side.
    """
    of_patients = float(np.mean((halves[:, 0] - halves[:, 1]) ** 2)) / 2.0
    of_images = float(np.mean((parts[:, 0] - parts[:, 1]) ** 2)) / 2.0
    return math.sqrt(size * (of_patients / n["real patients"] + of_images / n["synthetic images"]))


def _claim(name: str, measured: Measurement) -> Claim:
    what = {
        NEAREST: "The typical distance of a synthetic image to its nearest neighbour in the set",
        VENDI: "The number of distinct images in the set (Vendi score)",
    }[name]
    interval = measured.interval
    start = (
        f"{what} is {sensible(measured.value)} times that of the same number of real patients ({measured.level:.0%} "
        f"interval {sensible(interval.low)} to {sensible(interval.high)}). "
        f"Between two groups of real patients it falls to {sensible(measured.margin)} by chance."
    )
    return decide(
        name,
        measured,
        {
            Verdict.SHOWN: f"{start} So the set is as varied as real patients, by this measure.",
            Verdict.REFUTED: f"{start} So the set repeats itself more than real patients do.",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients or synthetic images would help.",
        },
    )


@dataclass(frozen=True)
class Worth:
    """The effective sample size of a set.

    Attributes:
        images: Synthetic images that were examined.
        patients: Real patients of the reference; a result equal to it means: so many, or more.
        independent: Real images of different patients with the same Vendi score.
    """

    images: int
    patients: int
    independent: float

    @property
    def words(self) -> str:
        """The answer in a sentence."""
        more = "at least " if self.independent >= self.patients else "about "
        return (
            f"Effective sample size by the Vendi score: {self.images} synthetic images are worth {more}"
            f"{self.independent:.0f} images of different patients."
        )


def worth(synthetic: Floats, real: Floats, patients: NDArray[Any], rng: np.random.Generator) -> Worth:
    """The effective sample size of a set, with one image of each test patient as the reference.

    Args:
        synthetic: Features of the set (m, d).
        real: Features of the test images (n, d).
        patients: Patient of each test image (n,); two at least.
        rng: Draws images, patients and orders.
    """
    shuffled = rng.permutation(len(real))
    one_each = rng.permutation(shuffled[np.unique(patients[shuffled], return_index=True)[1]])[:_LARGEST]
    made = synthetic[rng.permutation(len(synthetic))[:_LARGEST]]
    width = bandwidth(real, patients)
    orders = np.array([rng.permutation(len(one_each)) for _ in range(ORDERS)])
    yardstick = gaussian_similarity(distances(real[one_each]), width)
    found = independent_images(gaussian_similarity(distances(made), width), yardstick, orders)
    return Worth(len(made), len(one_each), found)


def structure(
    synthetic: NDArray[np.float32], real: NDArray[np.float32], patients: NDArray[Any], rng: np.random.Generator
) -> Mapping[str, Any]:
    """MS-SSIM of random pairs of synthetic images, and of real images of different patients.

    Args:
        synthetic: (m, side, side) in [-1, 1].
        real: (n, side, side) in [-1, 1].
        patients: Patient of each real image (n,).
        rng: Draws the pairs.

    Returns:
        `synthetic` and `real`, lists of figures; or `not_available` with the reason.
    """
    if min(real.shape[1:]) < SMALLEST:
        return {"not_available": f"MS-SSIM needs at least {SMALLEST} pixels a side; these images have {real.shape[1]}."}
    found = {}
    for side, images, groups in (("synthetic", synthetic, np.arange(len(synthetic))), ("real", real, patients)):
        pairs = random_pairs(groups, PAIRS, rng)
        figures = pair_similarity(images[pairs[:, 0]], images[pairs[:, 1]])
        found[side] = [] if figures is None else figures.round(5).tolist()
    return found


def attach(finding: Finding, value: Worth, alike: Mapping[str, Any]) -> Finding:
    """The finding with effective sample size and structural similarity added; its verdict is unchanged.

    Where a control failed, the effective sample size is left out, since it rests on the same similarity.
    """
    figures, words = {**finding.figures, **({"structure": alike} if alike else {})}, ""
    if finding.claim.verdict is not Verdict.NOT_ASSESSABLE:
        figures["worth"] = {
            "images": value.images,
            "patients": value.patients,
            "independent": round(value.independent, 2),
        }
        words = f" {value.words}"
    if alike.get("synthetic") and alike.get("real"):
        words += (
            f" Two synthetic images have a structural similarity (MS-SSIM) of {np.mean(alike['synthetic']):.2f} on "
            f"average, images of two real patients {np.mean(alike['real']):.2f}."
        )
    return replace(finding, claim=replace(finding.claim, why=f"{finding.claim.why}{words}"), figures=figures)
