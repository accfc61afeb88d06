"""Frames of enhanced files as cases."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import JPEGLSLossless
from scans import compress, save_enhanced, write_labels

from scansynth.config import StudyConfig
from scansynth.data.ingest import ingest
from scansynth.data.tensors import load_cohort, to_signed
from scansynth.data.transforms import from_window
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import CohortError
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


def lesions(path: Path, enhanced: Dataset, masks: np.ndarray) -> None:
    """A segmentation of the frames, made by another program from the enhanced file."""
    enhanced.update({"FrameOfReferenceUID": "1.2.3", "SeriesNumber": 1})
    for keyword in ("PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"):
        setattr(enhanced, keyword, "")
    for group in enhanced.SharedFunctionalGroupsSequence:
        group.PixelMeasuresSequence[0].SliceThickness = 1
    for number, group in enumerate(enhanced.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence = [Dataset()]
        group.FrameContentSequence[0].DimensionIndexValues = [number + 1]
        shared = enhanced.SharedFunctionalGroupsSequence[0]
        shared.PlaneOrientationSequence = group.PlaneOrientationSequence
        del group.PlaneOrientationSequence
    nodule = SegmentDescription(
        1, "Nodule", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Nodule, SegmentAlgorithmTypeValues.MANUAL
    )
    made = Segmentation(
        [enhanced], masks, SegmentationTypeValues.BINARY, [nodule], f"{enhanced.SOPInstanceUID}.1", 2,
        f"{enhanced.SOPInstanceUID}.2", 1, "x", "y", "1", "1", omit_empty_frames=True,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path)


def test_a_segmentation_goes_with_its_frame_and_turns_with_it(tmp_path: Path, in_process: None) -> None:
    draw = generator(5, "lesions")
    row, column = np.mgrid[:32, :32]
    rows, expected = [], dict[str, np.ndarray]()
    for number in range(8):
        path = tmp_path / "scans" / f"p{number}"
        images = draw.integers(0, 1400, (3, 32, 32))
        # a disc in frames 1 and 2, none in frame 3; no two discs are alike
        masks = np.stack([(row - 9 - k) ** 2 + (column - 7 - number) ** 2 <= 25 + k for k in range(3)]).astype(np.uint8)
        masks[2] = 0
        dataset = save_enhanced(path, images, PatientID=f"P{number}", SOPInstanceUID=f"1.2.826.0.1.{number + 1}")
        way = [-1 if number % 4 else 1, 0, 0, 0, 1, 0]  # those of every other patient are mirrored
        for k, mask in enumerate(masks):
            frame = dataset.PerFrameFunctionalGroupsSequence[k]
            frame.PlaneOrientationSequence[0].ImageOrientationPatient = way
            expected[KEY.case_id(f"{dataset.SOPInstanceUID}#{k + 1}")] = mask[:, :: way[0]]
        dataset.save_as(path, enforce_file_format=True)
        if number % 2 == 0:
            lesions(tmp_path / "scans" / "seg" / f"p{number}.dcm", pydicom.dcmread(path), masks)
        mask_file = "" if number % 2 else f"seg/p{number}.dcm"
        rows.append({"path": f"p{number}", "label": ("nodule", "clear")[number % 2], "mask": mask_file})
    write_labels(tmp_path / "scans" / "labels.csv", rows)
    study = _study(
        tmp_path / "study", tmp_path / "scans", labels=str(tmp_path / "scans" / "labels.csv"), positive="nodule",
        skip_unlisted=True,
    )  # fmt: skip
    summary = ingest(study, KEY)
    assert summary.cases == 24
    assert any(note.startswith("4 images labelled nodule have an empty mask") for note in summary.warnings)
    cohort = load_cohort(study.cohort)
    found = np.load(study.cohort / "masks.npy").reshape(-1, 32, 32)
    for case in cohort.cases:
        wanted = expected[case.case] if case.label == "nodule" else np.zeros((32, 32))
        assert (found[case.index] == wanted).all()


def test_a_mask_that_names_no_frame_leaves_the_file_out(tmp_path: Path, in_process: None) -> None:
    draw, rows = generator(6, "picture"), []
    for number in range(8):
        save_enhanced(tmp_path / "scans" / f"p{number}", draw.integers(0, 1400, (2, 32, 32)), PatientID=f"P{number}")
        rows.append({"path": f"p{number}", "label": ("nodule", "clear")[number % 2], "mask": ""})
    imagecodecs.imwrite(tmp_path / "scans" / "m.png", np.eye(32, dtype=np.uint8))
    rows[0]["mask"] = "m.png"
    write_labels(tmp_path / "scans" / "labels.csv", rows)
    study = _study(tmp_path / "study", tmp_path / "scans", labels=str(tmp_path / "scans" / "labels.csv"))
    assert dict(ingest(study, KEY).facts.excluded) == {"multi-frame": 2}
    (tmp_path / "scans" / "m.png").rename(tmp_path / "scans" / "m.dcm")  # a picture that says it is DICOM
    rows[0]["mask"] = "m.dcm"
    write_labels(tmp_path / "scans" / "labels.csv", rows)
    with pytest.raises(CohortError, match="row 2: the mask cannot be used: no image of the file named"):
        ingest(study, KEY)


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
