"""The cohort as later stages read it: facts, cases, and images by use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scansynth.data.imageset import ImageSet, Kind, SetFacts, SetWriter, as_planes, open_set
from scansynth.errors import CohortError
from scansynth.files import read_json, write_json
from scansynth.ledger import PERMITTED, Role, Use, check

EXCLUDED, ROLES, FACTS = "excluded.csv", "roles.csv", "cohort.json"
"""Names of the files in a cohort's folder, beside those of its image set."""

CASE_COLUMNS = (
    "id",
    "patient",
    "role",
    "label",
    "low",
    "high",
    "spacing_row",
    "spacing_col",
    "sop",
    "source_sha256",
    "source_side",
    "pixels",
)
ATTRIBUTE = "attr_"
"""Prefix of the columns of cases.csv that hold attributes."""

_TOP = 65535.0


@dataclass(frozen=True)
class CohortFacts:
    """What is true of the cohort as a whole.

    Attributes:
        modality: DICOM Modality, for example MR.
        sop_class_uid: Storage class of the sources; the commonest.
        shape: Rows and columns of the images in pixels.
        view: chest, patch or any.
        labels: Labels that occur, sorted.
        positive: The label that means a lesion is present.
        unlabelled: The cohort has no labels.
        files_found: Candidate files in the DICOM folder.
        excluded: Files left out, by reason.
        low: Source value that stands for -1; median over the train role.
        high: Source value that stands for +1; median over the train role.
        spacing: Distance between rows, and between columns, in mm; median over the train role.
        bits_stored: Bits Stored of the sources; the commonest.
        signed: The sources' pixel values are signed; the commonest.
        rescale_slope: Rescale Slope of the sources; the commonest.
        rescale_intercept: Rescale Intercept of the sources; the commonest.
        key_fingerprint: Which institution key hashed the patients.
        plane: Of the train role: axial, coronal or sagittal; empty where some images do not say it, or they differ.
        text_search: How text in the pixels was looked for, and what was found; empty: not known.
    """

    modality: str
    sop_class_uid: str
    shape: tuple[int, int]
    view: str
    labels: tuple[str, ...]
    positive: str | None
    unlabelled: bool
    files_found: int
    excluded: Mapping[str, int]
    low: float
    high: float
    spacing: tuple[float, float]
    bits_stored: int
    signed: bool
    rescale_slope: float
    rescale_intercept: float
    key_fingerprint: str
    plane: str = ""
    text_search: str = ""


@dataclass(frozen=True)
class Case:
    """One 2-D image of one patient.

    Attributes:
        index: Its place in `images.npy`.
        case: Keyed hash of the image, 12 hexadecimal digits.
        patient: Keyed hash of the patient, 16 hexadecimal digits.
        role: What it may be used for.
        label: What it shows.
        low: Source value that maps to -1: HU for CT, rescaled stored value for MR.
        high: Source value that maps to +1.
        spacing: Distance between rows, and between columns, in mm, of the ingested image.
        attributes: Facts for subgroup evidence, by name without prefix.
        source_sha256: Of the file that it was made from; empty when not known.
        source_side: Longest side of the source in pixels, before the image was brought to the common size; 0 when
            not known.
    """

    index: int
    case: str
    patient: str
    role: Role
    label: str
    low: float
    high: float
    spacing: tuple[float, float]
    attributes: Mapping[str, str]
    source_sha256: str = ""
    source_side: int = 0


@dataclass(frozen=True)
class Cohort:
    """An ingested cohort; its images stay on disk until they are selected.

    Attributes:
        images: Its image set.
        facts: Of the whole.
        cases: One for each image, in the set's order.
    """

    images: ImageSet
    facts: CohortFacts
    cases: tuple[Case, ...]

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.images.folder

    def masks(self, cases: Sequence[Case]) -> npt.NDArray[np.uint8] | None:
        """Lesion masks of cases, uint8 (n, rows, columns), 0 or 1; none where the cohort has no masks."""
        masks = self.images.masks
        return None if masks is None else np.array(masks[[case.index for case in cases]], np.uint8)


@dataclass(frozen=True)
class Selection:
    """Cases that one use may see, with their images, uint16 (n, channels, rows, columns)."""

    cases: tuple[Case, ...]
    images: npt.NDArray[np.uint16]

    @property
    def planes(self) -> npt.NDArray[np.uint16]:
        """The images as single planes, (n, channels * rows, columns); see `imageset.as_planes`."""
        return as_planes(self.images)

    @property
    def patients(self) -> tuple[str, ...]:
        """Keyed hash of each image's patient, in the images' order."""
        return tuple(case.patient for case in self.cases)

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles that were read, sorted."""
        return tuple(sorted({case.role.value for case in self.cases}))

    def part(self, places: Sequence[int]) -> Selection:
        """Those at `places`, in that order."""
        return Selection(tuple(self.cases[place] for place in places), self.images[list(places)])


def in_pixels(shape: tuple[int, int]) -> str:
    """Rows and columns in words: `256 x 256 pixels`."""
    return f"{shape[0]} x {shape[1]} pixels"


def to_signed(images: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Stored values 0..65535 to [-1, 1], float32, of any shape."""
    return (images.astype(np.float64) * (2.0 / _TOP) - 1.0).astype(np.float32)


