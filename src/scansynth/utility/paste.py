"""Copy-paste: real lesions of train patients, blended into clear scans of train patients. No generator takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from scansynth.data.placing import Cutout, Place, allowed_for, bodies_hold, cut_out, places_for
from scansynth.data.tensors import Case, Cohort, Selection
from scansynth.errors import CohortError
from scansynth.seeds import generator
from scansynth.utility.detector.material import Deck

Images = NDArray[np.uint16]

_SCANS = 4  # clear scans among which a place for a lesion is looked for
_TURNS = 4  # lesions for each image wanted, of which all but one may find no place
_NEAR = 0.1  # of a patch's side: a lesion's place in a patch is given by how patches were cut


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


def check_lesions(cohort: Cohort, cases: Sequence[Case]) -> None:
    """Passes when lesions of these cases can be cut out, as far as masks tell.

    Args:
        cohort: The cohort.
        cases: Train cases of a subset.

    Raises:
        CohortError: None of those with a lesion has a mask, or no other is free of one.
    """
    masks = cohort.masks(cases)
    shown = np.array([case.label == cohort.facts.positive for case in cases], np.bool_)
    marked = None if masks is None else masks.any(axis=(1, 2))
    if marked is None or not (marked & shown).any():
        raise CohortError(
            "the arm copy-paste cuts lesions out by their masks, and no train image with a lesion has one; give masks "
            "or boxes in labels.csv and ingest again, or leave the arm out"
        )
    if not (~marked & ~shown).any():
        raise CohortError("the arm copy-paste needs train images without a lesion; add cases, or leave the arm out")


def paste_lesions(cohort: Cohort, train: Selection, count: int, seed: int) -> Pasted:
    """Lesions of the train images, each blended into one of the others that have none.

    Lesions and clear scans are dealt in passes, four scans for each lesion. It lies within the body of the one that has
    the likest surroundings.

    Args:
        cohort: The cohort.
        train: Train images of the subset.
        count: Images wanted.
        seed: Of the draws.

    Raises:
        CohortError: See `check_lesions`; or no lesion fits anywhere.
    """
    check_lesions(cohort, train.cases)
    masks = cohort.masks(train.cases)
    assert masks is not None  # checked above
    shown = np.array([case.label == cohort.facts.positive for case in train.cases], np.bool_)
    sources = np.flatnonzero(shown & masks.any(axis=(1, 2)))
    clear = np.flatnonzero(~shown & ~masks.any(axis=(1, 2)))
    lesions = cut_out(train.images[sources], masks[sources])
    patch = cohort.facts.view == "patch"
    within, near = not patch and bodies_hold(lesions), _NEAR * max(cohort.facts.shape) if patch else None
    made, marked, used = list[Images](), list[NDArray[np.uint8]](), set[int]()
    decks = [Deck(np.arange(many), seed, name) for many, name in ((len(lesions), "lesions"), (len(clear), "scans"))]
    for number in range(_TURNS * count if lesions else 0):
        if len(made) == count:
            break
        lesion = lesions[int(decks[0].deal(1)[0])]
        scans, rng = clear[decks[1].deal(_SCANS)], generator(seed, "place", number)
        chosen = _likest(lesion, train.images[scans], within, near, rng)
        if chosen is not None:
            made.append(blend(train.images[scans[chosen[0]]], lesion, chosen[1].corner))
            marked.append(moved_mask(lesion, chosen[1].corner, cohort.facts.shape))
            used.add(int(sources[lesion.source]))
    if not made:
        raise CohortError(
            "the arm copy-paste found no lesion of the train images that fits into a clear one with its surroundings; "
            "leave the arm out"
        )
    return Pasted(
        np.stack(made), np.stack(marked), _notes(train, len(made), count, used, anywhere=not (within or patch))
    )


def _likest(
    lesion: Cutout, scans: Images, within: bool, near: float | None, rng: np.random.Generator
) -> tuple[int, Place] | None:
    """A place for a lesion in that of some scans where its surroundings are likest, with the scan's number."""
    found: tuple[int, Place] | None = None
    for number, image in enumerate(scans):
        allowed = allowed_for(lesion, image) if within else np.ones(image.shape[1:], np.bool_)
        places = places_for(lesion, image, allowed, near)
        if places:
            place = places[int(rng.integers(len(places)))]
            if found is None or place.apart < found[1].apart:
                found = number, place
    return found


def _notes(train: Selection, made: int, count: int, used: set[int], *, anywhere: bool) -> tuple[str, ...]:
    patients = len({train.patients[place] for place in used})
    notes = [f"{made} clear scans got lesions of {len(used)} images of {patients} patients"]
    if made < count:
        notes.append(f"{count - made} images are missing: lesions did not fit into clear scans")
    if anywhere:
        notes.append("the body could not be told from its surroundings, so lesions may lie anywhere in a scan")
    return tuple(notes)


def moved_mask(lesion: Cutout, corner: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask of a lesion at a place of an image of `shape`, uint8 (rows, columns)."""
    mask = np.zeros(shape, np.uint8)
    mask[lesion.box(corner)] = lesion.mask
    return mask


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
