"""The arms of a trial: one table of ways to train a detector, and what each one learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from scansynth.errors import ConfigError
from scansynth.seeds import derive_seed, generator
from scansynth.utility.detector.material import Phase, Places


class Extra(StrEnum):
    """What joins the real images of the subset."""

    NONE = "nothing"
    SYNTHETIC = "synthetic images"
    SHUFFLED = "synthetic images whose labels were shuffled"
    FILTERED = "the more realistic half of twice as many synthetic images, without copies"
    DUPLICATES = "the same real images once more, as many as there would be synthetic ones"
    NEAREST = "for each synthetic image the training image nearest to it"
    PASTED = "real lesions of the subset, blended into its clear scans"
    RESERVE = "real images of the reserve patients"


@dataclass(frozen=True)
class ArmPlan:
    """How one arm trains.

    Attributes:
        extra: What joins the real images.
        augmented: Flips and slight rotations, as permitted for the modality and view.
        reals: Share of the steps, at the end of the training, that see real positive images.
        with_extra: The extra images join the real ones; else they have the steps before.
    """

    extra: Extra
    augmented: bool
    reals: float = 1.0
    with_extra: bool = True


ARM_PLANS: Mapping[str, ArmPlan] = {
    "real": ArmPlan(Extra.NONE, False),
    "basic": ArmPlan(Extra.NONE, True),
    "synthetic": ArmPlan(Extra.SYNTHETIC, False),
    "basic-synthetic": ArmPlan(Extra.SYNTHETIC, True),
    "duplicates": ArmPlan(Extra.DUPLICATES, True),
    "nearest": ArmPlan(Extra.NEAREST, True),
    "shuffled": ArmPlan(Extra.SHUFFLED, True),
    "synthetic-only": ArmPlan(Extra.SYNTHETIC, True, reals=0.0, with_extra=False),
    "pretrained": ArmPlan(Extra.SYNTHETIC, True, reals=0.5, with_extra=False),
    "filtered": ArmPlan(Extra.FILTERED, True),
    "copy-paste": ArmPlan(Extra.PASTED, True),
    "reserve": ArmPlan(Extra.RESERVE, True),
}
"""By the name of the arm. In every arm and step half of the batch is positive, and the steps are as many."""

READS_SET = frozenset({Extra.SYNTHETIC, Extra.SHUFFLED, Extra.FILTERED, Extra.NEAREST})
"""What cannot be had without a synthetic set."""

HAS_RATIO = READS_SET | {Extra.DUPLICATES, Extra.PASTED}
"""What depends on how many images join each real one."""


def reads_set(arm: str) -> bool:
    """Whether an arm needs a synthetic set."""
    return ARM_PLANS[arm].extra in READS_SET


def has_ratio(arm: str) -> bool:
    """Whether an arm depends on the ratio of synthetic to real images."""
    return ARM_PLANS[arm].extra in HAS_RATIO


def images_asked(arm: str, reals: int, ratio: float) -> int:
    """Synthetic images of each label that an arm takes from its sets.

    Args:
        arm: Its name.
        reals: Real positive images of the subset.
        ratio: Synthetic images for each of them.
    """
    extra = ARM_PLANS[arm].extra
    if extra not in READS_SET:
        return 0
    count = max(1, round(ratio * reals))
    return 2 * count if extra is Extra.FILTERED else count


@dataclass(frozen=True)
class Sources:
    """Places of all images that an arm may take, positive and negative ones apart.

    Attributes:
        real: The reals of the subset.
        extra: What joins them: of the synthetic arms the synthetic images, already chosen and as many as the ratio
            says; of `nearest` the training images nearest to them; of `copy-paste` clear scans with real lesions in
            them; of `reserve` the reserve's reals.
    """

    real: tuple[Places, Places]
    extra: tuple[Places, Places] = field(default_factory=lambda: (_none(), _none()))


def _none() -> Places:
    return np.zeros(0, np.int64)


def phases_of(arm: str, sources: Sources, ratio: float, seed: int) -> tuple[Phase, ...]:
    """What an arm sees, and when.

    Args:
        arm: Its name.
        sources: Places of its images.
        ratio: Synthetic images for each real positive one; `duplicates` has as many duplicates.
        seed: Of the draws of duplicates and of shuffled labels.

    Raises:
        ConfigError: The arm has nothing to learn a class from.
    """
    plan = ARM_PLANS[arm]
    extra = sources.extra
    if plan.extra is Extra.DUPLICATES:
        count = max(1, round(ratio * len(sources.real[0])))
        extra = (_duplicates(sources.real[0], count, derive_seed(seed, "duplicates")), _none())
    elif plan.extra is Extra.SHUFFLED:
        extra = _shuffled(extra, derive_seed(seed, "shuffled labels"))
    if plan.with_extra:
        together = (_joined(sources.real[0], extra[0]), _joined(sources.real[1], extra[1]))
        phases = [Phase(1.0, *together, plan.augmented)]
    else:
        # without synthetic clear images, the real ones stand beside the synthetic lesions
        alone = (extra[0], extra[1] if len(extra[1]) else sources.real[1])
        phases = [Phase(1.0 - plan.reals, *alone, plan.augmented), Phase(plan.reals, *sources.real, plan.augmented)]
    phases = [phase for phase in phases if phase.share > 0.0]
    for phase in phases:
        if not len(phase.positives) or not len(phase.negatives):
            lacking = "negative" if len(phase.positives) else "positive"
            raise ConfigError(f"the arm {arm} has no {lacking} image to learn from; add cases, or leave the arm out")
    return tuple(phases)


def _joined(reals: Places, extra: Places) -> Places:
    return np.concatenate([reals, extra])


def _duplicates(reals: Places, count: int, seed: int) -> Places:
    """`count` of the reals once more: none a second time before each had its first."""
    if not len(reals):
        return _none()
    passes = -(-count // len(reals))
    drawn = [generator(seed, number).permutation(reals) for number in range(passes)]
    return np.concatenate(drawn)[:count]


def _shuffled(extra: tuple[Places, Places], seed: int) -> tuple[Places, Places]:
    """Synthetic images with labels shuffled: as many of each as before, or half and half when all had one label."""
    together = generator(seed, "deal").permutation(np.concatenate(extra))
    count = len(extra[0]) if len(extra[1]) else len(together) // 2
    return together[:count], together[count:]
