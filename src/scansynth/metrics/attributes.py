"""Which group of patients does an image show, how many of each group does a set hold, how large is the lesion?

Predictors are learned from features of real images by folds of patients. The fold models that have not seen a patient
speak about it; about an image of nobody all of them speak, and their mean counts. So what the models say of new images
has the errors that were measured, and those can be taken off (`corrected_shares`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from scansynth.metrics.roc import auc

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

FOLDS = 5
_PENALTY = 1.0  # of the logistic model: features are at scale, so no search is needed
_RIDGE = 30.0  # figures hardly change from 1 to 100


class Model(Protocol):
    """As scikit-learn has them."""

    classes_: NDArray[Any]

    def predict_proba(self, x: Floats) -> Floats:
        """Probability of each class, (n, classes)."""


@dataclass(frozen=True)
class GroupPredictor:
    """Fold models, and what each said of the patients that it had not seen.

    Attributes:
        truth: Group of each real image, 0..G-1, (n,).
        patients: Patient of each real image, (n,).
        unseen: Probability of each group, by the model that has not seen the patient, (n, G).
        models: One a fold.
    """

    truth: Codes
    patients: NDArray[Any]
    unseen: Floats
    models: tuple[Model, ...]

    def __call__(self, features: Floats) -> Floats:
        """Probability of each group for new images (m, d), the mean of the models, (m, G)."""
        return np.asarray(np.mean([_probabilities(m, features, self.count) for m in self.models], axis=0))

    @property
    def count(self) -> int:
        """Number of groups, G."""
        return int(self.unseen.shape[1])

    @property
    def confusion(self) -> Floats:
        """Mean probability of group j (columns) for images of group i (rows), (G, G); each row sums to 1."""
        return np.stack([self.unseen[self.truth == group].mean(axis=0) for group in range(self.count)])

    @property
    def auc(self) -> Floats:
        """How often an image of the group is told from one of the others, for each group (G,); 0.5 is chance."""
        found = np.zeros(self.count)
        for group in range(self.count):
            own = self.truth == group
            found[group] = auc(self.unseen[own, group], self.unseen[~own, group])
        return found


def learn_groups(features: Floats, truth: Codes, patients: NDArray[Any], seed: int) -> GroupPredictor:
    """A logistic model of the groups, by folds of patients.

    Args:
        features: Of real images, at scale (n, d).
        truth: Group of each, 0..G-1, each with images of as many patients as there are folds at least (n,).
        patients: Patient of each (n,).
        seed: Of the folds.

    Raises:
        ValueError: There are fewer than two groups.
    """
    count = int(truth.max()) + 1
    if count < 2:
        raise ValueError("telling groups apart needs two of them")
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed % 2**32)
    unseen, models = np.zeros((len(truth), count)), []
    for seen, new in folds.split(features, truth, patients):
        model: Model = LogisticRegression(C=_PENALTY, max_iter=200, tol=1e-3).fit(features[seen], truth[seen])
        unseen[new] = _probabilities(model, features[new], count)
        models.append(model)
    return GroupPredictor(truth, patients, unseen, tuple(models))


def _probabilities(model: Model, features: Floats, count: int) -> Floats:
    """A column for each group, also for one that the model never saw."""
    found = np.zeros((len(features), count))
    found[:, np.asarray(model.classes_, dtype=np.int64)] = model.predict_proba(features)
    return found


def corrected_shares(confusion: Floats, said: Floats) -> Floats:
    """The shares of the groups in a set, from what a predictor that errs says of it.

    With C[i, j] the mean prediction of group j for images of group i, and q the mean prediction for the set, the
    shares p solve C^T p = q, p >= 0 (Saerens et al., Neural Computation 14, 2002; Lipton et al., ICML 2018,
    arXiv:1802.03916, with probabilities in the place of decisions: Garg et al., NeurIPS 2020, arXiv:2003.07554).
    That holds when the images of a group look alike in the set and among the reals.

    Args:
        confusion: (G, G), rows sum to 1.
        said: Mean prediction (G,), sums to 1.

    Returns:
        Shares (G,), from 0, with the sum 1.
    """
    try:
        exact = np.linalg.solve(confusion.T, said)
        if (exact >= 0).all():
            return np.asarray(exact / exact.sum(), dtype=np.float64)
    except np.linalg.LinAlgError:
        pass
    heavy = 1e3  # on the row that asks for the sum of 1
    found, _ = nnls(np.vstack([confusion.T, np.full(len(said), heavy)]), np.append(said, heavy))
    return np.asarray(found / found.sum(), dtype=np.float64)


@dataclass(frozen=True)
class Shares:
    """Shares of the groups in a set, and their standard errors; both (G,)."""

    value: Floats
    error: Floats


class ShareMeter:
    """Measures shares with one predictor, again and again."""

    def __init__(self, predictor: GroupPredictor) -> None:
        self.confusion = predictor.confusion
        members = np.unique(predictor.patients, return_inverse=True)[1]
        count, groups = int(members.max()) + 1, predictor.count
        # of each patient and true group: how its predictions differ from the group's mean, summed, over the group
        sizes = np.bincount(predictor.truth, minlength=groups)
        rest = (predictor.unseen - self.confusion[predictor.truth]) / sizes[predictor.truth][:, None]
        self._pull = np.zeros((count, groups, groups))
        np.add.at(self._pull, (members, predictor.truth), rest)
        self._inverse = np.linalg.pinv(self.confusion.T)

    @property
    def steadiness(self) -> float:
        """Smallest singular value of the confusion matrix: 1 is a predictor without errors, 0 tells nothing."""
        return float(np.linalg.svd(self.confusion, compute_uv=False)[-1])

    def __call__(self, said: Floats) -> Shares:
        """Shares in a set from the predictions of its images.

        Standard errors by linearisation of C^T p = q: those of q over the images, which stand for themselves, and
        those of C over the patients of the real images.

        Args:
            said: Probabilities (m, G), m >= 2.
        """
        shares = corrected_shares(self.confusion, said.mean(axis=0))
        of_set = np.cov(said, rowvar=False) / len(said)
        pulls = np.einsum("g,pgj->pj", shares, self._pull)
        count = len(pulls)
        spread = self._inverse @ (of_set + count / (count - 1) * pulls.T @ pulls) @ self._inverse.T
        return Shares(shares, np.sqrt(np.maximum(np.diag(spread), 0.0)))


@dataclass(frozen=True)
class SizePredictor:
    """Fold models of the logarithm of a size, and what each said of the patients that it had not seen.

    Attributes:
        truth: Logarithm of each size (n,).
        unseen: As predicted (n,), the shrinkage of a regression and all.
        models: One a fold.
    """

    truth: Floats
    unseen: Floats
    models: tuple[Ridge, ...]

    def __call__(self, features: Floats) -> Floats:
        """What each model says of new images (m, d): (folds, m), each row to be compared with `unseen`."""
        return np.stack([np.asarray(model.predict(features), dtype=np.float64) for model in self.models])

    @property
    def r2(self) -> float:
        """Share of the variance that is predicted for patients not seen; 0 is the mean's, below 0 is worse."""
        rest = float(np.sum((self.truth - self.unseen) ** 2))
        return 1.0 - rest / float(np.sum((self.truth - self.truth.mean()) ** 2))


def learn_size(features: Floats, sizes: Floats, patients: NDArray[Any]) -> SizePredictor:
    """Ridge regression of the logarithm of a size on features, by folds of patients.

    Args:
        features: Of real images, at scale (n, d).
        sizes: Above 0 (n,), any unit, not all the same.
        patients: Patient of each, as many as there are folds at least (n,).

    Raises:
        ValueError: A size is not above 0.
    """
    if not (sizes > 0).all():
        raise ValueError("a size must be above 0")
    truth = np.log(sizes)
    unseen, models = np.zeros(len(truth)), []
    for seen, new in GroupKFold(FOLDS).split(features, truth, patients):
        model = Ridge(alpha=_RIDGE).fit(features[seen], truth[seen])
        unseen[new] = model.predict(features[new])
        models.append(model)
    return SizePredictor(truth, unseen, tuple(models))


def shares_below(values: Sequence[Floats] | Floats, cuts: Floats) -> Floats:
    """Share of all values at or below each cut, (cuts,)."""
    every = np.sort(np.concatenate([np.ravel(part) for part in values]))
    return np.asarray(np.searchsorted(every, cuts, side="right") / len(every), dtype=np.float64)
