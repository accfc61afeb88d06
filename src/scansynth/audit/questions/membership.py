"""Membership inference: does the set reveal who was a training patient? The claim `membership.distance`.

Members are the patients of train, the others those of calibrate and test; each has one score, the mean over the
images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import Compared, Images, Reals
from scansynth.audit.context import Context, at_most
from scansynth.claims.claim import Control, Finding, Measurement, decide, floor_of, not_assessable, percent
from scansynth.console import Progress
from scansynth.data.permission import permission
from scansynth.learning.device import pick_device
from scansynth.metrics import planted as faults
from scansynth.metrics.membership import Exposed, auc_interval, closeness, exposed, group_means
from scansynth.metrics.ncc import Flip, nearest, paired, pairwise, prepare
from scansynth.metrics.roc import auc
from scansynth.statistics import Direction, Interval, Verdict, patient_halves, verdict

DISTANCE = "membership.distance"
CLAIMS = (DISTANCE,)

MARGIN = 0.60
"""AUC of telling training patients from others; 0.5 is guessing."""

FALSE_SHARE, MOST_EXPOSED, RESOLVING = 0.01, 0.05, 100
"""Also refuted when significantly more than `MOST_EXPOSED` of the training patients pass a threshold that
`FALSE_SHARE` of the others pass; applied from `RESOLVING` others on, because fewer cannot resolve it."""

LEAST_PATIENTS = 20
"""On either side; see `docs/evidence.md`."""

NEEDED, CONTROL_DRAWS = 0.8, 50
COPIED, FEW_COPIED = 0.5, 0.1
"""Share of the training patients of whom a copy is planted: where it must be found, and where it is only reported."""

MOST_PATIENTS, MOST_EACH = 400, 6
"""Patients on a side, and images of each, that are used."""

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Suspects:
    """One score a patient.

    Attributes:
        members: Of training patients (t,).
        others: Of calibrate and test patients (o,).
    """

    members: Floats
    others: Floats


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The claim."""
    few = too_few(context.compared, DISTANCE)
    return (few or by_distance(context, progress),)


def too_few(compared: Compared, name: str) -> Finding | None:
    """What is said where a side has too few patients; none where both have enough."""
    members = compared.train.patient_count
    others = len({case.patient for part in (compared.calibrate, compared.test) for case in part.cases})
    if min(members, others) >= LEAST_PATIENTS:
        return None
    why = (
        f"There are {members} training patients and {others} others with the labels of the set, "
        f"and at least {LEAST_PATIENTS} of each are needed."
    )
    n = {"synthetic images": len(compared.synthetic), "training patients": members, "other patients": others}
    return Finding(not_assessable(name, why, n))


@dataclass(frozen=True)
class Wording:
    """What one source of membership says.

    Attributes:
        what: The training patient of a pair is the one that is ...
        told: What a refutation means.
        shown: Added where nothing is revealed.
    """

    what: str
    told: str
    shown: str = ""


_OF_SET = Wording(
    "closer to the set (relative to its closeness to other patients)", "the set reveals who was trained on"
)


@dataclass(frozen=True)
class Lineup:
    """Real images of both sides, and their similarity to each other.

    Attributes:
        images: (n, side, side) in [-1, 1], patient by patient.
        bands: Their middle band of detail.
        patients: Place of each image's patient (n,), training patients first.
        members: Which patients are training patients (p,).
        shown: One image of each patient, against which the others are measured (p,).
        alike: Each image with the one of each patient, -inf for its own patient (n, p).
        flips: Mirrorings that are searched.
        step: Of the correlation.
    """

    images: Images
    bands: Images
    patients: Places
    members: NDArray[np.bool_]
    shown: Places
    alike: NDArray[np.float32]
    flips: tuple[Flip, ...]
    step: int

    def score(self, to_set: NDArray[Any], to_reals: NDArray[Any] | None = None) -> Suspects:
        """Patients' scores from each image's correlation with the nearest of the set (n,)."""
        near = self.alike.max(axis=1) if to_reals is None else to_reals
        means = group_means(closeness(to_set, near), self.patients)
        return Suspects(means[self.members], means[~self.members])


def _taken(parts: tuple[Reals, ...], places: Places) -> Images:
    """Images at places counted through all parts; the parts are never copied whole."""
    starts = np.cumsum([0, *(len(part.images) for part in parts)])
    which = np.searchsorted(starts, places, side="right") - 1
    return np.stack([parts[k].images[place - starts[k]] for k, place in zip(which, places, strict=True)])


