"""Can a classifier distinguish the synthetic images from scans of new patients?

The claims `fidelity.c2st_features`, `fidelity.c2st_pixels` and `fidelity.c2st_native`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.audit.compared import Images, Reals
from scansynth.audit.context import Context
from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, not_assessable, sensible
from scansynth.console import Progress, silent
from scansynth.data.permission import permission
from scansynth.data.tensors import to_signed, to_stored
from scansynth.metrics import planted
from scansynth.metrics.c2st import SMALLEST_SIDE, Trial, by_features, by_network
from scansynth.metrics.native import at_native_size
from scansynth.metrics.telltales import as_readers_see
from scansynth.statistics import Interval, Verdict, group_masks

FEATURES, PIXELS, NATIVE = "fidelity.c2st_features", "fidelity.c2st_pixels", "fidelity.c2st_native"
BY_FEATURES, BY_PIXELS = (FEATURES,), (PIXELS, NATIVE)

MARGIN = 0.6
"""AUC 0.6: the classifier picks the synthetic image of a pair six times in ten."""

LEAST = 20
"""Minimum number of patients for a classifier to learn from."""

NEEDED = 0.8
"""Share of the draws in which a planted fault must be found."""

MADE = "synthetic images"
BLUR, NOISE, KNOWN = "blur", "noise", "trainings that ended when nothing more was gained"
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
        slight: Of each slight fault, whose figure is told and which decides nothing.
    """

    figure: int
    floor: int
    control: int
    most: int
    slight: int = 0


EFFORT: Mapping[str, Effort] = {
    FEATURES: Effort(figure=20, floor=40, control=20, most=500),
    PIXELS: Effort(figure=4, floor=6, control=5, most=500, slight=1),
    NATIVE: Effort(figure=4, floor=6, control=5, most=500, slight=1),
}


def answer_by_features(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The logistic model by each judge."""
    few = _few(context)
    if few:
        return tuple(Finding(not_assessable(FEATURES, *few)).by(view.judge) for view in context.views)
    return tuple(_by_judges(context, lambda done: progress(done, len(context.views))))


def answer_by_pixels(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The network; at the native size too where images were enlarged. Nothing is asked of the judges."""
    native = native_side(context.real, context.synthetic.shape[-1])
    asked = [name for name in BY_PIXELS if name != NATIVE or native]
    few = _few(context)
    if few:
        return tuple(Finding(not_assessable(name, *few)) for name in asked)
    findings = []
    for place, name in enumerate(asked):

        def tell(done: int, total: int, note: str = "", start: int = 1000 * place) -> None:
            progress(start + 1000 * done // total, 1000 * len(asked), note)

        findings.append(_by_pixels(context, name, native if name == NATIVE else 0, tell))
    return tuple(findings)


def _few(context: Context) -> tuple[str, Mapping[str, int]] | None:
    """Why there are too few patients, and the numbers; none where there are enough."""
    patients = context.real.patient_count
    if patients >= LEAST:
        return None
    why = f"There are {patients} test patients; a classifier needs at least {LEAST} to learn anything."
    return why, {MADE: len(context.synthetic), "real patients": patients}


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
    noise, screen = context.rng("slight faults", name), context.rng("what readers see", name)
    slight = {
        "noise of 1%": planted.noise(real, 0.01, noise),
        "blur of 0.35 pixels": planted.blur(real, 0.35),
        "fine detail 2% weaker": planted.finer(real, 0.02),
        "grey values in 256 steps": planted.eight_bits(real),
    }
    return assess(
        name,
        _shown(made, screen),
        _shown(real, screen),
        context.real.patients,
        {BLUR: _shown(planted.blur(real, 0.7), screen)},
        partial(_network, permission("", context.compared.view).axes),
        context.settings.level,
        context.rng("classifier", name),
        progress,
        {fault: _shown(images, screen) for fault, images in slight.items()},
    )


def _shown(images: Images, rng: np.random.Generator) -> Images:
    """As readers see them: how the values were stored is asked by `telltales.pixels`, and must not decide here."""
    return to_signed(as_readers_see(to_stored(images), rng))


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
    slight: Mapping[str, NDArray[Any]] = MappingProxyType({}),
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
        slight: As `spoiled`; how well these are told is stated, and decides nothing.
    """
    members = [np.flatnonzero(mask) for mask in group_masks(patients)]
    tried = _try(EFFORT[name], synthetic, real, members, spoiled, slight, tell, rng, progress)
    n = {MADE: len(synthetic), "real images": len(real), "real patients": len(members)}
    return _finding(name, tried, n, level)


@dataclass(frozen=True)
class _Tried:
    """All folds of one claim: images on each side of the figure; of the figure, of the floor, by fault, slight too."""

    size: int
    figure: list[Trial]
    floor: list[Trial]
    faults: Mapping[str, list[Trial]]
    slight: Mapping[str, list[Trial]]


def _try(
    effort: Effort,
    synthetic: NDArray[Any],
    real: NDArray[Any],
    members: list[Places],
    spoiled: Mapping[str, NDArray[Any]],
    slight: Mapping[str, NDArray[Any]],
    tell: Tell,
    rng: np.random.Generator,
    progress: Progress,
) -> _Tried:
    """Trains and evaluates all classifiers of one claim; `members` are the places of each patient's images."""
    size, half = min(len(members), len(synthetic), effort.most), min(len(members) // 2, effort.most)
    total, done = effort.figure + effort.floor + effort.control * len(spoiled), 0
    total += effort.slight * len(slight)

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
    told = {fault: [against_half(poor) for _ in range(effort.slight)] for fault, poor in slight.items()}
    return _Tried(size, figure, floor, faults, told)


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
    told = {fault: float(_aucs(trials).mean()) for fault, trials in tried.slight.items() if trials}
    if name != FEATURES:
        picture |= {"steps": [trial.steps for trial in tried.figure], "slight": told, "seen_from": bar}
    return Finding(_claim(name, measured, _power(told, bar, n["real patients"])), picture)


def _power(told: Mapping[str, float], bar: float, patients: int) -> str:
    """Which slight faults this judge sees with this many patients, with the AUC of each."""
    seen = [f"{fault} ({sensible(auc)})" for fault, auc in told.items() if auc > bar]
    missed = [f"{fault} ({sensible(auc)})" for fault, auc in told.items() if auc <= bar]
    parts = [f"it sees {', '.join(seen)}"] if seen else []
    parts += [f"it does not see {', '.join(missed)}"] if missed else []
    return f" Planted in real images of {patients} patients, {'; '.join(parts)} (AUC)." if parts else ""


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


def _claim(name: str, measured: Measurement, power: str) -> Claim:
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
            Verdict.SHOWN: f"{start} So it can hardly distinguish them.{power}",
            Verdict.REFUTED: f"{start} So the set can be distinguished from real patients.{power}",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients or synthetic images would "
            f"help.{power}",
        },
    )
