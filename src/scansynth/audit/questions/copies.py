"""Does the set contain near copies of training images? The claim `copies.flag_rate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.context import Context, at_most
from scansynth.audit.questions.excess import ALONE, Excess, nearness
from scansynth.audit.questions.likeness import LEARNED, Likenesses, Scale, fit_scale, open_likenesses
from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, percent
from scansynth.console import Progress
from scansynth.data.permission import permission
from scansynth.learning.device import pick_device
from scansynth.metrics import planted as faults
from scansynth.metrics.ncc import WORKING, Flip, Nearest, average
from scansynth.statistics import (
    Verdict,
    binomial_upper,
    clopper_pearson,
    clustered_share_variance,
    effective_trials,
    patient_halves,
    upper_quantile,
)

NAME = "copies.flag_rate"
CLAIMS = (NAME,)
NAMED = 5
"""Likeliest copies that a refuted claim names."""

NEEDED = 0.95
"""Share of the planted copies of each kind that must pass the threshold."""

QUANTILE = 0.99
SPLITS = 100
FOLDS = 5
"""Parts of the patients that set a threshold; each part's scale is set by the others."""

LARGEST_MARGIN = 0.10
"""A set with more than 10% flagged images is never called free of copies, however few patients there are."""

CONTROL_IMAGES = 100
CONTROL_SIDE = 2 * WORKING
"""Larger images are averaged down to this side before copies of them are planted."""

HELD_OUT = "images kept for thresholds"
"""What a claim calls the number of calibrate images."""

LEAST_PATIENTS = 20
LEAST_IMAGES = 40
"""Of the role calibrate: with half as many, the scale is so uncertain that the control fails (`docs/evidence.md`)."""

Floats = NDArray[np.float64]
Planted = Mapping[str, Floats]


@dataclass(frozen=True)
class Scores:
    """Similarity to the nearest training image, -1..1, by each of k scores.

    Attributes:
        synthetic: Of each synthetic image (k, m).
        calibrate: Of each calibrate image (k, h).
        patients: Patient of each calibrate image (h,).
        planted: Of planted copies that must be found, by kind (k, c).
        tried: Of planted copies that need not be found.
        excess: Of the set, in nearness to one training patient alone; None: not asked.
    """

    synthetic: Floats
    calibrate: Floats
    patients: NDArray[Any]
    planted: Planted
    tried: Planted = field(default_factory=dict)
    excess: Excess | None = None


