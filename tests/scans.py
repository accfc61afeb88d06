"""What tests of several folders share: small DICOM files, and work as an ordinary user."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

_CLASSES = {"MR": MRImageStorage, "CT": CTImageStorage}
_NOBODY = 65534


@contextlib.contextmanager
def as_ordinary_user(folder: Path) -> Iterator[None]:
    """The superuser may write everywhere: in the block, files are reached as an ordinary user who owns `folder`."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    os.seteuid(_NOBODY)
    try:
        assert not os.access(folder, os.W_OK, effective_ids=True)
        yield
    finally:
        os.seteuid(0)


def save_dicom(path: Path, pixels: np.ndarray, modality: str = "MR", **attributes: Any) -> Dataset:
    """Writes one image as an archive would: 12 of 16 bits, signed for CT with the intercept -1024.

    Args:
        path: The file; folders are made.
        pixels: Stored values, integers (rows, columns).
        modality: MR or CT, or any other Modality with the class of MR.
        attributes: DICOM keywords set otherwise; none removes the attribute.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = _CLASSES.get(modality, MRImageStorage)
    name = path.name + str(path.parent)
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[name])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[name, "study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[name, "series"])
    dataset.Modality, dataset.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID, dataset.PatientName = "PID-1", "Person^Planted"
    dataset.PatientSex, dataset.PatientAge, dataset.Manufacturer = "F", "051Y", "SIEMENS"
    dataset.PixelSpacing = [1.5, 1.5]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = int(modality == "CT")
    if modality == "CT":
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = pixels.astype("<i2" if modality == "CT" else "<u2").tobytes()
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return dataset


def _group(**macros: dict[str, Any]) -> Dataset:
    """One item of functional groups: macro by its keyword, each with its attributes."""
    made = Dataset()
    for macro, attributes in macros.items():
        item = Dataset()
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        setattr(made, macro, [item])
    return made


def save_enhanced(path: Path, images: np.ndarray, modality: str = "CT", **attributes: Any) -> Dataset:
    """Writes one enhanced multi-frame file.

    Args:
        path: The file.
        images: Stored values (n, rows, columns); frame k has the intercept -1024 - k, and says of every other one that
            it is mirrored.
        modality: MR or CT.
        attributes: DICOM keywords set otherwise; none removes the attribute.
    """
    frames = [
        _group(
            PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": -1024 - k, "RescaleType": "HU"},
            PlanePositionSequence={"ImagePositionPatient": [0, 0, k]},
            PlaneOrientationSequence={"ImageOrientationPatient": [(1, -1)[k % 2], 0, 0, 0, 1, 0]},
            **{f"{modality}ImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "AXIAL", "NONE"]}},
        )
        for k in range(len(images))
    ]
    given = {
        "SOPClassUID": EnhancedCTImageStorage if modality == "CT" else EnhancedMRImageStorage,
        "NumberOfFrames": len(images), "PixelSpacing": None, "Rows": images.shape[1], "Columns": images.shape[2],
        "SharedFunctionalGroupsSequence": [_group(PixelMeasuresSequence={"PixelSpacing": [0.5, 0.7]})],
        "PerFrameFunctionalGroupsSequence": frames,
    }  # fmt: skip
    if modality == "CT":
        given |= {"RescaleSlope": None, "RescaleIntercept": None}
    return save_dicom(path, images.reshape(-1, images.shape[2]), modality, **{**given, **attributes})


def compress(path: Path, images: np.ndarray, syntax: str) -> None:
    """Puts frames (n, rows, columns) of 12 bits into a file again, one fragment each: RLE, JPEG-LS or JPEG 2000."""
    encoders: dict[str, Any] = {
        RLELossless: lambda image: RLELosslessEncoder.encode(
            image.tobytes(), rows=image.shape[0], columns=image.shape[1], samples_per_pixel=1, number_of_frames=1,
            bits_allocated=16, bits_stored=16, pixel_representation=0, photometric_interpretation="MONOCHROME2",
            encoding_plugin="pydicom",
        ),
        JPEGLSLossless: imagecodecs.jpegls_encode,
        JPEG2000Lossless: lambda image: imagecodecs.jpeg2k_encode(
            image, codecformat="j2k", bitspersample=12, reversible=True
        ),
    }  # fmt: skip
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([bytes(encoders[syntax](image.astype("<u2"))) for image in images])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.save_as(path, enforce_file_format=True)


def write_labels(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes labels.csv with the columns of its rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)


def write_tiny_scans(
    folder: Path,
    patients: int = 12,
    images: int = 2,
    modality: str = "MR",
    shape: tuple[int, int] = (32, 32),
    labels: Callable[[int], str] = lambda number: ("nodule", "clear")[number % 2],
    first: int = 0,
    columns: Callable[[int], dict[str, Any]] = lambda number: {},
) -> Path:
    """Writes a folder of small DICOM images with a labels.csv in it.

    Patient n has the Patient ID `PID-n`, the images of a patient are one series, and the files are `p<n>/i<k>`.

    Args:
        folder: Made where it is not there.
        patients: Their number.
        images: Of each patient.
        modality: DICOM Modality.
        shape: Rows and columns.
        labels: Patient number to label; even ones are `nodule`, odd ones `clear`.
        first: Number of the first patient.
        columns: Patient number to further cells of labels.csv.
    """
    rows = []
    for number in range(first, first + patients):
        draw = np.random.default_rng(number)
        for image in range(images):
            relative = f"p{number}/i{image}"
            pixels = draw.integers(0, 2000 + 100 * number, shape)
            uid = generate_uid(entropy_srcs=["tiny series", str(number)])
            instance = generate_uid(entropy_srcs=["tiny image", str(number), str(image)])
            save_dicom(
                folder / relative,
                pixels,
                modality,
                PatientID=f"PID-{number}",
                SeriesInstanceUID=uid,
                SOPInstanceUID=instance,
                PatientSex="FM"[number % 2],
            )
            rows.append({"path": relative, "label": labels(number), **columns(number)})
    write_labels(folder / "labels.csv", rows)
    return folder
