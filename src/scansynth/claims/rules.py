"""The rules: what each claim asks, in the order of the report.

The rules stand in `docs/evidence.md`; `RULE_VERSION` is the version of that page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scansynth.ledger import PERMITTED, Use
from scansynth.statistics import Direction

RULE_VERSION = 3


@dataclass(frozen=True)
class Rule:
    """What one claim asks.

    Attributes:
        question: In plain words.
        unit: Of the figure.
        direction: The good side of the margin.
        uses: Uses for which it reads real images.
        by_judge: It rests on features and is made once per judge.
        by_attribute: It is made once per patient attribute.
    """

    question: str
    unit: str
    direction: Direction
    uses: tuple[Use, ...]
    by_judge: bool = False
    by_attribute: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the patients that the claim reads."""
        return tuple(sorted({role.value for use in self.uses for role in PERMITTED[use]}))


_FEATURES = (Use.REALISM, Use.NORMALISATION, Use.ENCODER)
_COPIES = (Use.COPY_SEARCH, Use.COPY_THRESHOLD)
_LEAST, _MOST = Direction.AT_LEAST, Direction.AT_MOST

RULES: Mapping[str, Rule] = {
    "fidelity.kid": Rule(
        "Are the synthetic images as close to scans of new patients as two groups of real patients are to each other?",
        "KID",
        _MOST,
        _FEATURES,
        by_judge=True,
    ),
    "fidelity.c2st_features": Rule(
        "Does a simple classifier of features fail to separate the synthetic images from scans of new patients?",
        "AUC",
        _MOST,
        _FEATURES,
        by_judge=True,
    ),
    "fidelity.c2st_pixels": Rule(
        "Does a neural network trained for the task fail to separate the synthetic images from scans of new patients?",
        "AUC",
        _MOST,
        (Use.REALISM,),
    ),
    "fidelity.c2st_native": Rule(
        "Does the same network fail at the native size of the scans?",
        "AUC",
        _MOST,
        (Use.REALISM,),
    ),
    "fidelity.precision": Rule(
        "Does each synthetic image have real patients close by?", "times the expected", _LEAST, _FEATURES, True
    ),
    "fidelity.density": Rule(
        "Do the synthetic images lie where real patients are common?", "times the expected", _LEAST, _FEATURES, True
    ),
    "diversity.pair_distance": Rule(
        "Do the synthetic images differ from each other as much as real patients do?",
        "times the real variety",
        _LEAST,
        _FEATURES,
        by_judge=True,
    ),
    "diversity.near_pairs": Rule(
        "Is the set free of near-duplicates: do its most similar images differ as much as the most similar real "
        "patients do?",
        "times the real variety",
        _LEAST,
        _FEATURES,
        by_judge=True,
    ),
    "diversity.nearest": Rule(
        "Is each synthetic image as far from its nearest neighbour in the set as real patients are?",
        "times the real variety",
        _LEAST,
        _FEATURES,
        by_judge=True,
    ),
    "diversity.vendi": Rule(
        "Does the set hold as many distinct images as the same number of real patients would give?",
        "times the real number",
        _LEAST,
        _FEATURES,
        by_judge=True,
    ),
    "diversity.coverage": Rule(
        "Does the set cover every kind of real patient?", "times the expected", _LEAST, _FEATURES, True
    ),
    "diversity.recall": Rule(
        "Do real patients lie within the spread of the set?", "times the expected", _LEAST, _FEATURES, True
    ),
    "copies.real_files": Rule(
        "Is the set free of real images, whether as identical files, identical pixels or re-encoded copies?",
        "share of images",
        _MOST,
        (*_COPIES, Use.REALISM),
    ),
    "copies.flag_rate": Rule(
        "Are the synthetic images no closer to training images than images of patients never trained on?",
        "share of images",
        _MOST,
        (*_COPIES, Use.ENCODER),
    ),
    "membership.distance": Rule(
        "Membership inference: does closeness to the synthetic images fail to reveal who was a training patient?",
        "AUC",
        _MOST,
        (Use.MEMBERSHIP,),
    ),
    "anonymity.singling_out": Rule(
        "Singling out: does what the set shows fit one training patient alone no more often than one other person?",
        "difference of shares",
        _MOST,
        (Use.MEMBERSHIP,),
    ),
    "anonymity.linkability": Rule(
        "Linkability: does the set link two parts of a training patient's scan no better than those of others?",
        "difference of shares",
        _MOST,
        (Use.MEMBERSHIP,),
    ),
    "anonymity.inference": Rule(
        "Inference: does the set tell the hidden part of a training patient's scan no better than that of others?",
        "difference of shares",
        _MOST,
        (Use.MEMBERSHIP,),
    ),
    "fairness.share": Rule(
        "Does each group of patients appear as often as among the training patients?",
        "log ratio of shares",
        _MOST,
        (Use.SUBGROUPS,),
        by_judge=True,
        by_attribute=True,
    ),
    "fairness.coverage": Rule(
        "Does the set cover each group of patients as well as all patients?",
        "times the overall coverage",
        _LEAST,
        (Use.SUBGROUPS,),
        by_judge=True,
        by_attribute=True,
    ),
    "fairness.kid": Rule(
        "Are the images of each group as close to new patients of the group as training images are?",
        "KID",
        _MOST,
        (Use.SUBGROUPS,),
        by_judge=True,
        by_attribute=True,
    ),
    "fairness.flag_rate": Rule(
        "Are the images of each group no more often too close to a training image than those of the others?",
        "difference of shares",
        _MOST,
        (Use.SUBGROUPS, *_COPIES),
        by_judge=True,
        by_attribute=True,
    ),
    "fairness.lesion_size": Rule(
        "Do the smallest and the largest lesions appear as often as among the training patients?",
        "difference of shares",
        _MOST,
        (Use.SUBGROUPS,),
        by_judge=True,
    ),
    "telltales.pixels": Rule(
        "Are the images free of processing traces that would reveal them to readers?",
        "AUC",
        _MOST,
        (Use.REALISM,),
    ),
    "telltales.files": Rule(
        "Are the files free of sizes and headers that reveal the synthetic ones?",
        "AUC",
        _MOST,
        (Use.REALISM,),
    ),
    "house.discriminator": Rule(
        "Membership inference: does the discriminator's score fail to reveal who was a training patient?",
        "AUC",
        _MOST,
        (Use.MEMBERSHIP,),
    ),
    "house.encoders": Rule(
        "Membership inference: do the encoders of the audit fail to reveal who was a training patient?",
        "AUC",
        _MOST,
        (Use.MEMBERSHIP, Use.ENCODER),
    ),
}

