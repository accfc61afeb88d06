"""What an ingest reports: counts, and warnings that stop nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scansynth.data.elsewhere.foreign import DARK
from scansynth.data.scans.orientation import orientation_notes
from scansynth.data.tensors import CohortFacts
from scansynth.dicom.header import Header
from scansynth.dicom.picture import PICTURE_KINDS
from scansynth.dicom.pixels import inverted
from scansynth.ledger import Role

_FEW = 30
"""Patients of a label below which subgroup evidence reads `not assessable` (docs/evidence.md)."""


@dataclass(frozen=True)
class IngestSummary:
    """What was made.

    Attributes:
        facts: Facts of the cohort, with the files left out by reason.
        cases: Images kept.
        patients: Patients kept.
        new_patients: Those that an earlier ingest did not know.
        patients_by_role: Patients of each role, also of those with none.
        seconds: Time of work.
        warnings: One plain line each; nothing was refused because of them.
    """

    facts: CohortFacts
    cases: int
    patients: int
    new_patients: int
    patients_by_role: Mapping[str, int]
    seconds: float
    warnings: tuple[str, ...]


def summarise(
    facts: CohortFacts,
    cases: Sequence[Mapping[str, str]],
    seconds: float,
    new_patients: int,
    notes: Sequence[str] = (),
) -> IngestSummary:
    """The summary of an ingest from the rows of cases.csv; `notes` on the sources come before the other warnings."""
    role_of = {case["patient"]: case["role"] for case in cases}
    counts = Counter(role_of.values())
    return IngestSummary(
        facts=facts,
        cases=len(cases),
        patients=len(role_of),
        new_patients=new_patients,
        patients_by_role={role.value: counts[role.value] for role in Role},
        seconds=seconds,
        warnings=(*notes, *_warnings(facts, cases, counts)),
    )


def source_notes(headers: Sequence[Header]) -> list[str]:
    """What the user should know of how the kept images were stored; a sentence each."""
    notes = orientation_notes(headers)
    if pictures := sum(header.transfer_syntax_uid in PICTURE_KINDS for header in headers):
        notes.append(
            f"{pictures} images are pictures: nothing says whether a name is burned into the pixels; look at them"
        )
    if turned_over := sum(inverted(header) for header in headers):
        notes.append(f"{turned_over} images are MONOCHROME1 and have no unit; they were inverted: higher is brighter")
    return notes


def dark_notes(headers: Sequence[Header], images: npt.NDArray[np.uint16]) -> list[str]:
    """That pictures use a small part of their range, as 12 bits in a file of 16 do.

    Args:
        headers: Of the kept images.
        images: The cohort's, (n, rows, columns).
    """
    if not headers or not all(header.transfer_syntax_uid in PICTURE_KINDS for header in headers):
        return []
    highest = max(int(image.max()) for image in images)
    if highest >= DARK:
        return []
    share = max(round(100 * highest / 65535), 1)
    return [f"the pictures use {share}% of their range, so they are nearly black: write them over the whole range"]


def air_notes(airless: int) -> list[str]:
    """What is unusual about CT slices of the whole chest, of which `airless` hold next to nothing below -300 HU."""
    words = "chest images hold almost no air (below -300 HU): check their Rescale Intercept, or set cohort.view"
    return [f"{airless} {words}"] if airless else []


def _warnings(facts: CohortFacts, cases: Sequence[Mapping[str, str]], counts: Mapping[str, int]) -> list[str]:
    """What the user should know before going on."""
    found = []
    rows = np.array([float(case["spacing_row"]) for case in cases])
    columns = np.array([float(case["spacing_col"]) for case in cases])
    oblong = int((np.abs(rows / columns - 1.0) > 0.02).sum())
    if oblong:
        found.append(f"{oblong} images have pixels that are not square; they are kept on their grid, not resampled")
    low, high = np.quantile(rows, (0.05, 0.95))
    if high > 1.5 * low:
        found.append(f"pixel spacing varies from {low:.3g} to {high:.3g} mm: the same size in pixels is not one in mm")
    empty = [role.value for role in Role if not counts.get(role.value)]
    if empty:
        found.append(f"no patient has the role {', '.join(empty)}: evidence that needs it will read not assessable")
    if facts.unlabelled:
        return found
    patients = defaultdict(set)
    for case in cases:
        patients[case["label"]].add(case["patient"])
    found += [
        f"the label {label} has {len(patients[label])} patients: little can be shown of fewer than {_FEW}"
        for label in facts.labels
        if len(patients[label]) < _FEW
    ]
    if facts.positive is None:
        found.append("no positive label is set; set cohort.positive in study.toml to the label that means a lesion")
    return found
