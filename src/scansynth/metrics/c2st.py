"""Can two sets of images be told apart? Classifiers that are tried on images that they did not learn from.

The classifier two-sample test (Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017,
arXiv:1610.06545) with the area under the ROC curve in the place of accuracy: 0.5 is chance, 1 is always. Every image
must be of another patient than all others of its side, and no patient may stand on both sides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from scansynth.metrics.residuals import residual_features
from scansynth.metrics.roc import auc_and_variance

Floats = NDArray[np.float64]
Images = NDArray[np.float32]
Mask = NDArray[np.bool_]

STRENGTH = 0.01
"""Of the logistic model, scikit-learn's C: a strong hold, since it has more weights than images."""

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""The same, of the model of residuals: what does best on held-out images is taken."""

NETWORK_FOLDS = 2
HELD_OUT = 0.25
"""Share of the images that each training holds out."""

STEPS, LEAST_STEPS, LOOK, PATIENCE = 600, 60, 10, 6
"""Most and least steps of a training, steps between two looks at the held-out images, and looks without a gain after
which it ends."""

LARGEST_SIDE = 64
"""Larger images are averaged down to this; the strength of their finest detail is taken before."""

SMALLEST_SIDE = 16
_WIDTHS = (3, 16, 24, 32)
_SLOPE = 0.1
_HALF_BATCH = 16
_RATE, _DECAY, _WARM_UP, _GAIN = 3e-3, 1e-2, 10, 2e-3
_FAINTEST = 1e-6  # keeps the logarithm of a flat patch finite


@dataclass(frozen=True)
class Trial:
    """How well unseen images of two sets were told apart.

    Attributes:
        auc: Mean over the folds.
        variance: Of `auc`, over images, with the classifiers as they were trained (DeLong et al. 1988).
        learned: Share of the networks whose held-out loss stopped falling before the last step; 1 where there are none.
        steps: Most steps that one of them took; 0 where there are none to count.
    """

    auc: float
    variance: float
    learned: float = 1.0
    steps: int = 0


def by_features(first: Floats, second: Floats, rng: np.random.Generator) -> Trial:
    """A logistic model on features and their squares, in five folds.

    The squares let a straight line see spread as well as place (Lopez-Paz and Oquab leave the classifier open).

    Args:
        first: Features of one set (n, d), n >= 10.
        second: Of the other (n, d).
        rng: Draws the folds.
    """
    return _crossed(np.concatenate([first, second]), len(first), 5, _logistic, rng)


def by_network(first: Images, second: Images, flips: Sequence[int], rng: np.random.Generator) -> Trial:
    """A small network and a model of residuals, trained on half of the images and tried on the other, both ways round.

    The network sees the grey values, the finest detail and the strength of that detail, each on its own scale:
    forensic networks learn the faint traces of processing from few images once the content is taken off (Fridrich and
    Kodovsky, IEEE TIFS 7, 2012; Bayar and Stamm, IEEE TIFS 13, 2018). Beside them a logistic model learns from
    `residual_features`, which need fewer images still. What each says counts by how well it does on images that were
    held out of its training.

    Args:
        first: Images of one set (n, side, side) in [-1, 1], n >= 8, sides of 16 pixels at least.
        second: Of the other (n, side, side).
        flips: Axes along which an image may be mirrored in training: 1 top-bottom, 2 left-right.
        rng: Draws folds, first weights and batches.
    """
    axes = tuple(axis + 1 for axis in flips)  # behind the channels
    both = np.concatenate([first, second])
    seen = _Seen(_channels(both), residual_features(both))
    return _crossed(seen, len(first), NETWORK_FOLDS, partial(_ensemble, axes), rng)


@dataclass(frozen=True)
class _Seen:
    """What the ensemble sees of some images.

    Attributes:
        channels: (n, 3, s, s), see `_channels`.
        residuals: (n, d).
    """

    channels: torch.Tensor
    residuals: Floats

    def __len__(self) -> int:
        return len(self.residuals)

    def __getitem__(self, places: NDArray[Any]) -> _Seen:
        return _Seen(self.channels[torch.from_numpy(places)], self.residuals[places])


_Classifier = Callable[[Any, Mask, Any, np.random.Generator], tuple[Floats, float, int]]


def _crossed(x: Any, count: int, folds: int, classifier: _Classifier, rng: np.random.Generator) -> Trial:
    """Each fold scored by a classifier that learned from the others; the first `count` items are one set."""
    labels = np.arange(len(x)) >= count
    fold = np.concatenate([rng.permutation(side) % folds for side in (count, len(x) - count)])
    parts, learned, most = [], 0.0, 0
    for place in range(folds):
        seen, new = fold != place, fold == place
        scores, knows, steps = classifier(x[seen], labels[seen], x[new], rng)
        parts.append(auc_and_variance(scores, labels[new], np.arange(new.sum())))
        learned, most = learned + knows, max(most, steps)
    return Trial(
        auc=float(np.mean([auc for auc, _ in parts])),
        variance=float(sum(variance for _, variance in parts)) / folds**2,
        learned=learned / folds,
        steps=most,
    )


def _logistic(x: Floats, y: Mask, new: Floats, rng: np.random.Generator) -> tuple[Floats, float, int]:
    """Scores of new features (k, d); a convex problem, which is always solved."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3))
    model.fit(np.hstack([x, x**2]), y)
    return np.asarray(model.decision_function(np.hstack([new, new**2])), np.float64), 1.0, 0


