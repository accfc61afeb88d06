import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from scansynth.data.labels.read import read_labels
from scansynth.data.scans.template import COLUMNS, write_template
from scansynth.errors import CohortError
from scansynth.files import read_csv

Factory = Callable[..., Path]


def test_every_file_with_what_its_header_says_and_no_identifier(
    tmp_path: Path, tiny_dicom_folder: Factory, write_dicom: Any
) -> None:
    dicom = tiny_dicom_folder(patients=3)
    noise = np.random.default_rng(0).integers(0, 999, (32, 32))
    write_dicom(dicom / "z" / "us", noise, modality="US")
    write_dicom(dicom / "z" / "tilted", noise, ImageOrientationPatient=[0, 1, 0, 0, 0, -1], PatientID=" PID-0")
    (dicom / "z" / "text").write_bytes(b"no DICOM")
    write_dicom(dicom / "=1+1", noise)
    odd = os.fsdecode(b"M\xfcller")
    write_dicom(dicom / "plain", noise)
    (dicom / "plain").rename(dicom / odd)
    table = tmp_path / "labels.csv"
    assert write_template(table, dicom, 1) == 11
    rows = {row["path"]: row for row in read_csv(table)}
    assert tuple(rows["p0/i0"]) == COLUMNS
    assert rows["z/us"]["left_out"] == "ultrasound"
    assert rows["z/text"]["left_out"] == "not DICOM"
    assert (rows["p0/i0"]["modality"], rows["p0/i0"]["pixels"], rows["p0/i0"]["label"]) == ("MR", "32 x 32", "")
    assert rows["z/tilted"]["plane"] == "sagittal"
    assert rows["z/tilted"]["patient_number"] == rows["p0/i1"]["patient_number"] != rows["p1/i0"]["patient_number"]
    assert rows["p0/i0"]["series_number"] == rows["p0/i1"]["series_number"] != rows["p1/i0"]["series_number"]
    assert "./=1+1" in rows
    assert rows[""]["sop_instance_uid"] == pydicom.dcmread(dicom / odd).SOPInstanceUID
    text = table.read_text(encoding="utf-8-sig")
    assert not [word for word in ("PID-", "Planted", "Person", "SIEMENS", "051Y") if word in text]
    with pytest.raises(CohortError, match="exists"):
        write_template(table, dicom, 1)


def test_a_filled_template_is_a_table_of_labels(tmp_path: Path, tiny_dicom_folder: Factory, write_dicom: Any) -> None:
    dicom = tiny_dicom_folder(patients=3)
    (dicom / "text").write_bytes(b"no DICOM")
    table = tmp_path / "labels.csv"
    write_template(table, dicom, 1)
    with pytest.raises(CohortError, match="row 2: the label is empty"):
        read_labels(table)
    lines = table.read_text(encoding="utf-8-sig").splitlines()
    filled = [line.replace(",,,,,MR", ",,nodule,,,MR", 1) for line in lines]
    table.write_text("\n".join(filled), encoding="utf-16")  # as a spreadsheet saves it
    labels = read_labels(table)
    assert {row.path for row in labels.rows} == {f"p{n}/i{k}" for n in range(3) for k in range(2)}
    assert {name for row in labels.rows for name in row.attributes or {}} <= {"modality", "plane", "pixels"}


def test_a_folder_without_scans_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "text").write_bytes(b"no DICOM")
    with pytest.raises(CohortError, match="no usable DICOM image"):
        write_template(tmp_path / "labels.csv", tmp_path / "scans", 1)
    assert not (tmp_path / "labels.csv").exists()
