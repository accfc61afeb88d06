"""Frames of enhanced files as cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.uid import JPEGLSLossless
from scans import compress, save_enhanced, write_labels

from scansynth.config import StudyConfig
from scansynth.data.ingest import ingest
from scansynth.data.tensors import load_cohort, to_signed
from scansynth.data.transforms import from_window
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.files import read_csv
from scansynth.seeds import generator
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)


def _study(folder: Path, dicom: Path, **settings: object) -> Study:
    values = {"dicom": str(dicom), "size": 32, "view": "patch", **settings}
    return Study(folder, StudyConfig.model_validate({"cohort": values}))


def test_frames_become_cases_of_one_patient(tmp_path: Path, in_process: None) -> None:
    """Each turned by its own orientation, in its own units; a projection among them is left out."""
    draw = generator(2, "cases")
    expected: dict[str, np.ndarray] = {}
    for number in range(6):
        images = draw.integers(0, 1400, (3, 32, 32))
        dataset = save_enhanced(tmp_path / "scans" / f"p{number}", images, PatientID=f"P{number}")
        for k, image in enumerate(images):
            turned = image[:, ::-1] if k % 2 else image
            expected[KEY.case_id(f"{dataset.SOPInstanceUID}#{k + 1}")] = turned - 1024.0 - k
        if number == 0:
            frame = dataset.PerFrameFunctionalGroupsSequence[2]
            frame.CTImageFrameTypeSequence[0].VolumeBasedCalculationTechnique = "MAX_IP"
            dataset.save_as(tmp_path / "scans" / "p0", enforce_file_format=True)
        if number == 1:
            compress(tmp_path / "scans" / "p1", images, JPEGLSLossless)
    study = _study(tmp_path / "study", tmp_path / "scans", unlabelled=True)
    summary = ingest(study, KEY)
    assert (summary.cases, summary.patients, dict(summary.facts.excluded)) == (17, 6, {"projection": 1})
    assert summary.facts.files_found == 18
    assert any(note.startswith("6 images were stored mirrored") for note in summary.warnings)
    cohort = load_cohort(study.cohort)
    images = np.load(study.cohort / "images.npy").reshape(-1, 32, 32)
    for case in cohort.cases:
        assert case.spacing == (0.5, 0.7)
        back = from_window(to_signed(images[case.index]), case.low, case.high)
        assert np.abs(back - expected[case.case].clip(case.low, case.high)).max() < 0.05
    assert len({row["sop"] for row in read_csv(study.cohort / "cases.csv")}) == 17


def test_one_row_labels_all_frames_and_a_box_none(tmp_path: Path, in_process: None) -> None:
    draw = generator(4, "labels")
    rows = []
    for number in range(8):
        save_enhanced(tmp_path / "scans" / f"p{number}", draw.integers(0, 1400, (2, 32, 32)), PatientID=f"P{number}")
        box = {"x": 1, "y": 1, "width": 5, "height": 5} if number == 7 else {}
        empty = dict.fromkeys(("x", "y", "width", "height"), "")
        rows.append({"path": f"p{number}", "label": ("nodule", "clear")[number % 2], **empty, **box})
    write_labels(tmp_path / "scans" / "labels.csv", rows)
    study = _study(tmp_path / "study", tmp_path / "scans", labels=str(tmp_path / "scans" / "labels.csv"))
    summary = ingest(study, KEY)
    assert (summary.cases, dict(summary.facts.excluded)) == (14, {"multi-frame": 2})
    labels = [case.label for case in load_cohort(study.cohort).cases]
    assert (labels.count("nodule"), labels.count("clear")) == (8, 6)