def to_stored(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint16]:
    """[-1, 1] to stored values 0..65535, clipped and rounded, of any shape."""
    scaled = x.astype(np.float64)
    scaled += 1.0
    scaled *= _TOP / 2.0
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0.0, _TOP, out=scaled).astype(np.uint16)


def write_facts(folder: Path, facts: CohortFacts) -> None:
    """Writes `cohort.json`."""
    write_json(folder / FACTS, asdict(facts))


def load_facts(folder: Path) -> CohortFacts:
    """The facts of the cohort in `folder`.

    Raises:
        CohortError: There is no cohort, or its facts are damaged.
    """
    try:
        values = read_json(folder / FACTS)
        return CohortFacts(**{**values, **{name: tuple(values[name]) for name in ("labels", "spacing", "shape")}})
    except FileNotFoundError:
        raise CohortError("the study has no cohort yet; run: scansynth ingest STUDY") from None
    except (ValueError, TypeError, KeyError):
        raise CohortError(f"{FACTS} of the cohort is damaged; remove the folder cohort and run ingest again") from None


def write_cohort(writer: SetWriter, folder: Path, facts: CohortFacts, rows: Sequence[Mapping[str, object]]) -> SetFacts:
    """Writes what stands beside the images of a cohort: its table, and the facts of set and cohort.

    Args:
        writer: Holds the images, and masks where there are any, in the order of `rows`.
        folder: The cohort's folder.
        facts: Of the cohort.
        rows: One for each image, with the keys of `CASE_COLUMNS`, and attributes as `attr_...`.
    """
    attributes = sorted({name for row in rows for name in row if name.startswith(ATTRIBUTE)})
    made = writer.finish(Kind.COHORT, facts.modality, rows, (*CASE_COLUMNS, *attributes))
    write_facts(folder, facts)
    return made


def load_cohort(folder: Path) -> Cohort:
    """The cohort in `folder`; no image is read into memory yet.

    Raises:
        CohortError: There is no cohort, or it is damaged.
    """
    facts = load_facts(folder)
    again = "remove the folder cohort and run ingest again"
    try:
        images = open_set(folder)
        cases = tuple(_case(index, row) for index, row in enumerate(images.rows))
    except FileNotFoundError:
        raise CohortError(f"the cohort is of an older version of scansynth; {again}") from None
    except (ValueError, KeyError):
        raise CohortError(f"the cohort is damaged; {again}") from None
    except CohortError as fault:
        raise CohortError(f"{fault}; {again}") from None
    if images.facts.shape != tuple(facts.shape) or images.facts.kind is not Kind.COHORT:
        raise CohortError(f"the cohort's images and facts do not agree; {again}")
    return Cohort(images, facts, cases)


def cases_for(cohort: Cohort, use: Use, labels: Iterable[str] | None = None) -> tuple[Case, ...]:
    """The cases that `use` may see, without their images; see `select`.

    Raises:
        CohortError: A label does not occur in the cohort.
        LedgerError: A role is forbidden to this use.
    """
    wanted = None if labels is None else set(labels)
    unknown = sorted((wanted or set()) - set(cohort.facts.labels))
    if unknown:
        raise CohortError(
            f"no case has the label {unknown[0]}; the cohort's labels are {', '.join(cohort.facts.labels)}"
        )
    cases = tuple(
        case
        for case in cohort.cases
        if case.role in PERMITTED[use] and (wanted is None or case.label in wanted)
    )  # fmt: skip
    check(use, frozenset(case.role for case in cases))
    return cases


def select(cohort: Cohort, use: Use, labels: Iterable[str] | None = None) -> Selection:
    """The cases that `use` may see, with their images in memory.

    Args:
        cohort: The cohort.
        use: What the images are for; the ledger names the roles.
        labels: Only cases with one of these labels; none: all.

    Returns:
        The cases in the cohort's order; none at all when no patient has such a role.

    Raises:
        CohortError: A label does not occur in the cohort.
        LedgerError: A role is forbidden to this use.
    """
    return _with_images(cohort, cases_for(cohort, use, labels))


def select_named(cohort: Cohort, use: Use, names: Iterable[str]) -> Selection:
    """Some of the cases that `use` may see, with their images in memory.

    Args:
        cohort: The cohort.
        use: What the images are for; the ledger names the roles.
        names: Keyed hashes of cases; those that `use` may not see are passed over.

    Raises:
        LedgerError: A role is forbidden to this use.
    """
    wanted = set(names)
    return _with_images(cohort, tuple(case for case in cases_for(cohort, use) if case.case in wanted))


def _with_images(cohort: Cohort, cases: tuple[Case, ...]) -> Selection:
    return Selection(cases, np.array(cohort.images.images[[case.index for case in cases]], np.uint16))


def _case(index: int, row: Mapping[str, str]) -> Case:
    return Case(
        index=index,
        case=row["id"],
        patient=row["patient"],
        role=Role(row["role"]),
        label=row["label"],
        low=float(row["low"]),
        high=float(row["high"]),
        spacing=(float(row["spacing_row"]), float(row["spacing_col"])),
        attributes={key.removeprefix(ATTRIBUTE): text for key, text in row.items() if key.startswith(ATTRIBUTE)},
        source_sha256=row.get("source_sha256", ""),
        source_side=int(row.get("source_side") or 0),  # older cohorts lack the column
    )
