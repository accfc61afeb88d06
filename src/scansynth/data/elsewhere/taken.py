"""A folder that is an image set already, brought to a cohort's size and scale: its labels and masks come along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scansynth.data.imageset import FACTS, TABLE, Images, ImageSet, Kind, Masks, open_set
from scansynth.data.sets import LABEL_SEPARATOR
from scansynth.data.tensors import CohortFacts, in_pixels, to_signed, to_stored
from scansynth.data.transforms import from_window, resize, resize_mask, to_window
from scansynth.errors import CohortError


@dataclass(frozen=True)
class Taken:
    """Images of an image set on the scale of a cohort.

    Attributes:
        images: uint16 (n, rows, columns).
        masks: uint8 (n, rows, columns), 0 or 1; none where the set has none.
        labels: Of each image; none where one of them is no label of the cohort.
        ids: Name of each image within its set.
        files: SHA-256 of the file that each image came from; empty where the set does not say.
        digests: SHA-256 of the set's own files, by name.
        notes: What the user should know of the change of scale and size, a sentence each.
    """

    images: Images
    masks: Masks | None
    labels: tuple[str, ...] | None
    ids: tuple[str, ...]
    files: tuple[str, ...]
    digests: Mapping[str, str]
    notes: tuple[str, ...]


def is_image_set(folder: Path) -> bool:
    """Whether a folder is an image set, so that nothing in it needs decoding."""
    return (folder / FACTS).is_file()


def take_set(folder: Path, facts: CohortFacts) -> Taken:
    """The image set in a folder, as images of a cohort's size and scale.

    CT goes from its own window of Hounsfield units to that of the cohort; other modalities have no units, and their
    scale is taken as it is.

    Raises:
        CohortError: The set is damaged or empty, real, of another modality, or has several channels.
    """
    found = open_set(folder)
    if found.facts.kind is Kind.COHORT:
        raise CohortError("DIR is a cohort of real images; give a folder of synthetic ones")
    if not len(found):
        raise CohortError("DIR is an image set without images; give another folder")
    if found.facts.modality != facts.modality:
        raise CohortError(
            f"DIR is an image set of {found.facts.modality}, and the cohort is of {facts.modality}; give images of "
            f"{facts.modality}"
        )
    if len(found.facts.channels) > 1:
        raise CohortError(f"DIR is an image set of {len(found.facts.channels)} channels; a set that is added has one")
    try:
        images = _images(found, facts)
    except ValueError as fault:
        raise CohortError(
            f"{TABLE} of DIR lacks low and high of an image; add the set as DICOM or PNG files"
        ) from fault
    masks, same = found.masks, found.facts.shape == tuple(facts.shape)
    return Taken(
        images=images,
        masks=None if masks is None else np.stack([resize_mask(np.array(mask), facts.shape) for mask in masks]),
        labels=found.labels if all(_known(label, facts) for label in found.labels) else None,
        ids=found.ids,
        files=tuple(row.get("source_sha256", "") for row in found.rows),
        digests=found.facts.files,
        notes=() if same else (f"images of {in_pixels(found.facts.shape)} were brought to {in_pixels(facts.shape)}",),
    )


def _images(found: ImageSet, facts: CohortFacts) -> Images:
    """The images; one that has the cohort's size and scale already keeps its very values."""
    images = np.empty((len(found), *facts.shape), np.uint16)
    for place, (row, image) in enumerate(zip(found.rows, found.planes, strict=True)):
        low, high = float(row["low"]), float(row["high"])
        moved = found.facts.modality == "CT" and (low, high) != (facts.low, facts.high)
        if not moved and found.facts.shape == tuple(facts.shape):
            images[place] = image
            continue
        signed = to_signed(image)
        if moved:
            signed = to_window(from_window(signed, low, high), facts.low, facts.high)
        images[place] = to_stored(resize(signed, facts.shape))
    return images


def _known(label: str, facts: CohortFacts) -> bool:
    """Whether the cohort has a label, or all labels of an image whose generator did not distinguish them."""
    return not facts.unlabelled and set(label.split(LABEL_SEPARATOR)) <= set(facts.labels)
