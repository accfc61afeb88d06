"""Lesions in every format: a disc of known area and centre is found where it lies, and nothing is guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from scansynth.dicom.masks.read import read_mask_file
from scansynth.dicom.masks.target import Target, fill_polygon
from scansynth.dicom.sandbox import DecodePool
from scansynth.errors import DicomError

ROWS, COLUMNS = 48, 64
CENTRE, RADIUS = (30.0, 17.0), 9.0  # column, row
UID = "1.2.826.0.1.3680043.8.498.1"
PLACED = Target(
    ROWS, COLUMNS, "p1/i1.dcm", UID, position=(-40.0, -12.0, 55.0), orientation=(1, 0, 0, 0, 1, 0), spacing=(1.5, 0.75)
)
# an oblique slice, seen from the head and on its side
OBLIQUE = replace(PLACED, orientation=(0.0, 0.8, 0.6, -1.0, 0.0, 0.0), position=(12.0, -3.0, 7.0))


def disc() -> np.ndarray:
    row, column = np.mgrid[:ROWS, :COLUMNS]
    return ((column - CENTRE[0]) ** 2 + (row - CENTRE[1]) ** 2 <= RADIUS**2).astype(np.uint8)


def circle(count: int = 400) -> np.ndarray:
    """Its outline, (count, 2): column and row; the centre of the first pixel is (0, 0)."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([CENTRE[0] + RADIUS * np.cos(angle), CENTRE[1] + RADIUS * np.sin(angle)], axis=1)


def to_mm(points: np.ndarray, target: Target) -> np.ndarray:
    corner, across, down = target.grid()
    return np.asarray(corner + points[:, :1] * across + points[:, 1:] * down)


def check(mask: np.ndarray, area: float = np.pi * RADIUS**2, tolerance: float = 0.03) -> None:
    assert mask.shape == (ROWS, COLUMNS)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    assert mask.sum() == pytest.approx(area, rel=tolerance)
    rows, columns = np.nonzero(mask)
    assert (columns.mean(), rows.mean()) == pytest.approx(CENTRE, abs=0.15)


def refusal(path: Path, target: Target = PLACED, part: str | None = None) -> str:
    with pytest.raises(DicomError) as caught:
        read_mask_file(path, target, part)
    return f"{caught.value.reason}: {caught.value.detail}"


# Polygons


def test_a_polygon_takes_the_pixels_whose_centres_it_holds() -> None:
    square = np.array([[1.5, 2.5], [4.5, 2.5], [4.5, 6.5], [1.5, 6.5]])
    mask = fill_polygon(square, (10, 8))
    assert mask.sum() == 12
    assert mask[3:7, 2:5].all()
    for turned in (square[::-1], np.roll(square, 1, axis=0)):
        assert (fill_polygon(turned, (10, 8)) == mask).all()
    # two squares with a common edge share no pixel and leave none out, wherever the edge lies
    left, right = (np.array([[a, 0], [b, 0], [b, 4], [a, 4]], float) for a, b in ((0, 3), (3, 7)))
    assert (fill_polygon(left, (6, 8)) & fill_polygon(right, (6, 8))).sum() == 0
    assert fill_polygon(left, (6, 8)).sum() + fill_polygon(right, (6, 8)).sum() == 28
    assert fill_polygon(square + 100, (10, 8)).sum() == 0
    check(fill_polygon(circle(), (ROWS, COLUMNS)).astype(np.uint8))


# Pictures