def people(compared: Compared, each: int, rng: np.random.Generator) -> tuple[Images, Places, NDArray[np.bool_]]:
    """Real images of at most `MOST_PATIENTS` patients of each side with at most `each` images, all drawn.

    Returns:
        Images (n, rows, columns), the place of each image's patient (n,), and who was trained on (p,).
    """
    sides = ((compared.train,), (compared.calibrate, compared.test))
    images: list[Images] = []
    patients: list[Places] = []
    members: list[bool] = []
    for member, parts in zip((True, False), sides, strict=True):
        names = np.concatenate([part.patients for part in parts])
        everyone = np.unique(names)
        for name in everyone[at_most(len(everyone), MOST_PATIENTS, rng)]:
            own = np.flatnonzero(names == name)
            images.append(_taken(parts, own[at_most(len(own), each, rng)]))
            patients.append(np.full(len(images[-1]), len(members), dtype=np.int64))
            members.append(member)
    return np.concatenate(images), np.concatenate(patients), np.array(members)


def line_up(compared: Compared, rng: np.random.Generator) -> Lineup:
    """People of both sides with at most `MOST_EACH` images each, and how alike they are."""
    stack, place, members = people(compared, MOST_EACH, rng)
    bands = prepare(stack)
    shown = np.array([rng.choice(np.flatnonzero(place == patient)) for patient in range(len(members))])
    flips = permission("", compared.view).searched
    step = max(bands.shape[1] // 16, 1)
    alike = pairwise(bands, bands[shown], flips, step=step, device=str(pick_device().torch_device))
    alike[np.arange(len(place)), place] = -np.inf
    return Lineup(stack, bands, place, members, shown, alike, flips, step)


def by_distance(context: Context, progress: Progress) -> Finding:
    """The claim on closeness."""
    progress(0, 3, "real images")
    lineup = line_up(context.compared, context.rng("lineup"))
    progress(1, 3, "synthetic images")
    made = prepare(context.compared.synthetic)
    device = str(pick_device().torch_device)
    to_set = nearest(lineup.bands, made, lineup.flips, step=lineup.step, device=device).score
    progress(2, 3, "planted copies")
    half = plant_copies(lineup, to_set, COPIED, context.rng("membership copies"))
    tenth = plant_copies(lineup, to_set, FEW_COPIED, context.rng("few copies"))
    kin, kin_interval = auc_interval(*_kin(lineup, context.rng("kin")), context.settings.level)
    extra = {
        "training patients among themselves": kin,
        "refuted with copies of one in ten": np.mean([_refuted(scores, context.settings.level) for scores in tenth]),
    }
    caveat = (
        f" Training patients resemble each other more than they resemble others to begin with (AUC {kin:.2f}), so "
        f"this need not all be memorisation."
        if kin_interval.low > 0.5
        else ""
    )
    n = _counts(lineup, len(made))
    control = ("copies of half of the training patients", aucs(half))
    return assess(DISTANCE, lineup.score(to_set), control, n, context, _OF_SET, extra, caveat)


def plant_copies(lineup: Lineup, to_set: Floats, share: float, rng: np.random.Generator) -> tuple[Suspects, ...]:
    """Scores after slightly noisy copies of one image each of so many training patients were put in the set."""
    copies = prepare(faults.noise(lineup.images[lineup.shown], 0.025, rng))
    own = paired(copies[lineup.patients], lineup.bands, lineup.flips, step=lineup.step)
    members = np.flatnonzero(lineup.members)
    found = []
    for _ in range(CONTROL_DRAWS):
        copied = rng.permutation(members)[: max(round(share * len(members)), 1)]
        near = np.maximum(to_set, lineup.alike[:, copied].max(axis=1))
        near = np.where(np.isin(lineup.patients, copied), np.maximum(near, own), near)
        found.append(lineup.score(near))
    return tuple(found)


def aucs(draws: tuple[Suspects, ...]) -> Floats:
    """AUC of each draw (draws,)."""
    return np.array([auc(scores.members, scores.others) for scores in draws])


def _refuted(scores: Suspects, level: float) -> bool:
    _, interval = auc_interval(scores.members, scores.others, level)
    return ruled(interval, exposed(scores.members, scores.others, FALSE_SHARE, level)) is Verdict.REFUTED


def _kin(lineup: Lineup, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Patients' scores when training patients stand in for the set.

    Each patient is left out on their own side, and a random one on the other side, so that all are compared with
    equally many.
    """
    count = len(lineup.members)
    sides = [np.flatnonzero(lineup.members), np.flatnonzero(~lineup.members)]
    alike = lineup.alike.copy()
    left_out = np.array([rng.choice(sides[int(lineup.members[patient])]) for patient in range(count)])
    alike[np.arange(len(alike)), left_out[lineup.patients]] = -np.inf
    scores = lineup.score(alike[:, lineup.members].max(axis=1), alike[:, ~lineup.members].max(axis=1))
    return scores.members, scores.others


def assess(
    name: str,
    scores: Suspects,
    planted: tuple[str, Floats],
    n: Mapping[str, int],
    context: Context,
    wording: Wording,
    extra: Mapping[str, Any] | None = None,
    caveat: str = "",
) -> Finding:
    """A claim from scores, by the rule in `docs/evidence.md`.

    Args:
        name: Of the claim.
        scores: One for each patient.
        planted: Name of the control, and the AUC of each planted draw.
        n: Numbers of images and patients.
        context: Settings and random numbers.
        wording: Of the source of the scores.
        extra: Further figures to keep.
        caveat: A sentence to add.
    """
    level = context.settings.level
    value, interval = auc_interval(scores.members, scores.others, level)
    standing = exposed(scores.members, scores.others, FALSE_SHARE, level)
    floor = _halves(scores.others, context, name)
    measured = Measurement(
        value=value,
        interval=interval,
        level=level,
        floor=floor_of("two random halves of the patients never trained on", floor),
        control=(Control(planted[0], float(np.mean(planted[1] > MARGIN)), NEEDED),),
        margin=MARGIN,
        n=n,
    )
    figures = {
        "members": scores.members.round(5).tolist(),
        "others": scores.others.round(5).tolist(),
        "floor": floor.round(5).tolist(),
        "planted": planted[1].round(5).tolist(),
        "exposed": {
            "share": standing.share,
            "interval": [standing.interval.low, standing.interval.high],
            "passing": standing.passing,
            "others": standing.others,
        },
        **(extra or {}),
    }
    reasons = _why(wording, measured, standing, caveat)
    return Finding(decide(name, measured, reasons, ruled(interval, standing)), figures)


def _halves(others: Floats, context: Context, name: str) -> Floats:
    """AUC between random halves of the others (draws,)."""
    halves = patient_halves(np.arange(len(others)), context.settings.draws, context.rng(name, "halves"))
    return np.array([auc(others[half], others[~half]) for half in halves])


def ruled(interval: Interval, standing: Exposed) -> Verdict:
    """The verdict of the rule: by AUC, and by the share identified where the others can resolve it."""
    if standing.others >= RESOLVING and standing.interval.low > MOST_EXPOSED:
        return Verdict.REFUTED
    return verdict(interval, MARGIN, Direction.AT_MOST)


def _why(wording: Wording, measured: Measurement, standing: Exposed, caveat: str) -> Mapping[Verdict, str]:
    span = f"{measured.interval.low:.2f} to {measured.interval.high:.2f}"
    ends = f"{percent(standing.interval.low)} to {percent(standing.interval.high)}"
    passed = f"{standing.passing} of {standing.others} other patients pass"
    start = (
        f"Given a training patient and another patient, the one {wording.what} is the training patient with "
        f"probability {measured.value:.2f} ({measured.level:.0%} interval {span}; AUC, where guessing gives 0.50 "
        f"and the margin is {MARGIN:.2f}). At a threshold that {passed}, {percent(standing.share)} of the training "
        f"patients are identified ({ends})"
    )
    resolved = f"; fewer than {RESOLVING} others cannot resolve 1%" if standing.others < RESOLVING else ""
    start = f"{start}{resolved}.{caveat}"
    return {
        Verdict.SHOWN: f"{start} So membership cannot be inferred by this measure; this does not prove anonymity."
        f"{wording.shown}",
        Verdict.REFUTED: f"{start} So {wording.told}.",
        Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more patients would help.",
    }


def _counts(lineup: Lineup, made: int) -> Mapping[str, int]:
    of_members = lineup.members[lineup.patients]
    return {
        "synthetic images": made,
        "training images": int(of_members.sum()),
        "training patients": int(lineup.members.sum()),
        "other images": int((~of_members).sum()),
        "other patients": int((~lineup.members).sum()),
    }
