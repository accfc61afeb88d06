"""Headers joined with labels.csv: the scans that make cases, and the files left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from scansynth.config import CohortSettings
from scansynth.data.cohort.withdrawn import REASON, Withdrawn
from scansynth.data.labels.identifiers import different_for_each, named_in_headers
from scansynth.data.labels.numbers import one_number
from scansynth.data.labels.people import Person, persons, same_person
from scansynth.data.labels.read import UNLABELLED, LabelRow, Labels, attribute_name
from scansynth.data.scans.eligibility import commonest_modality, why_left_out
from scansynth.data.scans.matching import Found, match, spread
from scansynth.data.scans.sources import Source
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
        also: Keyed hashes under which another study may know the same patient.
    """

    source: Source
    header: Header
    row: LabelRow | None
    case: str
    patient: str
    label: str
    site: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Left:
    """One source file left out, and why; of whom, by the keyed hash, where that is known."""

    source: Source
    reason: str
    detail: str
    patient: str = ""


@dataclass(frozen=True)
class Joined:
    """Headers and rows brought together.

    Attributes:
        modality: The study's Modality.
        scans: Scans that make cases.
        left: Files left out.
        notes: What the user should know, a sentence each.
    """

    modality: str
    scans: list[Scan]
    left: list[Left]
    notes: tuple[str, ...]


_Usable = tuple[Source, Header, LabelRow | None]


def join(found: Found, labels: Labels | None, settings: CohortSettings, key: InstitutionKey) -> Joined:
    """The Modality, the scans that make cases, and the files left out.

    Args:
        found: Every candidate file with its header, or the fault that stopped it.
        labels: The rows of labels.csv; none for a cohort without labels.
        settings: The study's.
        key: The institution's key.

    Raises:
        CohortError: No scan can be used, an image has no label, or it cannot be told whose it is.
    """
    left = [Left(source, fault.reason, fault.detail) for source, fault in found if isinstance(fault, DicomError)]
    if len(left) == len(found):
        raise CohortError(
            f"no DICOM image was found among {len(found)} files; point cohort.dicom at the folder with the scans"
        )
    matched, notes = match(labels, found) if labels else ([None] * len(found), ())
    pairs = zip(found, matched, strict=True)
    images = [(source, header, row) for (source, header), row in pairs if not isinstance(header, DicomError)]
    headers = [header for _, header, _ in images]
    rows = spread([row for _, _, row in images], headers)
    listed = [header for header, row in zip(headers, rows, strict=True) if row is not None or labels is None]
    modality = settings.modality or commonest_modality(listed or headers)
    if modality is None:
        raise CohortError("no scan is of a Modality that can be guessed; set cohort.modality in study.toml")
    usable: list[_Usable] = []
    must_be_listed = labels is not None and not settings.unlabelled
    for (source, header, _), row in zip(images, rows, strict=True):
        fault = why_left_out(header, modality, settings.plane)
        fault = fault or _unusable(header, row, must_be_listed)
        if fault is not None:
            left.append(Left(source, fault.reason, fault.detail, _whose(header, row, key)))
        else:
            usable.append((source, header, row))
    unlisted = sum(item.reason == _UNLISTED for item in left)
    if unlisted and not settings.skip_unlisted:
        raise CohortError(
            f"{unlisted} {modality} images have no row in labels.csv; add the rows, or set "
            "cohort.skip_unlisted = true to leave the images out"
        )
    scans, nameless, more = _scans(usable, settings.attributes, key)
    left += nameless
    if not scans:
        counts = Counter(f"{item.reason} ({item.detail})" if item.detail else item.reason for item in left)
        words = ", ".join(f"{count} {why}" for why, count in counts.most_common(3))
        raise CohortError(f"no {modality} image can be used: {words}; mend the files, or set cohort.modality")
    return Joined(modality, scans, left, (*notes, *more))


_UNLISTED = "not in labels.csv"
_NAMELESS = "images without one cannot be split by patient; add patient_id to labels.csv"


def _whose(header: Header, row: LabelRow | None, key: InstitutionKey) -> str:
    """Keyed hash of the patient of a file that makes no case; empty when unknown."""
    number = same_person((row and row.patient_id) or header.patient_id)
    return key.patient_hash(number) if number else ""