def _channels(images: Images) -> torch.Tensor:
    """What the network sees (n, 3, s, s): grey, finest detail, logarithm of its strength; s <= `LARGEST_SIDE`."""
    x = torch.from_numpy(np.ascontiguousarray(images, np.float32))[:, None]
    detail = _detail(x)
    strength = functional.avg_pool2d(functional.pad(detail**2, (1, 1, 1, 1), "replicate"), 3, 1)
    if max(x.shape[2:]) > LARGEST_SIDE:
        x = functional.adaptive_avg_pool2d(x, LARGEST_SIDE)
        detail, strength = _detail(x), functional.adaptive_avg_pool2d(strength, LARGEST_SIDE)
    return torch.cat([x, detail, torch.log(strength + _FAINTEST)], 1)


def _detail(x: torch.Tensor) -> torch.Tensor:
    """An image less its binomial blur, (n, 1, s, s)."""
    row = torch.tensor([0.25, 0.5, 0.25])
    kernel = (row[:, None] * row)[None, None]
    return x - functional.conv2d(functional.pad(x, (1, 1, 1, 1), "replicate"), kernel)


def _ensemble(
    flips: tuple[int, ...], seen: _Seen, y: Mask, new: _Seen, rng: np.random.Generator
) -> tuple[Floats, float, int]:
    """Scores of new images by both members; whether the network's training converged, and its steps.

    Each draws its own held-out images, and counts by how well it does on them.
    """
    draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
    by_network, told, ended, steps = _network(seen.channels, y, _held_out(y, rng), new.channels, flips, draws)
    by_residuals, beside = _by_residuals(seen.residuals, y, _held_out(y, rng), new.residuals)
    worth = np.array([max(auc - 0.5, 0.0) ** 2 for auc in (told, beside)])
    worth = worth if worth.any() else np.ones(2)
    level = [(scores - scores.mean()) / max(float(scores.std()), 1e-9) for scores in (by_network, by_residuals)]
    return np.average(level, axis=0, weights=worth), float(ended), steps


def _held_out(y: Mask, rng: np.random.Generator) -> Mask:
    """A quarter of each side, one image at least: it decides when to stop and what a member counts."""
    held = np.zeros(len(y), dtype=np.bool_)
    for side in (False, True):
        own = np.flatnonzero(y == side)
        held[rng.permutation(own)[: max(round(len(own) * HELD_OUT), 1)]] = True
    return held


def _by_residuals(x: Floats, y: Mask, held: Mask, new: Floats) -> tuple[Floats, float]:
    """Scores of new images by a logistic model whose hold on its weights does best on the held-out images."""

    def model(strength: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300, tol=1e-3))

    told = {}
    for strength in STRENGTHS:
        scores = model(strength).fit(x[~held], y[~held]).decision_function(x[held])
        told[strength] = auc_and_variance(scores, y[held], np.arange(held.sum()))[0]
    best = max(STRENGTHS, key=lambda strength: told[strength])
    return np.asarray(model(best).fit(x, y).decision_function(new), np.float64), told[best]


def _network(
    x: torch.Tensor, y: Mask, held: Mask, new: torch.Tensor, flips: tuple[int, ...], draws: torch.Generator
) -> tuple[Floats, float, bool, int]:
    """Trains on x (n, 3, s, s) until the loss of the held-out images stops falling.

    Returns:
        Scores of `new`, mirrored ones averaged; AUC on the held-out images; whether it stopped for that; steps.
    """
    mean, spread = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True) + _FAINTEST
    # channels last: five times as fast on a processor
    x, new = (((part - mean) / spread).contiguous(memory_format=torch.channels_last) for part in (x, new))
    out = torch.from_numpy(held)
    truth = torch.from_numpy(y)
    weights, ended, steps = _train(x[~out], truth[~out], x[out], truth[out], flips, draws)
    told = _scores(weights, x[out], flips)
    return _scores(weights, new, flips), auc_and_variance(told, y[held], np.arange(held.sum()))[0], ended, steps