@pytest.mark.parametrize(
    "made",
    [
        Image.fromarray,
        lambda lesion: Image.fromarray(lesion * np.uint8(255)),
        lambda lesion: Image.fromarray(lesion > 0),
        lambda lesion: Image.fromarray(lesion.astype(np.uint16) * 300),
        lambda lesion: Image.fromarray(np.where(lesion[..., None], np.uint8([0, 0, 200]), np.uint8([0, 0, 0]))),
        lambda lesion: coloured(lesion, (255, 255, 255, 0), (255, 0, 0, 255)),
        lambda lesion: coloured(lesion, (0, 0, 0, 0), (0, 0, 0, 255)),
        lambda lesion: coloured(lesion, (0, 0, 0, 0), (255, 0, 0, 120)),
        lambda lesion: coloured(lesion, (0, 0, 0, 255), (255, 255, 255, 255)),
        lambda lesion: coloured(lesion, (255, 255, 255, 0), (9, 9, 9, 255)).convert("LA"),
        lambda lesion: palette(lesion, [0, 0, 0, 255, 0, 0]),
    ],
    ids=["0-1", "0-255", "1-bit", "16-bit", "blue", "clear white", "black on clear", "half clear", "opaque", "LA", "P"],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_picture_gives_the_disc_whatever_it_is_drawn_with(made: Any, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"mask.{ending}"
    made(disc()).save(path)
    assert (read_mask_file(path, PLACED) == disc()).all()


def test_soft_edges_count_by_half_and_labels_do_not(tmp_path: Path) -> None:
    row, column = np.mgrid[:ROWS, :COLUMNS]
    away = np.hypot(row - CENTRE[1], column - CENTRE[0])
    soft = np.clip((RADIUS + 2 - away) / 4, 0, 1)
    Image.fromarray((soft * 255).astype(np.uint8)).save(tmp_path / "soft.png")
    assert (read_mask_file(tmp_path / "soft.png", PLACED) == (np.uint8(soft * 255) >= 128)).all()
    labels = disc() * (1 + column % 12)
    Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "labels.png")
    assert (read_mask_file(tmp_path / "labels.png", PLACED) == disc()).all()
    colours = np.stack([labels * 20, labels * 3, np.where(labels == 5, 255, 0)], axis=-1).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    assert (read_mask_file(tmp_path / "colours.png", PLACED) == disc()).all()


def coloured(lesion: np.ndarray, back: tuple[int, ...], fore: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(lesion[..., None], np.uint8(fore), np.uint8(back)))


def palette(lesion: np.ndarray, colours: list[int]) -> Image.Image:
    image = Image.fromarray(lesion, "L").convert("P")
    image = Image.frombytes("P", image.size, lesion.tobytes())
    image.putpalette(colours)
    return image


def test_transparent_entries_and_deep_colours_are_read_as_they_are_meant(tmp_path: Path) -> None:
    palette(disc(), [255, 255, 255, 255, 0, 0]).save(tmp_path / "clear-white.png", transparency=0)
    palette(disc(), [0, 0, 0, 0, 0, 0]).save(tmp_path / "clear-black.png", transparency=0)
    Image.fromarray(disc() * np.uint8(7) + np.uint8(200)).save(tmp_path / "grey-key.png", transparency=200)
    import imagecodecs  # noqa: PLC0415 - as in the code

    deep = np.zeros((ROWS, COLUMNS, 4), np.uint16)
    deep[disc() > 0] = (1, 0, 0, 65535)  # Pillow would keep the upper byte alone, which is 0
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    for path in sorted(tmp_path.iterdir()):
        assert (read_mask_file(path, PLACED) == disc()).all(), path.name
    Image.fromarray(np.zeros((ROWS, COLUMNS, 4), np.uint8)).save(tmp_path / "nothing.png")
    assert read_mask_file(tmp_path / "nothing.png", PLACED).sum() == 0
    coloured(disc(), (255, 255, 255, 255), (255, 0, 0, 255)).save(tmp_path / "white.png")
    assert read_mask_file(tmp_path / "white.png", PLACED).all()  # full: ingest says so


def test_a_picture_that_cannot_be_a_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(disc()[:, :-1]).save(tmp_path / "small.png")
    assert "48 x 63 pixels and the image 48 x 64" in refusal(tmp_path / "small.png")
    Image.fromarray(disc() * np.uint8(255)).save(tmp_path / "a.jpg")
    assert "JPEG" in refusal(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert "truncated" in refusal(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"hello")
    assert "not a known kind" in refusal(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(b"")
    assert "not a known kind" in refusal(tmp_path / "d.png")


# Volumes and DICOM


@pytest.mark.parametrize("target", [PLACED, OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=["slices last", "slices first"])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_nifti_mask_is_laid_on_by_place(target: Target, order: tuple[int, ...], ending: str, tmp_path: Path) -> None:
    corner, across, down = target.grid()
    normal = np.cross(across, down) / np.linalg.norm(np.cross(across, down)) * 2.0
    values = np.zeros((COLUMNS, ROWS, 5), np.uint8)
    values[..., 3] = disc().T
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across, down, normal], axis=1)
    affine[:3, 3] = corner - 3 * normal
    back = np.eye(4)
    back[:3, :3] = np.eye(3)[:, list(order)]
    image = nibabel.Nifti1Image(np.transpose(values, order), np.diag([-1, -1, 1, 1]) @ affine @ back)
    path = tmp_path / f"mask.{ending}"
    nibabel.save(image, path)
    assert (read_mask_file(path, target) == disc()).all()
    # a hundredth of a voxel aside it is the same; another slice of the volume is empty; another place is refused
    assert (read_mask_file(path, replace(target, position=tuple(corner + 0.01 * across))) == disc()).all()
    assert read_mask_file(path, replace(target, position=tuple(corner - 2 * normal))).sum() == 0
    assert "other place" in refusal(path, replace(target, position=tuple(corner + 9 * normal)))
    assert "does not say where it lies" in refusal(path, replace(target, position=None))


def test_labels_and_probabilities_of_a_nifti_mask(tmp_path: Path) -> None:
    corner, across, down = PLACED.grid()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.stack([across, down, np.array([0, 0, 3.0])], axis=1), corner
    to_ras = np.diag([-1, -1, 1, 1]) @ affine
    values = np.ones((COLUMNS, ROWS, 1), np.int16)
    values[disc().T[..., None] > 0] = 2
    nibabel.save(nibabel.Nifti1Image(values, to_ras), tmp_path / "two.nii.gz")
    assert "several parts" in refusal(tmp_path / "two.nii.gz")
    assert (read_mask_file(tmp_path / "two.nii.gz", PLACED, "2") == disc()).all()
    assert read_mask_file(tmp_path / "two.nii.gz", PLACED, "all").all()
    assert "no such part" in refusal(tmp_path / "two.nii.gz", part="7")
    soft = np.where(disc().T[..., None] > 0, 0.7, 0.3).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(soft, to_ras), tmp_path / "soft.nii")
    assert (read_mask_file(tmp_path / "soft.nii", PLACED) == disc()).all()


def source(target: Target, uid: str, shift: float = 0.0) -> Dataset:
    """A DICOM slice that SEG can be made from."""
    corner, across, down = target.grid()
    normal = np.cross(across, down) / np.linalg.norm(np.cross(across, down))
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", uid
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(data, keyword, generate_uid(entropy_srcs=[keyword]))
    data.PatientID, data.PatientName = "P", "P^Q"
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID",
                    "ReferringPhysicianName"):  # fmt: skip
        setattr(data, keyword, "")
    data.Modality, data.SeriesNumber, data.InstanceNumber = "MR", 1, 1
    data.Rows, data.Columns, data.PixelSpacing, data.SliceThickness = *target.shape, list(target.spacing), 3
    data.ImageOrientationPatient = list(target.orientation)
    data.ImagePositionPatient = [round(float(value), 6) for value in corner + shift * normal]
    return data


