"""Patients who were withdrawn: taken out of the cohort as if their scans had never been there, and kept out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from scans import write_labels

from scansynth.config import StudyConfig
from scansynth.data.cohort import linkage, removal
from scansynth.data.cohort.removal import remove_patients
from scansynth.data.cohort.withdrawn import Withdrawn, read_withdrawn, write_withdrawn
from scansynth.data.ingest import ingest
from scansynth.data.roles import numbers_of
from scansynth.data.standing import ingest_inputs, withdrawn_from
from scansynth.data.tensors import load_cohort
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import CohortError, StudyError
from scansynth.files import read_csv, read_json, sha256_file, sha256_json
from scansynth.stage import read_record, stale
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)
Factory = Callable[..., Path]

SAME = {"images.npy", "masks.npy", "cases.csv", "set.json", "roles.csv", "excluded.csv", "cohort.json"}
"""Files of a cohort that a removal leaves as an ingest without the patient writes them."""


def study_of(folder: Path, dicom: Path, **settings: Any) -> Study:
    values = {"dicom": str(dicom), "size": 32, "labels": str(dicom / "labels.csv"), **settings}
    return Study(folder, StudyConfig.model_validate({"cohort": values}))


def masked(dicom: Path) -> None:
    """Gives every image of a folder a mask, one patient a second number for one of the pictures, and a bad file."""
    rows = read_csv(dicom / "labels.csv")
    for place, row in enumerate(rows):
        picture = np.zeros((32, 32), np.uint8)
        picture[4 : 8 + place, 4:9] = 255
        Image.fromarray(picture).save(dicom / f"{place}.png")
        row["mask"] = f"{place}.png"
    write_labels(dicom / "labels.csv", rows)
    dataset = pydicom.dcmread(dicom / "p3/i0")
    dataset.PixelData = bytes(len(dataset.PixelData))  # constant: left out, and still of that patient
    dataset.save_as(dicom / "p3/i0")


def of_study(study: Study) -> dict[str, str]:
    found = {path.name: sha256_file(path) for path in study.cohort.iterdir() if path.name in SAME}
    facts = read_json(study.cohort / "cohort.json")
    del facts["text_search"]  # counts the images that were searched then
    return {**found, "cohort.json": sha256_json(facts)}


@pytest.fixture
def made(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> Study:
    dicom = tiny_dicom_folder(patients=9)
    masked(dicom)
    study = study_of(tmp_path / "study", dicom)
    ingest(study, KEY)
    return study


def withdraw(study: Study, patient: str) -> None:
    pixels = {row["pixels"] for row in read_csv(study.cohort / "cases.csv") if row["patient"] == patient}
    write_withdrawn(study.folder, Withdrawn(frozenset({patient}), frozenset(pixels)))
    remove_patients(study, {patient}, withdrawn_from(study).inputs)


@pytest.mark.parametrize("number", [0, 3, 4])
def test_a_removal_leaves_what_an_ingest_leaves(made: Study, number: int) -> None:
    patient = KEY.patient_hash(f"PID-{number}")
    before = load_cohort(made.cohort).cases
    withdraw(made, patient)
    removed = of_study(made)
    assert removed.keys() == SAME
    private = (made.linkage / "linkage.csv").read_bytes()
    assert f"p{number}/".encode() not in private
    after = load_cohort(made.cohort)
    assert {case.case: case.role for case in after.cases} == {
        case.case: case.role for case in before if case.patient != patient
    }
    record = read_record(made.cohort)
    assert record is not None
    assert patient not in record.patients
    assert stale(made.cohort, ingest_inputs(made, KEY), exact=record.outputs) == []
    summary = ingest(made, KEY)  # the scans are still there, and stay out
    assert summary.facts.excluded["withdrawn"] == 2
    assert of_study(made) == removed
    assert (made.linkage / "linkage.csv").read_bytes() == private


def test_the_mark_alone_keeps_a_patient_out_also_of_a_cohort_made_anew(made: Study) -> None:
    patient = KEY.patient_hash("PID-4")
    write_withdrawn(made.folder, Withdrawn(frozenset({patient})))
    record = read_record(made.cohort)
    assert record is not None
    assert record.differs(ingest_inputs(made, KEY)) == ["withdrawn"]
    shutil.rmtree(made.cohort)
    ingest(made, KEY)
    assert patient not in {case.patient for case in load_cohort(made.cohort).cases}
    assert patient not in {row["patient"] for row in read_csv(made.cohort / "roles.csv")}


def test_the_picture_of_a_withdrawn_patient_stays_out_under_another_number(made: Study) -> None:
    withdraw(made, KEY.patient_hash("PID-4"))
    dicom = made.source(made.config.cohort.dicom)
    for name in ("i0", "i1"):
        dataset = pydicom.dcmread(dicom / "p4" / name)
        dataset.PatientID, dataset.SOPInstanceUID = "PID-NEW", f"1.2.{name[1]}"
        dataset.save_as(dicom / "p4" / name)
    summary = ingest(made, KEY)
    assert summary.facts.excluded["withdrawn"] == 2
    assert KEY.patient_hash("PID-NEW") not in {case.patient for case in load_cohort(made.cohort).cases}


def test_a_withdrawn_patient_is_left_out_where_roles_are_taken_over(made: Study, tmp_path: Path) -> None:
    patient = KEY.patient_hash("PID-4")
    withdraw(made, patient)
    other = study_of(tmp_path / "other", made.source(made.config.cohort.dicom), split_from=str(made.folder))
    ingest(other, KEY)
    assert patient not in {case.patient for case in load_cohort(other.cohort).cases}


def test_all_numbers_of_a_person_are_known(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> None:
    dicom = tiny_dicom_folder(patients=9)
    copied = pydicom.dcmread(dicom / "p2/i0")
    own = pydicom.dcmread(dicom / "p4/i0")
    own.PixelData = copied.PixelData  # two numbers, one picture: one person
    own.save_as(dicom / "p4/i0")
    study = study_of(tmp_path / "study", dicom)
    ingest(study, KEY)
    both = frozenset({KEY.patient_hash("PID-2"), KEY.patient_hash("PID-4")})
    assert numbers_of(study.cohort, KEY.patient_hash("PID-2")) == both
    assert numbers_of(study.cohort, KEY.patient_hash("PID-4")) == both
    assert numbers_of(study.cohort, KEY.patient_hash("PID-1")) == {KEY.patient_hash("PID-1")}
    assert numbers_of(study.cohort, KEY.patient_hash("PID-77")) == frozenset()


@pytest.mark.parametrize("moment", ["write_cohort", "write_record", "forget", "_write"])
def test_a_removal_that_was_cut_off_is_finished_by_the_next(
    made: Study, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = KEY.patient_hash("PID-4")
    whole = Study(made.folder.with_name("whole"), made.config)
    shutil.copytree(made.folder, whole.folder)
    withdraw(whole, patient)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(linkage if moment == "_write" else removal, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            withdraw(made, patient)
    load_cohort(made.cohort)  # old or new, and whole
    assert patient in read_withdrawn(made.folder).patients
    withdraw(made, patient)
    assert of_study(made) == of_study(whole)
    assert (made.linkage / "linkage.csv").read_bytes() == (whole.linkage / "linkage.csv").read_bytes()


def test_a_cohort_of_which_nobody_is_left_is_removed(made: Study) -> None:
    everybody = {case.patient for case in load_cohort(made.cohort).cases}
    write_withdrawn(made.folder, Withdrawn(frozenset(everybody)))
    remove_patients(made, everybody, withdrawn_from(made).inputs)
    assert not made.cohort.exists()
    with pytest.raises(CohortError, match="no image is left"):
        ingest(made, KEY)


def test_a_damaged_mark_is_refused(made: Study) -> None:
    (made.folder / "withdrawn.csv").write_text("kind,key\npatient,1\nnobody,2\n")
    with pytest.raises(StudyError, match=r"withdrawn\.csv is damaged"):
        ingest(made, KEY)
