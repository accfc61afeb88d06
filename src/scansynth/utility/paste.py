"""Copy-paste: real lesions of train patients, blended into clear scans of train patients. No generator takes part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from scansynth.data.placements import moved_mask, place_lesions
from scansynth.data.placing import Cutout
from scansynth.data.tensors import Cohort, Selection

Images = NDArray[np.uint16]

ARM = "the arm copy-paste"
"""Who asks for lesions, in messages."""


@dataclass(frozen=True)
class Pasted:
    """Clear scans that show a lesion now.

    Attributes:
        images: uint16 (n, channels, rows, columns).
        masks: uint8 (n, rows, columns), 0 or 1: the lesion.
        notes: What should be known of them, a sentence each.
    """

    images: Images
    masks: NDArray[np.uint8]
    notes: tuple[str, ...]


def paste_lesions(cohort: Cohort, train: Selection, count: int, seed: int) -> Pasted:
    """Lesions of the train images, each blended into one of the others that have none; see `place_lesions`.

    Args:
        cohort: The cohort.
        train: Train images of the subset.
        count: Images wanted.
        seed: Of the draws.

    Raises:
        CohortError: Lesions cannot be cut out, or none fits anywhere.
    """
    placed = place_lesions(cohort, train, count, seed, ARM)
    found, shape = placed.found, cohort.facts.shape
    made = [blend(train.images[one.scan], one.lesion, one.corner) for one in found]
    marked = [moved_mask(one.lesion, one.corner, shape) for one in found]
    used = {one.source for one in found}
    return Pasted(np.stack(made), np.stack(marked), _notes(train, len(made), count, used, anywhere=placed.anywhere))


def _notes(train: Selection, made: int, count: int, used: set[int], *, anywhere: bool) -> tuple[str, ...]:
    patients = len({train.patients[place] for place in used})
    notes = [f"{made} clear scans got lesions of {len(used)} images of {patients} patients"]
    if made < count:
        notes.append(f"{count - made} images are missing: lesions did not fit into clear scans")
    if anywhere:
        notes.append("the body could not be told from its surroundings, so lesions may lie anywhere in a scan")
    return tuple(notes)


def blend(image: Images, lesion: Cutout, corner: tuple[int, int]) -> Images:
    """An image with a lesion in it; outside the lesion's region not a grey value changes.

    Within the region the differences between neighbours are the lesion's, and at its edge the values are the image's:
    Perez et al., Poisson image editing, SIGGRAPH 2003, equations 2 and 7. So the lesion keeps its texture and its
    contrast to what surrounds it, and no seam is left.

    Args:
        image: uint16 (channels, rows, columns).
        lesion: What is put into it.
        corner: Row and column of its first pixel.
    """
    blended = image.copy()
    for channel, own in enumerate(lesion.image):
        target = blended[channel][lesion.box(corner)]  # a view
        apart = target.astype(np.float64) - own
        lifted = own[lesion.region] + _membrane(apart, lesion.region)
        target[lesion.region] = np.clip(np.rint(lifted), 0.0, 65535.0).astype(np.uint16)
    return blended


def _membrane(values: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What lies smoothest over a region with given values around it, (pixels of the region,).

    The discrete Laplace equation: each pixel is the mean of its four neighbours.

    Args:
        values: (h, w), read outside the region.
        region: (h, w), none of the outermost pixels.
    """
    rows, columns = np.nonzero(region)
    count = len(rows)
    number = np.full(region.shape, -1)
    number[rows, columns] = np.arange(count)
    at, beside, known = [np.arange(count)], [np.arange(count)], np.zeros(count)
    for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        neighbour = number[rows + down, columns + across]
        inner = neighbour >= 0
        at.append(np.flatnonzero(inner))
        beside.append(neighbour[inner])
        known[~inner] += values[rows + down, columns + across][~inner]
    weights = np.concatenate([np.full(count, 4.0), *(np.full(len(part), -1.0) for part in at[1:])])
    laplace = coo_matrix((weights, (np.concatenate(at), np.concatenate(beside))), (count, count))
    found: NDArray[np.float64] = np.atleast_1d(spsolve(laplace.tocsc(), known))
    return found
