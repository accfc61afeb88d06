"""Windows: lesions with what surrounds them, squares of one side cut out of images of any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scansynth.data.imageset import ImageSet
from scansynth.data.tensors import Cohort, in_pixels
from scansynth.errors import CohortError

REACH = 3
"""Pixels around a lesion that are made anew with it: what lies beside it may still be half lesion."""

Box = tuple[slice, slice]
Masks = NDArray[np.uint8]


def window_of(mask: Masks, side: int) -> Box | None:
    """Rows and columns of the window about all that a mask marks, moved so that it lies within the image.

    None where the lesion with its `REACH` leaves the image, or leaves no pixel of the window as it was.

    Args:
        mask: (rows, columns), above 0 inside, somewhere.
        side: Of the window.
    """
    found = list[slice]()
    for places, length in zip(np.nonzero(mask), mask.shape, strict=True):
        first, last = int(places.min()) - REACH, int(places.max()) + 1 + REACH
        if first < 0 or last > length or last - first > side - 2 or side > length:
            return None
        start = min(max((first + last - side) // 2, 0), length - side)
        found.append(slice(start, start + side))
    return found[0], found[1]


def lesion_of(mask: Masks, side: int) -> Masks | None:
    """The largest lesion of a mask that has a window, with those so near that they are made with it; none without."""
    parts, count = ndimage.label(ndimage.binary_dilation(mask > 0, iterations=REACH))
    lesions = [np.asarray((parts == number) & (mask > 0), np.uint8) for number in range(1, count + 1)]
    fitting = [lesion for lesion in lesions if window_of(lesion, side) is not None]
    return max(fitting, key=lambda lesion: int(lesion.sum()), default=None)


def windows_of(images: ImageSet, side: int) -> tuple[ImageSet, NDArray[np.bool_]]:
    """The same set with a window about a lesion in the place of each image, and which images have one.

    The others are black, so that every image keeps its number.

    Args:
        images: A set of a cohort, or one of lesions that were put into scans.
        side: Of the windows.

    Raises:
        CohortError: The set has no masks, its images are too small, or none has a lesion that fits.
    """
    if images.masks is None:
        raise CohortError(
            "windows about lesions need lesion masks, and there are none: give masks or boxes in labels.csv and ingest "
            "again, or set another generator.recipe"
        )
    if side > min(images.facts.shape):
        raise CohortError(
            f"the window about a lesion has {side} pixels a side, and the images have {in_pixels(images.facts.shape)}: "
            "set a larger cohort.size and ingest again"
        )
    whole = (len(images), len(images.facts.channels), side, side)
    cut, masks, there = np.zeros(whole, np.uint16), np.zeros((len(images), side, side), np.uint8), list[bool]()
    for place, mask in enumerate(images.masks):
        lesion = lesion_of(mask, side)
        box = None if lesion is None else window_of(lesion, side)
        there.append(box is not None)
        if lesion is not None and box is not None:
            cut[place], masks[place] = images.images[place][:, *box], lesion[box]
    if not any(there):
        raise CohortError(
            f"no lesion fits into a window of {side} pixels with what surrounds it: set a larger "
            "generator.overrides.network.window in study.toml"
        )
    facts = replace(images.facts, shape=(side, side), files={})
    return ImageSet(images.folder, facts, images.rows, cut, masks), np.array(there)


def windowed(cohort: Cohort, side: int) -> Cohort:
    """The cohort of windows: cases with the positive label and a lesion that fits, each with its old number.

    Raises:
        CohortError: See `windows_of`; or the cohort knows no positive label.
    """
    positive = cohort.facts.positive
    if positive is None:
        raise CohortError(
            "windows about lesions need the label that means a lesion: set cohort.positive in study.toml and ingest "
            "again, or set another generator.recipe"
        )
    images, there = windows_of(cohort.images, side)
    cases = tuple(case for case in cohort.cases if case.label == positive and there[case.index])
    return Cohort(images, replace(cohort.facts, shape=(side, side)), cases)
