"""Processing traces that distinguish synthetic images from real ones: one claim, shared by two callers.

The audit asks it of a set, and the reader study of what readers would be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, sensible
from scansynth.metrics import probe as judge
from scansynth.metrics.roc import auc
from scansynth.seeds import derive_seed
from scansynth.statistics import Interval, Verdict, patient_halves

PIXELS, FILES = "telltales.pixels", "telltales.files"

MARGIN = 0.6
CHANCE = 0.01
"""Below this p a trace counts as found: one clean set in a hundred fails by chance."""

NEEDED = 0.9
"""AUC at which the planted trace counts as found."""

DRAWS = 20
TOLD = 3
"""Traces named in words, at most."""

AS_STORED = "as stored"
"""The figure of the images before they are brought to what readers see."""

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Sides:
    """One image or file of each real patient, and the synthetic ones, as columns of traces.

    Attributes:
        names: Of the columns.
        real: (n, d), one row a patient.
        synthetic: (m, d).
        control: Name of the planted trace, and the reals with it, (n, d).
        stored: Both before they were brought to one form, (n + m, d): told, and not judged. None: the same.
    """

    names: tuple[str, ...]
    real: Floats
    synthetic: Floats
    control: tuple[str, Floats]
    stored: Floats | None = None


def blocks_reader_export(claims: Iterable[Claim]) -> str | None:
    """Why a set must not be shown to readers, or None when it may.

    Files are never handed to readers, so `telltales.files` does not count. Where the claim could not be assessed,
    a blinded study cannot rely on it, so the set is held back too.

    Args:
        claims: Of the set's audit, or of several sets.
    """
    found = [claim for claim in claims if claim.claim == PIXELS]
    if not found:
        return "The set has not been checked for processing traces; run audit first."
    for claim in found:
        if claim.verdict is Verdict.REFUTED:
            return claim.why
        if claim.verdict is Verdict.NOT_ASSESSABLE:
            return f"It is not known whether processing traces reveal the synthetic images. {claim.why}"
    return None


def assess(name: str, sides: Sides, level: float, seed: int) -> Finding:
    """Whether traces separate the two sides, by the rule in `docs/evidence.md`.

    Args:
        name: One of `NAMES`.
        sides: The traces.
        level: Of the interval.
        seed: Of the halves, the folds and the permutations.
    """
    features, labels = np.concatenate([sides.real, sides.synthetic]), _labels(sides)
    found = _probe(features, labels, seed, judge.PERMUTATIONS)
    floor, control = _floor_and_control(sides, seed)
    half = float(stats.norm.ppf(0.5 + level / 2.0)) * found.error
    measured = Measurement(
        value=found.auc,
        interval=Interval(max(found.auc - half, 0.0), min(found.auc + half, 1.0)),
        level=level,
        floor=floor_of("two random halves of the test patients, one image of each patient", floor),
        control=(control,),
        margin=MARGIN,
        n={
            "synthetic images": len(sides.synthetic),
            "real images": len(sides.real),
            "real patients": len(sides.real),
            "permutations": len(found.chance),
        },
    )
    telling = _telling(sides.names, features, labels)
    stored = _stored(sides, labels, seed)
    pictures = {
        "floor": floor.tolist(),
        "by_model": dict(found.by_model),
        "p": found.p,
        "control": {control.name: control.found},
        "traces": telling,
        "extra": {AS_STORED: stored["auc"]} if stored else {},
        "traces_as_stored": stored.get("traces", {}),
    }
    return Finding(_claim(name, measured, found.p, telling, stored), pictures)


def _labels(sides: Sides) -> Labels:
    return np.repeat([False, True], [len(sides.real), len(sides.synthetic)])


def _floor_and_control(sides: Sides, seed: int) -> tuple[Floats, Control]:
    """AUC between halves of the real patients, and with a trace planted in one half of them."""
    rng = np.random.default_rng(derive_seed(seed, "halves"))
    halves = patient_halves(np.arange(len(sides.real)), DRAWS, rng)
    floor = np.array([_probe(sides.real, half, derive_seed(seed, draw), 0).auc for draw, half in enumerate(halves)])
    what, spoiled = sides.control
    mixed = np.where(halves[0][:, None], spoiled, sides.real)
    return floor, Control(what, _probe(mixed, halves[0], seed, 0).auc, NEEDED)


def _stored(sides: Sides, labels: Labels, seed: int) -> dict[str, Any]:
    """AUC, p and traces of the images as stored; empty where that is what was judged."""
    if sides.stored is None:
        return {}
    found = _probe(sides.stored, labels, seed, judge.PERMUTATIONS)
    return {"auc": found.auc, "p": found.p, "traces": _telling(sides.names, sides.stored, labels)}


def _probe(features: Floats, labels: Labels, seed: int, permutations: int) -> judge.ProbeResult:
    """Every row is its own group: one image per patient."""
    return judge.probe(features, labels, np.arange(len(features)), seed, permutations)


def _telling(names: Sequence[str], features: Floats, labels: Labels) -> dict[str, float]:
    """AUC of each trace by itself, in either direction, the largest first."""
    alone = [auc(column[labels], column[~labels]) for column in features.T]
    ranked = sorted(zip(names, alone, strict=True), key=lambda row: -abs(row[1] - 0.5))
    return {name: round(max(area, 1.0 - area), 4) for name, area in ranked}


def ruling(interval: Interval, value: float, p: float) -> Verdict:
    """`refuted` when a trace was found, `shown` when the interval excludes one that matters, else `not shown`."""
    if p < CHANCE and value > 0.5:
        return Verdict.REFUTED
    return Verdict.SHOWN if interval.high <= MARGIN else Verdict.NOT_SHOWN


_WHAT = {
    PIXELS: "grey values, borders and block grids, as readers would see them",
    FILES: "size and header of the files",
}
_HELD = {
    PIXELS: "Readers must not be shown this set.",
    FILES: "Readers see no files, but anyone who receives the files, or trains on both kinds, can identify them.",
}


def _claim(
    name: str, measured: Measurement, p: float, telling: Mapping[str, float], stored: Mapping[str, Any]
) -> Claim:
    interval = measured.interval
    start = (
        f"From {_WHAT[name]} alone, without the anatomy, the synthetic image of a pair is identified "
        f"{100 * measured.value:.0f} times in 100 (AUC; 50 is chance; {measured.level:.0%} interval "
        f"{100 * interval.low:.0f} to {100 * interval.high:.0f}; permutation p = {sensible(p)})."
    )
    beside = _beside(stored)
    reason = {
        Verdict.REFUTED: f"{start} So something reveals the set. Strongest traces: {_worst(telling)}. "
        f"{_HELD[name]}{beside}",
        Verdict.SHOWN: f"{start} So none of the traces that were looked for reveals the set.{beside}",
        Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients would help.{beside}",
    }
    return decide(name, measured, reason, ruling(interval, measured.value, p))


def _beside(stored: Mapping[str, Any]) -> str:
    """What was found in the images as stored."""
    if not stored or stored["p"] >= CHANCE:
        return ""
    return (
        f" As stored, it is {100 * stored['auc']:.0f} times in 100, by {_worst(stored['traces'])}: convert both kinds "
        f"to the same form before training on them together."
    )


def _worst(telling: Mapping[str, float]) -> str:
    return "; ".join(f"{name} ({100 * auc:.0f})" for name, auc in list(telling.items())[:TOLD])