def _scores(weights: list[torch.Tensor], images: torch.Tensor, flips: tuple[int, ...]) -> Floats:
    """Logits (n,), the mean over all permitted mirrorings."""
    with torch.inference_mode():
        views = [images]
        for axis in flips:
            views += [view.flip(axis) for view in views]
        return torch.stack([_logits(weights, view) for view in views]).mean(0).double().numpy()


def _train(
    x: torch.Tensor, y: torch.Tensor, held: torch.Tensor, truth: torch.Tensor, flips: tuple[int, ...],
    draws: torch.Generator,
) -> tuple[list[torch.Tensor], bool, int]:  # fmt: skip
    """AdamW (Loshchilov and Hutter, ICLR 2019) on batches that are even by label.

    Returns:
        The weights with the least held-out loss, whether it had stopped falling, and the steps.
    """
    weights = _first_weights(draws)
    sides = [torch.nonzero(y == label)[:, 0] for label in (False, True)]
    half = min(_HALF_BATCH, *(len(side) for side in sides))
    labels = (torch.arange(2 * half) >= half).float()
    optimiser = torch.optim.AdamW(weights, lr=_RATE, weight_decay=_DECAY)
    best, least, since = [weight.detach().clone() for weight in weights], math.inf, 0
    for step in range(1, STEPS + 1):
        places = torch.cat([side[torch.randperm(len(side), generator=draws)[:half]] for side in sides])
        batch = _augmented(x[places], flips, draws)
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, step / _WARM_UP)
        loss = functional.binary_cross_entropy_with_logits(_logits(weights, batch), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % LOOK and step < STEPS:
            continue
        with torch.inference_mode():
            now = float(functional.binary_cross_entropy_with_logits(_logits(weights, held), truth.float()))
        since += 1
        if now < least - _GAIN:
            best, least, since = [weight.detach().clone() for weight in weights], now, 0
        if since >= PATIENCE and step >= LEAST_STEPS:
            return best, True, step
    return best, False, STEPS


def _augmented(batch: torch.Tensor, flips: tuple[int, ...], draws: torch.Generator) -> torch.Tensor:
    """Mirrored at random where the view permits it; every other batch a part of 7/8 of the side, from anywhere."""
    for axis in flips:
        mirrored = torch.rand(len(batch), generator=draws) < 0.5
        batch = torch.where(mirrored[:, None, None, None], batch.flip(axis), batch)
    if torch.rand(1, generator=draws) < 0.5:
        return batch
    rows, columns = (side - side // 8 for side in batch.shape[2:])
    top = int(torch.randint(batch.shape[2] - rows + 1, (1,), generator=draws))
    left = int(torch.randint(batch.shape[3] - columns + 1, (1,), generator=draws))
    return batch[:, :, top : top + rows, left : left + columns]


def _first_weights(draws: torch.Generator) -> list[torch.Tensor]:
    """Filters and biases of three layers, then of the last line; spread sqrt(2 / inputs) (He, arXiv:1502.01852).

    The last line is drawn too: from zero, its first step alone would tell coarse faults, and a network that has
    hardly been trained would pass for a trained one.
    """
    weights: list[torch.Tensor] = []
    for inputs, outputs in itertools.pairwise(_WIDTHS):
        side = 3 if weights else 5
        spread = float(np.sqrt(2.0 / (inputs * side**2)))
        weights += [torch.randn(outputs, inputs, side, side, generator=draws) * spread, torch.zeros(outputs)]
    last = 2 * _WIDTHS[-1]
    weights += [torch.randn(1, last, generator=draws) / float(np.sqrt(last)), torch.zeros(1)]
    return [weight.requires_grad_() for weight in weights]


def _logits(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """(n, 3, s, s) -> (n,): three layers, each at half the size, then mean and maximum of each response."""
    for filters, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = functional.conv2d(x, filters, bias, stride=2, padding=filters.shape[-1] // 2)
        x = functional.leaky_relu(x, _SLOPE)
    flat = x.flatten(2)
    logits: torch.Tensor = functional.linear(torch.cat([flat.mean(2), flat.amax(2)], 1), weights[-2], weights[-1])[:, 0]
    return logits
