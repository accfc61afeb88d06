"""Headers joined with labels.csv: the scans that make cases, and the files left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scansynth.config import CohortSettings
from scansynth.data.eligibility import commonest_modality, why_left_out
from scansynth.data.labels import UNLABELLED, LabelRow, Labels, check_present
from scansynth.data.sources import Source
from scansynth.data.split import Stratum
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.dicom.header import Header
from scansynth.errors import CohortError, DicomError
from scansynth.ledger import Role


@dataclass(frozen=True)
class Scan:
    """One source file that makes a case.

    Attributes:
        source: The file.
        header: What it says.
        row: Its row of labels.csv; none in a cohort without labels.
        case: Keyed hash of the image.
        patient: Keyed hash of the patient.
        label: What it shows.
        site: Where it was made; empty when unknown.
    """

    source: Source
    header: Header
    row: LabelRow | None
    case: str
    patient: str
    label: str
    site: str


@dataclass(frozen=True)
class Left:
    """One source file left out, and why."""

    source: Source
    reason: str
    detail: str


Found = Sequence[tuple[Source, Header | DicomError]]


def join(found: Found, labels: Labels | None, settings: CohortSettings, key: InstitutionKey) -> tuple[
    str, list[Scan], list[Left]
]:  # fmt: skip
    """The Modality, the scans that make cases, and the files left out.

    Args:
        found: Every candidate file with its header, or the fault that stopped it.
        labels: The rows of labels.csv; none for a cohort without labels.
        settings: The study's.
        key: The institution's key.

    Raises:
        CohortError: No scan can be used, or an image has no label.
    """
    headers = [(source, header) for source, header in found if not isinstance(header, DicomError)]
    left = [Left(source, fault.reason, fault.detail) for source, fault in found if isinstance(fault, DicomError)]
    if not headers:
        raise CohortError(
            f"no DICOM image was found among {len(found)} files; point cohort.dicom at the folder with the scans"
        )
    if labels is not None:
        uids = {header.sop_instance_uid for _, header in headers}
        check_present(labels, {source.relative for source, _ in found}, uids)
    rows = _rows(headers, labels)
    listed = [header for (_, header), row in zip(headers, rows, strict=True) if row is not None or labels is None]
    modality = settings.modality or commonest_modality(listed or [header for _, header in headers])
    if modality is None:
        raise CohortError("no scan is of a Modality that can be guessed; set cohort.modality in study.toml")
    scans: list[Scan] = []
    unlisted, must_be_listed = 0, labels is not None and not settings.unlabelled
    for (source, header), row in zip(headers, rows, strict=True):
        fault = why_left_out(header, modality, settings.plane) or _unusable(header, row, must_be_listed)
        unlisted += fault is not None and fault.reason == _UNLISTED
        if fault is not None:
            left.append(Left(source, fault.reason, fault.detail))
        else:
            scans.append(_scan(source, header, row, key))
    if unlisted and not settings.skip_unlisted:
        raise CohortError(
            f"{unlisted} {modality} images have no row in labels.csv; add the rows, or set "
            "cohort.skip_unlisted = true to leave the images out"
        )
    if not scans:
        counts = Counter(f"{item.reason} ({item.detail})" if item.detail else item.reason for item in left)
        words = ", ".join(f"{count} {why}" for why, count in counts.most_common(3))
        raise CohortError(f"no {modality} image can be used: {words}; mend the files, or set cohort.modality")
    return modality, scans, left


_UNLISTED = "not in labels.csv"


def _rows(headers: Sequence[tuple[Source, Header]], labels: Labels | None) -> list[LabelRow | None]:
    """The row of each file, found by its path, else by its UID, else of another file of the same image."""
    if labels is None:
        return [None] * len(headers)
    by_path, by_sop = labels.by_path, labels.by_sop
    rows = []
    for source, header in headers:
        row, other = by_path.get(source.relative), by_sop.get(header.sop_instance_uid)
        if row and other:
            raise CohortError(f"labels.csv rows {row.row} and {other.row} name the same image; remove one of them")
        if row and row.sop_instance_uid and row.sop_instance_uid != header.sop_instance_uid:
            raise CohortError(f"labels.csv row {row.row}: the file has another SOP Instance UID; correct the row")
        rows.append(row or other)
    shared = {header.sop_instance_uid: row for (_, header), row in zip(headers, rows, strict=True) if row}
    return [row or shared.get(header.sop_instance_uid) for (_, header), row in zip(headers, rows, strict=True)]


def _unusable(header: Header, row: LabelRow | None, must_be_listed: bool) -> DicomError | None:
    """Why an image of the right kind makes no case."""
    if must_be_listed and row is None:
        return DicomError(_UNLISTED)
    if header.frames > 1 and row and row.lesions:
        return DicomError("multi-frame", "a mask or box of labels.csv does not say which of the images it means")
    if not (row and row.patient_id) and not header.patient_id.strip():
        return DicomError(
            "no patient ID", "images without one cannot be split by patient; add patient_id to labels.csv"
        )
    return None


def _scan(source: Source, header: Header, row: LabelRow | None, key: InstitutionKey) -> Scan:
    # DICOM pads Patient ID with spaces, spreadsheets do not: both must give one hash.
    patient = ((row.patient_id if row else None) or header.patient_id).strip()
    attributes = (row.attributes if row else None) or {}
    return Scan(
        source=source,
        header=header,
        row=row,
        case=key.case_id(header.image_uid),
        patient=key.patient_hash(patient),
        label=row.label if row else UNLABELLED,
        site=attributes.get("site", ""),
    )


def strata(scans: Iterable[Scan]) -> dict[str, Stratum]:
    """The stratum of each patient: all labels of all images, and the sites."""
    labels: dict[str, set[str]] = defaultdict(set)
    sites: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        labels[scan.patient].add(scan.label)
        sites[scan.patient].add(scan.site)
    return {
        patient: Stratum(tuple(sorted(labels[patient])), "+".join(sorted(sites[patient] - {""})))
        for patient in sorted(labels)
    }


def asked_roles(scans: Iterable[Scan]) -> dict[str, tuple[Role, int]]:
    """Role that labels.csv gives each patient, with the first row that does.

    Raises:
        CohortError: Two rows ask one patient into two roles.
    """
    asked: dict[str, tuple[Role, int]] = {}
    given = [(scan.row.row, scan.row.role, scan.patient) for scan in scans if scan.row and scan.row.role]
    for row, role, patient in sorted(given):
        before, first = asked.setdefault(patient, (role, row))
        if before != role:
            raise CohortError(
                f"labels.csv row {row}: row {first} gives the same patient the role {before.value}; "
                "a patient has one role, so give all rows the same"
            )
    return asked
