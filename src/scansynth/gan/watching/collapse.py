"""Is the generator still varied? Seven figures, each compared with real images of patients that it never saw.

Features are scaled on real images of the train role and compared with those of *other* patients: on the images
that fitted the scale, a healthy generator would look poor. All figures are ratios, generated to real, of sets of
the same size; what chance alone does to them is measured by setting halves of the real patients against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scansynth.gan.asked.labels import class_of
from scansynth.gan.sampling import Latent, images_of
from scansynth.gan.watching.health import WITHIN
from scansynth.metrics.diversity import (
    distances,
    effective_rank,
    nearest_distance,
    pair_distance,
    vendi,
)
from scansynth.metrics.features import MONITOR_SEED, RandomEncoder, Scale, fit_scale, random_encoder
from scansynth.metrics.prdc import coverage
from scansynth.seeds import generator

SAMPLES = 64
"""Images of the fixed noise in a look; as many again of fresh noise."""

STATISTICS = ("nearest", "near_pairs", "median_pair", "vendi", "rank", "coverage", "z_sensitivity")
"""Nearest-neighbour distance, 5% and median pair distance, Vendi score, effective rank, coverage: ratios to reals;
and how far an image moves for a small step in the noise."""

COMPARED = STATISTICS[:6]
"""Those that sets of real images have too."""

NULL_QUANTILE = 0.005
_LARGEST_SET, _LEAST_SET = 64, 8
_NULL_DRAWS, _LOOK_DRAWS = 400, 10
_BALL = 5  # k of coverage
_LEAST_OF_CLASS = 8  # patients, and images made, below which a class is not looked at by itself
_ANGLE = 0.1  # of the small step in the noise, radians
STEPPED = 16
"""Noises that are moved by a small step."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Images of one category, which are looked at by themselves.

    Attributes:
        column: Of the labels, where they have 1.
        members: (m,) bool, which images of the reference.
    """

    column: int
    members: NDArray[np.bool_]


@dataclass(frozen=True)
class RealImages:
    """What a monitor is made from.

    Attributes:
        scaling: (n, channels, rows, columns) in [-1, 1]: images of the train role, on which features are scaled.
        reference: (m, channels, rows, columns) in [-1, 1]: images of other patients.
        patients: Patient of each of `reference`.
        basis: Who these others are, in words.
        labels: Class of each of `reference`; empty where the generator does not tell classes apart.
        classes: Name of each class.
        groups: Categories of conditions by name.
    """

    scaling: NDArray[np.float32]
    reference: NDArray[np.float32]
    patients: tuple[str, ...]
    basis: str
    labels: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    groups: Mapping[str, Group] = field(default_factory=dict)


@dataclass(frozen=True)
class Draw:
    """Two sets of equally many reference images, one of each patient, no patient in both.

    Attributes:
        left: Places in the reference, (size,).
        right: Places in the reference, (size,).
    """

    left: NDArray[np.intp]
    right: NDArray[np.intp]


@dataclass(frozen=True)
class CollapseMonitor:
    """What the generator's variety is compared with.

    Attributes:
        encoder: Features that no judge uses.
        scale: Of those features over real images of the train role.
        latent: Noise and labels of 64 images, the same at every look.
        step: (16, length), direction of the small step in the noise.
        channels: Grey channels that are looked at; a mask that a generator makes besides is not.
        features: Of the reference, at scale (m, k).
        draws: Sets of the reference, each compared with as many generated images.
        size: Images in such a set.
        bandwidth: Of the Vendi score's kernel: the median distance of two reference patients.
        expected: What real images give, for each of `COMPARED`.
        limits: 0.5% quantile of the ratio of real to real; empty when there are too few patients to know it.
        pixel_distance: Root mean square difference of two reference images.
        basis: Who the reference is, in words.
        within: Median distance of two reference patients of each class that has enough of them.
        classes: Name of each class.
        groups: Column of the labels, and median distance of two reference patients, of each category that has enough.
    """

    encoder: RandomEncoder
    scale: Scale
    latent: Latent
    step: Tensor
    channels: int
    features: Floats
    draws: tuple[Draw, ...]
    size: int
    bandwidth: float
    expected: Mapping[str, float]
    limits: Mapping[str, float]
    pixel_distance: float
    basis: str
    within: Mapping[int, float]
    classes: tuple[str, ...]
    groups: Mapping[str, tuple[int, float]]


def new_monitor(real: RealImages, latent: Latent, step: Tensor, seed: int) -> CollapseMonitor:
    """A monitor that knows how varied real images of other patients are, and how much of that is chance.

    Args:
        real: At least two different images in each of its parts, and four patients.
        latent: Noise and labels of 64 images.
        step: (16, length).
        seed: Of the draws.

    Raises:
        ValueError: The images are too few, or all the same.
    """
    size = min(_LARGEST_SET, len(set(real.patients)) // 2)
    if size < 2 or not np.ptp(real.reference, axis=0).any():
        raise ValueError("the variety of real images needs four other patients at least, with different images")
    encoder = random_encoder(seed=MONITOR_SEED)
    scale = fit_scale(_features(encoder, real.scaling))
    features = scale(_features(encoder, real.reference))
    patients = np.array(real.patients)
    bandwidth = max(pair_distance(distances(features), groups=patients), 1e-12)
    random = generator(seed, "collapse null")
    members = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    draws = [_draw(members, size, random) for _ in range(_NULL_DRAWS)]
    pairs = [_of_draw(features, draw, bandwidth) for draw in draws]
    expected = {name: float(np.mean([right[name] for _, right in pairs])) for name in COMPARED}
    limits = {
        name: float(np.quantile([_ratio(left[name], right[name]) for left, right in pairs], NULL_QUANTILE))
        for name in COMPARED
    }
    return CollapseMonitor(
        encoder=encoder,
        scale=scale,
        latent=latent,
        step=step,
        channels=real.reference.shape[1],
        features=features,
        draws=tuple(draws[:_LOOK_DRAWS]),
        size=size,
        bandwidth=bandwidth,
        expected=expected,
        limits=limits if size >= _LEAST_SET else {},
        pixel_distance=_pixel_distance(real.reference, patients),
        basis=real.basis,
        within=_within(features, patients, np.array(real.labels)),
        classes=real.classes,
        groups=_grouped(features, patients, real.groups),
    )


def _within(features: Floats, patients: NDArray[np.str_], labels: NDArray[np.int64]) -> dict[int, float]:
    """Median distance of two patients of each class; classes of few patients are left out."""
    found = {}
    for label in np.unique(labels).tolist():
        inside = labels == label
        if len(np.unique(patients[inside])) >= _LEAST_OF_CLASS:
            found[int(label)] = pair_distance(distances(features[inside]), groups=patients[inside])
    return found


def _grouped(features: Floats, patients: NDArray[np.str_], groups: Mapping[str, Group]) -> dict[str, tuple[int, float]]:
    """Column, and median distance of two patients, of each category; those of few patients are left out."""
    found = {}
    for name, group in groups.items():
        inside = _within(features, patients, group.members.astype(np.int64)).get(1)
        if inside is not None:
            found[name] = (group.column, inside)
    return found


def _features(encoder: RandomEncoder, images: NDArray[np.float32]) -> Floats:
    """Features of images (n, channels, rows, columns), those of the channels side by side: (n, channels * d)."""
    return np.concatenate([encoder(images[:, channel]) for channel in range(images.shape[1])], axis=1)


def _draw(members: list[NDArray[np.intp]], size: int, random: np.random.Generator) -> Draw:
    """One image of each of 2 x `size` patients, from the places of each patient's images."""
    chosen = random.permutation(len(members))[: 2 * size]
    places = np.array([members[patient][random.integers(len(members[patient]))] for patient in chosen])
    return Draw(places[:size], places[size:])


