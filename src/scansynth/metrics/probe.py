"""Can two groups be told apart by some features? Two classifiers, tried on patients that they have not seen.

A classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017, arXiv:1610.06545) with the area under the ROC curve as
its statistic, and permutations for its p, so that no assumption about the classifiers is made. The classifiers learn
from many labellings of the same items at once: a permutation then costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from scansynth.metrics.roc import auc, auc_and_variance

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]

FOLDS = 5
PERMUTATIONS = 200

_BATCH = 25  # permutations at a time: memory stays at a few labellings of all items
_STEPS, _RIDGE = 60, 1.0
_ROUNDS, _RATE, _BINS, _SHRINK = 20, 0.3, 16, 1.0

Classifier = Callable[[Floats, Labels, Labels], NDArray[Any]]
"""Features (n, d), and k labellings with the items to learn from, (n, k) each, to scores (n, k), higher for True."""


def logistic(features: Floats, labels: Labels, seen: Labels) -> NDArray[Any]:
    """Logistic regression with a ridge, of columns at spread 1.

    Newton steps with the bound X'X/4 in the place of the Hessian (Boehning and Lindsay, Ann. Inst. Statist. Math.
    40, 1988): they never overshoot, and all labellings share one inverse.
    """
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    x = np.column_stack([np.ones(len(scaled)), scaled])
    ridge = _RIDGE * np.eye(x.shape[1])
    ridge[0, 0] = 1e-6
    step = np.linalg.inv(x.T @ x / 4.0 + ridge)
    weights = np.zeros((x.shape[1], labels.shape[1]))
    for _ in range(_STEPS):
        residual = (labels - expit(x @ weights)) * seen
        weights += step @ (x.T @ residual - ridge @ weights)
    return np.asarray(x @ weights)


def boosting(features: Floats, labels: Labels, seen: Labels) -> NDArray[Any]:
    """A sum of one-question trees, each fitted to what the earlier ones leave.

    Newton boosting of stumps (Friedman, Ann. Statist. 29, 2001; Chen and Guestrin, KDD 2016, equations 5 to 7). The
    questions are "is this column at most its k-th sixteenth?", asked of all items alike.
    """
    asked = _questions(features)
    scores = np.zeros(labels.shape, dtype=np.float32)
    for _ in range(_ROUNDS):
        chance = expit(scores)
        gradient = np.where(seen, labels - chance, 0.0).astype(np.float32)
        curve = np.where(seen, chance * (1.0 - chance), 0.0).astype(np.float32)
        yes_g, yes_h = asked.T @ gradient, asked.T @ curve
        no_g, no_h = gradient.sum(axis=0) - yes_g, curve.sum(axis=0) - yes_h + _SHRINK
        yes_h += _SHRINK
        best = np.argmax(yes_g**2 / yes_h + no_g**2 / no_h, axis=0)
        each = np.arange(len(best))
        yes, no = (yes_g / yes_h)[best, each], (no_g / no_h)[best, each]
        scores += np.float32(_RATE) * np.where(asked[:, best] > 0, yes, no)
    return scores


def _questions(features: Floats) -> NDArray[np.float32]:
    """Whether each item's column lies at or under each of the column's sixteenths, (n, questions), 0 or 1."""
    shares = np.arange(1, _BINS) / _BINS
    asked = [np.zeros((len(features), 1), dtype=np.bool_)]
    for column in features.T:
        limits = np.unique(np.quantile(column, shares, method="lower"))
        asked.append(column[:, None] <= limits[limits < column.max()])
    return np.concatenate(asked, axis=1).astype(np.float32)


MODELS: Mapping[str, Classifier] = {"logistic": logistic, "boosting": boosting}
"""A straight line and a few small trees; the better of the two counts, in the permutations as well."""


@dataclass(frozen=True)
class ProbeResult:
    """How well two groups can be told apart.

    Attributes:
        auc: The larger of the classifiers' figures; 0.5 is chance, 1 is always.
        by_model: Each classifier's AUC on patients that it has not seen, the mean of the folds.
        error: Standard error of `auc`, over groups, with the classifiers as they were fitted.
        chance: The same statistic with permuted labels (permutations,).
        p: (1 + permutations at least as large) / (1 + permutations); 1 without permutations.
    """

    auc: float
    by_model: Mapping[str, float]
    error: float
    chance: Floats
    p: float


def grouped_folds(labels: Labels, groups: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold of each item; a group is never divided, and each label's groups are dealt out evenly.

    Args:
        labels: Of each item (n,).
        groups: Group of each item, 0..G-1, all items of a group with one label (n,).
        order: A shuffle of 0..G-1: in this order the groups are dealt.

    Returns:
        0..FOLDS-1 for each item, (n,).
    """
    of_group = np.zeros(len(order), dtype=np.bool_)
    of_group[groups] = labels
    fold = np.zeros(len(order), dtype=np.int64)
    for label in (False, True):
        dealt = order[of_group[order] == label]
        fold[dealt] = np.arange(len(dealt)) % FOLDS
    return np.asarray(fold[groups], dtype=np.int64)


