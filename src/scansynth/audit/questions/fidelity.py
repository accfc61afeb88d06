"""Do the synthetic images look like scans of new patients? The claim `fidelity.kid`, by each judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.context import Context
from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, sensible
from scansynth.console import Progress
from scansynth.metrics import planted as faults
from scansynth.metrics.kid import different, polynomial_kernel, subset_kid
from scansynth.statistics import Mask, Verdict, blocks, group_masks, jackknife_interval, subsamples

NAME = "fidelity.kid"
CLAIMS = (NAME,)
NEEDED = 0.8
"""Share of the draws in which a planted fault must be found."""

Floats = NDArray[np.float64]


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """KID by each judge."""
    images, patients = context.real.images, context.real.patients
    spoiled = {"blur": faults.blur(images), "noise": faults.noise(images, 0.025, context.rng("faults"))}
    findings = []
    for place, view in enumerate(context.views):
        progress(place, len(context.views), view.judge)
        found = assess(
            view.synthetic,
            view.real,
            patients,
            context.halves,
            {fault: view.encode(changed) for fault, changed in spoiled.items()},
            context.settings.level,
            context.rng("subsets"),
        )
        findings.append(found.by(view.judge))
    return tuple(findings)


def assess(
    synthetic: Floats,
    real: Floats,
    patients: NDArray[Any],
    halves: Mask,
    planted: Mapping[str, Floats],
    level: float,
    rng: np.random.Generator,
) -> Finding:
    """KID of a set against test patients, by the rule in `docs/evidence.md`.

    Args:
        synthetic: Features of the set (m, d).
        real: Features of the test images (n, d).
        patients: Patient of each test image (n,).
        halves: First half of the patients in each draw (draws, n).
        planted: Features of the spoiled test images (n, d), by the fault's name.
        level: Of the interval.
        rng: Draws the synthetic subsets.
    """
    reals, fakes = len(real), len(synthetic)
    names = np.unique(patients, return_inverse=True)[1]
    groups = np.concatenate([names, np.arange(fakes) + names.max() + 1])
    pool = np.concatenate([real, synthetic])
    kernel, pairs = polynomial_kernel(pool, pool), different(groups)

    floor = subset_kid(kernel[:reals, :reals], pairs[:reals, :reals], halves, ~halves)
    margin = float(np.quantile(floor, 0.95))
    control, spoiled = [], {}
    for fault, features in planted.items():
        spoiled[fault] = _against_half(real, features, names, halves)
        control.append(Control(fault, float(np.mean(spoiled[fault] > margin)), NEEDED))

    value, interval = _jackknife(kernel, pairs, names, fakes, level)
    second = np.concatenate([subsamples(fakes, min(int(n), fakes), 1, rng) for n in (~halves).sum(axis=1)])
    drawn = subset_kid(kernel, pairs, _pad_right(halves, fakes), _pad_left(second, reals))

    measured = Measurement(
        value=value,
        interval=interval,
        level=level,
        floor=floor_of("two random halves of the test patients, each half as many as the figure uses", floor),
        control=tuple(control),
        margin=margin,
        n={"synthetic images": fakes, "real images": reals, "real patients": int(names.max()) + 1},
    )
    figures = {"floor": floor, "synthetic": drawn, **{_PICTURES.get(k, k): v for k, v in spoiled.items()}}
    return Finding(_claim(measured), {name: draws.tolist() for name, draws in figures.items()})


_PICTURES = {"blur": "blurred", "noise": "noisy"}


def _pad_right(mask: Mask, count: int) -> Mask:
    return np.pad(mask, ((0, 0), (0, count)))


def _pad_left(mask: Mask, count: int) -> Mask:
    return np.pad(mask, ((0, 0), (count, 0)))


def _against_half(real: Floats, spoiled: Floats, names: NDArray[Any], halves: Mask) -> Floats:
    """KID of the degraded second half against the first half, (draws,)."""
    pool, groups = np.concatenate([real, spoiled]), np.concatenate([names, names])
    first, second = _pad_right(halves, len(spoiled)), _pad_left(~halves, len(real))
    return subset_kid(polynomial_kernel(pool, pool), different(groups), first, second)


def _jackknife(kernel: Floats, pairs: Floats, names: NDArray[Any], fakes: int, level: float) -> tuple[float, Any]:
    """KID of everything and its interval: patients left out in turn, then blocks of synthetic images."""
    reals = len(names)
    all_reals = np.arange(len(kernel)) < reals
    one = group_masks(names)
    other = group_masks(blocks(fakes))
    without_patient = all_reals & ~_pad_right(one, fakes)
    without_block = ~all_reals & ~_pad_left(other, reals)
    value = float(subset_kid(kernel, pairs, all_reals[None], ~all_reals[None])[0])
    by_patient = subset_kid(kernel, pairs, without_patient, np.tile(~all_reals, (len(one), 1)))
    by_block = subset_kid(kernel, pairs, np.tile(all_reals, (len(other), 1)), without_block)
    return value, jackknife_interval(value, by_patient, by_block, level=level)


def _claim(measured: Measurement) -> Claim:
    interval, margin = measured.interval, sensible(measured.margin)
    span = f"{sensible(interval.low)} to {sensible(interval.high)}"
    start = (
        f"The difference between synthetic images and test patients is {sensible(measured.value)} "
        f"({measured.level:.0%} interval {span}). Two groups of real patients differ by up to {margin} by chance."
    )
    return decide(
        NAME,
        measured,
        {
            Verdict.SHOWN: f"{start} So the set is no further from real patients than they are from each other.",
            Verdict.REFUTED: f"{start} So the set can be distinguished from real patients.",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients would help.",
        },
    )
