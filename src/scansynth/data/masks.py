"""Lesion masks as labels.csv gives them: a PNG, or a box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from scansynth.data.labels import LabelRow
from scansynth.errors import CohortError


def read_mask(row: LabelRow, folders: Sequence[Path], shape: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """The lesion's pixels in the source image.

    Args:
        row: A row of labels.csv.
        folders: Where a mask may lie, in order: the DICOM folder, then the folder of labels.csv.
        shape: (rows, columns) of the source image.

    Returns:
        (rows, columns) uint8, 0 or 1; none when the row gives no mask.

    Raises:
        CohortError: The mask is missing, is no PNG, or does not fit the image.
    """
    if row.box is not None:
        return _from_box(row, row.box, shape)
    if row.mask is None:
        return None
    where = f"labels.csv row {row.row}"
    path = next((folder / row.mask for folder in folders if (folder / row.mask).is_file()), None)
    if path is None:
        raise CohortError(f"{where}: there is no such mask in the DICOM folder; correct the path, or empty the cell")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            # The size comes from the PNG's header, so a bomb is refused before it is inflated.
            if image.size != (shape[1], shape[0]):
                raise CohortError(
                    f"{where}: the mask has {image.size[1]} x {image.size[0]} pixels and the image {shape[0]} x "
                    f"{shape[1]}; make the mask on the source image's grid"
                )
            pixels = np.asarray(image.convert("RGBA") if image.mode == "P" else image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise CohortError(f"{where}: the mask is not a readable PNG; save it as PNG, or empty the cell") from None
    if pixels.ndim == 3:  # colour: any channel but transparency
        colours = pixels[..., : pixels.shape[2] - (pixels.shape[2] in {2, 4})]
        pixels = colours.max(axis=2)
    return (pixels > 0).astype(np.uint8)


def _from_box(row: LabelRow, box: tuple[float, float, float, float], shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Every pixel that the box touches."""
    x, y, width, height = box
    if x + width > shape[1] or y + height > shape[0]:
        raise CohortError(
            f"labels.csv row {row.row}: the box leaves the image of {shape[1]} x {shape[0]} pixels; "
            "give x, y, width and height in pixels of the source image"
        )
    mask = np.zeros(shape, np.uint8)
    mask[math.floor(y) : math.ceil(y + height), math.floor(x) : math.ceil(x + width)] = 1
    return mask
