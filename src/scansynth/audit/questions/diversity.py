"""Do the synthetic images vary as real patients do? `diversity.pair_distance` and `diversity.near_pairs`.

`diversity.nearest` and `diversity.vendi`, of the same question, are in `worth`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.context import Context, View
from scansynth.audit.questions import worth
from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, sensible
from scansynth.console import Progress
from scansynth.metrics import planted as faults
from scansynth.metrics.diversity import distances, pair_distances, subset_pair_distances
from scansynth.statistics import Interval, Mask, Verdict, blocks, group_masks, jackknife_interval

SHARES: Mapping[str, float] = {"diversity.pair_distance": 0.5, "diversity.near_pairs": 0.05}
"""Each claim's quantile of the pair distances."""

CLAIMS = (*SHARES, *worth.CLAIMS)

NEEDED = 0.8
"""Share of the draws in which a planted fault must be found."""

CONTROL_DRAWS = 10
CONTROL_IMAGES = 64

_FLOOR = "two random halves of the test patients, each half as many as the figure uses"
_LEAST = 1e-9  # keeps the logarithm of a set of one repeated image finite

Floats = NDArray[np.float64]


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """Pair distances, nearest neighbours and Vendi score by each judge."""
    images, patients = context.real.images, context.real.patients
    repeats, calm = faults.noise(images, 0.01, context.rng("repeats")), faults.halfway_to_mean(images)
    draws, level = context.settings.draws, context.settings.level
    findings: list[Finding] = []
    for place, view in enumerate(context.views):
        progress(2 * place, 2 * len(context.views), view.judge)
        poor = _poor_sets(context, view)
        found = [*assess(view.synthetic, view.real, patients, context.halves, poor, level)]
        progress(2 * place + 1, 2 * len(context.views), view.judge)
        spoiled = worth.Spoiled(view.encode(repeats), view.encode(calm))
        nearest, vendi = worth.assess(
            view.synthetic, view.real, patients, spoiled, draws, level, context.rng("different images")
        )
        value = worth.worth(view.synthetic, view.real, patients, context.rng("worth"))
        # structural similarity does not depend on a judge, and is reported once
        alike = {} if place else worth.structure(context.synthetic, images, patients, context.rng("structure"))
        findings += [finding.by(view.judge) for finding in (*found, nearest, worth.attach(vendi, value, alike))]
    return tuple(findings)


def _poor_sets(context: Context, view: View) -> Mapping[str, Mapping[str, Sequence[Floats]]]:
    """Features of sets without variety, made from the second half of each of the first draws."""
    images, patients, rng = context.real.images, context.real.patients, context.rng("few")
    one: list[Floats] = []
    eight: list[Floats] = []
    calm: list[Floats] = []
    for half in context.halves[:CONTROL_DRAWS]:
        places = rng.permutation(np.flatnonzero(~half))
        # one image of each patient
        places = places[np.unique(patients[places], return_index=True)[1]]
        chosen = images[rng.permutation(places)[:CONTROL_IMAGES]]
        one.append(view.encode(faults.few_images(chosen, 1, CONTROL_IMAGES, rng)))
        eight.append(view.encode(faults.few_images(chosen, 8, CONTROL_IMAGES, rng)))
        calm.append(view.encode(faults.halfway_to_mean(chosen)))
    return {
        "diversity.pair_distance": {"one image": one, "half the variation": calm},
        "diversity.near_pairs": {"eight images": eight},
    }


