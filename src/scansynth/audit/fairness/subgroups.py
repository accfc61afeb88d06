"""Fairness: shares, coverage, realism and copies by patient group, and lesion sizes.

A synthetic image has no attributes: a predictor trained on the training patients assigns it to a group; the errors
of the predictor are measured and corrected for, or shared by both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.context import Context
from scansynth.audit.fairness import flags, lesion_size, likeness, reach, shares
from scansynth.audit.fairness.figures import Rows, enough
from scansynth.audit.fairness.groups import LEAST_PATIENTS, Attribute, lesion_sizes, read_attributes, stated_patients
from scansynth.audit.fairness.scene import LEAST_AUC, LEAST_STEADINESS, Scene, SharedImages, mean_auc
from scansynth.audit.questions import copies
from scansynth.claims.claim import Claim, Finding, not_assessable
from scansynth.console import Progress
from scansynth.metrics.attributes import FOLDS, GroupPredictor, ShareMeter, learn_groups
from scansynth.seeds import derive_seed
from scansynth.statistics import Verdict

BY_GROUP = (shares.NAME, reach.NAME, likeness.NAME, flags.NAME)
CLAIMS = (*BY_GROUP, lesion_size.NAME)

THIRDS_STEADINESS = 0.4
"""Below it numbers are divided at the median instead of the thirds: shares of three groups would be too uncertain."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Known:
    """One attribute with its predictor.

    Attributes:
        attribute: The groups.
        predictor: Learned on the training images for which it is stated; none where there are too few groups.
        train_patients: Of each group.
        test_patients: Of each group.
    """

    attribute: Attribute
    predictor: GroupPredictor | None
    train_patients: tuple[int, ...]
    test_patients: tuple[int, ...]

    @property
    def too_few(self) -> str:
        """Why no share can be measured; empty when it can."""
        if self.predictor is None:
            return (
                f"By {self.attribute.name}, fewer than two groups have {LEAST_PATIENTS} training patients"
                f"{_named(self)}."
            )
        auc = mean_auc(self.predictor, self.attribute.judged)
        if auc < LEAST_AUC:
            return (
                f"The groups by {self.attribute.name} cannot be predicted from the images: the predictor's AUC is "
                f"{auc:.2f}, and {LEAST_AUC:.2f} is needed; 0.5 is chance."
            )
        if ShareMeter(self.predictor).steadiness < LEAST_STEADINESS:
            return (
                f"Some groups by {self.attribute.name} cannot be distinguished by the images from a mixture of others."
            )
        return ""


def _unproved(one: _Known) -> str:
    """Why no fault can be planted to prove a figure; empty when it can."""
    least = shares.PLANTABLE
    if sum(count >= least for count in one.test_patients[: one.attribute.judged]) >= 2:
        return ""
    return (
        f"By {one.attribute.name}, fewer than two groups have {least} test patients; without them no control can be "
        f"planted."
    )


