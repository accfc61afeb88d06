"""Which state of a training images are drawn from, and when it is over: chosen on images of tune patients.

The losses of a GAN do not say how good its images are, and a training that goes on too long makes them worse. So
images are drawn now and then, and compared with those of tune patients, whom neither network sees: by KID, by recall,
and by how many of them lie nearer to an image of the training than another patient's would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from scansynth.gan.sampling import Latent, images_of
from scansynth.metrics.diversity import distances
from scansynth.metrics.features import MONITOR_SEED, RandomEncoder, Scale, fit_scale, random_encoder
from scansynth.metrics.kid import different, polynomial_kernel, subset_kid
from scansynth.metrics.ncc import Flip
from scansynth.metrics.prdc import recall
from scansynth.metrics.search import Search, open_search
from scansynth.seeds import generator
from scansynth.statistics import binomial_upper

MADE = 256
"""Images of a look, always of the same noise: two looks then differ by the network alone."""

LEAST_PATIENTS = 8
"""Tune patients without whom nothing is chosen: chance would."""

FIGURES = ("tune_kid", "tune_recall", "tune_copies")
"""KID against tune patients; share of their images that lie among those made; share made that is too near to train."""

_SEARCHED = 128  # of the images made, compared with all of the training
_TRAIN = 512  # images of the training that give the scale, and the units of both figures
_NULL_DRAWS = 40
_BALL = 3
_UNLIKE = 0.99  # share of tune images that are less like the training than what counts as too near

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TuneImages:
    """Real images that a training is chosen on.

    Attributes:
        train: Those it learns from, (n, channels, rows, columns) in [-1, 1].
        tune: Those of tune patients, (m, channels, rows, columns).
        patients: Patient of each of `tune`.
        flips: Mirror images that the training is shown.
    """

    train: NDArray[np.float32]
    tune: NDArray[np.float32]
    patients: tuple[str, ...]
    flips: tuple[Flip, ...]


@dataclass(frozen=True)
class Chooser:
    """What images of a state are compared with.

    Attributes:
        encoder: Features that no judge uses.
        scale: Of them over train images.
        features: Of tune images, at scale (m, k).
        patients: Patient of each tune image, as numbers (m,).
        latent: Noise and labels of the images of every look.
        channels: Grey channels.
        units: Standard deviation of KID and of recall among sets of train images of that size: what chance does.
        search: Train images, for copies.
        near: Likeness to train that all but 1% of tune images stay below.
        most_near: Share of images above it that chance still explains, at 95%.
    """

    encoder: RandomEncoder
    scale: Scale
    features: Floats
    patients: NDArray[np.int64]
    latent: Latent
    channels: int
    units: tuple[float, float]
    search: Search
    near: float
    most_near: float


@dataclass(frozen=True)
class Best:
    """The best state so far.

    Attributes:
        images: Real images seen.
        level: How the training stood, a `health.Level`.
        figures: `FIGURES`.
        score: See `score`.
        weights: Of the network that images are drawn from, as they were.
    """

    images: int
    level: str
    figures: Mapping[str, float]
    score: float
    weights: Mapping[str, Tensor]

    def plain(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        return {"images": self.images, "level": self.level, "figures": dict(self.figures), "score": self.score}


def new_chooser(found: TuneImages, latent: Latent, seed: int) -> Chooser | None:
    """What is needed to choose; none when there are too few tune patients.

    Args:
        found: Train and tune images.
        latent: Noise and labels of `MADE` images, on the generator's device.
        seed: Of the draws.
    """
    patients = np.unique(np.array(found.patients), return_inverse=True)[1].astype(np.int64)
    if len(set(found.patients)) < LEAST_PATIENTS:
        return None
    random = generator(seed, "choice")
    encoder = random_encoder(MONITOR_SEED)
    some = found.train[random.permutation(len(found.train))[:_TRAIN]]
    raw = _features(encoder, some)
    scale = fit_scale(raw)
    train, tune = scale(raw), scale(_features(encoder, found.tune))
    size = max(2, min(MADE, len(train) // 2))
    draws = [random.permutation(len(train))[:size] for _ in range(_NULL_DRAWS)]
    nulls = np.array([_kid_and_recall(train[places], tune, patients) for places in draws])
    search = open_search(_planes(found.train), found.flips)
    near = search.threshold(_planes(found.tune), _UNLIKE)
    chance = 1.0 / (len(found.tune) + 1)
    expected = max(1.0 - _UNLIKE, chance)
    return Chooser(
        encoder=encoder,
        scale=scale,
        features=tune,
        patients=patients,
        latent=latent,
        channels=found.tune.shape[1],
        units=(max(float(nulls[:, 0].std()), 1e-6), max(float(nulls[:, 1].std()), 1e-3)),
        search=search,
        near=near,
        most_near=binomial_upper(round(expected * _SEARCHED), _SEARCHED),
    )


def _features(encoder: RandomEncoder, images: NDArray[np.float32]) -> Floats:
    """Features of images (n, channels, rows, columns), those of the channels side by side."""
    return np.concatenate([encoder(images[:, channel]) for channel in range(images.shape[1])], axis=1)


def _planes(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (n, channels, rows, columns) as (n, channels * rows, columns): the channels below each other."""
    return images.reshape(len(images), -1, images.shape[-1])


