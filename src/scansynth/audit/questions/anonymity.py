"""What does the released set give away, in the words of the law's tests? The claims `anonymity.*`.

Singling out, linkability and inference (WP216, section 2.2) as attacks on the set, with people who were never trained
on as the control attack. Members are the patients of train, the others those of calibrate and test; each has one
image, so that the number of images gives nobody away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import Images
from scansynth.audit.context import Context
from scansynth.audit.questions.membership import people, too_few
from scansynth.claims.claim import Control, Finding, Measurement, decide, floor_of, percent
from scansynth.console import Progress
from scansynth.data.permission import permission
from scansynth.learning.device import pick_device
from scansynth.metrics import planted as faults
from scansynth.metrics.anonymity import Likeness, inferred, linked, singled_out
from scansynth.metrics.ncc import RADIUS, Flip, paired, pairwise, prepare
from scansynth.statistics import Interval, Verdict, difference_of_shares, patient_halves

SINGLING_OUT, LINKABILITY, INFERENCE = "anonymity.singling_out", "anonymity.linkability", "anonymity.inference"
CLAIMS = (SINGLING_OUT, LINKABILITY, INFERENCE)

MARGIN = 0.05
"""Share of the training patients on whom an attack succeeds, beyond its share of successes on others."""

COPIED, CONTROL_DRAWS, NEEDED = 0.5, 20, 0.8
"""Share of the training patients of whom a copy is planted, draws of that, and how many of them must be found."""

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """One part of every image: the whole, its upper or its lower half.

    Attributes:
        to_set: Likeness of each person to each synthetic image (p, m).
        to_people: Of each person to each person (p, p).
        to_own: Of each person to a slightly noisy copy of their own image (p,).
    """

    to_set: Floats
    to_people: Floats
    to_own: NDArray[np.float64]

    def with_copies(self, copied: NDArray[np.int64]) -> Likeness:
        """As if noisy copies of some people's images were in the set."""
        columns = self.to_people[:, copied].copy()
        columns[copied, np.arange(len(copied))] = self.to_own[copied]
        return Likeness(np.concatenate([self.to_set, columns], axis=1), self.to_people)


@dataclass(frozen=True)
class Scene:
    """What the attacks look at.

    Attributes:
        whole: The whole images.
        upper: Their upper halves.
        lower: Their lower halves.
        limits: Likeness of each synthetic image to the nearest other one (m,).
        members: Which people were trained on (p,).
    """

    whole: Part
    upper: Part
    lower: Part
    limits: Floats
    members: Mask

    def attack(self, copied: NDArray[np.int64]) -> Mapping[str, Mask]:
        """On whom each attack succeeds (p,), when copies of some people's images are in the set."""
        whole, upper, lower = (part.with_copies(copied) for part in (self.whole, self.upper, self.lower))
        among = self.whole.to_people[np.ix_(copied, copied)].copy()
        np.fill_diagonal(among, -np.inf)
        own = self.whole.to_set[copied]
        limits = np.concatenate(
            [
                np.maximum(self.limits, own.max(axis=0, initial=-np.inf)),
                np.maximum(own.max(axis=1, initial=-np.inf), among.max(axis=1, initial=-np.inf)),
            ]
        )
        return {
            SINGLING_OUT: singled_out(whole.to_set, limits),
            LINKABILITY: linked(upper.to_set, lower.to_set),
            INFERENCE: inferred(upper, lower),
        }


@dataclass(frozen=True)
class Wording:
    """What one attack is in the report: who succeeds, and what that means."""

    done: str
    told: str


