"""The design: which images are read, in which order by each reader, and which are shown twice.

The images are chosen by the study's seed alone, so that the choice can be reproduced. The number of each kind and
every order are chosen by a secret that is sealed until the study closes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.config import ReaderSettings
from scansynth.errors import ReaderError
from scansynth.reader.pool import Pool, Subject
from scansynth.seeds import derive_seed, generator

MOST_PERCENT = 60
"""Of one kind, where the share is hidden; so 40 of the other at least."""

LEAST_EACH = 10
"""Least number of images of each kind for the probe and the readers' figures."""

SPARE_SEATS = 12
"""Orders that are drawn and sealed beyond those of the readers, so that others can be added while the study is read."""

_Groups = Mapping[str, Sequence[Subject]]

_TRIES = 10_000
_APART = 5  # a repeat comes after a fifth of the reading at least, where there is space


@dataclass(frozen=True)
class Design:
    """What is read, and how.

    Attributes:
        subjects: Images that are read, real and synthetic mixed.
        practice: Images of the practice, real and synthetic mixed.
        references: Real images of other patients, to look at beside.
        repeated: Places in `subjects` of the images that each reader sees twice.
        orders: For each reader, and for each spare seat, a permutation of the presentations: 0 to n - 1 is the first
            buffer of a subject, n + k the second buffer of `repeated[k]`.
    """

    subjects: tuple[Subject, ...]
    practice: tuple[Subject, ...]
    references: tuple[Subject, ...]
    repeated: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]

    @property
    def presentations(self) -> int:
        """How many images each reader answers, repeats included."""
        return len(self.subjects) + len(self.repeated)

    def subject_of(self, presentation: int) -> Subject:
        """What a presentation shows."""
        return self.subjects[self.place_of(presentation)]

    def place_of(self, presentation: int) -> int:
        """Place in `subjects` of what a presentation shows."""
        count = len(self.subjects)
        return presentation if presentation < count else self.repeated[presentation - count]


def draw(pool: Pool, settings: ReaderSettings, seed: int, secret: int) -> Design:
    """Chooses images, repeats and orders at random.

    Args:
        pool: What may be shown.
        settings: Numbers and shares.
        seed: The study's: which images.
        secret: Sealed: how many of each kind, and every order.

    Raises:
        ReaderError: There are too few test patients or synthetic images.
    """
    hidden = generator(secret, "reader", "numbers")
    synthetic_count = _synthetic_count(settings, hidden)
    practice_synthetic = _half(settings.practice, hidden)
    _check(pool, settings)
    groups = one_each(pool, generator(seed, "reader", "patients"))
    _check_labels(pool, groups, settings)
    reals = _first_patients(groups, numbers_of(groups, settings.images - synthetic_count), seed)
    made, spare = _from_sets(pool, groups, synthetic_count, seed)
    train = generator(seed, "reader", "practice").permutation(len(pool.practice))
    practice = [pool.practice[place] for place in train[: settings.practice - practice_synthetic].tolist()]
    references = [pool.practice[place] for place in train[len(practice) :][: settings.references].tolist()]
    practice += spare[:practice_synthetic]
    subjects = [*reals, *made]
    subjects = [subjects[place] for place in hidden.permutation(len(subjects)).tolist()]
    practice = [practice[place] for place in hidden.permutation(len(practice)).tolist()]
    count = round(settings.repeats * len(subjects))
    repeated = tuple(hidden.permutation(len(subjects))[:count].tolist())
    orders = tuple(
        _order(len(subjects), repeated, generator(secret, "reader", "order", number))
        for number in range(settings.readers + SPARE_SEATS)
    )
    return Design(tuple(subjects), tuple(practice), tuple(references), repeated, orders)