def segment(number: int, label: str, code: Any) -> SegmentDescription:
    return SegmentDescription(
        number, label, codes.SCT.MorphologicallyAbnormalStructure, code, SegmentAlgorithmTypeValues.MANUAL
    )


def segmentation(sources: list[Dataset], pixels: np.ndarray, kind: str, segments: list[SegmentDescription]) -> Dataset:
    values = pixels.astype(np.float32) if kind == "FRACTIONAL" else pixels
    return Segmentation(
        sources, values, SegmentationTypeValues[kind], segments, generate_uid(), 2, generate_uid(), 1, "x", "y", "1",
        "1", omit_empty_frames=False,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("target", [PLACED, OBLIQUE], ids=["axial", "oblique"])
def test_a_dicom_seg_is_laid_on_by_its_source_and_by_place(kind: str, target: Target, tmp_path: Path) -> None:
    pixels = np.zeros((3, ROWS, COLUMNS), np.uint8)
    pixels[1] = disc()
    sources = [source(target, f"{UID}.{n}", 3.0 * n) for n in range(3)]
    made = segmentation(sources, pixels, kind, [segment(1, "Nodule", codes.SCT.Nodule)])
    path = tmp_path / "seg.dcm"
    made.save_as(path)
    position = tuple(float(value) for value in sources[1].ImagePositionPatient)
    named = replace(target, sop_instance_uid=f"{UID}.1", position=position)
    assert (read_mask_file(path, named) == disc()).all()
    assert read_mask_file(path, replace(named, sop_instance_uid=f"{UID}.0", position=target.position)).sum() == 0
    assert (read_mask_file(path, replace(named, sop_instance_uid="9.9")) == disc()).all()  # by place alone
    assert (read_mask_file(path, replace(named, position=None)) == disc()).all()  # by its source alone
    assert "no such part" in refusal(path, named, "liver")
    assert (read_mask_file(path, named, "nodule") == disc()).all()


def of_frames(made: Dataset, uid: str) -> Dataset:
    """The same segmentation, each frame derived from a frame of one file: the source n from the frame n + 1."""
    for group in made.PerFrameFunctionalGroupsSequence:
        item = group.DerivationImageSequence[0].SourceImageSequence[0]
        item.ReferencedFrameNumber = int(item.ReferencedSOPInstanceUID.rsplit(".", 1)[1]) + 1
        item.ReferencedSOPInstanceUID = uid
    return made


def test_a_dicom_seg_of_a_multi_frame_file_goes_with_its_frame(tmp_path: Path) -> None:
    pixels = np.stack([disc() * 0, disc(), disc()[:, ::-1]])
    sources = [source(PLACED, f"{UID}.{n}", 3.0 * n) for n in range(3)]
    made = segmentation(sources, pixels, "BINARY", [segment(1, "Nodule", codes.SCT.Nodule)])
    places = [tuple(float(value) for value in one.ImagePositionPatient) for one in sources]
    frames = [replace(PLACED, frame=n + 1, position=place) for n, place in enumerate(places)]
    path = tmp_path / "seg.dcm"
    of_frames(made, UID).save_as(path)
    for frame, lesion in zip(frames, pixels, strict=True):
        assert (read_mask_file(path, frame) == lesion).all()
        assert (read_mask_file(path, replace(frame, position=None)) == lesion).all()
    # frames of one place, as of several echoes: only the one that is named has the lesion
    assert read_mask_file(path, replace(frames[1], frame=9)).sum() == 0
    for item in made.PerFrameFunctionalGroupsSequence:
        del item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
    made.save_as(path)
    for frame, lesion in zip(frames, pixels, strict=True):  # the file alone is named: by place
        assert (read_mask_file(path, frame) == lesion).all()
    assert "no image of the file named" in refusal(path, replace(frames[1], position=None))


def test_contours_of_a_multi_frame_file_go_with_their_frame(tmp_path: Path) -> None:
    path = tmp_path / "rs.dcm"
    rtstruct(path, {"GTV": [(UID, to_mm(circle(), PLACED))]})
    contour = pydicom.dcmread(path)
    assert read_mask_file(path, replace(PLACED, frame=4, position=(-40.0, -12.0, 60.0))).sum() == 0  # by place
    check(read_mask_file(path, replace(PLACED, frame=4)))
    contour.ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0].ReferencedFrameNumber = [2, 3]
    contour.save_as(path)
    check(read_mask_file(path, replace(PLACED, frame=3)))
    assert read_mask_file(path, replace(PLACED, frame=4)).sum() == 0