_WORDS: Mapping[str, Wording] = {
    SINGLING_OUT: Wording(
        "a description that is read from the set alone fits one person only",
        "the set singles out people who were trained on",
    ),
    LINKABILITY: Wording(
        "the upper and the lower half of a scan lead to the same synthetic image",
        "the set links parts of the scans of people who were trained on",
    ),
    INFERENCE: Wording(
        "the set tells the hidden half of a scan better than other people's scans do",
        "the set tells what was hidden of people who were trained on",
    ),
}


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The three claims."""
    few = [too_few(context.compared, name) for name in CLAIMS]
    if all(few):
        return tuple(finding for finding in few if finding)
    scene = look(context, progress)
    nobody = np.zeros(0, dtype=np.int64)
    found = scene.attack(nobody)
    rng, trained = context.rng("anonymity copies"), np.flatnonzero(scene.members)
    planted = [
        scene.attack(rng.permutation(trained)[: max(round(COPIED * len(trained)), 1)]) for _ in range(CONTROL_DRAWS)
    ]
    made = scene.whole.to_set.shape[1]
    return tuple(
        _judged(name, found[name], [draw[name] for draw in planted], scene.members, made, context) for name in CLAIMS
    )


def look(context: Context, progress: Progress) -> Scene:
    """People of both sides beside the set, whole and in halves."""
    images, _, members = people(context.compared, 1, context.rng("anonymity people"))
    copies = prepare(faults.noise(images, 0.025, context.rng("anonymity noise")))
    real, made = prepare(images), prepare(context.synthetic)
    flips = permission("", context.compared.view).searched
    middle = real.shape[1] // 2
    parts = []
    for place, rows in enumerate((slice(None), slice(0, middle), slice(middle, 2 * middle))):
        progress(place, 4, "people and images")
        parts.append(_part(real[:, rows], made[:, rows], copies[:, rows], flips))
    progress(3, 4, "images among each other")
    among = _likeness(made, made, flips)
    np.fill_diagonal(among, -np.inf)
    return Scene(parts[0], parts[1], parts[2], among.max(axis=1), members)


def _part(real: Images, made: Images, copies: Images, flips: tuple[Flip, ...]) -> Part:
    own = paired(copies, real, flips, _radius(real), _step(real))
    return Part(_likeness(real, made, flips), _likeness(real, real, flips), own)


def _likeness(queries: Images, references: Images, flips: tuple[Flip, ...]) -> Floats:
    device = str(pick_device().torch_device)
    return pairwise(queries, references, flips, _radius(queries), _step(queries), device)


def _radius(images: NDArray[Any]) -> int:
    """Shifts that are searched: fewer where a half has too few rows for all."""
    return min(RADIUS, *(int(side) // 4 for side in images.shape[1:]))


def _step(images: NDArray[Any]) -> int:
    return max(int(images.shape[2]) // 16, 1)


def _judged(name: str, found: Mask, planted: list[Mask], members: Mask, made: int, context: Context) -> Finding:
    """One claim."""
    level = context.settings.level
    value, interval = _excess(found, members, level)
    spans = [_excess(draw, members, level) for draw in planted]
    halves = patient_halves(np.arange(int((~members).sum())), context.settings.draws, context.rng(name, "halves"))
    floor = np.array([found[~members][half].mean() - found[~members][~half].mean() for half in halves])
    measured = Measurement(
        value=value,
        interval=interval,
        level=level,
        floor=floor_of("two random halves of the people never trained on", floor),
        control=(
            Control(
                "copies of half of the training patients",
                float(np.mean([span.low > MARGIN for _, span in spans])),
                NEEDED,
            ),
        ),
        margin=MARGIN,
        n={
            "synthetic images": made,
            "training patients": int(members.sum()),
            "other patients": int((~members).sum()),
        },
    )
    figures: dict[str, Any] = {
        "training patients": float(found[members].mean()),
        "other patients": float(found[~members].mean()),
        "floor": floor.round(5).tolist(),
        "planted": [round(draw, 5) for draw, _ in spans],
    }
    return Finding(decide(name, measured, _why(name, found, members, measured)), figures)


def _excess(found: Mask, members: Mask, level: float) -> tuple[float, Interval]:
    """Share of successes on members less that on others, with its interval."""
    counts = [(int(found[side].sum()), int(side.sum())) for side in (members, ~members)]
    return difference_of_shares(counts[0], counts[1], level)


def _why(name: str, found: Mask, members: Mask, measured: Measurement) -> Mapping[Verdict, str]:
    words = _WORDS[name]
    low, high = measured.interval.low, measured.interval.high
    start = (
        f"For {percent(float(found[members].mean()))} of the training patients {words.done}, and for "
        f"{percent(float(found[~members].mean()))} of people who were never trained on: a difference of "
        f"{100 * measured.value:.1f} points ({measured.level:.0%} interval {100 * low:.1f} to {100 * high:.1f}; the "
        f"margin is {100 * MARGIN:.0f})."
    )
    return {
        Verdict.SHOWN: f"{start} So this attack gains little from the set; another attack may gain more.",
        Verdict.REFUTED: f"{start} So {words.told}.",
        Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more patients would help.",
    }
