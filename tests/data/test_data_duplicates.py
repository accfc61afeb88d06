"""One image in several files: counted once, or left out when the files hold different pictures; the rest goes on."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless
from scans import write_labels

from scansynth.config import StudyConfig
from scansynth.data.ingest import ingest
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import CohortError
from scansynth.files import read_csv
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)
Factory = Callable[..., Path]


def study_of(folder: Path, dicom: Path, **settings: Any) -> Study:
    labels = dicom / "labels.csv"
    values = {"dicom": str(dicom), "size": 32, "labels": str(labels), **settings}
    return Study(folder, StudyConfig.model_validate({"cohort": values}))


def copy_with(source: Path, target: Path, **attributes: Any) -> None:
    """A copy of one file with some attributes set otherwise."""
    dataset = pydicom.dcmread(source)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(target)


def compressed(source: Path, target: Path) -> None:
    """The same image as lossless JPEG-LS."""
    dataset = pydicom.dcmread(source)
    stream = bytes(imagecodecs.jpegls_encode(dataset.pixel_array.astype(np.uint16)))
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = encapsulate([stream], has_bot=False)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.save_as(target)


def test_copies_are_counted_once_and_different_pictures_not_at_all(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder()
    rows = read_csv(dicom / "labels.csv")
    before = ingest(study_of(tmp_path / "before", dicom), KEY)
    shutil.copy(dicom / "p1/i0", dicom / "p1/i0 (1)")
    copy_with(dicom / "p2/i0", dicom / "p2/renamed", InstanceNumber=7, StudyDescription="sent again")
    compressed(dicom / "p3/i0", dicom / "p3/packed")
    changed = pydicom.dcmread(dicom / "p4/i0").pixel_array.copy()
    changed[5, 5] ^= 1
    copy_with(dicom / "p4/i0", dicom / "p4/changed", PixelData=changed.tobytes())
    (dicom / "p5/cut").write_bytes((dicom / "p5/i0").read_bytes()[:-50])
    shutil.copy(dicom / "p6/i0", dicom / "p6/other label")
    for number, name in ((1, "i0 (1)"), (3, "packed"), (4, "changed"), (5, "cut")):
        rows.append({"path": f"p{number}/{name}", "label": ("nodule", "clear")[number % 2]})  # p2/renamed has no row
    rows.append({"path": "p6/other label", "label": "clear"})
    write_labels(dicom / "labels.csv", rows)
    study = study_of(tmp_path / "study", dicom)
    summary = ingest(study, KEY)
    reasons = {
        "duplicate": 3, "one UID for different images": 2, "truncated": 1, "duplicates that disagree": 2,
    }  # fmt: skip
    assert dict(summary.facts.excluded) == reasons
    assert summary.cases == before.cases - 2
    kept = {row["id"]: row for row in read_csv(tmp_path / "before" / "cohort" / "cases.csv")}
    for row in read_csv(study.cohort / "cases.csv"):
        assert row["source_sha256"] == kept[row["id"]]["source_sha256"]
    table = {row["file"]: row for row in read_csv(study.linkage / "duplicates.csv")}
    assert {name: row["reason"] for name, row in table.items()} == {
        "p1/i0": "kept", "p1/i0 (1)": "duplicate", "p2/i0": "kept", "p2/renamed": "duplicate",
        "p3/i0": "kept", "p3/packed": "duplicate",
        "p4/i0": "one UID for different images", "p4/changed": "one UID for different images",
        "p6/i0": "duplicates that disagree", "p6/other label": "duplicates that disagree",
    }  # fmt: skip
    assert table["p1/i0"]["image"] == table["p1/i0 (1)"]["image"] != table["p2/i0"]["image"]
    assert stat.S_IMODE((study.linkage / "duplicates.csv").stat().st_mode) == 0o600
    for path in study.folder.rglob("*"):
        assert not path.is_file() or path.parent == study.linkage or b"packed" not in path.read_bytes(), path


def test_copies_that_lie_elsewhere_are_not_guessed_at(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder()
    copy_with(dicom / "p1/i0", dicom / "p1/turned", ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    copy_with(dicom / "p2/i0", dicom / "p2/i0", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    copy_with(dicom / "p2/i0", dicom / "p2/turned", ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    copy_with(dicom / "p3/i0", dicom / "p3/wide", PixelSpacing=[1.5, 3.0])
    copy_with(dicom / "p4/i0", dicom / "p4/rounded", PixelSpacing=[1.501, 1.499])
    study = study_of(tmp_path / "study", dicom)
    assert dict(ingest(study, KEY).facts.excluded) == {"duplicate": 2, "duplicates that disagree": 4}
    table = {row["file"]: row["reason"] for row in read_csv(study.linkage / "duplicates.csv")}
    assert table["p1/turned"] == "kept"  # the one that says how the patient lies


def test_the_table_goes_with_the_duplicates(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> None:
    dicom = tiny_dicom_folder(patients=6)
    shutil.copy(dicom / "p1/i0", dicom / "p1/copy")
    study = study_of(tmp_path / "study", dicom)
    ingest(study, KEY)
    assert (study.linkage / "duplicates.csv").exists()
    (dicom / "p1/copy").unlink()
    summary = ingest(study, KEY)
    assert not (study.linkage / "duplicates.csv").exists()
    assert not summary.facts.excluded


def test_a_folder_with_one_uid_for_all_is_refused_and_named(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(patients=6)
    for path in dicom.glob("p*/*"):
        copy_with(path, path, SOPInstanceUID="1.2.3")
    study = study_of(tmp_path / "study", dicom)
    with pytest.raises(CohortError, match="private/"):
        ingest(study, KEY)
    assert len(read_csv(study.linkage / "duplicates.csv")) == 12
    assert not study.cohort.exists()


def test_one_image_of_two_patients_belongs_to_neither(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(patients=6)
    copy_with(dicom / "p1/i0", dicom / "p1/other", PatientID="PID-77")
    study = study_of(tmp_path / "study", dicom)
    assert dict(ingest(study, KEY).facts.excluded) == {"duplicates that disagree": 2}
