"""Lesions of real images, each with a place in a clear image of another patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.data.deck import Deck
from scansynth.data.placing import Cutout, Place, allowed_for, bodies_hold, cut_out, places_for
from scansynth.data.tensors import Case, Cohort, Selection
from scansynth.errors import CohortError
from scansynth.seeds import generator

Images = NDArray[np.uint16]
Masks = NDArray[np.uint8]

_SCANS = 4  # clear scans among which a place for a lesion is looked for
_TURNS = 4  # lesions for each image wanted, of which all but one may find no place
_NEAR = 0.1  # of a patch's side: a lesion's place in a patch is given by how patches were cut


@dataclass(frozen=True)
class Placement:
    """A lesion and where it is to lie.

    Attributes:
        scan: Place of the clear image among those given.
        source: Place of the image that the lesion was cut from.
        lesion: The lesion.
        corner: Row and column of its first pixel in the clear image.
    """

    scan: int
    source: int
    lesion: Cutout
    corner: tuple[int, int]


@dataclass(frozen=True)
class Placements:
    """Where lesions are to lie.

    Attributes:
        found: At most as many as were wanted.
        anywhere: The body could not be told from its surroundings, so places may lie anywhere in an image.
    """

    found: tuple[Placement, ...]
    anywhere: bool


def check_lesions(cohort: Cohort, cases: Sequence[Case], who: str) -> None:
    """Passes when lesions of these cases can be cut out, as far as masks tell.

    Args:
        cohort: The cohort.
        cases: Train cases of a subset.
        who: Asks, for the message.

    Raises:
        CohortError: None of those with a lesion has a mask, or no other is free of one.
    """
    masks = cohort.masks(cases)
    shown = _positives(cohort, cases)
    marked = None if masks is None else masks.any(axis=(1, 2))
    if marked is None or not (marked & shown).any():
        raise CohortError(
            f"{who} cuts lesions out by their masks, and no train image with a lesion has one; give masks "
            "or boxes in labels.csv and ingest again, or leave it out"
        )
    if not (~marked & ~shown).any():
        raise CohortError(f"{who} needs train images without a lesion; add cases, or leave it out")


def _positives(cohort: Cohort, cases: Sequence[Case]) -> NDArray[np.bool_]:
    return np.array([case.label == cohort.facts.positive for case in cases], np.bool_)


def place_lesions(
    cohort: Cohort,
    train: Selection,
    count: int,
    seed: int,
    who: str,
    fits: Callable[[Masks], bool] = lambda mask: True,
) -> Placements:
    """A place for each lesion in one of the images that have none.

    Lesions and clear scans are dealt in passes, four scans for each lesion. It lies within the body of the one that has
    the likest surroundings, and never in a scan of its own patient.

    Args:
        cohort: The cohort.
        train: Train images of the subset.
        count: Places wanted.
        seed: Of the draws.
        who: Asks, for messages.
        fits: Whether a lesion may lie where its mask (rows, columns) says.

    Raises:
        CohortError: See `check_lesions`; or no lesion fits anywhere.
    """
    check_lesions(cohort, train.cases, who)
    masks = cohort.masks(train.cases)
    assert masks is not None  # checked above
    shown = _positives(cohort, train.cases)
    sources = np.flatnonzero(shown & masks.any(axis=(1, 2)))
    clear = np.flatnonzero(~shown & ~masks.any(axis=(1, 2)))
    lesions = cut_out(train.images[sources], masks[sources])
    patch = cohort.facts.view == "patch"
    within, near = not patch and bodies_hold(lesions), _NEAR * max(cohort.facts.shape) if patch else None
    found, patients = list[Placement](), np.array(train.patients)
    decks = [Deck(np.arange(many), seed, name) for many, name in ((len(lesions), "lesions"), (len(clear), "scans"))]
    for number in range(_TURNS * count if lesions else 0):
        if len(found) == count:
            break
        lesion = lesions[int(decks[0].deal(1)[0])]
        scans, rng, source = clear[decks[1].deal(_SCANS)], generator(seed, "place", number), int(sources[lesion.source])
        scans = scans[patients[scans] != patients[source]]
        chosen = _likest(lesion, train.images[scans], within, near, rng)
        if chosen is not None and fits(moved_mask(lesion, chosen[1].corner, cohort.facts.shape)):
            found.append(Placement(int(scans[chosen[0]]), source, lesion, chosen[1].corner))
    if not found:
        raise CohortError(
            f"{who} found no lesion of the train images that fits into a clear one of another patient with its "
            "surroundings; leave it out"
        )
    return Placements(tuple(found), anywhere=not (within or patch))


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


def moved_mask(lesion: Cutout, corner: tuple[int, int], shape: tuple[int, int]) -> Masks:
    """The mask of a lesion at a place of an image of `shape`, uint8 (rows, columns)."""
    mask = np.zeros(shape, np.uint8)
    mask[lesion.box(corner)] = lesion.mask
    return mask
