"""Can two sets of images be told apart? Classifiers that are tried on images that they did not learn from.

The classifier two-sample test (Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017,
arXiv:1610.06545) with the area under the ROC curve in the place of accuracy: 0.5 is chance, 1 is always. Every image
must be of another patient than all others of its side, and no patient may stand on both sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from scansynth.metrics.roc import auc_and_variance

Floats = NDArray[np.float64]
Images = NDArray[np.float32]
Mask = NDArray[np.bool_]

STRENGTH = 0.01
"""Of the logistic model, scikit-learn's C: a strong hold, since it has more weights than images."""

NETWORK_FOLDS = 2
STEPS = 400
"""Most steps of a training; it ends before when the network knows its images."""

LEARNED = 0.1
"""Cross-entropy, nats, running mean, at which a network knows the images that it learned from: 0.69 is chance."""

LARGEST_SIDE = 64
"""Larger images are averaged down to this; the strength of their finest detail is taken before."""

SMALLEST_SIDE = 16
_WIDTHS = (3, 16, 24, 32)
_SLOPE = 0.1
_HALF_BATCH = 16
_RATE, _DECAY, _WARM_UP, _MEMORY = 3e-3, 1e-3, 10, 0.9
_FAINTEST = 1e-6  # keeps the logarithm of a flat patch finite


@dataclass(frozen=True)
class Trial:
    """How well unseen images of two sets were told apart.

    Attributes:
        auc: Mean over the folds.
        variance: Of `auc`, over images, with the classifiers as they were trained (DeLong et al. 1988).
        learned: Share of the classifiers that came to know the images that they learned from.
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
    """A small convolutional network, trained on half of the images and tried on the other, both ways round.

    It sees the grey values, the finest detail and the strength of that detail, each on its own scale: forensic
    networks learn the faint traces of processing from few images once the content is taken off (Fridrich and
    Kodovsky, IEEE TIFS 7, 2012; Bayar and Stamm, IEEE TIFS 13, 2018).

    Args:
        first: Images of one set (n, side, side) in [-1, 1], n >= 4, sides of 16 pixels at least.
        second: Of the other (n, side, side).
        flips: Axes along which an image may be mirrored in training: 1 top-bottom, 2 left-right.
        rng: Draws folds, first weights and batches.
    """
    axes = tuple(axis + 1 for axis in flips)  # behind the channels

    def network(x: Floats, y: Mask, new: Floats, rng: np.random.Generator) -> tuple[Floats, bool, int]:
        return _network(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(new), axes, rng)

    seen = _channels(np.concatenate([first, second]))
    return _crossed(seen.numpy(), len(first), NETWORK_FOLDS, network, rng)


_Classifier = Callable[[Any, Mask, Any, np.random.Generator], tuple[Floats, bool, int]]


def _crossed(x: NDArray[Any], count: int, folds: int, classifier: _Classifier, rng: np.random.Generator) -> Trial:
    """Each fold scored by a classifier that learned from the others; the first `count` items are one set."""
    labels = np.arange(len(x)) >= count
    fold = np.concatenate([rng.permutation(side) % folds for side in (count, len(x) - count)])
    parts, learned, most = [], 0, 0
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


def _logistic(x: Floats, y: Mask, new: Floats, rng: np.random.Generator) -> tuple[Floats, bool, int]:
    """Scores of new features (k, d); a convex problem, which is always solved."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3))
    model.fit(np.hstack([x, x**2]), y)
    return np.asarray(model.decision_function(np.hstack([new, new**2])), np.float64), True, 0


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


def _network(
    x: torch.Tensor, y: torch.Tensor, new: torch.Tensor, flips: tuple[int, ...], rng: np.random.Generator
) -> tuple[Floats, bool, int]:
    """Trains on x (n, 3, s, s) with labels y (n,) until it knows them; scores of `new`, mirrored ones averaged."""
    mean, spread = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True) + _FAINTEST
    x, new = ((part - mean) / spread for part in (x, new))
    # channels last: five times as fast on a processor
    x, new = (part.contiguous(memory_format=torch.channels_last) for part in (x, new))
    draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
    weights = _first_weights(draws)
    knows, steps = _train(weights, x, y, flips, draws)
    with torch.inference_mode():
        views = [new]
        for axis in flips:
            views += [view.flip(axis) for view in views]
        scores = torch.stack([_logits(weights, view) for view in views]).mean(0)
    return scores.double().numpy(), knows, steps


def _train(
    weights: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor, flips: tuple[int, ...], draws: torch.Generator
) -> tuple[bool, int]:
    """AdamW (Loshchilov and Hutter, ICLR 2019) on batches that are even by label; whether it learned, and steps."""
    sides = [torch.nonzero(y == label)[:, 0] for label in (False, True)]
    half = min(_HALF_BATCH, *(len(side) for side in sides))
    truth = torch.arange(2 * half) >= half
    optimiser = torch.optim.AdamW(weights, lr=_RATE, weight_decay=_DECAY)
    loss_so_far = float(np.log(2.0))
    for step in range(1, STEPS + 1):
        batch = x[torch.cat([side[torch.randperm(len(side), generator=draws)[:half]] for side in sides])]
        for axis in flips:
            mirrored = torch.rand(2 * half, generator=draws) < 0.5
            batch = torch.where(mirrored[:, None, None, None], batch.flip(axis), batch)
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, step / _WARM_UP)
        loss = functional.binary_cross_entropy_with_logits(_logits(weights, batch), truth.float())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        loss_so_far = _MEMORY * loss_so_far + (1.0 - _MEMORY) * float(loss.detach())
        if loss_so_far < LEARNED:
            return True, step
    return False, STEPS


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
