"""NIfTI volumes: voxels, and where they lie in the patient. Call it through `scansynth.dicom.sandbox`."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from scansynth.dicom.read import Limits
from scansynth.errors import DicomError

_GZIP = b"\x1f\x8b"
_KINDS: Mapping[int, Any] = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}  # sizeof_hdr of NIfTI-1 and -2
_HEADER = 544  # bytes that hold either header
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI's x runs to the right and y to the front, DICOM's to the left and to the back."""

_TO_MM = dict.fromkeys(range(8), 1.0) | {1: 1000.0, 3: 0.001}
"""NIfTI-1 xyzt_units: metres and micrometres; others are millimetres, or do not say and are taken for them."""

_DIMENSIONS = 3


@dataclass(frozen=True)
class Volume:
    """A volume as stored.

    Attributes:
        raw: (i, j, k), before slope and intercept.
        slope: Units per stored unit.
        intercept: Units.
        to_patient: (4, 4), from voxel indices to mm of the patient as DICOM counts them (PS3.3 C.7.6.2.1.1).
        placed: The file says where it lies (qform or sform); else only the spacing is known.
    """

    raw: npt.NDArray[Any]
    slope: float
    intercept: float
    to_patient: npt.NDArray[np.float64]
    placed: bool


def is_nifti(start: bytes) -> bool:
    """Whether a file of these first bytes, 544 of them, is NIfTI, compressed or not."""
    return start.startswith(_GZIP) or _kind(start) is not None


def _kind(start: bytes) -> Any:
    """Nibabel's class for NIfTI-1 or -2 by the first field, in either byte order; none for anything else."""
    sizes = (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big"))
    return next((_KINDS[size] for size in sizes if size in _KINDS), None)


def read_volume(path: Path) -> Volume:
    """The volume in a file; the last one read is kept, because its slices are asked for one after the other.

    Raises:
        DicomError: The file is no volume of grey values within `read.Limits`.
    """
    found = path.stat()
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int, size: int) -> Volume:
    most = Limits().max_file_bytes
    if size > most:
        raise DicomError("too large", f"the file has {size} bytes, the limit is {most}")
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            start = stream.read(_HEADER)
            kind = _kind(start)
            if kind is None:
                raise DicomError("not NIfTI", "the file is not what its name says")
            header = kind.header_class.from_fileobj(io.BytesIO(start), check=True)
            shape, depth = header.get_data_shape(), header.get_data_dtype()
            if int(np.prod(shape, dtype=np.int64)) * depth.itemsize > most:
                raise DicomError("too large", f"the volume takes more than {most} bytes")
            if depth.kind not in "iuf":
                raise DicomError("colour image", "only grey volumes are read")
            stream.seek(0)
            image = kind.from_stream(stream)
            raw = np.asarray(image.dataobj.get_unscaled())
    except DicomError:
        raise
    except EOFError:
        raise DicomError("truncated", "the volume ends early") from None
    except MemoryError:
        raise
    except Exception as fault:  # its words may quote the file
        raise DicomError("bad header", type(fault).__name__) from None
    while raw.ndim > _DIMENSIONS and raw.shape[-1] == 1:
        raw = raw[..., 0]
    if raw.ndim > _DIMENSIONS or raw.ndim < 2 or not raw.size:
        raise DicomError("several volumes", "save each volume as a file of its own")
    if raw.ndim == 2:
        raw = raw[..., None]
    affine = np.asarray(image.affine, np.float64)
    affine[:3] *= _TO_MM[int(image.header["xyzt_units"]) & 7]
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DicomError("bad header", "the affine has no inverse")
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    placed = int(image.header["qform_code"]) > 0 or int(image.header["sform_code"]) > 0
    return Volume(raw, float(slope), float(intercept), _TO_LPS @ affine, placed)
