"""Facts of a new cohort, from its scans and their rows of cases.csv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scansynth.config import CohortSettings
from scansynth.data.scans.join import Left, Scan
from scansynth.data.scans.orientation import plane_of
from scansynth.data.tensors import CohortFacts
from scansynth.dicom.header import Header
from scansynth.ledger import Role


def cohort_facts(
    settings: CohortSettings,
    modality: str,
    files: int,
    key_fingerprint: str,
    scans: Sequence[Scan],
    cases: Sequence[Mapping[str, str]],
    left: Sequence[Left],
) -> CohortFacts:
    """What is true of the whole; figures that a generator's output rests on come from the train role alone.

    Args:
        settings: The study's.
        modality: Of the cohort.
        files: Candidate files found.
        key_fingerprint: Of the institution's key.
        scans: Those that made cases.
        cases: Row of cases.csv of each scan.
        left: Files left out.
    """
    pairs = [(scan, case) for scan, case in zip(scans, cases, strict=True) if case["role"] == Role.TRAIN.value]
    headers = [scan.header for scan, _ in pairs]

    def median(column: str) -> float:
        return float(np.median([float(case[column]) for _, case in pairs]))

    def commonest(values: Iterable[Any]) -> Any:
        return Counter(values).most_common(1)[0][0]

    return CohortFacts(
        modality=modality,
        sop_class_uid=commonest(header.sop_class_uid for header in headers),
        shape=settings.shape,
        view=settings.view,
        labels=tuple(sorted({scan.label for scan in scans})),
        positive=settings.positive,
        unlabelled=settings.unlabelled,
        files_found=files,
        excluded=dict(Counter(item.reason for item in left)),
        low=median("low"),
        high=median("high"),
        spacing=(median("spacing_row"), median("spacing_col")),
        bits_stored=commonest(header.bits_stored for header in headers),
        signed=commonest(header.pixel_representation == 1 for header in headers),
        rescale_slope=commonest(header.rescale_slope for header in headers),
        rescale_intercept=commonest(header.rescale_intercept for header in headers),
        key_fingerprint=key_fingerprint,
        plane=_plane(headers),
    )


def _plane(headers: Sequence[Header]) -> str:
    """The plane of all slices; empty where one does not say it, or they differ."""
    planes = {plane_of(header) for header in headers}
    only = planes.pop() if len(planes) == 1 else None
    return only or ""