def _of_draw(features: Floats, draw: Draw, bandwidth: float) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of each of the two sets, beside the other: the first plays the generator."""
    left, right = features[draw.left], features[draw.right]
    return _figures(left, right, bandwidth), _figures(right, left, bandwidth)


def _figures(made: Floats, real: Floats, bandwidth: float) -> dict[str, float]:
    """`COMPARED` of a set of features (n, k) beside a real one (n, k), not yet divided by what reals give."""
    matrix = distances(made)
    return {
        "nearest": nearest_distance(matrix),
        "near_pairs": pair_distance(matrix, 0.05),
        "median_pair": pair_distance(matrix),
        "vendi": vendi(np.exp(-0.5 * (matrix / bandwidth) ** 2)),
        "rank": effective_rank(made),
        "coverage": coverage(distances(real), distances(real, made), min(_BALL, len(real) - 1)),
    }


def _ratio(value: float, expected: float) -> float:
    return value / max(expected, 1e-12)


def _pixel_distance(images: NDArray[np.float32], patients: NDArray[np.str_]) -> float:
    """Root mean square difference of pixels between two images, over pairs of different patients."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    matrix = distances(flat) ** 2 / flat.shape[1]
    apart = patients[:, None] != patients[None, :]
    return float(np.sqrt(matrix[apart].mean()))


