"""Fixtures that every room shares: the real scans, where they are there, and tiny DICOM files."""

from __future__ import annotations

import contextlib
import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Two workers share two cores; set before torch is imported, and inherited by the children that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_CLASSES = {"MR": MRImageStorage, "CT": CTImageStorage}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real DICOM, beside the repository; read only."""
    if not _SHARED.is_dir():
        pytest.skip("the real DICOM of ../shared/data is not on this machine")
    return _SHARED


_NOBODY = 65534


@pytest.fixture
def open_path() -> Iterator[Path]:
    """An empty folder that any user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


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


@pytest.fixture
def write_dicom() -> Callable[..., Dataset]:
    """Writes one small DICOM image; see `save_dicom`."""
    return save_dicom


@pytest.fixture
def tiny_dicom_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes folders of small DICOM images with a labels.csv in them.

    The factory takes `name`, `patients`, `images` (of each patient), `modality`, `shape`, `labels` (patient
    number to label; even ones `nodule`, odd ones `clear` by default), `first` (number of the first patient)
    and `columns` (patient number to more cells). Patient n has the Patient ID `PID-n`, the images of a
    patient are one series, and the files are `p<n>/i<k>`.
    """

    def make(
        name: str = "scans",
        patients: int = 12,
        images: int = 2,
        modality: str = "MR",
        shape: tuple[int, int] = (32, 32),
        labels: Callable[[int], str] = lambda number: ("nodule", "clear")[number % 2],
        first: int = 0,
        columns: Callable[[int], dict[str, Any]] = lambda number: {},
    ) -> Path:
        folder = tmp_path / name
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

    return make


def write_labels(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes labels.csv with the columns of its rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)
