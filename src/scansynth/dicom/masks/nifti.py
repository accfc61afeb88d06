"""A lesion mask as a NIfTI volume, laid on an image by where both lie in the patient."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from scansynth.dicom.masks.target import Mask, Target, choose, sample
from scansynth.dicom.nifti import Volume, read_volume
from scansynth.errors import DicomError

_LABELS = 64  # more different values than this are no labels


def read_nifti_mask(path: Path, target: Target, part: str | None) -> Mask:
    """The voxels of a mask that are nearest to the image's pixels.

    Whole numbers above 0 are lesion; of fractions, such as probabilities, 0.5 and more.

    Raises:
        DicomError: The volume or the image does not say where it lies, they lie apart, or several labels occur and
            none is named.
    """
    volume = read_volume(path)
    if not volume.placed:
        raise DicomError("the volume does not say where it lies", "write it with a qform or sform")
    taken = sample(volume.raw, np.asarray(np.linalg.inv(volume.to_patient), np.float64), target)
    values = taken * volume.slope + volume.intercept
    labels = _labels(path, path.stat().st_mtime_ns)
    if not labels:
        return (values >= 0.5).astype(np.uint8)
    chosen = choose({label: str(label) for label in labels}, part)
    return np.isin(np.rint(values), sorted(chosen)).astype(np.uint8)


@lru_cache(maxsize=8)
def _labels(path: Path, _changed: int) -> tuple[int, ...]:
    """Whole numbers other than 0 that occur in a volume; none at all where there are fractions."""
    volume: Volume = read_volume(path)
    values = np.unique(volume.raw) * volume.slope + volume.intercept
    whole = np.rint(values)
    if len(values) > _LABELS or np.abs(values - whole).max() > 1e-3:
        return ()
    return tuple(int(value) for value in whole if value > 0) or (1,)
