"""The pool: the images that readers may be shown, without those withheld by the audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scansynth.claims.claim import Claim
from scansynth.claims.judged import read_claims
from scansynth.data.imageset import ImageSet
from scansynth.data.sets import LABEL_SEPARATOR, load_set
from scansynth.data.tensors import CohortFacts, Selection, load_cohort, select
from scansynth.errors import ReaderError
from scansynth.files import read_csv
from scansynth.ledger import Use
from scansynth.metrics.lesions import Lesion, find_lesions
from scansynth.stage import outdated, read_record
from scansynth.study import CLAIMS_FILE, QUARANTINE, Study

Stored = NDArray[np.uint16]


@dataclass(frozen=True)
class Subject:
    """One image that may be shown.

    Attributes:
        synthetic: Whether it is.
        place: In the images of its kind: of the test role, of the train role for practice, or of the set.
        case: Hash of the real case, or the synthetic image's number in the set.
        patient: Hash of the patient; empty for a synthetic image.
        label: What it shows.
        stratum: Label by which both kinds are matched; empty where the generator does not tell labels apart.
        arm: 0 for real images, 1 for the study's set, 2 for the set that it is compared with.
    """

    synthetic: bool
    place: int
    case: str
    patient: str
    label: str
    stratum: str
    arm: int = 0


@dataclass(frozen=True)
class Pool:
    """All that may be shown.

    Attributes:
        facts: Of the cohort.
        labels: Labels that the set shows; empty for an unlabelled cohort.
        reals: Of the test role, all images.
        real_images: uint16 (n, rows, columns), of the test role.
        practice: Of the train role, one image of each patient.
        practice_images: uint16 (p, rows, columns), of the train role.
        synthetic: Of the set, without those in quarantine.
        synthetic_images: uint16 (m, rows, columns), the whole set.
        quarantined: How many are kept back.
        claims: Of the set's audit.
        patients: Keyed hash of every patient that was read.
        inputs: Digests of cohort, set and evidence.
        real_masks: uint8 (n, rows, columns), of the test role; none where the cohort has no masks.
        practice_masks: uint8 (p, rows, columns), of the train role; none where the cohort has no masks.
        synthetic_masks: uint8 (m, rows, columns), of the set; none where it has no masks.
        against: Of the set that it is compared with, without those in quarantine; empty where there is none.
        against_images: uint16 (k, rows, columns), all of that set.
        against_masks: uint8 (k, rows, columns), of that set; none where it has no masks.
    """

    facts: CohortFacts
    labels: tuple[str, ...]
    reals: tuple[Subject, ...]
    real_images: Stored
    practice: tuple[Subject, ...]
    practice_images: Stored
    synthetic: tuple[Subject, ...]
    synthetic_images: Stored
    quarantined: int
    claims: tuple[Claim, ...]
    patients: tuple[str, ...]
    inputs: Mapping[str, str]
    real_masks: NDArray[np.uint8] | None = None
    practice_masks: NDArray[np.uint8] | None = None
    synthetic_masks: NDArray[np.uint8] | None = None
    against: tuple[Subject, ...] = ()
    against_images: Stored | None = None
    against_masks: NDArray[np.uint8] | None = None

    @property
    def sets(self) -> tuple[tuple[Subject, ...], ...]:
        """Synthetic images by set: one set, or two that are compared."""
        return (self.synthetic, self.against) if self.against else (self.synthetic,)

    def mask(self, subject: Subject) -> Stored | None:
        """Where the finding of a practice subject is, 65535 within, uint16 (rows, columns); none: it has no mask."""
        masks = (self.practice_masks, self.synthetic_masks, self.against_masks)[subject.arm]
        if masks is None or not masks[subject.place].any():
            return None
        channels = self.synthetic_images.shape[1] // masks.shape[1]  # which stand below each other
        return np.tile(masks[subject.place].astype(np.uint16) * np.uint16(65535), (channels, 1))

    def lesions(self, subject: Subject) -> tuple[Lesion, ...] | None:
        """Where the lesions of a subject that is read are; none: not known, as of a positive image without a mask."""
        masks = (self.real_masks, self.synthetic_masks, self.against_masks)[subject.arm]
        if masks is None:
            return None
        found = find_lesions(masks[subject.place])
        silent = self.facts.unlabelled or str(self.facts.positive) in _parts(subject.label)
        return None if silent and not found else found

    def image(self, subject: Subject, practice: bool = False) -> Stored:
        """The stored image of a subject, uint16 (rows, columns)."""
        if subject.arm == 2 and self.against_images is not None:
            found: Stored = self.against_images[subject.place]
        elif subject.synthetic:
            found = self.synthetic_images[subject.place]
        else:
            found = (self.practice_images if practice else self.real_images)[subject.place]
        return found


def gather(study: Study, uses: Sequence[Use] = (Use.READER_STUDY, Use.READER_PRACTICE)) -> Pool:
    """What of a study may be shown to readers.

    Args:
        study: The study.
        uses: What for; real images of the test role are read for a study alone.

    Raises:
        ReaderError: The set was not audited, or has changed since.
        CohortError: The cohort or the set is missing or damaged.
    """
    cohort = load_cohort(study.cohort)
    made = load_set(study.synthetic(), cohort.facts)
    claims, kept_back = _audited(study.evidence(), study.synthetic())
    rows = made.rows
    labels = () if cohort.facts.unlabelled else tuple(sorted({n for row in rows for n in _parts(row["label"])}))
    together = any(LABEL_SEPARATOR in row["label"] for row in rows) or cohort.facts.unlabelled
    wanted = labels or None
    train = select(cohort, Use.READER_PRACTICE, wanted)
    test = select(cohort, Use.READER_STUDY, wanted) if Use.READER_STUDY in uses else Selection((), train.images[:0])
    return Pool(
        facts=cohort.facts,
        labels=labels,
        reals=_real_subjects(test, together),
        real_images=test.planes,
        practice=tuple({subject.patient: subject for subject in _real_subjects(train, together)}.values()),
        practice_images=train.planes,
        synthetic=_synthetic_subjects(made, kept_back, together),
        synthetic_images=made.planes,
        quarantined=sum(row["id"] in kept_back for row in rows),
        claims=claims,
        patients=tuple(sorted({*test.patients, *train.patients})),
        inputs={
            name: _digest(folder)
            for name, folder in (("cohort", study.cohort), ("set", study.synthetic()), ("audit", study.evidence()))
        },
        real_masks=cohort.masks(test.cases),
        practice_masks=cohort.masks(train.cases),
        synthetic_masks=made.masks,
    )


def with_second(pool: Pool, study: Study, name: str) -> Pool:
    """The pool, with the set that the study's own is compared with.

    Raises:
        ReaderError: It is the same set, has other labels, was not audited, or has changed since.
        CohortError: The set is missing or damaged.
    """
    if name == study.config.synthetic.name:
        raise ReaderError(f"reader.against is the study's own set, {name}; name another, or unset it")
    made = load_set(study.synthetic(name), pool.facts)
    claims, kept_back = _audited(study.evidence(name), study.synthetic(name))
    together = not any(subject.stratum for subject in pool.reals)
    subjects = _synthetic_subjects(made, kept_back, together, 2)
    if not subjects:
        raise ReaderError(f"the set {name} has no image that may be shown; generate more, or unset reader.against")
    digests = {"against": _digest(study.synthetic(name)), "against_audit": _digest(study.evidence(name))}
    return replace(
        pool,
        against=subjects,
        against_images=made.planes,
        against_masks=made.masks,
        quarantined=pool.quarantined + sum(row["id"] in kept_back for row in made.rows),
        claims=(*pool.claims, *claims),
        inputs={**pool.inputs, **digests},
    )


def _audited(evidence: Path, made: Path) -> tuple[tuple[Claim, ...], frozenset[str]]:
    """Claims of the audit, and the images that it wants kept back.

    Raises:
        ReaderError: There is no audit of the set as it is now.
    """
    again = "run: scansynth audit STUDY, so that no copy of a real image is shown to readers"
    record = read_record(evidence)
    if record is None or not (evidence / QUARANTINE).exists():
        raise ReaderError(f"the set {made.name} was not audited; {again}")
    if outdated({"set": "", **record.inputs}, {"set": read_record(made)}):
        raise ReaderError(f"the set {made.name} has changed since its audit; {again}")
    kept_back = frozenset(row["image"] for row in read_csv(evidence / QUARANTINE))
    return read_claims(evidence / CLAIMS_FILE), kept_back


def _digest(folder: Path) -> str:
    record = read_record(folder)
    return record.digest if record else ""


def _parts(label: str) -> Iterable[str]:
    return (part for part in label.split(LABEL_SEPARATOR) if part)


def _real_subjects(found: Selection, together: bool) -> tuple[Subject, ...]:
    return tuple(
        Subject(False, place, case.case, case.patient, case.label, "" if together else case.label)
        for place, case in enumerate(found.cases)
    )


def _synthetic_subjects(made: ImageSet, kept_back: frozenset[str], together: bool, arm: int = 1) -> tuple[Subject, ...]:
    subjects = []
    name = "" if arm == 1 else f"{arm}-"  # the numbers of two sets are the same
    for place, row in enumerate(made.rows):
        if row["id"] not in kept_back:
            stratum = "" if together else row["label"]
            subjects.append(Subject(True, place, name + row["index"], "", row["label"], stratum, arm))
    return tuple(subjects)
