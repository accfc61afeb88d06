"""What the claims on groups share: images and features that several of them need, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import MOST_IMAGES, Images, Reals
from scansynth.audit.context import Context, View, at_most
from scansynth.audit.fairness import flags
from scansynth.audit.fairness.groups import Attribute
from scansynth.audit.fairness.texture import MOST_IMAGES as MOST_TEXTURES
from scansynth.audit.fairness.texture import Asked, Textures, doubt
from scansynth.metrics import planted
from scansynth.metrics.attributes import GroupPredictor, ShareMeter
from scansynth.seeds import derive_seed

COPIED_IMAGES = 300
"""Training images of which copies are planted."""

LEAST_AUC = 0.65
"""Least mean AUC of a usable group predictor."""

LEAST_STEADINESS = 0.1
Floats = NDArray[np.float64]


def mean_auc(predictor: GroupPredictor, judged: int) -> float:
    """How often an image of a judged group is distinguished from one of the others, the mean over these groups."""
    return float(predictor.auc[:judged].mean())


def usable(predictor: GroupPredictor, judged: int) -> bool:
    """The predictor distinguishes the groups."""
    return mean_auc(predictor, judged) >= LEAST_AUC and ShareMeter(predictor).steadiness >= LEAST_STEADINESS


class SharedImages:
    """What all judges share; expensive parts are computed on first use."""

    def __init__(self, context: Context) -> None:
        self.context, train = context, context.compared.train
        kept = at_most(len(train.images), MOST_IMAGES, context.rng("subgroups", "train"))
        self.train = Reals(tuple(train.cases[place] for place in kept), train.images[kept])
        self._doubts: dict[tuple[str, tuple[str, ...]], str] = {}

    @cached_property
    def spoiled(self) -> Mapping[str, Images]:
        """Degraded test images."""
        images = self.context.real.images
        return {
            "blur of 2 pixels": planted.blur(images, 2.0),
            "noise": planted.noise(images, 0.025, self.context.rng("subgroups", "noise")),
        }

    def doubt(self, attribute: Attribute) -> str:
        """Why nothing can be said of this attribute, since its predictor reads texture; empty where it can."""
        key = attribute.name, attribute.groups
        if key not in self._doubts:
            train, test = self._some["train"], self._some["test"]
            asked = Asked(
                attribute.groups,
                attribute.judged,
                attribute.train[train],
                self.train.patients[train],
                attribute.test[test],
                self.context.halves[:, test],
                self.context.settings.level,
                derive_seed(self.context.seed, "evidence", "texture", attribute.name),
                attribute.name,
                usable,
            )
            self._doubts[key] = doubt(asked, self._textures)
        return self._doubts[key]

    @cached_property
    def _some(self) -> Mapping[str, NDArray[np.int64]]:
        """Places of the images in which texture is looked at."""
        sides = {"train": self.train.images, "test": self.context.real.images, "set": self.context.synthetic}
        return {
            side: at_most(len(images), MOST_TEXTURES, self.context.rng("texture", side))
            for side, images in sides.items()
        }

    @cached_property
    def _textures(self) -> Textures:
        some = self._some
        return Textures(
            self.train.images[some["train"]],
            self.context.synthetic[some["set"]],
            self.context.real.images[some["test"]],
            {fault: images[some["test"]] for fault, images in self.spoiled.items()},
            self.context.rng("texture", "noise"),
        )

    @cached_property
    def flags(self) -> tuple[Any, Any, Any]:
        """Flags of the set, of the test images and of planted copies."""
        flagged = flags.open_flags(self.context.compared, self.train.images)
        return flagged.of(self.context.synthetic), flagged.of(self.context.real.images), flagged.of(self.copies)

    @cached_property
    def copied(self) -> NDArray[np.int64]:
        """Places of the training images of which copies are planted."""
        return at_most(len(self.train.images), COPIED_IMAGES, self.context.rng("subgroups", "copied"))

    @cached_property
    def copies(self) -> Any:
        """Copies of them."""
        return flags.copies_of(self.train.images[self.copied], self.context.rng("subgroups", "copies"))


class Scene:
    """What all attributes share before one judge."""

    def __init__(self, images: SharedImages, view: View) -> None:
        self.images, self.context, self.view, self.train = images, images.context, view, images.train
        self.features: Floats = view.encode(self.train.images)
        self.patients, self.test_patients = self.train.patients, self.context.real.patients

    @cached_property
    def spoiled(self) -> Mapping[str, Floats]:
        """Features of degraded test images."""
        return {fault: self.view.encode(changed) for fault, changed in self.images.spoiled.items()}

    @cached_property
    def copy_features(self) -> Floats:
        """Features of the copies."""
        return self.view.encode(self.images.copies)
