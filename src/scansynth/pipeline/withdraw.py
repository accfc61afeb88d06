"""Withdraws a patient: what the patient touched, the removal of the case, and what must be made again."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from scansynth.data.cohort.linkage import read_linkage
from scansynth.data.cohort.removal import remove_patients
from scansynth.data.cohort.withdrawn import Withdrawn, read_withdrawn, write_withdrawn
from scansynth.data.labels.people import same_person
from scansynth.data.roles import check_key, numbers_of
from scansynth.data.sets import is_inserted, origins_of
from scansynth.data.standing import withdrawn_from
from scansynth.data.tensors import FACTS, Case, load_cohort
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import DicomError, StudyError
from scansynth.files import read_json, write_text
from scansynth.ledger import Role
from scansynth.release.manifest import MANIFEST
from scansynth.stage import RECORD, StageRecord, read_record
from scansynth.study import RELEASES, RUN, Study

_PIXELS_OF_TRAIN = "real.png"  # of a run: real images beside synthetic ones

PLACES: tuple[tuple[str, str], ...] = (
    ("gan/*", "train again, then remove the old run"),
    ("synthetic/*", "generate again; stop using the old images"),
    ("evidence/*", "audit again"),
    ("trial/jobs/*", "run utility again, then remove the old jobs"),
    ("trial", "run utility again, then remove the old jobs"),
    ("reader", "close it and create a new one with --replace, then remove the old folder"),
    ("report", "write the report again"),
    ("releases/*", "send the notice in this folder to everybody who has it; release again"),
)
"""Where artefacts with a record lie in a study, and what to do with one that a patient touched. A new kind of
artefact gets one line here."""


_LEARNED = "learned from images of the patient"
_MEASURED = "was measured on images of the patient, but learned from none"
_SHOWN = "has figures or pictures of the patient"
_READ = {
    "gan": _LEARNED,
    "jobs": "learned from or was measured on images of the patient",
    RELEASES: "has a generator or figures that rest on images of the patient",
}


NOTICE = "withdrawal.md"
"""In the folder of a release that a withdrawn patient touched: what to send to those who have it."""


@dataclass(frozen=True)
class Trace:
    """One artefact that a patient touched.

    Attributes:
        name: Its folder within the study.
        how: What it has of the patient.
        todo: What the user must do.
    """

    name: str
    how: str
    todo: str


@dataclass(frozen=True)
class Withdrawal:
    """What a withdrawal means for a study.

    Attributes:
        patients: All keyed hashes of the person.
        roles: Of the person's images; none when no image is in the cohort.
        images: Images in the cohort.
        files: Files of the person that `private/` names.
        traces: Artefacts that must be made again.
        again: The person was marked before: this only finishes what was cut off.
    """

    patients: frozenset[str]
    roles: tuple[str, ...]
    images: int
    files: int
    traces: tuple[Trace, ...]
    again: bool


def plan_withdrawal(study: Study, patient: str, key: InstitutionKey) -> Withdrawal:
    """Looks a patient up and finds what the patient touched; writes nothing.

    Args:
        study: The study.
        patient: The number as labels.csv or the files have it, or the keyed hash.
        key: The institution's key.

    Raises:
        StudyError: Nobody or several persons have this number, or the study was made with another key.
        CohortError: The cohort is damaged.
    """
    marked = read_withdrawn(study.folder)
    cases = load_cohort(study.cohort).cases if (study.cohort / FACTS).exists() else ()
    persons = _persons(study, patient, key, marked, cases)
    if not persons:
        raise StudyError(
            "no patient of this study has this number; give it as labels.csv or the files have it, or as the column "
            "patient of cohort/cases.csv or private/linkage.csv has it"
        )
    if len(persons) > 1:
        raise StudyError(
            "several persons of this study have this number, each at another site; give one of them as the column "
            "patient of cohort/cases.csv has it"
        )
    patients = persons.pop()
    own = [case for case in cases if case.patient in patients]
    roles = tuple(sorted({case.role.value for case in own}))
    files = sum(row["patient"] in patients for row in read_linkage(study.linkage))
    return Withdrawal(patients, roles, len(own), files, _traces(study, patients, roles), patients <= marked.patients)


def withdraw(study: Study, withdrawal: Withdrawal) -> None:
    """Marks the patient as withdrawn, then removes what is left of all who are; safe to repeat after a kill.

    Raises:
        StorageError: The study cannot be written.
        CohortError: The cohort is damaged.
    """
    marked = read_withdrawn(study.folder)
    write_withdrawn(study.folder, marked | Withdrawn(withdrawal.patients, _pixels(study, withdrawal.patients)))
    patients = read_withdrawn(study.folder).patients
    for _, folder, record in _records(study):
        if record is not None and patients.isdisjoint(record.patients):
            continue
        if folder == study.report:
            shutil.rmtree(folder)
        elif folder.parent == study.folder / "gan":
            (folder / _PIXELS_OF_TRAIN).unlink(missing_ok=True)
        elif is_inserted(folder):  # it shows scans of patients
            shutil.rmtree(folder)
            (study.linkage / origins_of(folder.name)).unlink(missing_ok=True)
        elif folder.parent.name == RELEASES and record is not None:
            write_text(folder / NOTICE, _notice(folder, record, study.config.governance.responsible_person))
    shutil.rmtree(study.encoders, ignore_errors=True)
    remove_patients(study, patients, withdrawn_from(study).inputs)
    facts = {"images": withdrawal.images, "artefacts": len(withdrawal.traces)}
    study.log("withdraw", "written", inputs=dict(withdrawn_from(study).inputs), **facts)


def _notice(folder: Path, record: StageRecord, responsible: str) -> str:
    """What those who have a release must be told; it names no patient."""
    about = read_json(folder / MANIFEST)
    return (
        f"# Withdrawal: the release of {about['study']}\n\n"
        f"Made on {about['made']}; the SHA-256 of its manifest.json is\n\n    {record.outputs[MANIFEST]}\n\n"
        "A patient has withdrawn. The generator of this release, its images or its figures rest on images of that "
        "patient.\n\nPlease stop using the release and what was made with it, delete it, confirm that to the "
        f"person named below, and pass this notice on to everybody to whom you gave it.\n\n"
        f"Responsible: {responsible}\n"
    )


def _persons(
    study: Study, patient: str, key: InstitutionKey, marked: Withdrawn, cases: Collection[Case]
) -> set[frozenset[str]]:
    """All hashes of each person whom a number may mean."""
    persons = _known(study, {patient}, marked)
    if persons:
        return persons
    check_key(study.cohort, key.fingerprint, "this study")
    number = same_person(patient)
    sites = {same_person(case.attributes.get("site", "")) for case in cases} - {""}
    hashes = set()
    for form in (number, *(f"{number}@{site}" for site in sorted(sites))):
        try:
            hashes.add(key.patient_hash(form))
        except DicomError:  # an empty number is nobody's
            return set()
    return _known(study, hashes, marked)


def _known(study: Study, hashes: Collection[str], marked: Withdrawn) -> set[frozenset[str]]:
    linked = {row["patient"] for row in read_linkage(study.linkage)}
    found = {numbers_of(study.cohort, one) for one in hashes} - {frozenset()}
    named = frozenset[str]().union(*found)
    return found | {frozenset({one}) for one in hashes if one not in named and one in linked | marked.patients}


def _pixels(study: Study, patients: Collection[str]) -> frozenset[str]:
    """Keyed hashes of the pixels that the cohort has of these patients, and of nobody else."""
    if not (study.cohort / FACTS).exists():
        return frozenset()
    rows = load_cohort(study.cohort).images.rows
    others = {row["pixels"] for row in rows if row["patient"] not in patients}
    return frozenset(row["pixels"] for row in rows if row["patient"] in patients) - others - {""}


def _records(study: Study) -> Iterator[tuple[str, Path, StageRecord | None]]:
    """What to do with each artefact of a study, its folder and record; a run that never ended has none."""
    for pattern, todo in PLACES:
        for folder in sorted(study.folder.glob(pattern)):
            if (folder / RECORD).exists() or (folder / RUN).exists():
                yield todo, folder, read_record(folder)


def _traces(study: Study, patients: frozenset[str], roles: Collection[str]) -> tuple[Trace, ...]:
    """Artefacts that the patients touched, and those that stand on the cohort or on such an artefact."""
    cohort = read_record(study.cohort)
    of_cohort = set() if cohort is None else {cohort.digest, *cohort.outputs.values()}
    touched: set[str] = set()
    traces = []
    for todo, folder, record in _records(study):
        inputs = set() if record is None else set(record.inputs.values())
        if record is None:
            how = "was being trained, and may have learned from images of the patient"
        elif not patients.isdisjoint(record.patients):
            how = _READ.get(folder.parent.name, _SHOWN)
            if folder.parent.name == "gan" and roles and Role.TRAIN not in roles:
                how = _MEASURED
        elif inputs & touched:
            how = "was made from what the patient touched"
        elif inputs & of_cohort:
            how = "rests on the cohort as it was, but read no image of the patient"
        else:
            continue
        traces.append(Trace(folder.relative_to(study.folder).as_posix(), how, todo))
        touched |= set() if record is None else {record.digest, *record.outputs.values()}
    return tuple(traces)