def probe(
    features: Floats,
    labels: NDArray[Any],
    groups: NDArray[Any],
    seed: int,
    permutations: int = PERMUTATIONS,
    models: Mapping[str, Classifier] = MODELS,
) -> ProbeResult:
    """Tries to tell items of label True from items of label False, on groups that were not learned from.

    The labels of whole groups are permuted, and all is done again, folds and choice of the better classifier
    included. The p is exact when the groups are alike in size; with one item a group they always are.

    Args:
        features: (n, d), finite.
        labels: True or False for each (n,).
        groups: Group, such as the patient, of each (n,).
        seed: Of the folds and the permutations.
        permutations: How many; 0 for the figure alone.
        models: The classifiers.

    Raises:
        ValueError: A feature is not finite, a group has both labels, or a label has fewer groups than there are folds.
    """
    rng = np.random.default_rng(seed)
    truth = np.asarray(labels, dtype=np.bool_)
    place, of_group = _checked(features, truth, groups)
    order = rng.permutation(len(of_group))
    unseen = {name: folds[0] for name, folds in _unseen_scores(features, truth[None], place, order, models).items()}
    by_model = {name: _mean_auc(folds) for name, folds in unseen.items()}
    best = max(by_model, key=lambda name: by_model[name])
    value, parts = by_model[best], [auc_and_variance(*fold) for fold in unseen[best]]
    chance: list[float] = []
    while len(chance) < permutations:
        drawn = [rng.permutation(of_group)[place] for _ in range(min(_BATCH, permutations - len(chance)))]
        found = _unseen_scores(features, np.array(drawn), place, order, models)
        chance += [max(_mean_auc(folds[draw]) for folds in found.values()) for draw in range(len(drawn))]
    return ProbeResult(
        auc=value,
        by_model=by_model,
        error=float(np.sqrt(sum(variance for _, variance in parts))) / FOLDS,
        chance=np.array(chance),
        p=float((1 + np.sum(np.array(chance) >= value - 1e-9)) / (1 + permutations)),
    )


def _checked(features: Floats, truth: Labels, groups: NDArray[Any]) -> tuple[NDArray[np.int64], Labels]:
    """Each item's group as a number, and each group's label; see `probe`."""
    names, place = np.unique(groups, return_inverse=True)
    of_group = np.zeros(len(names), dtype=np.bool_)
    of_group[place] = truth
    if not np.isfinite(features).all():
        raise ValueError("a feature is not a finite number")
    if not np.array_equal(of_group[place], truth):
        raise ValueError("a group has both labels; a patient cannot stand on both sides")
    if min(of_group.sum(), (~of_group).sum()) < FOLDS:
        raise ValueError(f"each side needs {FOLDS} groups at least, one for each fold")
    return place, of_group


_Fold = tuple[Floats, Labels, NDArray[np.int64]]


def _unseen_scores(
    features: Floats,
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    order: NDArray[np.int64],
    models: Mapping[str, Classifier],
) -> dict[str, list[list[_Fold]]]:
    """For each classifier, labelling (draws, n) and fold: scores, labels and groups of the items not learned from."""
    folds = np.array([grouped_folds(row, groups, order) for row in labels])
    unseen = (folds[:, None, :] == np.arange(FOLDS)[None, :, None]).reshape(-1, len(features))
    repeated = np.repeat(labels, FOLDS, axis=0)
    found: dict[str, list[list[_Fold]]] = {}
    for name, model in models.items():
        scores = np.asarray(model(features, repeated.T, ~unseen.T), dtype=np.float64).T
        parts = [(s[u], y[u], groups[u]) for s, y, u in zip(scores, repeated, unseen, strict=True)]
        found[name] = [parts[start : start + FOLDS] for start in range(0, len(parts), FOLDS)]
    return found


def _mean_auc(folds: Sequence[_Fold]) -> float:
    """Mean over the folds."""
    return float(np.mean([auc(scores[labels], scores[~labels]) for scores, labels, _ in folds]))
