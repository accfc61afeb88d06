"""Lesions go with their image: turned, resized and padded alike, each one kept, and what is odd is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom.seg
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from planted import DAY, UID, Planter, traces, traces_below
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from scans import save_dicom, write_labels

from scansynth.config import StudyConfig
from scansynth.data.ingest import ingest
from scansynth.data.labels.lesions import Box, paint_box
from scansynth.data.tensors import load_cohort, to_signed
from scansynth.data.transforms import resize_mask
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import CohortError
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)
SHAPE = (48, 64)


def disc(column: float, row: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((columns - column) ** 2 + (rows - row) ** 2 <= radius**2).astype(np.uint8)


def study_of(folder: Path, dicom: Path, size: int = 32) -> Study:
    cohort = {"dicom": str(dicom), "labels": str(dicom / "labels.csv"), "size": size, "positive": "nodule"}
    return Study(folder, StudyConfig.model_validate({"cohort": cohort}))


def scans(dicom: Path, lesions: list[np.ndarray], **attributes: Any) -> list[dict[str, str]]:
    """An image for each lesion, which is bright on dark; rows of labels.csv without masks."""
    rows = []
    for number, lesion in enumerate(lesions):
        name = f"p{number}/i.dcm"
        save_dicom(dicom / name, 100 + 1500 * lesion.astype(int) + number, PatientID=f"P{number}", **attributes)
        rows.append({"path": name, "label": "nodule" if number % 2 == 0 else "clear"})
    return rows


ORIENTATIONS = {
    "as read": [1, 0, 0, 0, 1, 0],
    "mirrored": [-1, 0, 0, 0, 1, 0],
    "upside down": [1, 0, 0, 0, -1, 0],
    "on its side": [0, 1, 0, 1, 0, 0],
}


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
@pytest.mark.parametrize("kind", ["png", "nifti", "box"])
def test_a_lesion_lies_on_its_picture_after_ingest(
    kind: str, orientation: list[int], tmp_path: Path, in_process: None
) -> None:
    dicom, lesion = tmp_path / "dicom", disc(44, 12, 7)
    if kind == "box":
        lesion = np.zeros(SHAPE, np.uint8)
        lesion[4:20, 36:52] = 1
    rows = scans(dicom, [lesion] * 12, ImageOrientationPatient=orientation, ImagePositionPatient=[3, 4, 5])
    if kind == "png":
        Image.fromarray(lesion * np.uint8(255)).save(dicom / "m.png")
        rows[0]["mask"] = "m.png"
    elif kind == "nifti":
        across, down = (np.array(orientation[place : place + 3], float) * 1.5 for place in (0, 3))
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = np.stack([across, down, np.cross(across, down)], axis=1), (3, 4, 5)
        nibabel.save(nibabel.Nifti1Image(lesion.T[..., None], np.diag([-1, -1, 1, 1]) @ affine), dicom / "m.nii.gz")
        rows[0]["mask"] = "m.nii.gz"
    else:
        rows[0] |= {"x1": "36", "y1": "4", "x2": "52", "y2": "20"}
    write_labels(dicom / "labels.csv", rows)
    study = study_of(tmp_path / "study", dicom)
    ingest(study, KEY)
    images, masks = np.load(study.cohort / "images.npy"), np.load(study.cohort / "masks.npy")
    place = int(masks.reshape(len(masks), -1).any(axis=1).argmax())
    mask = masks[place].reshape(32, 32)
    bright = to_signed(images[place].reshape(32, 32)) > 0
    assert masks.reshape(len(masks), -1).any(axis=1).sum() == 1
    assert mask.sum() == pytest.approx(lesion.sum() / 4, rel=0.1)  # 64 pixels become 32
    assert (mask > 0).sum() == pytest.approx((mask > 0)[bright].sum(), abs=4)
    assert load_cohort(study.cohort).facts.files_found == 12, "a file of masks is no scan"


def rtstruct(path: Path, source: Path, outlines: list[np.ndarray], across: np.ndarray, down: np.ndarray) -> None:
    """A structure set with these outlines (column, row) of one image, as a planning system writes them."""
    image, data, roi, of = pydicom.dcmread(source), pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.Modality, roi.ROINumber, roi.ROIName, of.ReferencedROINumber = "RTSTRUCT", 1, "GTV", 1
    of.ContourSequence = []
    for outline in outlines:
        contour, named = pydicom.Dataset(), pydicom.Dataset()
        points = np.array([3, 4, 5]) + outline[:, :1] * across + outline[:, 1:] * down
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
        contour.ContourData = [f"{value:.4f}" for value in points.ravel()]
        named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        contour.ContourImageSequence = [named]
        of.ContourSequence.append(contour)
    data.StructureSetROISequence, data.ROIContourSequence = [roi], [of]
    pydicom.dcmwrite(path, data, enforce_file_format=True)


@pytest.mark.parametrize("size", [32, 64, 96])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
@pytest.mark.parametrize("kind", ["hole", "keyhole", "segments"])
def test_rings_and_overlapping_segments_go_with_their_picture(
    kind: str, orientation: list[int], size: int, tmp_path: Path, in_process: None
) -> None:
    """A ring of area pi (r^2 - r^2 / 4), or two discs that overlap: turned, resized and padded as their image."""
    dicom, radius, angle = tmp_path / "dicom", 9.0, np.linspace(0, 2 * np.pi, 361)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outer, inner = (r * circle + np.array([40.0, 14.0]) for r in (radius, radius / 2))
    lesion = disc(40, 14, radius) & ~disc(40, 14, radius / 2) & 1
    area = np.pi * radius**2 * 3 / 4
    if kind == "segments":
        lesion = disc(40, 14, radius) | disc(46, 14, radius)
        area = 2 * np.pi * radius**2 - (2 * radius**2 * np.arccos(3 / radius) - 3 * np.sqrt(4 * radius**2 - 36))
    place = {"ImageOrientationPatient": orientation, "ImagePositionPatient": [3, 4, 5], "PixelSpacing": [1.5, 1.5]}
    rows = scans(dicom, [lesion] * 12, **place, FrameOfReferenceUID="1.2.3", SliceThickness=1)
    first = dicom / rows[0]["path"]
    if kind == "segments":
        both = np.stack([disc(40, 14, radius), disc(46, 14, radius)], axis=-1)
        segmentation(first, dicom / "mask.dcm", both, Planter(), segments=2)
        rows[0] |= {"mask": "mask.dcm", "mask_part": "all"}
    else:
        across, down = (np.array(orientation[at : at + 3], float) * 1.5 for at in (0, 3))
        drawn = [outer, inner] if kind == "hole" else [np.concatenate([outer, inner[::-1]])]
        rtstruct(dicom / "mask.dcm", first, drawn, across, down)
        rows[0]["mask"] = "mask.dcm"
    write_labels(dicom / "labels.csv", rows)
    study = study_of(tmp_path / "study", dicom, size)
    ingest(study, KEY)
    masks = np.load(study.cohort / "masks.npy").reshape(-1, size, size)
    own = int(masks.any(axis=(1, 2)).argmax())
    bright = to_signed(np.load(study.cohort / "images.npy")[own].reshape(size, size)) > 0
    assert masks[own].sum() == pytest.approx(area * (size / 64) ** 2, rel=0.12)
    assert (masks[own].astype(bool) != bright).sum() <= 0.15 * bright.sum(), "it lies on its picture, the hole too"


def test_every_lesion_of_an_image_is_kept(tmp_path: Path, in_process: None) -> None:
    dicom = tmp_path / "dicom"
    rows = scans(dicom, [disc(20, 20, 5)] * 12)
    boxes = [{"x": "3", "y": "4", "width": "5", "height": "6"}, {"x": "40", "y": "20", "width": "5", "height": "5"}]
    write_labels(dicom / "labels.csv", [rows[0] | boxes[0], rows[0] | boxes[1], *rows[1:]])
    study = study_of(tmp_path / "study", dicom, 64)
    summary = ingest(study, KEY)
    assert sorted(np.load(study.cohort / "masks.npy").sum(axis=(-1, -2)).ravel())[-2:] == [0, 55]
    assert summary.cases == 12


def test_odd_masks_of_positive_images_are_said(tmp_path: Path, in_process: None) -> None:
    dicom = tmp_path / "dicom"
    rows = scans(dicom, [disc(20, 20, 5)] * 12)
    for name, mask in (("full", np.ones(SHAPE)), ("empty", np.zeros(SHAPE)), ("right", disc(20, 20, 5))):
        Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(dicom / f"{name}.png")
    for place, name in ((0, "full"), (2, "empty"), (4, "empty"), (6, "right"), (8, "right"), (1, "empty")):
        rows[place]["mask"] = f"{name}.png"
    write_labels(dicom / "labels.csv", rows)
    words = "\n".join(ingest(study_of(tmp_path / "study", dicom), KEY).warnings)
    assert "1 images labelled nodule have a mask that covers the whole image" in words
    assert "2 images labelled nodule have an empty mask" in words
    assert "1 images labelled nodule have no mask" in words


def test_a_box_paints_what_it_touches_and_stays_in_its_image() -> None:
    assert paint_box(2, Box(3, 4, 8, 10), SHAPE).sum() == 30
    assert paint_box(2, Box(3.2, 4.9, 7.1, 9.5), SHAPE).sum() == 30
    part = paint_box(2, Box(0.5, 0.25, 0.75, 0.375, fraction=True), (32, 32))
    assert part[8:12, 16:24].all()
    assert part.sum() == 32
    assert paint_box(2, Box(0, 0, 1.0005, 1.0005, fraction=True), SHAPE).all()
    for box in (Box(60, 0, 64.5, 5), Box(0, 40, 5, 49)):
        with pytest.raises(CohortError, match="row 2: the box extends beyond the image of 64 x 48 pixels"):
            paint_box(2, box, SHAPE)


@pytest.mark.parametrize("target", [(16, 16), (12, 20)])
def test_a_small_lesion_beside_a_large_one_survives_shrinking(target: tuple[int, int]) -> None:
    large, small = disc(16, 24, 10), disc(50, 10, 0.5)
    shrunk = resize_mask(large | small, target)
    alone = [resize_mask(one, target) for one in (large, small)]
    assert small.sum() == 1
    assert (shrunk == (alone[0] | alone[1])).all()
    assert alone[1].sum() == 1


def segmentation(image: Path, path: Path, lesion: np.ndarray, planter: Planter, segments: int = 1) -> None:
    """A DICOM Segmentation of one image, with a word in each place that can hold one."""
    source = pydicom.dcmread(image)
    for keyword in ("PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"):
        setattr(source, keyword, "")
    kinds = (codes.SCT.Nodule, codes.SCT.Mass)
    described = [
        highdicom.seg.SegmentDescription(
            number + 1, planter.word(f"label {number}"), codes.SCT.MorphologicallyAbnormalStructure, kinds[number],
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(segments)
    ]  # fmt: skip
    made = highdicom.seg.Segmentation(
        [source], (lesion if lesion.ndim == 3 else np.stack([lesion] * segments, axis=-1))[None], "BINARY", described,
        generate_uid(), 1, generate_uid(), 1,
        planter.word("maker"), planter.word("model"), "1", planter.word("serial number"), omit_empty_frames=False,
        series_description=planter.word("series"), content_creator_name=f"{planter.word('creator')}^Q",
    )  # fmt: skip
    for number, item in enumerate(made.SegmentSequence):
        item.SegmentDescription = planter.word(f"description {number}")
    made.PatientName, made.PatientID = planter.word("name"), planter.word("number")
    made.PatientComments, made.PatientBirthDate = planter.word("comments"), DAY
    made.private_block(0x0099, planter.word("private creator"), create=True).add_new(1, "LO", planter.word("private"))
    made.save_as(path)


def test_words_of_a_segmentation_that_is_read_as_a_mask_reach_nothing(tmp_path: Path, in_process: None) -> None:
    dicom, planter, lesion = tmp_path / "dicom", Planter(), disc(20, 20, 5)
    given = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 0]}
    rows = scans(dicom, [lesion] * 12, **given, FrameOfReferenceUID=f"{UID}.7", SliceThickness=1)
    name = f"{planter.word('name of the file')}.dcm"
    segmentation(dicom / rows[0]["path"], dicom / name, lesion, planter)
    rows[0]["mask"] = name
    write_labels(dicom / "labels.csv", rows)
    study = study_of(tmp_path / "study", dicom, 64)
    summary = ingest(study, KEY)
    assert np.load(study.cohort / "masks.npy").sum() == lesion.sum()
    assert len(planter.places) > 10
    assert traces_below(study.folder, but=frozenset({study.linkage.name})) == {}
    assert not traces("\n".join(summary.warnings).encode())
    segmentation(dicom / rows[0]["path"], dicom / name, lesion, planter, segments=2)
    with pytest.raises(CohortError, match="several parts") as refused:
        ingest(study, KEY)
    assert not traces(str(refused.value).encode())