def _unusable(header: Header, row: LabelRow | None, must_be_listed: bool) -> DicomError | None:
    """Why an image of the right kind makes no case."""
    if must_be_listed and row is None:
        return DicomError(_UNLISTED)
    if header.frames > 1 and row and not all(lesion.of_one_image for lesion in row.lesions):
        return DicomError("multi-frame", "a mask or box of labels.csv does not say which of the images it means")
    return None


def _scans(
    usable: Sequence[_Usable], asked: Collection[str], key: InstitutionKey
) -> tuple[list[Scan], list[Left], tuple[str, ...]]:
    """Scans of the usable files, those whose patient is unknown, and notes."""
    usable, named = _without_identifiers(usable)
    people, notes = persons([row for _, _, row in usable], [header for _, header, _ in usable])
    people, joined = one_number(people, [row for _, _, row in usable], [header for _, header, _ in usable])
    usable, numbers = _without_numbers(usable, people, asked)
    scans, left = [], []
    for (source, header, row), person in zip(usable, people, strict=True):
        if person.patient:
            scans.append(_scan(source, header, row, person, key))
        else:
            left.append(Left(source, "no patient ID", _NAMELESS))
    return scans, left, (*named, *notes, *joined, *numbers)


def _without_identifiers(usable: Sequence[_Usable]) -> tuple[list[_Usable], tuple[str, ...]]:
    """The files without the attributes that repeat what their headers say of the patient, and a note.

    Raises:
        CohortError: The labels do so.
    """
    said = [(header.identifying, row) for _, header, row in usable if row is not None]
    if named_in_headers([({"label": row.label}, secrets) for secrets, row in said]):
        raise CohortError(
            "labels.csv: labels repeat what the files say about their patients, such as a name or a number; give "
            "labels that say what an image shows"
        )
    columns = named_in_headers([(row.attributes or {}, secrets) for secrets, row in said])
    if not columns:
        return list(usable), ()
    note = (
        f"the column{'s' if len(columns) > 1 else ''} {', '.join(sorted(columns))} of labels.csv repeat what the files "
        "say of their patients, such as a name, a number or a date, and are not kept"
    )
    return [(source, header, row and _without(row, columns)) for source, header, row in usable], (note,)


def _without_numbers(
    usable: Sequence[_Usable], people: Sequence[Person], asked: Collection[str]
) -> tuple[list[_Usable], tuple[str, ...]]:
    """The files without attributes that are a number of each patient, which may be known only from the files."""
    rows = [
        (row.attributes or {}, person.patient)
        for (_, _, row), person in zip(usable, people, strict=True)
        if row is not None
    ]
    columns = different_for_each(rows) - {attribute_name(name) for name in asked}
    if not columns:
        return list(usable), ()
    note = (
        f"the column{'s' if len(columns) > 1 else ''} {', '.join(sorted(columns))} of labels.csv hold a different long "
        "number for each patient, and are not kept; to keep, name in cohort.attributes"
    )
    return [(source, header, row and _without(row, columns)) for source, header, row in usable], (note,)


def _without(row: LabelRow, columns: Collection[str]) -> LabelRow:
    kept = {name: value for name, value in (row.attributes or {}).items() if name not in columns}
    return replace(row, attributes=kept)


def _scan(source: Source, header: Header, row: LabelRow | None, person: Person, key: InstitutionKey) -> Scan:
    attributes = (row.attributes if row else None) or {}
    return Scan(
        source=source,
        header=header,
        row=row,
        case=key.case_id(header.image_uid),
        patient=key.patient_hash(person.patient),
        label=row.label if row else UNLABELLED,
        site=attributes.get("site", ""),
        also=tuple(key.patient_hash(name) for name in person.also),
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


def leave_withdrawn(joined: Joined, withdrawn: Withdrawn) -> Joined:
    """The same without the images of withdrawn patients."""
    kept, gone = list[Scan](), list[Left]()
    for scan in joined.scans:
        if withdrawn.holds((scan.patient, *scan.also)):
            gone.append(Left(scan.source, REASON, "", scan.patient))
        else:
            kept.append(scan)
    return replace(joined, scans=kept, left=[*marked(joined.left, withdrawn.patients), *gone])


def marked(left: Iterable[Left], patients: Collection[str]) -> list[Left]:
    """Files left out, those of withdrawn patients for that reason, whatever else is wrong with them."""
    return [replace(item, reason=REASON, detail="") if item.patient in patients else item for item in left]
