"""Sets whose truth is known: other patients' real images, as they are or with a fault planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from generator_copies import repeated
from numpy.typing import NDArray

from scansynth.audit.compared import Compared, Reals
from scansynth.data.tensors import Case, Cohort, to_signed
from scansynth.ledger import Role
from scansynth.metrics import planted

Images = NDArray[np.float32]
SHARE_OF_COPIES = 0.05
LEVEL = 0.95
BLOCK = 4
ODDS = 3


@dataclass(frozen=True)
class Draw:
    """One set before its fault is planted.

    Attributes:
        compared: Other patients' images stand for the set.
        cases: Of these images.
        rng: For the fault.
        kept: Folder for what takes long to make.
    """

    compared: Compared
    cases: tuple[Case, ...]
    rng: np.random.Generator
    kept: Path

    @property
    def made(self) -> Images:
        """The images that stand for the set."""
        return self.compared.synthetic


@dataclass(frozen=True)
class Row:
    """A kind of set.

    Attributes:
        title: In the table.
        spoil: Gives the images that are judged.
        parts: Names of `CLAIM_GROUPS` that are asked; empty: all.
        must: Claims of which one must read `refuted`; none: none may.
    """

    title: str
    spoil: Callable[[Draw], Images]
    parts: tuple[str, ...] = ()
    must: tuple[str, ...] = ()


def dealt(cohort: Cohort, images: NDArray[np.uint16], label: str, draw: int) -> tuple[Compared, tuple[Case, ...]]:
    """Compared in which other patients stand for the synthetic set, and the cases of these."""
    cases = [case for case in cohort.cases if case.label == label]
    others = sorted({case.patient for case in cases if case.role is not Role.TRAIN})
    shuffled = np.random.default_rng(draw).permutation(np.array(others))
    first, second = len(shuffled) // 5, 3 * len(shuffled) // 5
    part = {Role.CALIBRATE: set(shuffled[:first]), Role.TEST: set(shuffled[first:second])}
    passed_off = set(shuffled[second:])

    def of(role: Role) -> Reals:
        chosen = tuple(
            replace(case, role=role)
            for case in cases
            if (case.role is Role.TRAIN if role is Role.TRAIN else case.patient in part[role])
        )
        return Reals(chosen, to_signed(np.array(images[[case.index for case in chosen]])))

    made = tuple(case for case in cases if case.patient in passed_off)
    compared = Compared(
        files=tuple(f"{place:06d}" for place in range(len(made))),
        synthetic=to_signed(np.array(images[[case.index for case in made]])),
        labels=(label,),
        view=cohort.facts.view,
        unlabelled=False,
        train=of(Role.TRAIN),
        calibrate=of(Role.CALIBRATE),
        test=of(Role.TEST),
        inputs={},
    )
    return compared, made


def _with(draw: Draw, copies: Images) -> Images:
    images = draw.made.copy()
    images[: len(copies)] = copies
    return images


def _sources(draw: Draw) -> Images:
    """Training images, one for each image that is to be a copy."""
    train = draw.compared.train.images
    return train[draw.rng.permutation(len(train))[: max(1, round(SHARE_OF_COPIES * len(draw.made)))]]


def _altered(draw: Draw) -> Images:
    changes: tuple[Callable[[Images], Images], ...] = (
        lambda x: planted.noise(x, 0.025, draw.rng),
        planted.shift,
        planted.rotate,
        lambda x: planted.noise(x[:, :, ::-1], 0.01, draw.rng),
        planted.blur,
        planted.gamma,
    )
    changed = [changes[place % len(changes)](one[None])[0] for place, one in enumerate(_sources(draw))]
    return _with(draw, np.stack(changed))


def _of_a_generator(draw: Draw) -> Images:
    if not draw.kept.is_file():
        reached = repeated(_sources(draw), int(draw.rng.integers(2**31)))
        copies = next(images for level, images in reached if level >= LEVEL)
        draw.kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(draw.kept, copies)
    return _with(draw, np.load(draw.kept))


def _shuffled(draw: Draw) -> Images:
    """The grey values of each block in another order: levels and coarse look stay."""
    n, rows, columns = draw.made.shape
    blocks = draw.made.reshape(n, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK).transpose(0, 1, 3, 2, 4)
    mixed = draw.rng.permuted(blocks.reshape(-1, BLOCK * BLOCK), axis=1).reshape(blocks.shape)
    return np.ascontiguousarray(mixed.transpose(0, 1, 3, 2, 4).reshape(draw.made.shape))


def _bordered(draw: Draw) -> Images:
    """The outermost row and column repeat their neighbours, as some upsampling layers leave them."""
    images = draw.made.copy()
    images[:, 0], images[:, :, -1] = images[:, 1], images[:, :, -2]
    return images


def _in_group(draw: Draw) -> NDArray[np.bool_]:
    """Women, or the largest third of the lesions where sex is not known."""
    if "sex" in draw.cases[0].attributes:
        return np.array([case.attributes["sex"] == "F" for case in draw.cases])
    diameters = np.array([float(case.attributes["diameter_mm"]) for case in draw.cases])
    return np.asarray(diameters > np.quantile(diameters, 2 / 3))


def _left_out(draw: Draw) -> Images:
    return draw.made[~_in_group(draw)]


def _skewed(draw: Draw) -> Images:
    return draw.made[_in_group(draw) | (draw.rng.random(len(draw.made)) < 1 / ODDS)]


GROUPS = ("fairness.share", "fairness.coverage", "fairness.lesion_size")
ROWS: Mapping[str, Row] = {
    "altered": Row("5% altered copies of training images", _altered, ("copies",), ("copies.flag_rate",)),
    "files": Row(
        "5% training images as they are",
        lambda draw: _with(draw, _sources(draw)),
        ("real files",),
        ("copies.real_files",),
    ),
    "generator": Row("5% copies that a generator made", _of_a_generator, ("copies",), ("copies.flag_rate",)),
    "blur": Row(
        "blurred by 1 pixel",
        lambda draw: planted.blur(draw.made),
        ("realism", "classifiers of features", "classifiers of pixels"),
        ("fidelity.kid", "fidelity.c2st_features", "fidelity.c2st_pixels", "fidelity.c2st_native"),
    ),
    "noise": Row(
        "noise of 2.5%", lambda draw: planted.noise(draw.made, 0.025, draw.rng), ("realism",), ("fidelity.kid",)
    ),
    "shuffled": Row("grey values shuffled within blocks", _shuffled, ("realism",), ("fidelity.kid",)),
    "jpeg": Row("JPEG, quality 90", lambda draw: planted.jpeg(draw.made, 90), ("tell-tales",), ("telltales.pixels",)),
    "border": Row("border traces", _bordered, ("tell-tales",), ("telltales.pixels",)),
    "left out": Row("a kind of patient left out", _left_out, ("groups of patients",), GROUPS),
    "skew": Row("a kind of patient three times too common", _skewed, ("groups of patients",), GROUPS),
    "slight noise": Row(
        "noise of 1%",
        lambda draw: planted.noise(draw.made, 0.01, draw.rng),
        ("classifiers of pixels",),
        ("fidelity.c2st_pixels", "fidelity.c2st_native"),
    ),
    "others": Row("other patients’ real images", lambda draw: draw.made),
}
