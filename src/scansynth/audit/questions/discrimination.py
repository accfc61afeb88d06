"""Can a classifier distinguish the synthetic images from scans of new patients?

The claims `fidelity.c2st_features`, `fidelity.c2st_pixels` and `fidelity.c2st_native`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.audit.compared import Images, Reals
from scansynth.audit.context import Context
from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, not_assessable, sensible
from scansynth.console import Progress, silent
from scansynth.data.transforms import permission
from scansynth.metrics import planted
from scansynth.metrics.c2st import SMALLEST_SIDE, Trial, by_features, by_network
from scansynth.metrics.native import at_native_size
from scansynth.statistics import Interval, Verdict, group_masks

FEATURES, PIXELS, NATIVE = CLAIMS = ("fidelity.c2st_features", "fidelity.c2st_pixels", "fidelity.c2st_native")

MARGIN = 0.6
"""AUC 0.6: the classifier picks the synthetic image of a pair six times in ten."""

LEAST = 20
"""Minimum number of patients for a classifier to learn from."""

NEEDED = 0.8
"""Share of the draws in which a planted fault must be found."""

MADE = "synthetic images"
BLUR, NOISE, KNOWN = "blur", "noise", "images that the network learned from"
_FLOOR = "two random halves of the test patients, one image of each patient, half as many as the figure uses"

Tell = Callable[[NDArray[Any], NDArray[Any], np.random.Generator], Trial]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Effort:
    """How often a classifier is trained, and on how many images.

    Attributes:
        figure: Draws behind the figure.
        floor: Behind the floor.
        control: Of each planted fault.
        most: Images on a side.
    """

    figure: int
    floor: int
    control: int
    most: int


EFFORT: Mapping[str, Effort] = {
    FEATURES: Effort(figure=20, floor=100, control=40, most=500),
    PIXELS: Effort(figure=6, floor=10, control=10, most=128),
    NATIVE: Effort(figure=6, floor=10, control=10, most=128),
}


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The logistic model by each judge, then the network; at the native size where images were enlarged."""
    native = native_side(context.real, context.synthetic.shape[-1])
    asked = [name for name in (PIXELS, NATIVE) if name != NATIVE or native]
    patients = context.real.patient_count
    if patients < LEAST:
        why = f"There are {patients} test patients; a classifier needs at least {LEAST} to learn anything."
        n = {MADE: len(context.synthetic), "real patients": patients}
        by_judge = [Finding(not_assessable(FEATURES, why, n)).by(view.judge) for view in context.views]
        return (*by_judge, *(Finding(not_assessable(name, why, n)) for name in asked))
    parts = len(context.views) + 10 * len(asked)
    findings = _by_judges(context, lambda done: progress(done, parts, "features"))
    for place, name in enumerate(asked):
        start = len(context.views) + 10 * place

        def tell(done: int, total: int, note: str = "", start: int = start) -> None:
            progress(100 * start + 1000 * done // total, 100 * parts, note)

        findings.append(_by_pixels(context, name, native if name == NATIVE else 0, tell))
    return tuple(findings)


def native_side(reals: Reals, size: int) -> int:
    """The median side in pixels at which the images were taken; 0 when not smaller than `size`, or not known."""
    known = [case.source_side for case in reals.cases if case.source_side]
    side = int(np.median(known)) if 2 * len(known) > len(reals.cases) else 0
    return side if SMALLEST_SIDE <= side < size else 0


def _by_judges(context: Context, tell: Callable[[int], None]) -> list[Finding]:
    images = context.real.images
    spoiled = {BLUR: planted.blur(images, 1.5), NOISE: planted.noise(images, 0.025, context.rng("classifier faults"))}
    findings = []
    for place, view in enumerate(context.views):
        tell(place)
        faults = {fault: view.encode(changed) for fault, changed in spoiled.items()}
        rng = context.rng("classifier", FEATURES)
        found = assess(
            FEATURES, view.synthetic, view.real, context.real.patients, faults, by_features, context.settings.level, rng
        )
        findings.append(found.by(view.judge))
    return findings


def _by_pixels(context: Context, name: str, side: int, progress: Progress) -> Finding:
    """The network's finding at a given side in pixels; 0: at the size of the images."""
    real, made = (at_native_size(x, side) if side else x for x in (context.real.images, context.synthetic))
    return assess(
        name,
        made,
        real,
        context.real.patients,
        {BLUR: planted.blur(real, 0.7)},
        partial(_network, permission("", context.compared.view).axes),
        context.settings.level,
        context.rng("classifier", name),
        progress,
    )


def _network(flips: tuple[int, ...], first: Images, second: Images, rng: np.random.Generator) -> Trial:
    return by_network(first, second, flips, rng)


def assess(
    name: str,
    synthetic: NDArray[Any],
    real: NDArray[Any],
    patients: NDArray[Any],
    spoiled: Mapping[str, NDArray[Any]],
    tell: Tell,
    level: float,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> Finding:
    """How well a classifier separates a set from test patients, by the rules in `docs/evidence.md`.

    Args:
        name: One of `CLAIMS`.
        synthetic: Images or features of the set (m, ...).
        real: Of the test images (n, ...).
        patients: Patient of each test image (n,); `LEAST` at least.
        spoiled: Of the spoiled test images (n, ...), by the fault's name.
        tell: Trains and evaluates the classifier.
        level: Of the interval.
        rng: Draws images, halves, and what the classifier needs.
        progress: Called after each draw.
    """
    members = [np.flatnonzero(mask) for mask in group_masks(patients)]
    tried = _try(EFFORT[name], synthetic, real, members, spoiled, tell, rng, progress)
    n = {MADE: len(synthetic), "real images": len(real), "real patients": len(members)}
    return _finding(name, tried, n, level)


@dataclass(frozen=True)
class _Tried:
    """All folds of one claim: images on each side of the figure; those of the figure, of the floor, and by fault."""

    size: int
    figure: list[Trial]
    floor: list[Trial]
    faults: Mapping[str, list[Trial]]


def _try(
    effort: Effort,
    synthetic: NDArray[Any],
    real: NDArray[Any],
    members: list[Places],
    spoiled: Mapping[str, NDArray[Any]],
    tell: Tell,
    rng: np.random.Generator,
    progress: Progress,
) -> _Tried:
    """Trains and evaluates all classifiers of one claim; `members` are the places of each patient's images."""
    size, half = min(len(members), len(synthetic), effort.most), min(len(members) // 2, effort.most)
    total, done = effort.figure + effort.floor + effort.control * len(spoiled), 0

    def tried(first: NDArray[Any], second: NDArray[Any]) -> Trial:
        nonlocal done
        progress(done, total, "training classifiers")
        done += 1
        return tell(first, second, rng)

    def against_half(other: NDArray[Any]) -> Trial:
        both = _one_each(members, 2 * half, rng)
        return tried(real[both[:half]], other[both[half:]])

    figure = [
        tried(real[_one_each(members, size, rng)], synthetic[rng.permutation(len(synthetic))[:size]])
        for _ in range(effort.figure)
    ]
    floor = [against_half(real) for _ in range(effort.floor)]
    faults = {fault: [against_half(poor) for _ in range(effort.control)] for fault, poor in spoiled.items()}
    return _Tried(size, figure, floor, faults)


def _one_each(members: list[Places], count: int, rng: np.random.Generator) -> Places:
    """One image of each of `count` patients, all drawn again."""
    chosen = rng.permutation(len(members))[:count]
    return np.array([rng.choice(members[patient]) for patient in chosen])


def _finding(name: str, tried: _Tried, n: Mapping[str, int], level: float) -> Finding:
    floor = _aucs(tried.floor)
    bar = max(MARGIN, float(np.quantile(floor, 0.95)))
    control = [
        Control(fault, float(np.mean(_aucs(trials) > bar)), NEEDED) for fault, trials in tried.faults.items()
    ]  # fmt: skip
    every = [*tried.figure, *tried.floor, *(trial for trials in tried.faults.values() for trial in trials)]
    if name != FEATURES:
        control.append(Control(KNOWN, float(np.mean([trial.learned for trial in every])), NEEDED))
    value = float(_aucs(tried.figure).mean())
    measured = Measurement(
        value=value,
        interval=_interval(value, tried.figure, tried.size, level),
        level=level,
        floor=floor_of(_FLOOR, floor),
        control=tuple(control),
        margin=MARGIN,
        n={**n, "images on each side": tried.size},
    )
    picture: dict[str, Any] = {
        "floor": floor.tolist(),
        "synthetic": _aucs(tried.figure).tolist(),
        "planted": _aucs(tried.faults[BLUR]).tolist(),
    }
    if name != FEATURES:
        picture["steps"] = [trial.steps for trial in tried.figure]
    return Finding(_claim(name, measured), picture)


def _aucs(trials: list[Trial]) -> NDArray[np.float64]:
    return np.array([trial.auc for trial in trials])


def _interval(value: float, trials: list[Trial], size: int, level: float) -> Interval:
    """That of a single draw around the mean of all: more draws do not make more patients.

    The gain from averaging is not counted; it stands in for the variance of training, which DeLong's variance leaves
    out. At least one image in `size` is assumed to be misclassified.
    """
    error = math.sqrt(float(np.mean([trial.variance for trial in trials])))
    half = max(float(stats.t.ppf(0.5 + level / 2.0, size - 1)) * error, 1.0 / size)
    return Interval(max(value - half, 0.0), min(value + half, 1.0))


_WHO = {
    FEATURES: "A simple classifier of features",
    PIXELS: "A neural network trained for the task",
    NATIVE: "A neural network trained for the task at the native size of the scans",
}


def _claim(name: str, measured: Measurement) -> Claim:
    interval = measured.interval
    start = (
        f"{_WHO[name]} picks the synthetic image of a real and synthetic pair with probability "
        f"{sensible(measured.value)} ({measured.level:.0%} interval {sensible(interval.low)} to "
        f"{sensible(interval.high)}; AUC, where guessing gives 0.5). The margin is {sensible(measured.margin)}."
    )
    return decide(
        name,
        measured,
        {
            Verdict.SHOWN: f"{start} So it can hardly distinguish them.",
            Verdict.REFUTED: f"{start} So the set can be distinguished from real patients.",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients or synthetic images would help.",
        },
    )