def test_what_cannot_say_which_frame_it_means_is_refused(tmp_path: Path) -> None:
    Image.fromarray(disc()).save(tmp_path / "mask.png")
    (tmp_path / "coco.json").write_text(json.dumps({"images": [], "annotations": []}))
    (tmp_path / "lidc.xml").write_text("<LidcReadMessage><readingSession/></LidcReadMessage>")
    for name in ("mask.png", "coco.json", "lidc.xml"):
        assert "which image of a multi-frame file" in refusal(tmp_path / name, replace(PLACED, frame=1))


def test_of_two_segments_one_must_be_named(tmp_path: Path) -> None:
    pixels = np.zeros((1, ROWS, COLUMNS, 2), np.uint8)
    pixels[0, :, :, 0], pixels[0, :, :, 1] = 1 - disc(), disc()
    made = segmentation(
        [source(PLACED, UID)], pixels, "BINARY",
        [segment(1, "Lung", codes.SCT.Lung), segment(2, "Nodule", codes.SCT.Nodule)],
    )  # fmt: skip
    made.save_as(tmp_path / "seg.dcm")
    assert "several parts" in refusal(tmp_path / "seg.dcm")
    assert (read_mask_file(tmp_path / "seg.dcm", PLACED, "Nodule") == disc()).all()
    assert (read_mask_file(tmp_path / "seg.dcm", PLACED, "1") == 1 - disc()).all()
    assert read_mask_file(tmp_path / "seg.dcm", PLACED, "all").all()
    source(PLACED, UID).save_as(tmp_path / "image.dcm", enforce_file_format=True)
    assert "another kind of DICOM" in refusal(tmp_path / "image.dcm")


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
@pytest.mark.parametrize("target", [PLACED, OBLIQUE], ids=["axial", "oblique"])
def test_segments_that_overlap_are_read_each_and_counted_once_together(
    kind: str, target: Target, tmp_path: Path
) -> None:
    shifted = np.roll(disc(), 6, axis=1)
    pixels = np.stack([disc(), shifted], axis=-1)[None]
    made = segmentation(
        [source(target, UID)], pixels, kind,
        [segment(1, "Nodule", codes.SCT.Nodule), segment(2, "Mass", codes.SCT.Mass)],
    )  # fmt: skip
    made.save_as(tmp_path / "seg.dcm")
    assert (read_mask_file(tmp_path / "seg.dcm", target, "nodule") == disc()).all()
    assert (read_mask_file(tmp_path / "seg.dcm", target, "2") == shifted).all()
    both = read_mask_file(tmp_path / "seg.dcm", target, "all")
    assert (both == disc() | shifted).all()
    # the lens that two circles share: 2 r^2 acos(d / 2r) - d/2 sqrt(4 r^2 - d^2)
    lens = 2 * RADIUS**2 * np.arccos(6 / (2 * RADIUS)) - 3 * np.sqrt(4 * RADIUS**2 - 36)
    assert both.sum() == pytest.approx(2 * np.pi * RADIUS**2 - lens, rel=0.03)