def assess(
    synthetic: Floats,
    real: Floats,
    patients: NDArray[Any],
    halves: Mask,
    planted: Mapping[str, Mapping[str, Sequence[Floats]]],
    level: float,
) -> tuple[Finding, ...]:
    """Pair distances of a set against those of test patients, by the rules in `docs/evidence.md`.

    Args:
        synthetic: Features of the set (m, d).
        real: Features of the test images (n, d).
        patients: Patient of each test image (n,).
        halves: First half of the patients in each draw (draws, n).
        planted: By claim and fault, features of spoiled sets: the i-th was made of the second half of draw i.
        level: Of the intervals.
    """
    shares = tuple(SHARES.values())
    of_set, of_reals = distances(synthetic), distances(real)
    everything = np.ones((1, len(real)), dtype=np.bool_)
    first = _logs(subset_pair_distances(of_reals, halves, shares, patients))
    floor = first - _logs(subset_pair_distances(of_reals, ~halves, shares, patients))
    whole_set = _logs(subset_pair_distances(of_set, np.ones((1, len(synthetic)), dtype=np.bool_), shares))[0]
    whole_reals = _logs(subset_pair_distances(of_reals, everything, shares, patients))[0]
    left_out_set = _logs(subset_pair_distances(of_set, ~group_masks(blocks(len(synthetic))), shares))
    left_out_reals = _logs(subset_pair_distances(of_reals, ~group_masks(patients), shares, patients))

    pictures = {"synthetic": _thin(pair_distances(of_set)), "real": _thin(pair_distances(of_reals, patients))}
    n = {"synthetic images": len(synthetic), "real images": len(real), "real patients": len(np.unique(patients))}
    findings = []
    for place, (name, share) in enumerate(SHARES.items()):
        margin = float(np.exp(np.quantile(floor[:, place], 0.05)))
        logs = jackknife_interval(
            float(whole_set[place] - whole_reals[place]), left_out_set[:, place], -left_out_reals[:, place], level=level
        )
        measured = Measurement(
            value=float(np.exp(whole_set[place] - whole_reals[place])),
            interval=Interval(float(np.exp(max(logs.low, -50.0))), float(np.exp(min(logs.high, 50.0)))),
            level=level,
            floor=floor_of(_FLOOR, np.exp(floor[:, place])),
            control=_controls(planted[name], first[:, place], share, margin),
            margin=margin,
            n=n,
        )
        findings.append(Finding(_claim(name, measured), pictures if place == 0 else {}))
    return tuple(findings)


def _logs(values: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(values, _LEAST))
    return logs


def _thin(values: Floats, largest: int = 2000) -> list[float]:
    """Evenly spaced order statistics: enough for a chart."""
    ordered = np.sort(values)
    places = np.linspace(0, len(ordered) - 1, min(len(ordered), largest)).round().astype(int)
    return [round(float(value), 5) for value in ordered[places]]


def _controls(
    planted: Mapping[str, Sequence[Floats]], first: Floats, share: float, margin: float
) -> tuple[Control, ...]:
    """How often each planted fault falls below the margin, measured against the first half of its draw."""
    controls = []
    for fault, sets in planted.items():
        found = []
        for features, reference in zip(sets, first, strict=False):
            whole = np.ones((1, len(features)), dtype=np.bool_)
            log = _logs(subset_pair_distances(distances(features), whole, (share,)))[0, 0]
            found.append(np.exp(log - reference) < margin)
        controls.append(Control(fault, float(np.mean(found)), NEEDED))
    return tuple(controls)


def _claim(name: str, measured: Measurement) -> Claim:
    what = {
        "diversity.pair_distance": "The typical difference between two synthetic images",
        "diversity.near_pairs": "The difference between the most similar synthetic images (5% of the pairs)",
    }[name]
    interval = measured.interval
    start = (
        f"{what} is {sensible(measured.value)} times that between real patients "
        f"({measured.level:.0%} interval {sensible(interval.low)} to {sensible(interval.high)}). "
        f"Between two groups of real patients it falls to {sensible(measured.margin)} by chance."
    )
    return decide(
        name,
        measured,
        {
            Verdict.SHOWN: f"{start} So the set is as varied as real patients, by this measure.",
            Verdict.REFUTED: f"{start} So the set is less varied than real patients.",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients would help.",
        },
    )