_TRIAL = (Use.DETECTOR, Use.THRESHOLD, Use.UTILITY)

UTILITY_RULES: Mapping[str, Rule] = {
    "utility.gain": Rule(
        "Does a detector find more lesions when synthetic images are added to real images with basic augmentation?",
        "change of sensitivity",
        _LEAST,
        _TRIAL,
    ),
    "utility.false_alarms": Rule(
        "Does the same detector raise no more false alarms than the margin allows?",
        "change of the rate of false alarms",
        _MOST,
        _TRIAL,
    ),
    "utility.published": Rule(
        "Does a detector find more lesions with real and synthetic images than with real ones alone, as in the "
        "published work?",
        "change of sensitivity",
        _LEAST,
        _TRIAL,
    ),
    "utility.placebo": Rule(
        "Does the same number of duplicated real images bring a gain as well? A control, which must not be shown.",
        "change of sensitivity",
        _LEAST,
        _TRIAL,
    ),
    "utility.positive_control": Rule(
        "Do more real patients bring a gain? A control, which must be shown.",
        "change of sensitivity",
        _LEAST,
        (*_TRIAL, Use.POSITIVE_CONTROL),
    ),
}

READER_RULES: Mapping[str, Rule] = {
    "reader.indistinguishable": Rule(
        "Do readers fail to distinguish the synthetic images from scans of new patients?",
        "distance of the readers' AUC from chance",
        _MOST,
        (Use.READER_STUDY,),
    ),
    "reader.located": Rule(
        "Do readers find the lesions of synthetic images as they find those of new patients?",
        "difference of the readers' area under the free-response curve",
        _MOST,
        (Use.READER_STUDY,),
    ),
}

EVERY_RULE: Mapping[str, Rule] = {**RULES, **UTILITY_RULES, **READER_RULES}
"""The rules of the audit, of the utility trial and of the reader study."""

CLAIMS: tuple[str, ...] = tuple(RULES)
"""Names of all claims of an audit, in the order of the report."""