@dataclass(frozen=True)
class Thresholds:
    """Scales and thresholds from half of the calibrate patients, and how they perform on the other half.

    Attributes:
        scales: One for each half of each split, 2 splits in all.
        values: The threshold on each scale (2 splits,).
        held_out: Share of the held-out images above each (2 splits,).
        hits: How often each image was above its threshold when held out, 0..1, (n,).
    """

    scales: tuple[Scale, ...]
    values: Floats
    held_out: Floats
    hits: Floats

    def rate(self, scores: Floats) -> float:
        """Share of images above a threshold, scores (k, n), averaged over the thresholds."""
        rates = [np.mean(scale.joint(scores)[0] > value) for scale, value in zip(self.scales, self.values, strict=True)]
        return float(np.mean(rates))


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The claim on copies, with the nearest pairs and the flagged images."""
    compared = context.compared
    flips = permission("", compared.view).searched
    search = open_likenesses(compared.train.images, flips, context.embed, str(pick_device().torch_device))
    of_set = search.nearest(compared.synthetic, lambda done, total, note="": progress(done, 2 * total, note))
    of_calibrate = search.nearest(compared.calibrate.images)
    progress(3, 4, "planted copies")
    planted, tried = _planted(context, search, Flip.TOP_BOTTOM in flips)
    alone = nearness(compared, flips)
    found = assess(
        Scores(of_set.scores, of_calibrate.scores, compared.calibrate.patients, planted, tried, alone.excess),
        {"training images": len(compared.train.images), "training patients": compared.train.patient_count},
        context.settings.level,
        context.rng("thresholds"),
    )
    joint, by = np.array(found.figures["synthetic"]), fit_scale(of_calibrate.scores).joint(of_set.scores)[1]
    chance = tail(joint, np.array(found.figures["held_out"]))
    above = (joint > found.figures["threshold"]) | alone.named
    by_alone = alone.named & (alone.chance < chance)
    rarity = np.where(by_alone, alone.chance, chance)
    order = [int(place) for place in np.lexsort((-joint, rarity, ~above))]
    near = int(above.sum())
    listed = [
        _pair(
            compared,
            search,
            place,
            ALONE if by_alone[place] else of_set.names[by[place]],
            alone.found if by_alone[place] else of_set.found[by[place]],
        )
        | {"p": round(float(rarity[place]), 5)}
        for place in order[: max(near, context.settings.pairs)]
    ]
    if found.claim.verdict is Verdict.REFUTED:
        found = replace(found, claim=replace(found.claim, why=f"{found.claim.why} {_suspects(listed)}"))
    rows = tuple(
        {"image": p["synthetic"], "nearest": p["case"], "score": p["score"], "p": p["p"]} for p in listed[:near]
    )
    return (replace(found, flagged=rows, pairs=tuple(listed[: context.settings.pairs])),)


def _suspects(listed: list[dict[str, Any]]) -> str:
    named = ", ".join(str(row["synthetic"]) for row in listed[:NAMED])
    return f"The likeliest copies: {named}."


def _planted(context: Context, search: Likenesses, top_bottom: bool) -> tuple[Planted, Planted]:
    """Scores of planted copies of training images with their originals: those that must be found, and the others."""
    train = context.compared.train
    places = at_most(len(train.images), CONTROL_IMAGES, context.rng("copies"))
    originals = average(train.images[places], CONTROL_SIDE)
    blended = average(train.images[_of_others(train, places, context.rng("blends"))], CONTROL_SIDE)
    rng = context.rng("copy faults")
    near = faults.copies(originals, top_bottom, rng)
    far = faults.far_copies(originals, blended, rng)
    planted, tried = ({kind: search.paired(made, places) for kind, made in kinds.items()} for kinds in (near, far))
    return planted, tried


def _of_others(reals: Reals, places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each position an image of another patient; there are at least two patients."""
    patients = reals.patients
    chosen = [rng.choice(np.flatnonzero(patients != patients[place])) for place in places]
    return np.array(chosen, dtype=np.int64)


def _pair(compared: Compared, search: Likenesses, place: int, name: str, nearest: Nearest) -> dict[str, Any]:
    """One row of pairs.json: the image, and the nearest training image by the deciding score."""
    at = int(nearest.index[place])
    flip = search.mirrored(compared.synthetic[place], at) if name in (LEARNED, ALONE) else nearest.flip[place]
    case = compared.train.cases[at]
    return {
        "synthetic": compared.files[place],
        "index": place,
        "case": case.case,
        "case_index": case.index,
        "score": round(float(nearest.score[place]), 5),
        "by": name,
        "flip": "" if flip is Flip.NONE else flip.value,
    }


def cross_fit(scores: Floats, patients: NDArray[Any], rng: np.random.Generator) -> Thresholds:
    """Scales, thresholds and held-out rates from calibrate patients, each half in turn.

    Args:
        scores: Likeness of each calibrate image to its nearest training image (k, n).
        patients: Patient of each (n,), two at least.
        rng: Draws the halves.
    """
    scales, values, held_out, hits = [], [], [], np.zeros(len(patients))
    _, number = np.unique(patients, return_inverse=True)
    for half in patient_halves(patients, SPLITS, rng):
        folds = rng.permutation(number.max() + 1)[number]
        for fit in (half, ~half):
            scale = fit_scale(scores[:, fit])
            threshold = upper_quantile(_unseen(scores[:, fit], folds[fit]), QUANTILE)
            above = scale.joint(scores[:, ~fit])[0] > threshold
            scales.append(scale)
            values.append(threshold)
            held_out.append(above.mean())
            hits[~fit] += above
    return Thresholds(tuple(scales), np.array(values), np.array(held_out), hits / SPLITS)