def rtstruct(
    path: Path, structures: dict[str, list[tuple[str, np.ndarray]]], kind: str = "CLOSED_PLANAR", frame: str = ""
) -> None:
    """Contours in mm with the image that each names, or none; their kind, and the frame of reference."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.Modality, data.StructureSetROISequence, data.ROIContourSequence = "RTSTRUCT", [], []
    for number, (name, contours) in enumerate(structures.items(), start=1):
        roi, of = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, of.ReferencedROINumber, of.ContourSequence = number, name, number, []
        for uid, points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [f"{value:.4f}" for value in points.ravel()]
            if uid:
                image = Dataset()
                image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", uid
                contour.ContourImageSequence = [image]
            of.ContourSequence.append(contour)
        if frame:
            roi.ReferencedFrameOfReferenceUID = frame
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(of)
    pydicom.dcmwrite(path, data, enforce_file_format=True)


@pytest.mark.parametrize("target", [PLACED, OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("uid", [UID, ""], ids=["by image", "by place"])
def test_contours_are_filled_in_pixels(target: Target, uid: str, tmp_path: Path) -> None:
    outline, inner = to_mm(circle(), target), to_mm(np.array(CENTRE) + (circle() - CENTRE) / 3, target)
    path = tmp_path / "rs.dcm"
    rtstruct(path, {"GTV": [(uid, outline)]})
    check(read_mask_file(path, target))
    corner, across, down = target.grid()
    away = tuple(corner + 3 * np.cross(across, down) / np.linalg.norm(np.cross(across, down)))
    assert read_mask_file(path, replace(target, sop_instance_uid="9.9", position=away)).sum() == 0
    rtstruct(path, {"GTV": [(uid, outline), (uid, inner)]})
    check(read_mask_file(path, target), np.pi * RADIUS**2 * (1 - 1 / 9), 0.05)  # a contour within another is a hole
    rtstruct(path, {"BODY": [(uid, outline)], "GTV": [(uid, inner)]})
    assert "several parts" in refusal(path, target)
    check(read_mask_file(path, target, "gtv"), np.pi * RADIUS**2 / 9, 0.1)
    assert "does not say where it lies" in refusal(path, replace(target, orientation=None), "gtv")


def ring(inner: float = RADIUS / 2, turned: float = 0.0, count: int = 360) -> np.ndarray:
    """A ring as one outline: the outer circle, a cut, the inner circle the other way round, and the cut back."""
    angle = turned + np.linspace(0, 2 * np.pi, count + 1)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([RADIUS * unit, inner * unit[::-1]]) + np.array(CENTRE)


@pytest.mark.parametrize("target", [PLACED, OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("turned", [0.0, np.pi / 2, 0.3, 2.1, 4.0])
def test_a_keyhole_is_a_ring_wherever_it_is_cut(target: Target, turned: float, tmp_path: Path) -> None:
    path, area = tmp_path / "rs.dcm", np.pi * RADIUS**2 * 3 / 4
    row, column = np.mgrid[:ROWS, :COLUMNS]
    away = np.hypot(row - CENTRE[1], column - CENTRE[0])
    sure = (np.abs(away - RADIUS) > 0.1) & (np.abs(away - RADIUS / 2) > 0.1)  # centres that lie on no outline
    truth = (away < RADIUS) & (away > RADIUS / 2)
    rtstruct(path, {"GTV": [(UID, to_mm(ring(turned=turned), target))]})
    cut = read_mask_file(path, target)
    check(cut, area, 0.06)
    assert (cut == truth)[sure].all(), "no line of pixels along the cut"
    circles = [(UID, to_mm(circle(), target)), (UID, to_mm((circle() + CENTRE) / 2, target))]
    for kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"):
        for order in (circles, circles[::-1]):
            rtstruct(path, {"GTV": order}, kind)
            assert (read_mask_file(path, target) == truth)[sure].all()


def test_an_edge_drawn_forth_and_back_takes_no_pixel() -> None:
    draw = np.random.default_rng(3)
    for _ in range(200):
        start, end = draw.integers(0, 20, (2, 2)) / draw.choice([1.0, 2.0, 3.0, 7.0])
        assert fill_polygon(np.array([start, end]), (24, 24)).sum() == 0


def test_several_lesions_and_holes_of_one_slice_add_up(tmp_path: Path) -> None:
    path = tmp_path / "rs.dcm"
    drawn = [square(2, 2, 9), square(4, 4, 3), square(8, 8, 2), square(20, 5, 6), square(21, 6, 2), square(40, 30, 4)]
    rtstruct(path, {"GTV": [(UID, one) for one in drawn]})
    assert read_mask_file(path, PLACED).sum() == 81 - 9 - 4 + 36 - 4 + 16
    # two structures: where the hole of one is the other, all of them are whole
    rtstruct(path, {"rim": [(UID, drawn[0]), (UID, drawn[1])], "core": [(UID, drawn[1])]})
    assert read_mask_file(path, PLACED, "rim").sum() == 72
    assert read_mask_file(path, PLACED, "all").sum() == 81


def square(left: float, top: float, side: float) -> np.ndarray:
    """Corners, column and row, of a square that holds the centres of side x side pixels, in mm."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * side + (left - 0.5, top - 0.5)
    return to_mm(corners, PLACED)


