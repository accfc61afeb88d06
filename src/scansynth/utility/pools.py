"""From the cohort and the synthetic sets to what one job learns from and is tried on. Everything goes by the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scansynth.data.fractions import patients_with
from scansynth.data.imageset import as_planes
from scansynth.data.permission import permission
from scansynth.data.placements import check_lesions
from scansynth.data.sets import LABEL_SEPARATOR, load_set
from scansynth.data.tensors import Case, Cohort, Selection, cases_for, select
from scansynth.errors import CohortError
from scansynth.ledger import Use
from scansynth.utility.arms import ARM_PLANS, Extra, Sources, images_asked, reads_set
from scansynth.utility.detector.heatmap import draw_target
from scansynth.utility.detector.material import Material, Places
from scansynth.utility.detector.networks import SIZES, map_factor
from scansynth.utility.filter import choose, nearest_of
from scansynth.utility.paste import ARM, paste_lesions
from scansynth.utility.provenance import check_apart

Images = NDArray[np.uint16]

_READERS = (Use.DETECTOR, Use.THRESHOLD, Use.UTILITY, Use.POSITIVE_CONTROL)


@dataclass(frozen=True)
class Division:
    """Real images by what they are for.

    Attributes:
        train: Of the subset that the job's detector learns from.
        calibrate: Set its threshold and temperature.
        test: It is tried on.
        reserve: Join the training of the positive control alone.
    """

    train: Selection
    calibrate: Selection
    test: Selection
    reserve: Selection


def divide(cohort: Cohort, subset: frozenset[str], left_out: tuple[str, str] | None = None) -> Division:
    """The real images of a job.

    Args:
        cohort: The cohort.
        subset: Train patients whose images may be learned from.
        left_out: A column and its value, such as a site: patients who have it are tried on, and nothing else.

    Raises:
        CohortError: A class is missing where it is needed.
        LedgerError: A patient stands in two roles.
    """
    kept = check_division(cohort, subset, left_out)
    parts = []
    for reader, cases in zip(_READERS, kept, strict=True):
        found, wanted = select(cohort, reader), {case.index for case in cases}
        parts.append(_of(found, [case.index in wanted for case in found.cases]))
    return Division(*parts)


def check_division(
    cohort: Cohort, subset: frozenset[str], left_out: tuple[str, str] | None = None, arms: Collection[str] = ()
) -> tuple[tuple[Case, ...], ...]:
    """The cases of a job for train, calibrate, test and reserve, without their images; see `divide`.

    Args:
        cohort: The cohort.
        subset: See `divide`.
        left_out: See `divide`.
        arms: For which lesions to paste must be there, where one of them pastes any.

    Raises:
        CohortError: A class is missing where it is needed, or no lesion can be cut out.
        LedgerError: A patient stands in two roles.
    """
    train, calibrate, test, reserve = (cases_for(cohort, reader) for reader in _READERS)
    groups = {"train": train, "calibrate": calibrate, "test": test, "reserve": reserve}
    check_apart(**{name: frozenset(case.patient for case in cases) for name, cases in groups.items()})
    train = tuple(case for case in train if case.patient in subset)
    if left_out is not None:
        there = patients_with(cohort, *left_out)
        train, calibrate, reserve = (
            tuple(case for case in cases if case.patient not in there) for cases in (train, calibrate, reserve)
        )
        test = tuple(case for case in test if case.patient in there)
    _check_classes(cohort, {"train": train, "calibrate": calibrate, "test": test}, left_out)
    if any(ARM_PLANS[arm].extra is Extra.PASTED for arm in arms):
        check_lesions(cohort, train, ARM)
    return train, calibrate, test, reserve


def positives(cohort: Cohort, cases: Iterable[Case]) -> NDArray[np.bool_]:
    """Whether each case shows the lesion."""
    return np.array([case.label == cohort.facts.positive for case in cases], np.bool_)


def _of(selection: Selection, kept: Sequence[bool]) -> Selection:
    if all(kept):
        return selection
    cases = tuple(case for case, stays in zip(selection.cases, kept, strict=True) if stays)
    return Selection(cases, selection.images[np.array(kept, np.bool_)])


def _check_classes(cohort: Cohort, groups: Mapping[str, Sequence[Case]], left_out: tuple[str, str] | None) -> None:
    """Both classes stand in train, calibrate and test."""
    where = "" if left_out is None else f" once {left_out[0]} {left_out[1]} is left out"
    for name, cases in groups.items():
        positive = positives(cohort, cases)
        lacking = "positive" if not positive.any() else "negative" if positive.all() else ""
        if lacking:
            raise CohortError(
                f"the role {name} has no {lacking} image{where} ({len(positive)} images; positive means "
                f"{cohort.facts.positive}): a detector cannot be tested; add cases, or change cohort.shares"
            )


@dataclass(frozen=True)
class Pools:
    """What one job learns from.

    Attributes:
        material: All its images.
        sources: Places among them.
        notes: What should be known of it, a sentence each.
    """

    material: Material
    sources: Sources
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """Images that join the reals of the subset.

    Attributes:
        images: uint16 (n, rows, columns).
        shown: Whether each is to show the lesion.
        masks: uint8 (n, rows, columns), 0 or 1; empty for the images of a set without masks.
    """

    images: Images
    shown: NDArray[np.bool_]
    masks: NDArray[np.uint8]

    def part(self, places: Places) -> Drawn:
        """Some of them, in this order."""
        return Drawn(self.images[places], self.shown[places], self.masks[places])


def gather(
    cohort: Cohort,
    division: Division,
    arm: str,
    ratio: float,
    sets: Sequence[Path],
    network: str,
    lesions: bool,
    seed: int,
) -> Pools:
    """The images of one arm, in memory.

    Args:
        cohort: The cohort.
        division: Its real images.
        arm: A name of `arms.ARM_PLANS`.
        ratio: Extra images for each real positive one.
        sets: Folders of the synthetic sets that may be read.
        network: A name of `networks.SIZES`; decides the size of the lesions' maps.
        lesions: Whether maps are wanted.
        seed: Of what is drawn: where lesions are pasted.

    Raises:
        CohortError: A set is damaged, of another label, or has too few images; or lesions cannot be pasted.
    """
    train = division.train
    is_positive = positives(cohort, train.cases)
    real = (np.flatnonzero(is_positive), np.flatnonzero(~is_positive))
    joining, notes = _joining(cohort, division, arm, ratio, sets, seed)
    if ARM_PLANS[arm].extra is Extra.NEAREST:
        parts = [joining.images[joining.shown], joining.images[~joining.shown]]
        sources, joining = Sources(real, _nearest(cohort, train, real, parts)), _nothing(cohort)
    else:
        start = len(train.cases)
        sources = Sources(real, (start + np.flatnonzero(joining.shown), start + np.flatnonzero(~joining.shown)))
    images = np.concatenate([train.planes, joining.images]) if len(joining.images) else train.planes
    targets, known = _maps(cohort, train.cases, joining, network) if lesions else (None, None)
    return Pools(Material(images, targets, known), sources, tuple(notes))


def _joining(
    cohort: Cohort, division: Division, arm: str, ratio: float, sets: Sequence[Path], seed: int
) -> tuple[Drawn, list[str]]:
    """What joins the reals, positive images before negative ones, and what should be known of it."""
    extra = ARM_PLANS[arm].extra
    if extra is Extra.RESERVE:
        return _reserve(cohort, division)
    if extra is Extra.PASTED:
        count = max(1, round(ratio * int(positives(cohort, division.train.cases).sum())))
        made = paste_lesions(cohort, division.train, count, seed)
        return Drawn(as_planes(made.images), np.ones(len(made.images), np.bool_), made.masks), list(made.notes)
    if not reads_set(arm):
        return _nothing(cohort), []
    drawn = read_sets(cohort, sets)
    chosen, told = _chosen(cohort, division, arm, ratio, drawn.images, drawn.shown)
    return drawn.part(np.concatenate(chosen)), told


def _nothing(cohort: Cohort) -> Drawn:
    empty = np.zeros((0, *cohort.facts.shape), np.uint8)
    return Drawn(empty.astype(np.uint16), np.zeros(0, np.bool_), empty)


def _reserve(cohort: Cohort, division: Division) -> tuple[Drawn, list[str]]:
    """The images of the reserve patients."""
    reserve = division.reserve
    shown, masks = positives(cohort, reserve.cases), cohort.masks(reserve.cases)
    if masks is None:
        masks = np.zeros((len(shown), *cohort.facts.shape), np.uint8)
    reals = positives(cohort, division.train.cases)
    note = (
        f"{int(shown.sum())} real positive and {int((~shown).sum())} real negative images of reserve patients "
        f"joined {int(reals.sum())} and {int((~reals).sum())}"
    )
    return Drawn(reserve.planes, shown, masks), [note]


def read_sets(cohort: Cohort, sets: Sequence[Path]) -> Drawn:
    """Images of the sets, with their masks, and whether each is to show the lesion.

    Raises:
        CohortError: There is none, or one shows labels that the generator did not tell apart.
    """
    if not sets:
        raise CohortError("there is no synthetic set for this arm; run: scansynth utility STUDY")
    images, masks, shown = [], [], list[bool]()
    for folder in sets:
        made = load_set(folder, cohort.facts)
        for row in made.rows:
            label = row["label"]
            if label not in cohort.facts.labels:
                what = "several labels that were not distinguished" if LABEL_SEPARATOR in label else "an unknown label"
                raise CohortError(f"the set {folder.name} shows {what}; make one set for each label")
            shown.append(label == cohort.facts.positive)
        images.append(made.planes)
        masks.append(np.zeros((len(made), *made.facts.shape), np.uint8) if made.masks is None else made.masks)
    return Drawn(np.concatenate(images), np.array(shown, np.bool_), np.concatenate(masks))


def _chosen(
    cohort: Cohort, division: Division, arm: str, ratio: float, made: Images, shown: NDArray[np.bool_]
) -> tuple[tuple[Places, Places], list[str]]:
    """Places of the synthetic images that join, positive and negative; the first ones of each label."""
    parts, notes = [], list[str]()
    asked = images_asked(arm, int(positives(cohort, division.train.cases).sum()), ratio)
    for label, of_label in (("positive", shown), ("negative", ~shown)):
        places = np.flatnonzero(of_label)
        if not len(places):
            parts.append(places)
            continue
        if len(places) < asked:
            raise CohortError(
                f"the arm {arm} at the ratio {ratio:g} takes {asked} synthetic {label} images, and the sets have "
                f"{len(places)}; generate more, or choose smaller utility.ratios"
            )
        places = places[:asked]
        if ARM_PLANS[arm].extra is Extra.FILTERED:
            places, told = _filtered(cohort, division.train, label, made, places)
            notes.append(told)
        parts.append(places)
    if not len(parts[0]):
        raise CohortError("the synthetic sets show no lesion; name sets of the positive label")
    return (parts[0], parts[1]), notes


def _filtered(cohort: Cohort, train: Selection, label: str, made: Images, places: Places) -> tuple[Places, str]:
    """The more real-looking half, without copies of training images."""
    tune = select(cohort, Use.SET_FILTER)
    wanted = label == "positive"
    like = positives(cohort, tune.cases) == wanted
    learned = positives(cohort, train.cases) == wanted
    choice = choose(
        made[places],
        len(places) // 2,
        train.planes[learned],
        tune.planes[like],
        permission(cohort.facts.modality, cohort.facts.view).searched,
    )
    told = (
        f"of {len(places)} synthetic {label} images {len(choice.places)} were kept: {choice.copies} lay nearer to a "
        f"training image than 99 of 100 images of tune patients do, and the others were the less real-looking"
    )
    return places[choice.places], told


def _nearest(
    cohort: Cohort, train: Selection, real: tuple[Places, Places], made: Sequence[Images]
) -> tuple[Places, Places]:
    """Places of the training images nearest to synthetic ones of the same label."""
    flips = permission(cohort.facts.modality, cohort.facts.view).searched
    found = [
        places[nearest_of(images, train.planes[places], flips)] if len(images) else places[:0]
        for places, images in zip(real, made, strict=True)
    ]
    return found[0], found[1]


def _maps(
    cohort: Cohort, cases: Sequence[Case], joining: Drawn, network: str
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Maps of all images, and of which the lesions are known: of those with a mask, and of those without a lesion.

    Args:
        cohort: The cohort.
        cases: The reals of the subset, which come first.
        joining: The images that follow.
        network: A name of `networks.SIZES`.

    Raises:
        CohortError: The cohort has no masks.
    """
    real = cohort.masks(cases)
    if real is None:
        raise CohortError("the cohort has no lesion masks; set utility.lesions to off, or give masks in labels.csv")
    masks, shown = np.concatenate([real, joining.masks]), np.concatenate([positives(cohort, cases), joining.shown])
    factor = map_factor(max(cohort.facts.shape), SIZES[network])
    rows, columns = (side // factor for side in cohort.facts.shape)
    targets = np.zeros((len(masks), rows, columns), np.uint8)
    with_mask = masks.any(axis=(1, 2))
    for place in np.flatnonzero(with_mask):
        targets[place] = np.rint(draw_target(masks[place], factor) * 255.0)
    return targets, with_mask | ~shown
