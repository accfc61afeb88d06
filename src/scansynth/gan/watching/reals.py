"""The real images that a generator's variety is compared with, and who the patients are that it never saw."""

from __future__ import annotations

from dataclasses import replace

from scansynth.data.tensors import Cohort, Selection, to_signed
from scansynth.gan.asked.conditions import Conditions
from scansynth.gan.material import conditions_of
from scansynth.gan.watching.collapse import Group, RealImages
from scansynth.seeds import generator

_LEAST_PATIENTS = 16  # under which the variety is compared with other patients than those of calibrate
_MOST_SCALING = 512
_MOST_REFERENCE = 512


def watched_images(
    reals: Selection, held_out: Selection, seed: int, classes: tuple[str, ...]
) -> tuple[RealImages, Selection]:
    """Real images that the variety is compared with, and the cases that play the other patients.

    These are patients of calibrate, or, when these are too few, half of the train patients; or half of the
    train images, when these are too few as well. The other half then gives the scale.

    Args:
        reals: The generator's images.
        held_out: Images of calibrate patients.
        seed: The study's.
        classes: Labels that the generator sees.
    """
    if len(set(held_out.patients)) >= _LEAST_PATIENTS:
        scaling, others, basis = reals, held_out, "patients of calibrate"
        groups = others.patients
    else:
        enough = len(set(reals.patients)) >= 2 * _LEAST_PATIENTS
        basis = "the other half of the train patients" if enough else "the other half of the train images"
        groups = reals.patients if enough else tuple(case.case for case in reals.cases)
        first = {group for place, group in enumerate(sorted(set(groups))) if place % 2 == 0}
        inside = [place for place, group in enumerate(groups) if group in first]
        outside = [place for place, group in enumerate(groups) if group not in first]
        scaling, others = reals.part(inside), reals.part(outside)
        groups = tuple(groups[place] for place in outside)
    order = generator(seed, "scaling").permutation(len(scaling.cases))[:_MOST_SCALING].tolist()
    chosen = generator(seed, "reference").permutation(len(others.cases))[:_MOST_REFERENCE].tolist()
    used = others.part(chosen)
    named = tuple(groups[place] for place in chosen)
    labels = tuple(classes.index(case.label) for case in used.cases) if len(classes) > 1 else ()
    scaled, compared = to_signed(scaling.part(order).images), to_signed(used.images)
    return RealImages(scaled, compared, named, basis, labels, classes), used


def with_categories(watched: RealImages, cohort: Cohort, used: Selection, conditions: Conditions) -> RealImages:
    """The same images with the categories of the conditions, each of which is looked at by itself, as labels are.

    Args:
        watched: What the variety is compared with.
        cohort: Where the categories stand.
        used: Its cases.
        conditions: Of the training.
    """
    encoded = conditions_of(cohort, used, conditions)
    found = {
        f"{one.name}={value}": Group(1 + first + number, encoded[:, first + number] == 1.0)
        for one, first in zip(conditions.learned, (at.start for at in conditions.columns.values()), strict=True)
        for number, value in enumerate(one.values)
    }
    return replace(watched, groups=found)