def test_contours_that_overlap_add_up_and_a_repeated_one_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "rs.dcm"
    rtstruct(path, {"GTV": [(UID, square(2, 2, 6)), (UID, square(2, 2, 6))]})
    assert read_mask_file(path, PLACED).sum() == 36
    rtstruct(path, {"GTV": [(UID, square(2, 2, 6)), (UID, square(5, 2, 6))]})
    assert read_mask_file(path, PLACED).sum() == 54
    nested = [(UID, square(4, 4, 2)), (UID, square(2, 2, 8)), (UID, square(3, 3, 5)), (UID, square(2, 2, 8))]
    rtstruct(path, {"GTV": nested})
    assert read_mask_file(path, PLACED).sum() == 64 - 25 + 4  # an island in a hole, in any order
    rtstruct(path, {"GTV": [(UID, square(2, 2, 6)), (UID, square(5, 2, 6))]}, "CLOSEDPLANAR_XOR")
    assert read_mask_file(path, PLACED).sum() == 36


def test_contours_of_another_frame_of_reference_are_refused_unless_they_name_the_image(tmp_path: Path) -> None:
    path, target = tmp_path / "rs.dcm", replace(PLACED, frame_of_reference_uid="1.2.3")
    rtstruct(path, {"GTV": [("", square(2, 2, 6))]}, frame="1.2.4")
    assert "another frame of reference" in refusal(path, target)
    assert read_mask_file(path, PLACED).sum() == 36  # the image does not say
    rtstruct(path, {"GTV": [("", square(2, 2, 6))]}, frame="1.2.3")
    assert read_mask_file(path, target).sum() == 36
    rtstruct(path, {"GTV": [(UID, square(2, 2, 6))]}, frame="1.2.4")
    assert read_mask_file(path, target).sum() == 36