def _unseen(scores: Floats, order: NDArray[np.int64]) -> Floats:
    """Joint similarity of each image (k, n), on a scale set by other patients' images; (n,).

    Images that set their own scale would lie nearer to its middle than those of other patients; with few patients
    the threshold would then be too low.

    Args:
        scores: Of images that set a threshold.
        order: A drawn number of the patient of each (n,).
    """
    fold = np.unique(order, return_inverse=True)[1] % FOLDS
    joint = np.empty(len(fold))
    for one in np.unique(fold):
        joint[fold == one] = fit_scale(scores[:, fold != one]).joint(scores[:, fold == one])[0]
    return joint


def assess(scores: Scores, n: Mapping[str, int], level: float, rng: np.random.Generator) -> Finding:
    """Flag rate of a set, by the rule in `docs/evidence.md`.

    Args:
        scores: Of the set, of calibrate images, of planted copies.
        n: Numbers of images and patients of the training role, to be shown.
        level: Of the interval.
        rng: Draws the halves.
    """
    patients = scores.patients
    fitted = cross_fit(scores.calibrate, patients, rng)
    # sampling error of the set is in the interval, that of the calibrate patients in the margin: each counts once
    value, made = fitted.rate(scores.synthetic), scores.synthetic.shape[1]
    chance = float(fitted.hits.mean())
    independent = effective_trials(chance, clustered_share_variance(fitted.hits, patients), len(patients))
    bound = binomial_upper(chance * independent, independent)
    measured = Measurement(
        value=value,
        interval=clopper_pearson(value * made, made, level),
        level=level,
        floor=floor_of("images of calibrate patients that pass the threshold by chance", fitted.held_out),
        control=tuple(Control(kind, fitted.rate(copies), NEEDED) for kind, copies in scores.planted.items()),
        margin=min(bound, LARGEST_MARGIN),
        n={
            "synthetic images": made,
            **n,
            HELD_OUT: len(patients),
            "patients kept for thresholds": len(np.unique(patients)),
        },
    )
    published = {kind: fitted.rate(copies) for kind, copies in scores.tried.items()}
    everyone = fit_scale(scores.calibrate)
    pictures: dict[str, Any] = {
        "synthetic": everyone.joint(scores.synthetic)[0].round(5).tolist(),
        "held_out": everyone.joint(scores.calibrate)[0].round(5).tolist(),
        "threshold": float(np.median(fitted.values)),
        "published": {kind: round(share, 4) for kind, share in published.items()},
    }
    if scores.excess:
        pictures["excess"] = scores.excess.figures()
    return Finding(_claim(measured, chance, published, scores.excess), pictures)


def tail(scores: Floats, calibrate: Floats) -> Floats:
    """Chance of such closeness as a p value: (1 + calibrate images as close) / (H + 1), (m,)."""
    as_close = len(calibrate) - np.searchsorted(np.sort(calibrate), scores, side="left")
    return np.asarray((1.0 + as_close) / (len(calibrate) + 1.0), dtype=np.float64)


def _claim(measured: Measurement, chance: float, published: Mapping[str, float], beyond: Excess | None) -> Claim:
    interval, held_out = measured.interval, measured.n[HELD_OUT]
    start = (
        f"{percent(measured.value)} of the synthetic images are unusually close to a training image "
        f"({measured.level:.0%} interval {percent(interval.low)} to {percent(interval.high)}). "
        f"Of real images of patients never trained on, {percent(chance)} are. The margin is "
        f"{percent(measured.margin)}. "
        f"With {held_out} such images, no rate below 1 in {held_out + 1} can be resolved."
    )
    if beyond:
        start = f"{start} {beyond.sentence()}"
    listed = ", ".join(f"{kind} {share:.0%}" for kind, share in published.items())
    end = f" Found among more strongly altered copies: {listed}." if listed else ""
    return decide(
        NAME,
        measured,
        {
            Verdict.SHOWN: f"{start} So no more are close than by chance; this does not prove anonymity.{end}",
            Verdict.REFUTED: f"{start} So some are probably copies: inspect the pairs, and do not "
            f"release the set.{end}",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; inspect the pairs.{end}",
        },
        Verdict.REFUTED if beyond and beyond.found else None,
    )