def _kid_and_recall(made: Floats, tune: Floats, patients: NDArray[np.int64]) -> tuple[float, float]:
    """Both against tune; pairs of one patient are left out of KID, and recall is over the images."""
    pool = np.concatenate([made, tune])
    groups = np.concatenate([np.arange(len(made)), patients + len(made)])
    first = (np.arange(len(pool)) < len(made))[None, :]
    count = min(len(made), len(tune))
    own, across = distances(made[:count]), distances(tune, made[:count])
    return (
        float(subset_kid(polynomial_kernel(pool, pool), different(groups), first, ~first)[0]),
        recall(own, across, min(_BALL, count - 1)),
    )


def look(chooser: Chooser, network: nn.Module) -> dict[str, float]:
    """`FIGURES` of a generator.

    Raises:
        ValueError: An image holds a value that is not a finite number.
    """
    pixels = images_of(network, chooser.latent)[:, : chooser.channels].cpu().numpy()
    if not np.isfinite(pixels).all():
        raise ValueError("the generator gives values that are not finite")
    pixels = np.clip(pixels, -1.0, 1.0)
    kid, reached = _kid_and_recall(
        chooser.scale(_features(chooser.encoder, pixels)), chooser.features, chooser.patients
    )
    likeness = chooser.search.nearest(_planes(pixels[:_SEARCHED])).score
    return {"tune_kid": kid, "tune_recall": reached, "tune_copies": float(np.mean(likeness > chooser.near))}


def score(chooser: Chooser, figures: Mapping[str, float]) -> float:
    """KID less recall, each in units of what chance does to it: the lower the better.

    Far from the reals KID decides. Where it is down at what chance does, recall counts as much.
    """
    kid_unit, recall_unit = chooser.units
    return figures["tune_kid"] / kid_unit - figures["tune_recall"] / recall_unit


def may_be_chosen(chooser: Chooser, figures: Mapping[str, float]) -> bool:
    """Whether no more images lie near to the training than chance explains."""
    return figures["tune_copies"] <= chooser.most_near


def flips_of(left_right: bool, up_down: bool) -> Sequence[Flip]:
    """Mirror images of a training that mirrors in these directions."""
    flips = [Flip.NONE]
    if left_right:
        flips.append(Flip.LEFT_RIGHT)
    if up_down:
        flips.append(Flip.TOP_BOTTOM)
    if left_right and up_down:
        flips.append(Flip.BOTH)
    return flips