# COCO and LIDC


def coco(path: Path, *annotations: dict[str, Any], **image: Any) -> None:
    entry = {"id": 5, "file_name": "i1.png", "width": COLUMNS, "height": ROWS} | image
    names = [{"id": 1, "name": "nodule"}, {"id": 2, "name": "mass"}]
    rows = [{"id": n, "image_id": 5, "category_id": 1} | item for n, item in enumerate(annotations)]
    path.write_text(json.dumps({"images": [entry], "annotations": rows, "categories": names}))


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask, column after column, zeros first."""
    flat = np.concatenate([[0], mask.T.ravel(), [2]])
    ends = np.flatnonzero(np.diff(flat[1:], prepend=0) != 0)
    return [int(length) for length in np.diff(np.concatenate([[0], ends]))]


def packed(counts: list[int]) -> str:
    """COCO's compressed form, as pycocotools writes it."""
    text = ""
    for place, count in enumerate(counts):
        value, more = count - (counts[place - 2] if place > 2 else 0), True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | (0x20 if more else 0)) + 48)
    return text


def test_coco_polygons_run_lengths_and_boxes(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    coco(path, {"segmentation": [(circle() + 0.5).ravel().tolist()]})
    check(read_mask_file(path, PLACED))
    counts = runs(disc())
    assert sum(counts) == ROWS * COLUMNS
    for form in (counts, packed(counts)):
        coco(path, {"segmentation": {"size": [ROWS, COLUMNS], "counts": form}})
        assert (read_mask_file(path, PLACED) == disc()).all()
    coco(path, {"bbox": [3, 4, 5, 6]}, {"bbox": [20, 20, 5, 5], "category_id": 1})
    assert read_mask_file(path, PLACED).sum() == 30 + 25
    assert read_mask_file(path, PLACED)[4:10, 3:8].all()
    coco(path, {"bbox": [3, 4, 5, 6]}, {"bbox": [20, 20, 5, 5], "category_id": 2})
    assert "several parts" in refusal(path)
    assert read_mask_file(path, PLACED, "mass").sum() == 25
    coco(path, {"bbox": [3, 4, 5, 6]}, width=99)
    assert "48 x 99" in refusal(path)
    coco(path, {"bbox": [3, 4, 5, 6]}, file_name="other.png")
    assert "does not know" in refusal(path)
    coco(path, {"segmentation": {"size": [ROWS, COLUMNS], "counts": [7, 1]}})
    assert "run lengths" in refusal(path)
    path.write_text("{")
    assert "not JSON" in refusal(path)
    path.write_text("[]")
    assert "not COCO" in refusal(path)


def lidc(path: Path, *readings: list[tuple[str, np.ndarray]]) -> None:
    """Readings: of each reader, whether an outline adds or cuts, and its pixels."""
    sessions = "".join(
        "<readingSession><unblindedReadNodule><noduleID>n</noduleID>"
        + "".join(
            f"<roi><imageZposition>1</imageZposition><imageSOP_UID>{UID}</imageSOP_UID><inclusion>{adds}</inclusion>"
            + "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in edge)
            + "</roi>"
            for adds, edge in reading
        )
        + "</unblindedReadNodule></readingSession>"
        for reading in readings
    )
    path.write_text(f'<?xml version="1.0"?><LidcReadMessage xmlns="http://www.nih.gov">{sessions}</LidcReadMessage>')


def edge_of(mask: np.ndarray) -> np.ndarray:
    """The first pixels outside a disc, in order around it, (n, 2): column and row."""
    grown = mask.copy()
    for axis in (0, 1):
        for step in (1, -1):
            grown |= np.roll(mask, step, axis)
    rows, columns = np.nonzero(grown & ~mask & 1)
    order = np.argsort(np.arctan2(rows - CENTRE[1], columns - CENTRE[0]))
    return np.stack([columns, rows], axis=1)[order]


def test_lidc_outlines_lie_outside_and_half_of_the_readers_decide(tmp_path: Path) -> None:
    path, edge = tmp_path / "069.xml", edge_of(disc())
    lidc(path, [("TRUE", edge)])
    assert (read_mask_file(path, PLACED) == disc()).all()
    shifted = edge + np.array([3, 0])
    lidc(path, [("TRUE", edge)], [("TRUE", edge)], [("TRUE", edge)], [("TRUE", shifted)])
    assert (read_mask_file(path, PLACED) == disc()).all()
    lidc(path, [("TRUE", edge)], [], [("TRUE", shifted)])  # one of two is half; who saw nothing here does not count
    assert (read_mask_file(path, PLACED) == (disc() | np.roll(disc(), 3, 1))).all()
    hole = np.array([[29, 16], [31, 16], [31, 18], [29, 18]])
    lidc(path, [("TRUE", edge), ("FALSE", hole)])
    assert 0 < disc().sum() - read_mask_file(path, PLACED).sum() <= 9
    assert read_mask_file(path, replace(PLACED, sop_instance_uid="9.9")).sum() == 0
    lidc(path, [("TRUE", edge + 60)])
    assert "leaves the image" in refusal(path)
    path.write_text("<html></html>")
    assert "not an LIDC reading" in refusal(path)
    path.write_text("<a>")
    assert "not XML" in refusal(path)


def test_masks_are_read_in_confined_processes(tmp_path: Path) -> None:
    Image.fromarray(disc()).save(tmp_path / "good.png")
    (tmp_path / "bomb.nii.gz").write_bytes(b"\x1f\x8b" + b"\0" * 50)
    jobs = [(tmp_path / name, PLACED, None) for name in ("good.png", "bomb.nii.gz", "gone.png", "good.png")]
    with DecodePool(1) as pool:
        first, second, third, fourth = pool.read_masks(jobs)
    assert not isinstance(first, DicomError)
    assert not isinstance(fourth, DicomError)
    assert (first.values == disc()).all()
    assert (fourth.values == disc()).all()
    assert isinstance(second, DicomError)
    assert isinstance(third, DicomError)