def _first_patients(groups: _Groups, numbers: Mapping[str, int], seed: int) -> list[Subject]:
    """So many of each label, the patients in an order that follows from the seed and their hashes alone.

    So two studies of the same patients, in two modalities, show the same ones when they have one seed.
    """

    def place(subject: Subject) -> int:
        return derive_seed(seed, "reader", "reals", subject.patient)

    return [one for name, group in groups.items() for one in sorted(group, key=place)[: numbers.get(name, 0)]]


def _from_sets(pool: Pool, groups: _Groups, count: int, seed: int) -> tuple[list[Subject], list[Subject]]:
    """So many images of the set, or of two sets by halves, and all others, of two sets by turns."""
    counts = [count] if len(pool.sets) == 1 else [count - count // 2, count // 2]
    made: list[Subject] = []
    spares = []
    for number, (subjects, amount) in enumerate(zip(pool.sets, counts, strict=True)):
        rng = generator(seed, "reader", "synthetic", *([number] if number else []))
        chosen, spare = matched(by_stratum(subjects), numbers_of(groups, amount), rng)
        made += chosen
        spares.append(spare)
    return made, [one for together in itertools.zip_longest(*spares) for one in together if one is not None]


def _synthetic_count(settings: ReaderSettings, rng: np.random.Generator) -> int:
    if settings.mix == "hidden":
        most = most_of_a_kind(settings)
        return int(rng.integers(settings.images - most, most + 1))
    return _half(settings.images, rng)


def _half(count: int, rng: np.random.Generator) -> int:
    """Half of them; where it is odd, chance decides on the one that is left over."""
    return count // 2 + (int(rng.integers(2)) if count % 2 else 0)


def most_of_a_kind(settings: ReaderSettings) -> int:
    """Most images of either kind that the settings may ask for; the true number is not told before the end."""
    if settings.mix == "hidden":
        return MOST_PERCENT * settings.images // 100
    return math.ceil(settings.images / 2)


def _check(pool: Pool, settings: ReaderSettings) -> None:
    """Passes when there is enough for any number of either kind that may be drawn; so a refusal tells nothing."""
    most, sets = most_of_a_kind(settings), len(pool.sets)
    if settings.images - most < sets * LEAST_EACH:
        each = "either kind" if sets == 1 else "either set"
        raise ReaderError(
            f"reader.images is {settings.images}, but at least {LEAST_EACH} images of {each} are needed; "
            f"scansynth plan reader shows how many"
        )
    patients, made = len({subject.patient for subject in pool.reals}), min(len(one) for one in pool.sets)
    labels = f" with the label {' or '.join(pool.labels)}" if pool.labels else ""
    if patients < most:
        raise ReaderError(
            f"there are {patients} test patients{labels}, and {settings.images} images may need {most}, one image of "
            f"each; set reader.images to {_largest(patients, settings)} or fewer, or add patients (scansynth plan "
            f"reader shows what a number of images can show)"
        )
    half = math.ceil(settings.practice / 2)
    needed = math.ceil(most / sets) + math.ceil(half / sets)
    if made < needed:
        kept = f" after {pool.quarantined} that are too close to real ones" if pool.quarantined else ""
        raise ReaderError(
            f"{'the set' if sets == 1 else 'a set'} has {made} synthetic images{kept}, and {settings.images} images "
            f"with {settings.practice} for practice may need {needed}; generate more, or set reader.images lower"
        )
    if len(pool.practice) < half:
        raise ReaderError(
            f"there are {len(pool.practice)} train patients{labels} for {settings.practice} practice images; "
            f"set reader.practice to {2 * len(pool.practice)} or fewer"
        )
    if len(pool.practice) < half + settings.references:
        raise ReaderError(
            f"there are {len(pool.practice)} train patients{labels}, of whom the practice may need {half}; set "
            f"reader.references to {len(pool.practice) - half} or fewer"
        )


def _largest(patients: int, settings: ReaderSettings) -> int:
    """Most images that so many patients allow."""
    images = settings.images
    while images > 0 and most_of_a_kind(settings.model_copy(update={"images": images})) > patients:
        images -= 1
    return images


def by_stratum(subjects: Iterable[Subject]) -> _Groups:
    """Images by the label by which both kinds are matched."""
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(subject.stratum, []).append(subject)
    return dict(sorted(groups.items()))


def one_each(pool: Pool, rng: np.random.Generator) -> _Groups:
    """One image of each test patient, by label."""
    shuffled = [pool.reals[place] for place in rng.permutation(len(pool.reals)).tolist()]
    return by_stratum({subject.patient: subject for subject in shuffled}.values())


def numbers_of(groups: _Groups, count: int) -> dict[str, int]:
    """How many of each label: both kinds in the shares of the test patients."""
    total = sum(len(group) for group in groups.values())
    return _shares({name: len(group) / total for name, group in groups.items()}, count)


def _check_labels(pool: Pool, groups: _Groups, settings: ReaderSettings) -> None:
    """Passes when there are synthetic images of each label for any number that may be drawn."""
    most = math.ceil(most_of_a_kind(settings) / len(pool.sets))
    for subjects in pool.sets:
        made = {name: len(group) for name, group in by_stratum(subjects).items()}
        for name, number in numbers_of(groups, most).items():
            if made.get(name, 0) < number:
                raise ReaderError(
                    f"the set has {made.get(name, 0)} images with the label {name}, and {number} may be needed to "
                    f"match the real ones; generate more of them, or set reader.images below {settings.images}"
                )


def matched(
    groups: _Groups, numbers: Mapping[str, int], rng: np.random.Generator
) -> tuple[list[Subject], list[Subject]]:
    """The numbers asked for of each label, and all others, both in a drawn order."""
    chosen: list[Subject] = []
    spare: list[Subject] = []
    for name, group in groups.items():
        order = rng.permutation(len(group)).tolist()
        chosen += [group[place] for place in order[: numbers.get(name, 0)]]
        spare += [group[place] for place in order[numbers.get(name, 0) :]]
    return chosen, [spare[place] for place in rng.permutation(len(spare)).tolist()]


def _shares(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """Whole numbers that add up to `count`, as near to the shares as can be (largest remainders)."""
    exact = {name: share * count for name, share in shares.items()}
    numbers = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    behind = sorted(exact, key=lambda name: (numbers[name] - exact[name], name))
    for name in behind[: count - sum(numbers.values())]:
        numbers[name] += 1
    return numbers


def _order(count: int, repeated: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """A permutation of the presentations in which the two of one image lie far apart.

    A random order is mended by exchanging places: the second of a pair that lies too close goes to a random place that
    suits both it and the one that stood there. Where so little is read that none is found, less distance must do.
    """
    total = count + len(repeated)
    twins = np.full(total, -1)
    for number, place in enumerate(repeated):
        twins[place], twins[count + number] = count + number, place
    for gap in range(max(total // _APART, 1), 0, -1):
        place_of = rng.permutation(total)
        if _mend(place_of, twins, gap, rng):
            return tuple(np.argsort(place_of).tolist())
    raise ReaderError("too few images to space the repeats; set reader.repeats lower or reader.images higher")


def _mend(place_of: NDArray[np.int64], twins: NDArray[np.int64], gap: int, rng: np.random.Generator) -> bool:
    """Exchanges places until all twins lie `gap` apart; whether that was reached."""

    def close(presentation: int) -> bool:
        twin = twins[presentation]
        return bool(twin >= 0 and abs(place_of[presentation] - place_of[twin]) < gap)

    for _ in range(_TRIES):
        bad = [presentation for presentation in range(len(twins)) if close(presentation)]
        if not bad:
            return True
        one, other = bad[int(rng.integers(len(bad)))], int(rng.integers(len(twins)))
        place_of[[one, other]] = place_of[[other, one]]
        if close(one) or close(other):
            place_of[[one, other]] = place_of[[other, one]]
    return False
