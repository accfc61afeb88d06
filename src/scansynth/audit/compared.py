"""What is compared: one synthetic set, and the real images that the ledger permits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.data.imageset import FACTS, ImageSet, Kind
from scansynth.data.sets import LABEL_SEPARATOR, load_set
from scansynth.data.tensors import Case, Cohort, load_cohort, select, to_signed
from scansynth.data.windows import windowed, windows_of
from scansynth.errors import EvidenceError
from scansynth.files import read_csv, sha256_file
from scansynth.ledger import Use
from scansynth.stage import read_record

LEAST_SYNTHETIC = 50
LEAST_PATIENTS = 10
LEAST_IMAGES = 20
MOST_IMAGES = 2000

_INSERTED = (
    "Judged on windows of {side} pixels about the lesions, real and synthetic: the rest of each image of the set is "
    "the scan of a train patient, for use inside the house only."
)

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Reals:
    """Real images of one role, with the labels of the set.

    Attributes:
        cases: One for each image.
        images: (n, rows, columns) in [-1, 1].
    """

    cases: tuple[Case, ...]
    images: Images

    @property
    def patients(self) -> NDArray[Any]:
        """Keyed hash of each image's patient, (n,)."""
        return np.array([case.patient for case in self.cases])

    @property
    def patient_count(self) -> int:
        """Number of patients."""
        return len({case.patient for case in self.cases})

    def lack(self, patients: int = LEAST_PATIENTS, images: int = LEAST_IMAGES) -> str:
        """What is missing for a verdict, in words; empty when nothing is."""
        if self.patient_count >= patients and len(self.cases) >= images:
            return ""
        return (
            f"{len(self.cases)} images of {self.patient_count} patients, "
            f"and at least {images} images of {patients} patients are needed"
        )


