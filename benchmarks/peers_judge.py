"""How `peers.py` judges a set: by the audit's own questions, on test patients, the same for every peer.

Which checkpoint of a training is judged is chosen on tune patients, by KID in features that no judge uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.context import Context, open_context
from scansynth.audit.encoders import Encoders, make_encoders
from scansynth.audit.questions import copies, coverage, fidelity
from scansynth.claims.claim import Claim
from scansynth.config import EvidenceSettings
from scansynth.console import silent
from scansynth.data.permission import permission
from scansynth.data.tensors import load_cohort, select, to_signed, to_stored
from scansynth.ledger import Use
from scansynth.metrics.c2st import Trial, by_network
from scansynth.metrics.features import MONITOR_SEED, fit_scale, random_encoder
from scansynth.metrics.kid import different, kid, polynomial_kernel, subset_kid
from scansynth.metrics.telltales import as_readers_see
from scansynth.seeds import generator
from scansynth.statistics import blocks, group_masks, jackknife_interval

DRAWS = 4
"""Trials of the pixel judge behind a figure."""

ASKED = ("fidelity.kid", "diversity.coverage", "diversity.recall", "copies.flag_rate")
SEED = 0

Images = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """Real images of a cohort, by role, and the judges made of them."""

    compared: Compared
    tune: Reals
    encoders: Encoders

    def context(self, images: Images) -> Context:
        """What the audit's questions ask of a set."""
        old = self.compared
        files = tuple(f"{place:06d}" for place in range(len(images)))
        new = Compared(
            files, images, old.labels, old.view, False, old.train, old.calibrate, old.test, {}
        )  # fmt: skip
        return open_context(new, self.encoders, EvidenceSettings(), SEED)


def open_judge(study: Path, label: str, cache: Path) -> Judge:
    """The judge of an ingested study, for images with this label."""
    cohort = load_cohort(study / "cohort")

    def reals(use: Use) -> Reals:
        found = select(cohort, use, (label,))
        return Reals(found.cases, to_signed(found.planes))

    train, calibrate, test = reals(Use.COPY_SEARCH), reals(Use.COPY_THRESHOLD), reals(Use.REALISM)
    compared = Compared((), train.images[:0], (label,), cohort.facts.view, False, train, calibrate, test, {})
    cache.mkdir(parents=True, exist_ok=True)
    return Judge(compared, reals(Use.STOPPING), make_encoders(train.images, cache))


def tune_kid(judge: Judge, images: Images) -> float:
    """KID against tune patients, in features that only choose."""
    encoder = random_encoder(MONITOR_SEED)
    scale = fit_scale(encoder(judge.compared.train.images))
    made, tune = scale(encoder(images)), scale(encoder(judge.tune.images))
    return round(kid(made, tune, None, judge.tune.patients), 4)


def judged(judge: Judge, images: Images) -> dict[str, Any]:
    """What the audit says of a set on test patients."""
    context = judge.context(images)
    found = [*fidelity.answer(context, silent), *coverage.answer(context, silent), *copies.answer(context, silent)]
    row: dict[str, Any] = {}
    for claim in (finding.claim for finding in found):
        if claim.claim in ASKED:
            row[f"{claim.claim}, {claim.judge}" if claim.judge else claim.claim] = _plain(claim)
    row["c2st_pixels"] = _by_pixels(judge, images)
    return row


def _plain(claim: Claim) -> dict[str, Any]:
    """Value, interval, margin and verdict."""
    assert claim.interval is not None
    return {
        "value": round(float(claim.value or 0.0), 4),
        "interval": [round(claim.interval.low, 4), round(claim.interval.high, 4)],
        "margin": round(float(claim.margin or 0.0), 4),
        "verdict": claim.verdict.value,
    }


def _by_pixels(judge: Judge, images: Images) -> dict[str, Any]:
    """AUC of the audit's pixel judge: one image of each test patient against as many of the set."""
    rng, test = generator(SEED, "peers", "pixels"), judge.compared.test
    members = [np.flatnonzero(mask) for mask in group_masks(test.patients)]
    size = min(len(members), len(images))
    real, made = (to_signed(as_readers_see(to_stored(side), rng)) for side in (test.images, images))
    flips = permission("", judge.compared.view).axes
    trials: list[Trial] = []
    for _ in range(DRAWS):
        one_each = [rng.choice(members[place]) for place in rng.permutation(len(members))[:size]]
        trials.append(by_network(real[one_each], made[rng.permutation(len(made))[:size]], flips, rng))
    value = float(np.mean([trial.auc for trial in trials]))
    half = 1.96 * math.sqrt(float(np.mean([trial.variance for trial in trials])))
    return {
        "value": round(value, 3),
        "interval": [round(max(value - half, 0.0), 3), round(min(value + half, 1.0), 3)],
        "images_a_side": size,
    }


def difference(judge: Judge, ours: Images, theirs: Images) -> dict[str, Any]:
    """KID of one set less that of another, by each judge, with the same test patients behind both.

    The interval leaves out patients in turn, from both figures at once, then blocks of each set.
    """
    test = judge.compared.test
    result: dict[str, Any] = {}
    for of in judge.encoders.judges:
        real, one, two = of.encode(test.images), of.encode(ours), of.encode(theirs)
        value, interval = paired(real, test.patients, one, two)
        result[of.name] = {
            "value": round(value, 4),
            "interval": [round(interval[0], 4), round(interval[1], 4)],
        }
    return result


def paired(real: Floats, patients: NDArray[Any], one: Floats, two: Floats) -> tuple[float, tuple[float, float]]:
    """KID(one, real) - KID(two, real) and its 95% interval.

    Args:
        real: Features of real images (n, d).
        patients: Patient of each (n,).
        one: Features of a set (m, d).
        two: Features of another set (k, d).
    """
    names = np.unique(patients, return_inverse=True)[1]
    whole = np.ones((1, len(real)), bool)
    by_patient = ~group_masks(names)
    parts: list[Floats] = []
    lefts: list[Floats] = []
    for side in (one, two):
        pool = np.concatenate([real, side])
        groups = np.concatenate([names, np.arange(len(side)) + names.max() + 1])
        kernel, pairs = polynomial_kernel(pool, pool), different(groups)
        all_made = np.ones((1, len(side)), bool)
        by_block = ~group_masks(blocks(len(side)))
        parts.append(_kids(kernel, pairs, whole, all_made))
        lefts.append(_kids(kernel, pairs, by_patient, np.repeat(all_made, len(by_patient), 0)))
        lefts.append(_kids(kernel, pairs, np.repeat(whole, len(by_block), 0), by_block))
    value = float(parts[0][0] - parts[1][0])
    interval = jackknife_interval(value, lefts[0] - lefts[2], lefts[1], -lefts[3])
    return value, (interval.low, interval.high)


def _kids(kernel: Floats, pairs: Floats, reals: NDArray[np.bool_], made: NDArray[np.bool_]) -> Floats:
    """KID of each row of members."""
    first = np.concatenate([reals, np.zeros((len(reals), made.shape[1]), bool)], axis=1)
    second = np.concatenate([np.zeros((len(made), reals.shape[1]), bool), made], axis=1)
    return subset_kid(kernel, pairs, first, second)
