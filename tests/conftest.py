"""Fixtures that every room shares: the real scans, where they are there, and tiny DICOM files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Two workers share two cores; set before torch is imported, and inherited by the children that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import hypothesis
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from scans import save_dicom, write_labels

pytest_plugins = ["given"]

# The examples are drawn by the test's name too; none is given up because the machine was busy.
hypothesis.settings.register_profile("given", derandomize=True, deadline=None)
hypothesis.settings.load_profile("given")

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real DICOM, beside the repository; read only."""
    if not _SHARED.is_dir():
        pytest.skip("the real DICOM of ../shared/data is not on this machine")
    return _SHARED


@pytest.fixture
def open_path() -> Iterator[Path]:
    """An empty folder that any user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


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