def _named(known: _Known) -> str:
    """The groups with their training patients, in brackets."""
    pairs = list(zip(known.attribute.groups, known.train_patients, strict=True))[: known.attribute.judged]
    parts = [f"{group}: {count}" for group, count in pairs]
    parts += [f"{small.group}: {small.train_patients}" for small in known.attribute.small]
    return f" ({'; '.join(parts)})" if parts else ""


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The claims of each attribute, and the one on sizes."""
    attributes, left = read_attributes(context.compared.train.cases, context.real.cases)
    if not context.views or not (attributes or lesion_sizes(context.compared.train.cases, context.real.cases)):
        figures = {"left_out": dict(left)} if left else {}
        return tuple(Finding(not_assessable(name, _unknown(left), _counts(context)), figures) for name in CLAIMS)
    images, found = SharedImages(context), []
    for place, view in enumerate(context.views):
        progress(place, len(context.views), view.judge)
        found += [finding.by(view.judge) for finding in _before(Scene(images, view), left)]
    if left:
        found[0] = replace(found[0], figures={**found[0].figures, "left_out": dict(left)})
    order = {name: place for place, name in enumerate(CLAIMS)}
    return tuple(sorted(found, key=lambda finding: order[finding.claim.claim]))


def _before(scene: Scene, left: Mapping[str, str]) -> list[Finding]:
    """All claims before one judge."""
    known = _known(scene)
    found = [finding for one in known for finding in _of_attribute(scene, one, known)]
    if not known:
        found = [Finding(not_assessable(name, _unknown(left), _counts(scene.context))) for name in BY_GROUP]
    return [*found, _of_lesions(scene)]


def _unknown(left: Mapping[str, str]) -> str:
    if not left:
        return "The cohort holds no patient attributes: no sex, age, scanner, site or other column of labels.csv."
    words = "; ".join(f"{name}: {why}" for name, why in left.items())
    return f"No patient attribute gives groups that can be compared ({words})."


def _counts(context: Context) -> Mapping[str, int]:
    return {"synthetic images": len(context.synthetic), "training images": len(context.compared.train.cases)}


def _known(scene: Scene) -> list[_Known]:
    """Every attribute with its predictor; numbers in thirds where these can be predicted, else in halves."""
    cases = (scene.train.cases, scene.context.real.cases)
    halves = {attribute.name: attribute for attribute in read_attributes(*cases, thirds=False)[0]}
    found = []
    for attribute in read_attributes(*cases)[0]:
        one = _learned(scene, attribute)
        other = halves.get(attribute.name)
        coarser = other is not None and other.groups != attribute.groups
        if other is not None and coarser and (one.predictor is None or _unsteady(one.predictor)):
            one = _learned(scene, other)
        found.append(one)
    return found


def _unsteady(predictor: GroupPredictor) -> bool:
    return ShareMeter(predictor).steadiness < THIRDS_STEADINESS


def _learned(scene: Scene, attribute: Attribute) -> _Known:
    groups = range(len(attribute.groups))
    of_train = tuple(stated_patients(attribute.train, scene.patients, group) for group in groups)
    of_test = tuple(stated_patients(attribute.test, scene.test_patients, group) for group in groups)
    if attribute.judged < 2 or min(of_train) < FOLDS:
        return _Known(attribute, None, of_train, of_test)
    stated = attribute.train >= 0
    seed = derive_seed(scene.context.seed, "evidence", "subgroups", attribute.name)
    predictor = learn_groups(scene.features[stated], attribute.train[stated], scene.patients[stated], seed)
    return _Known(attribute, predictor, of_train, of_test)


def _comparisons(known: Sequence[_Known], scene: Scene, in_test: bool) -> int:
    """How many intervals one kind of claim holds at once, by all judges; of two groups one follows from the other."""
    total = 0
    for one in known:
        if in_test:
            total += len(enough(one.attribute.test, scene.test_patients, one.attribute.judged))
        else:
            total += 1 if len(one.attribute.groups) == 2 else one.attribute.judged
    return max(total, 1) * len(scene.context.views)


def _of_attribute(scene: Scene, one: _Known, known: Sequence[_Known]) -> list[Finding]:
    """The four claims of one attribute, each with the rows of all groups."""
    in_test = enough(one.attribute.test, scene.test_patients, one.attribute.judged)
    few = (
        f"By {one.attribute.name}, fewer than two groups have {LEAST_PATIENTS} test patients ("
        + "; ".join(f"{g}: {n}" for g, n in zip(one.attribute.groups, one.test_patients, strict=True))
        + ")."
    )
    in_train, of_test = _comparisons(known, scene, False), _comparisons(known, scene, True)
    answers: dict[str, tuple[Claim, Rows]] = {}
    unproved = one.too_few or _unproved(one)
    small = one.too_few or (few if len(in_test) < 2 else "")
    read = one.predictor is not None and not (unproved and small)
    doubtful = scene.images.doubt(one.attribute) if read else ""
    reasons = {
        shares.NAME: unproved or doubtful,
        reach.NAME: small or doubtful,
        likeness.NAME: small,
        flags.NAME: unproved or _no_thresholds(scene) or doubtful,
    }
    makers = {
        shares.NAME: lambda: _shares(scene, one, in_train),
        reach.NAME: lambda: _reach(scene, one, of_test),
        likeness.NAME: lambda: _likeness(scene, one, of_test),
        flags.NAME: lambda: _copies(scene, one, in_train),
    }
    for name in BY_GROUP:
        why = reasons[name]
        answers[name] = (not_assessable(name, why, _counts(scene.context)), {}) if why else makers[name]()
    return [_finding(scene, one, name, answers) for name in BY_GROUP]


def _no_thresholds(scene: Scene) -> str:
    """Why no copy threshold can be set; empty when it can."""
    few = scene.context.compared.calibrate.lack(copies.LEAST_PATIENTS, copies.LEAST_IMAGES)
    return f"Too few patients have the role calibrate: {few}." if few else ""


def _shares(scene: Scene, one: _Known, comparisons: int) -> tuple[Claim, Rows]:
    context, predictor = scene.context, _present(one)
    return shares.assess(
        one.attribute,
        predictor,
        predictor(scene.view.synthetic),
        predictor(scene.view.real),
        scene.test_patients,
        context.halves,
        context.settings.level,
        comparisons,
        context.rng("subgroups", "shares", one.attribute.name),
    )


def _reach(scene: Scene, one: _Known, comparisons: int) -> tuple[Claim, Rows]:
    context, predictor = scene.context, _present(one)
    return reach.assess(
        one.attribute,
        reach.space(scene.view.synthetic, predictor),
        reach.space(scene.view.real, predictor),
        scene.test_patients,
        context.halves,
        context.settings.level,
        comparisons,
        context.rng("subgroups", "coverage", one.attribute.name),
    )


def _likeness(scene: Scene, one: _Known, comparisons: int) -> tuple[Claim, Rows]:
    context = scene.context
    return likeness.assess(
        one.attribute,
        _present(one),
        scene.features[one.attribute.train >= 0],
        scene.view.synthetic,
        scene.view.real,
        scene.spoiled,
        scene.test_patients,
        context.halves,
        context.settings.level,
        comparisons,
    )


def _copies(scene: Scene, one: _Known, comparisons: int) -> tuple[Claim, Rows]:
    context, predictor = scene.context, _present(one)
    made, tested, copied = scene.images.flags
    return flags.assess(
        one.attribute,
        flags.flagged(made, predictor, scene.view.synthetic),
        flags.flagged(tested, predictor, scene.view.real),
        flags.flagged(copied, predictor, scene.copy_features),
        one.attribute.train[scene.images.copied],
        context.halves,
        context.settings.level,
        comparisons,
        {**_counts(context), "images kept for thresholds": len(context.compared.calibrate.cases)},
        context.rng("subgroups", "copies", one.attribute.name),
    )


def _present(one: _Known) -> GroupPredictor:
    if one.predictor is None:
        raise ValueError("shares were requested for an attribute without a predictor")
    return one.predictor


def _finding(scene: Scene, one: _Known, name: str, answers: Mapping[str, tuple[Claim, Rows]]) -> Finding:
    """A claim with its attribute, the groups without a verdict, and the rows of all groups."""
    attribute, rows, claim = one.attribute, [], answers[name][0]
    voided = claim.verdict is Verdict.NOT_ASSESSABLE
    stated = attribute.train[attribute.train >= 0]
    for group, words in enumerate(attribute.groups):
        row: dict[str, Any] = {"group": words, "patients": one.train_patients[group]}
        row |= {"test_patients": one.test_patients[group], "share_real": round(float((stated == group).mean()), 4)}
        for _, found in answers.values():
            row |= {key: value for key, value in found.get(words, {}).items() if key not in CLAIMS}
        own = {} if voided else answers[name][1].get(words, {})
        rows.append(row | {"verdict": own.get(name, Verdict.NOT_ASSESSABLE.value)})
    for small in attribute.small:
        row = {"group": small.group, "patients": small.train_patients, "test_patients": small.test_patients}
        rows.append(row | {"verdict": Verdict.NOT_ASSESSABLE.value})
    silent = [row["group"] for row in rows if row["verdict"] == Verdict.NOT_ASSESSABLE.value]
    why = claim.why
    if silent and not voided:
        why = f"{why} No verdict on groups that are too small or too similar to others: {'; '.join(silent)}."
    return Finding(replace(claim, why=why, attribute=attribute.name), {"groups": rows})


def _of_lesions(scene: Scene) -> Finding:
    """The claim on sizes, where a column holds them."""
    context, counts = scene.context, _counts(scene.context)
    found = lesion_sizes(scene.train.cases, context.real.cases)
    if found is None:
        why = "No column of labels.csv gives the size of the lesions, such as diameter_mm."
        return Finding(not_assessable(lesion_size.NAME, why, counts))
    column, of_train, of_test = found
    stated, tested = np.isfinite(of_train), np.isfinite(of_test)
    people = [len(np.unique(scene.patients[stated])), len(np.unique(scene.test_patients[tested]))]
    if min(people) < LEAST_PATIENTS:
        why = (
            f"The size of the lesions ({column}) is known for {people[0]} training patients and {people[1]} test "
            f"patients, and {LEAST_PATIENTS} of each are needed."
        )
        return Finding(not_assessable(lesion_size.NAME, why, counts))
    seed = derive_seed(context.seed, "evidence", "subgroups", "sizes")
    if lesion_size.too_few_tails(of_train[stated], scene.patients[stated]):
        why = f"Too many lesions have the same size ({column}): no smallest and largest third can be formed."
        return Finding(not_assessable(lesion_size.NAME, why, counts))
    sizes = lesion_size.learn(scene.features[stated], of_train[stated], scene.patients[stated], seed)
    answer = lesion_size.assess(
        sizes,
        lesion_size.say(sizes, scene.view.synthetic),
        lesion_size.say(sizes, scene.view.real[tested]),
        of_test[tested],
        context.halves[:, tested],
        context.settings.level,
        context.rng("subgroups", "lesions"),
    )
    return replace(answer, figures={**answer.figures, "column": column})