@dataclass(frozen=True)
class Compared:
    """Everything that the claims are made of.

    Attributes:
        files: Name of each synthetic image, as in the set's table.
        synthetic: (m, rows, columns) in [-1, 1].
        labels: Labels that the set shows; empty for an unlabelled cohort.
        view: chest, patch or any.
        unlabelled: The cohort has no labels.
        train: Real images that the generator may have seen.
        calibrate: Real images that set the copy threshold.
        test: Real images of new patients.
        inputs: SHA-256 of the cohort and of the set.
        same_files: Case of each synthetic image whose file is a real one, by position.
        withheld: Claims that cannot be asked of these images, and why.
        names: File name of each real case, where it is known to the user; empty in a study.
        caveat: A sentence added to every claim; empty in a study whose images are synthetic as a whole.
        synthetic_files: File facts (size, header) of each synthetic image, where files are at hand.
        test_files: The same of each test image.
        scores: Score of real cases by the discriminator of the run that made the set; empty if no such run is known.
    """

    files: tuple[str, ...]
    synthetic: Images
    labels: tuple[str, ...]
    view: str
    unlabelled: bool
    train: Reals
    calibrate: Reals
    test: Reals
    inputs: Mapping[str, str]
    same_files: Mapping[int, str] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    caveat: str = ""
    synthetic_files: tuple[Mapping[str, Any], ...] = ()
    test_files: tuple[Mapping[str, Any], ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def flat(self) -> int:
        """Number of constant synthetic images: not scans, but counted in every figure."""
        return flat_images(self.synthetic)


def gather(cohort_folder: Path, set_folder: Path, scores: Path | None = None) -> Compared:
    """Reads a cohort and a set.

    Args:
        cohort_folder: An ingested cohort.
        set_folder: A synthetic set.
        scores: Discriminator scores of real images, from the run that made the set, where there are any.

    Raises:
        EvidenceError: The set shows a label that the cohort does not have, a value is not finite, a real image is
        constant, or the scores are damaged.
        CohortError: The cohort or the set is missing or damaged.
    """
    cohort = load_cohort(cohort_folder)
    made, caveat = load_set(set_folder, cohort.facts), ""
    if made.facts.kind is Kind.INSERTED:
        side = int(made.facts.provenance["window"])
        made, cohort, caveat = windows_of(made, side)[0], windowed(cohort, side), _INSERTED.format(side=side)
    labels = () if cohort.facts.unlabelled else _labels(made, cohort)
    synthetic = to_signed(made.planes)
    check_numbers(synthetic, f"the set {set_folder.name}")
    parts = [_reals(cohort, use, labels) for use in (Use.COPY_SEARCH, Use.COPY_THRESHOLD, Use.REALISM)]
    return Compared(
        files=made.ids,
        synthetic=synthetic,
        labels=labels,
        view=cohort.facts.view,
        unlabelled=cohort.facts.unlabelled,
        train=parts[0],
        calibrate=parts[1],
        test=parts[2],
        inputs={
            "cohort": _digest(cohort_folder, FACTS),
            "set": _digest(set_folder, FACTS),
            **({} if scores is None else {"scores": sha256_file(scores)}),
        },
        same_files=_same_files(made, cohort),
        scores={} if scores is None else read_scores(scores),
        caveat=caveat,
    )


def read_scores(path: Path) -> dict[str, float]:
    """Score of each real case, from the `scores.csv` of a run.

    Raises:
        EvidenceError: The file is damaged.
    """
    try:
        found = {row["case"]: float(row["score"]) for row in read_csv(path)}
        if all(math.isfinite(score) for score in found.values()):
            return found
    except (KeyError, TypeError, ValueError):
        pass
    raise EvidenceError(f"{path.name} of the run {path.parent.name} is damaged; scansynth train STUDY writes it again")


def _same_files(made: ImageSet, cohort: Cohort) -> dict[int, str]:
    """Images of an added set that are files of the cohort, with the case of each.

    Any role and label: a leaked scan is a leak, and a file hash reveals nothing about the image.
    """
    known = {case.source_sha256: case.case for case in cohort.cases if case.source_sha256}
    found = {place: row.get("source_sha256", "") for place, row in enumerate(made.rows)}
    return {place: known[digest] for place, digest in found.items() if digest in known}


def check_numbers(images: NDArray[Any], whose: str) -> None:
    """Checks that every value is finite.

    Raises:
        EvidenceError: One is not.
    """
    if not np.isfinite(images).all():
        raise EvidenceError(f"{whose} holds NaN or infinite values; make its images again")


def flat_images(images: NDArray[Any]) -> int:
    """How many images (n, height, width) are constant."""
    return int((np.ptp(images, axis=(1, 2)) < 1e-6).sum())


def _labels(made: ImageSet, cohort: Cohort) -> tuple[str, ...]:
    labels = sorted({label for row in made.rows for label in row["label"].split(LABEL_SEPARATOR)})
    unknown = [label for label in labels if label not in cohort.facts.labels]
    if unknown:
        raise EvidenceError(
            f"the set shows {unknown[0]!r}, but the cohort has {', '.join(cohort.facts.labels)}; "
            "give each image of the set one of these labels"
        )
    return tuple(labels)


def _reals(cohort: Cohort, use: Use, labels: tuple[str, ...]) -> Reals:
    found = select(cohort, use, labels or None)
    images = to_signed(found.planes)
    if len(images):
        whose = f"the cohort's role {found.roles[0]}"
        check_numbers(images, whose)
        flat = flat_images(images)
        if flat:
            raise EvidenceError(
                f"{flat} of {len(images)} images of {whose} are constant (a single grey value); remove these scans "
                f"from the source, then ingest again"
            )
    return Reals(found.cases, images)


def _digest(folder: Path, fallback: str) -> str:
    """Digest of the stage that made the folder, or of its main file where no stage did."""
    record = read_record(folder)
    return record.digest if record else sha256_file(folder / fallback)
