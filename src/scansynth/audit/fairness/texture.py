"""Is it the patients that a predictor reads, or the texture? A share holds only as far as the set resembles reals.

A predictor that reads field strength from scanner noise takes a set without noise for a set without patients of the
weaker field. Taking the predictor's errors off rests on one assumption: the images of a group look alike in the set
and among the reals (label shift: Lipton et al., ICML 2018, arXiv:1802.03916). Here that assumption is tested; where
it does not hold, nothing is said of groups. The rule stands in `docs/evidence.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scansynth.audit.compared import Images
from scansynth.audit.fairness.groups import stated_patients
from scansynth.audit.fairness.shares import MARGIN, log_disparities, quantile
from scansynth.claims.claim import percent
from scansynth.metrics import planted
from scansynth.metrics.attributes import FOLDS, GroupPredictor, ShareMeter, learn_groups
from scansynth.metrics.features import JUDGE_SEED, fit_scale, random_encoder
from scansynth.statistics import Mask

WHOLE, DENOISED, COARSE = "whole images", "denoised images", "coarse images"
MOST_IMAGES = 1000
"""Of each side: more would not make the comparison sharper than the shares that it is for."""

DROWNED = 0.025
"""Noise, as a share of the grey range, under which differences of texture vanish in coarse images."""

NULL_LEVEL = 0.99
SURE = 3.0
"""Standard errors by which a planted fault must change what is said of the same images."""
_LEAST = 1e-6  # keeps the logarithm of a flat image finite

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def denoised(images: Images) -> Images:
    """The median of 3 x 3 pixels."""
    return np.asarray(ndimage.median_filter(images, size=(1, 3, 3), mode="nearest"), dtype=np.float32)


def coarse(images: Images, rng: np.random.Generator) -> Images:
    """Squares of 4 x 4 pixels averaged, with noise that drowns what is left of texture; the size stays."""
    rows, columns = (side // 4 * 4 for side in images.shape[1:])
    blocks = images[:, :rows, :columns].reshape(len(images), rows // 4, 4, columns // 4, 4).mean(axis=(2, 4))
    small = planted.noise(blocks.astype(np.float32), DROWNED, rng)
    wide = np.repeat(np.repeat(small, 4, axis=1), 4, axis=2)
    rest = ((0, 0), (0, images.shape[1] - rows), (0, images.shape[2] - columns))
    return np.pad(wide, rest, mode="edge")


def texture(images: Images) -> Floats:
    """Logarithms of the finest detail of each image, by its median and its spread, and of the next finer (n, 3)."""
    finest = images[:, :-1, :-1] - images[:, 1:, :-1] - images[:, :-1, 1:] + images[:, 1:, 1:]
    once = ndimage.gaussian_filter(images, (0.0, 1.0, 1.0))
    twice = ndimage.gaussian_filter(images, (0.0, 2.0, 2.0))
    found = [np.median(np.abs(finest), axis=(1, 2)), (images - once).std(axis=(1, 2)), (once - twice).std(axis=(1, 2))]
    return np.log(np.stack(found, axis=1).astype(np.float64) + _LEAST)


def distance(made: Floats, real: Floats, weight: Floats) -> float:
    """How far apart two sets are in texture: the largest difference of means, in spreads of the reals.

    Args:
        made: (m, k).
        real: (n, k).
        weight: Of each real (n,), from 0.
    """
    share = weight / weight.sum()
    mean = share @ real
    spread = np.sqrt(np.maximum(share @ (real - mean) ** 2, 1e-12))
    return float((np.abs(made.mean(axis=0) - mean) / spread).max())


def weights(codes: Codes, shares: Floats) -> Floats:
    """Weights (n,) under which images of known groups have the given shares (G,); 0 where no group is stated."""
    held = np.bincount(codes[codes >= 0], minlength=len(shares))
    return np.asarray(np.where(codes >= 0, (shares / np.maximum(held, 1))[codes], 0.0))


@dataclass(frozen=True)
class Reading:
    """The shares of the judged groups in one set of images, as logarithms of their ratio to the training patients'.

    Attributes:
        low, value, high: (J,).
        shares: Of all groups (G,).
    """

    low: Floats
    value: Floats
    high: Floats
    shares: Floats


def disagreement(one: Reading, other: Reading) -> int | None:
    """A group of which the two say shares that differ beyond the margin, by intervals without a common point."""
    apart = (one.low > other.high) | (other.low > one.high)
    apart &= np.abs(one.value - other.value) > MARGIN
    worst = np.where(apart, np.abs(one.value - other.value), 0.0)
    return int(worst.argmax()) if apart.any() else None


def confirmed(whole: Reading, without: Reading) -> bool:
    """Whatever the first refutes, the second finds on the same side."""
    above, below = whole.low > MARGIN, whole.high < -MARGIN
    return bool(((without.low > 0) | ~above).all() and ((without.high < 0) | ~below).all())


@dataclass(frozen=True)
class Textures:
    """Images of all three kinds before and after their texture was taken away, shared by all attributes.

    Attributes:
        train: Training images (n, side, side).
        synthetic: (m, side, side).
        test: Test images (t, side, side).
        spoiled: Test images with a planted fault of texture, by fault.
        rng: Draws the noise of coarse images.
    """

    train: Images
    synthetic: Images
    test: Images
    spoiled: Mapping[str, Images]
    rng: np.random.Generator
    _kept: dict[str, tuple[Floats, Callable[[Images], Floats]]] = field(default_factory=dict)

    def _version(self, name: str, images: Images) -> Images:
        if name == WHOLE:
            return images
        return denoised(images) if name == DENOISED else coarse(images, self.rng)

    def features(self, name: str) -> tuple[Floats, Callable[[Images], Floats]]:
        """Features of the training images in one version, and what gives those of other images."""
        if name not in self._kept:
            encode = random_encoder(JUDGE_SEED)
            raw = encode(self._version(name, self.train))
            scale = fit_scale(raw)
            self._kept[name] = scale(raw), lambda images: scale(encode(self._version(name, images)))
        return self._kept[name]

    @cached_property
    def of_set(self) -> Mapping[str, Floats]:
        """Features of the set, by version."""
        return {name: self.features(name)[1](self.synthetic) for name in (WHOLE, DENOISED, COARSE)}

    @cached_property
    def fine(self) -> tuple[Floats, Floats]:
        """Texture of the set and of the test images."""
        return texture(self.synthetic), texture(self.test)


@dataclass(frozen=True)
class Asked:
    """One attribute as it is asked here.

    Attributes:
        groups: Names; the first `judged` are judged.
        judged: How many.
        train: Group of each training image, -1 where it is not stated (n,).
        patients: Patient of each training image (n,).
        test: Group of each test image (t,).
        halves: First half of the test patients in each draw (draws, t).
        level: Of all intervals together.
        seed: Of the folds.
        name: Of the attribute, in words.
        usable: Whether a predictor can tell so many judged groups apart.
    """

    groups: tuple[str, ...]
    judged: int
    train: Codes
    patients: NDArray[np.str_]
    test: Codes
    halves: Mask
    level: float
    seed: int
    name: str
    usable: Callable[[GroupPredictor, int], bool]

    def learn(self, features: Floats) -> GroupPredictor:
        """A predictor of the groups from features of the training images."""
        stated = self.train >= 0
        return learn_groups(features[stated], self.train[stated], self.patients[stated], self.seed)

    def read(self, predictor: GroupPredictor, said: Floats) -> Reading:
        """Shares of the groups in a set of images, from what the predictor says of each (m, G)."""
        found = ShareMeter(predictor)(said)
        real = np.bincount(predictor.truth, minlength=predictor.count) / len(predictor.truth)
        z = quantile(self.level, max(self.judged, 1), len(np.unique(predictor.patients)))
        low, value, high = (part[: self.judged] for part in log_disparities(found, real, z, len(said)))
        return Reading(low, value, high, found.value)


def doubt(asked: Asked, textures: Textures) -> str:
    """Why nothing can be said of shares by this attribute; empty where it can."""
    held = [stated_patients(asked.train, asked.patients, group) for group in range(len(asked.groups))]
    if min(held) < FOLDS:
        return f"Too few training images of some groups by {asked.name} to see whether fine detail gives them away."
    readers = {}
    for version in (WHOLE, DENOISED, COARSE):
        predictor = asked.learn(textures.features(version)[0])
        if asked.usable(predictor, asked.judged):
            readers[version] = predictor
    if WHOLE not in readers:
        return ""  # the claim says so itself
    readings = {version: asked.read(reader, reader(textures.of_set[version])) for version, reader in readers.items()}
    for version, reading in readings.items():
        group = disagreement(readings[WHOLE], reading)
        if group is not None:
            return _differ(asked, group, readings[WHOLE], reading, version)
    misled = _misled(asked, readers[WHOLE], WHOLE, textures)
    if misled is None or _resembles(asked, readings[WHOLE].shares, textures):
        return ""
    without = COARSE in readers and confirmed(readings[WHOLE], readings[COARSE])
    if without and _misled(asked, readers[COARSE], COARSE, textures) is None:
        return ""
    return _texture_only(asked, misled)


def _misled(
    asked: Asked, reader: GroupPredictor, version: str, textures: Textures
) -> tuple[str, int, float, float] | None:
    """A planted fault of texture that changes the share of a group, the group, and its shares before and after.

    The same images are read twice, so the differences of each image are what errs.
    """
    encode = textures.features(version)[1]
    before = reader(encode(textures.test))
    clean = asked.read(reader, before)
    for fault, images in textures.spoiled.items():
        after = reader(encode(images))
        changed, difference = asked.read(reader, after), after - before
        sure = np.abs(difference.mean(axis=0)) > SURE * difference.std(axis=0) / np.sqrt(len(difference))
        moved = np.abs(changed.value - clean.value) > MARGIN
        if (sure[: asked.judged] & moved).any():
            group = int(np.where(sure[: asked.judged], np.abs(changed.value - clean.value), 0.0).argmax())
            return fault, group, float(clean.shares[group]), float(changed.shares[group])
    return None


def _resembles(asked: Asked, shares: Floats, textures: Textures) -> bool:
    """The set's texture is that of test patients in the estimated shares, as near as halves of the patients are."""
    made, real = textures.fine
    null = []
    for half in asked.halves:
        own = asked.test[half]
        held = np.bincount(own[own >= 0], minlength=len(shares))
        rest = weights(np.where(half, -1, asked.test), held / max(held.sum(), 1))
        if held.sum() and rest.sum() > 0:
            null.append(distance(real[half & (asked.test >= 0)], real, rest))
    weight = weights(asked.test, shares)
    if not null or weight.sum() <= 0:
        return False
    return distance(made, real, weight) <= float(np.quantile(null, NULL_LEVEL))


def _differ(asked: Asked, group: int, whole: Reading, other: Reading, version: str) -> str:
    return (
        f"The predictors do not agree: of the set, {percent(float(whole.shares[group]))} show {asked.groups[group]} by "
        f"the predictor of {WHOLE}, and {percent(float(other.shares[group]))} by that of {version}. So what they read "
        f"is fine detail, in which the set differs from real images, and not {asked.name}."
    )


def _texture_only(asked: Asked, misled: tuple[str, int, float, float]) -> str:
    fault, group, before, after = misled
    return (
        f"What the predictor reads is fine detail: with {fault}, the same real images read as {percent(after)} "
        f"{asked.groups[group]} instead of {percent(before)}. The set's fine detail is not that of real images, and "
        f"without it the groups by {asked.name} cannot be predicted. See realism first."
    )
