"""What tests of several rooms make and do: small DICOM files, and work as an ordinary user."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

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


def write_labels(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes labels.csv with the columns of its rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)