def look(monitor: CollapseMonitor, network: nn.Module, fresh: Latent) -> dict[str, float]:
    """`STATISTICS` of a generator, about 1 for one as varied as real patients, near 0 after a collapse; and of classes.

    Args:
        monitor: What is known of the reals.
        network: Left in the mode in which it came.
        fresh: Noise and labels of 64 images that no look saw before: a generator may know the fixed noise by heart.

    Raises:
        ValueError: An image holds a value that is not a finite number: there is no variety to speak of.
    """
    pixels = np.concatenate([_pixels(monitor, network, latent) for latent in (monitor.latent, fresh)])
    features = monitor.scale(_features(monitor.encoder, np.clip(pixels, -1.0, 1.0)))
    order = np.arange(len(features)).reshape(2, -1).T.ravel()  # fixed and fresh by turns
    found = []
    for number, draw in enumerate(monitor.draws):
        places = np.take(order, np.arange(number * monitor.size, (number + 1) * monitor.size), mode="wrap")
        found.append(_figures(features[places], monitor.features[draw.right], monitor.bandwidth))
    result = {
        name: _ratio(float(np.mean([figures[name] for figures in found])), monitor.expected[name]) for name in COMPARED
    }
    asked = torch.cat([monitor.latent.labels, fresh.labels]).cpu()
    labels = class_of(asked).numpy()
    parts = {monitor.classes[label]: (labels == label, real) for label, real in monitor.within.items()}
    for name, (column, real) in monitor.groups.items():
        parts[name] = (asked[:, column].numpy() == 1.0, real)
    for name, (inside, real) in parts.items():
        if inside.sum() >= _LEAST_OF_CLASS:
            result[WITHIN + name] = _ratio(pair_distance(distances(features[inside])), real)
    return {**result, "z_sensitivity": _z_sensitivity(monitor, network, pixels)}


def _pixels(monitor: CollapseMonitor, network: nn.Module, latent: Latent) -> NDArray[np.float32]:
    """Grey channels of images, (n, channels, rows, columns); refused when a pixel is not finite."""
    pixels: NDArray[np.float32] = images_of(network, latent)[:, : monitor.channels].cpu().numpy()
    if not np.isfinite(pixels).all():  # before they are clipped, which would make infinity white
        raise ValueError("the generator gives values that are not finite")
    return pixels


def _z_sensitivity(monitor: CollapseMonitor, network: nn.Module, pixels: NDArray[np.float32]) -> float:
    """How far images move for a turn of the noise by 0.1 radians, over what a generator linear in it would do.

    1 for a linear generator whose images are as far apart as real ones; 0 for one that ignores the noise, or jumps
    between fixed images: the median over the noises leaves out the few whose step crosses a jump. After the
    mode-seeking ratio of Mao et al., CVPR 2019 (arXiv:1903.05628, eq. 4), for a small step.
    """
    start = monitor.latent.part(0, STEPPED)
    turned = np.cos(_ANGLE) * start.noise + np.sin(_ANGLE) * monitor.step
    moved = _pixels(monitor, network, Latent(turned, start.labels))
    changes = np.sqrt(np.mean((moved.astype(np.float64) - pixels[:STEPPED]) ** 2, axis=(1, 2, 3)))
    # the chord of the angle, beside that of two noises at right angles
    share = 2.0 * np.sin(_ANGLE / 2.0) / np.sqrt(2.0)
    return float(np.median(changes) / (share * max(monitor.pixel_distance, 1e-12)))
