"""A lesion mask as a picture: PNG or TIFF on the source image's grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scansynth.dicom.masks.target import Mask, Target, check_size, need_single
from scansynth.dicom.raster import layers, read_raster_header
from scansynth.dicom.read import Limits
from scansynth.errors import DicomError

_FLAT = 8  # values of labels, colours or a few lesions


def read_raster_mask(path: Path, target: Target, part: str | None) -> Mask:
    """The lesion of a picture: see `lesion_of`.

    Raises:
        DicomError: It is JPEG, of another size, or cannot be decoded.
    """
    need_single(target, "a picture")
    header = read_raster_header(path, Limits())
    if header.kind == "JPEG":
        raise DicomError("JPEG", "its compression blurs the lesion's edge; save the mask as PNG")
    check_size((header.rows, header.columns), target)
    if part is not None:
        raise DicomError("no such part", "a picture has no parts; empty the cell mask_part")
    return lesion_of(*layers(path.read_bytes(), header))


def lesion_of(colours: npt.NDArray[Any], alpha: npt.NDArray[Any] | None) -> Mask:
    """The pixels of a lesion: anything brighter than black, or, of a mask with soft edges or of probabilities, half.

    A grey mask has soft edges where more than `_FLAT` values occur and the highest is about the brightest there can be:
    labels are fewer, and counted lesions do not reach it. A transparent pixel shows nothing, whatever it hides.

    Where some pixels are transparent and all others are black, the lesion is drawn in black.

    Args:
        colours: (rows, columns, 1 or 3).
        alpha: (rows, columns), or none.
    """
    bright = colours.max(axis=2)
    full = np.iinfo(colours.dtype).max if colours.dtype.kind == "u" else 1
    grey = (colours == bright[..., None]).all()
    soft = grey and bright.max() > 0.9 * full and len(np.unique(bright)) > _FLAT
    shown = bright.astype(np.float64) * 2 >= full if soft else bright > 0
    if alpha is not None:
        # half of the most opaque: a lesion may be drawn half transparent, and its soft edge counts by half
        opaque = (alpha > 0) & (alpha.astype(np.float64) * 2 >= alpha.max())
        shown = opaque & shown if (opaque & shown).any() or opaque.all() else opaque
    return np.asarray(shown, np.uint8)
