"""Patient groups: the attributes of the cohort, divided into groups that can be compared."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.data.tensors import Case

LEAST_PATIENTS = 30
"""A group with fewer patients in a role that a figure reads gets no verdict."""

MOST_GROUPS = 12
MOST_ATTRIBUTES = 8
UNNAMED = 5
"""Values shared by fewer patients are never named: a rare value may identify a person."""

OTHERS = "all other groups"
_FEW_VALUES = 6  # numbers with so few values are categories, such as field strengths
_AGE = re.compile(r"age|age_years|age_band|patient_age|patientage")
_AGE_BAND = re.compile(r"(\d{1,3})\s*(?:-\s*\d{1,3}|\+)")
_SPAN, _OLDEST = 20, 80  # years
_SIZE = re.compile(r"diameter|lesion.*size|nodule.*size|size.*mm|volume")
_ORDER = ("sex", "age_band", "manufacturer", "field_strength", "site")

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Small:
    """A group of too few patients."""

    group: str
    train_patients: int
    test_patients: int


@dataclass(frozen=True)
class Attribute:
    """One column, cut into groups.

    Attributes:
        name: Of the column, in plain words.
        groups: Names of the groups that the predictor distinguishes; the last may be `OTHERS`.
        judged: How many of them, from the first, have `LEAST_PATIENTS` training patients.
        train: Group of each training image, -1 where it is not stated (n,).
        test: The same of each test image.
        small: Groups of fewer patients, together in `OTHERS` where they are enough.
    """

    name: str
    groups: tuple[str, ...]
    judged: int
    train: Codes
    test: Codes
    small: tuple[Small, ...] = ()


def read_attributes(
    train: Sequence[Case], test: Sequence[Case], thirds: bool = True
) -> tuple[tuple[Attribute, ...], Mapping[str, str]]:
    """The patient attributes that can be assessed, and why the others cannot.

    Args:
        train: Cases of the training role.
        test: Cases of the test role.
        thirds: Divide numbers at the thirds of the training role, else at its median.
    """
    names = {name for case in train for name in case.attributes}
    ordered = [name for name in _ORDER if name in names] + sorted(names - {*_ORDER})
    found: list[Attribute] = []
    left: dict[str, str] = {}
    for name in ordered:
        words = name.replace("_", " ")
        if len(found) == MOST_ATTRIBUTES:
            left[words] = f"only the first {MOST_ATTRIBUTES} attributes are assessed"
            continue
        one = _attribute(name, train, test, thirds)
        if isinstance(one, str):
            left[words] = one
        else:
            found.append(one)
    return tuple(found), left


def lesion_sizes(train: Sequence[Case], test: Sequence[Case]) -> tuple[str, Floats, Floats] | None:
    """The column that holds the lesions' sizes, in plain words, and the sizes; NaN where none is stated."""
    for name in sorted({name for case in train for name in case.attributes}):
        if not _SIZE.search(name):
            continue
        values, others = _texts(train, name), _texts(test, name)
        stated = [_number(text) for text in values if text]
        if len(set(stated)) > _FEW_VALUES and all(number > 0 for number in stated):
            sizes = [np.array([_number(text) for text in texts]) for texts in (values, others)]
            return name.replace("_", " "), sizes[0], sizes[1]
    return None


def stated_patients(codes: Codes, patients: NDArray[np.str_], group: int) -> int:
    """Number of patients with an image of the group."""
    return len(np.unique(patients[codes == group]))


def _texts(cases: Sequence[Case], name: str) -> list[str]:
    return [case.attributes.get(name, "").strip() for case in cases]


def _number(text: str) -> float:
    """The number, or NaN where the text is not a finite number."""
    try:
        number = float(text)
    except ValueError:
        return float("nan")
    return number if np.isfinite(number) else float("nan")


def _attribute(name: str, train: Sequence[Case], test: Sequence[Case], thirds: bool) -> Attribute | str:
    """The attribute, or why it is left out."""
    banded = _banded(name, _texts(train, name), _texts(test, name), thirds)
    if banded is None:
        return f"it has more than {MOST_GROUPS} values"
    of_train, of_test, order = banded
    if len(order) < 2:
        return "it has one value only"
    known = {group: place for place, group in enumerate(order)}
    people = [np.array([case.patient for case in part]) for part in (train, test)]
    coded = [np.array([known.get(text, -1) for text in texts], dtype=np.int64) for texts in (of_train, of_test)]
    sides = list(zip(coded, people, strict=True))
    counts = [[stated_patients(codes, who, group) for group in range(len(order))] for codes, who in sides]
    large = [g for g in range(len(order)) if counts[0][g] >= LEAST_PATIENTS]
    rest = [g for g in range(len(order)) if g not in large]
    # a group too rare for a verdict still appears in the set: the predictor must know it
    pooled = sum(counts[0][g] for g in rest) >= UNNAMED * 2
    place = np.full(len(order) + 1, -1, dtype=np.int64)
    place[large] = np.arange(len(large))
    if pooled:
        place[rest] = len(large)
    names = tuple(order[g] for g in large) + ((OTHERS,) if pooled else ())
    small = _small([(order[g], counts[0][g], counts[1][g]) for g in rest])
    return Attribute(name.replace("_", " "), names, len(large), place[coded[0]], place[coded[1]], small)


def _small(rows: Sequence[tuple[str, int, int]]) -> tuple[Small, ...]:
    """Small groups by name, the smallest merged without a name."""
    named = [Small(*row) for row in rows if row[1] + row[2] >= UNNAMED]
    rare = [row for row in rows if row[1] + row[2] < UNNAMED]
    if rare:
        what = f"values that fewer than {UNNAMED} patients share"
        named.append(Small(what, sum(row[1] for row in rare), sum(row[2] for row in rare)))
    return tuple(named)


def _banded(
    name: str, train: list[str], test: list[str], thirds: bool
) -> tuple[list[str], list[str], list[str]] | None:
    """Group of each training and test image, empty where none is stated, and the groups in order."""
    stated = [text for text in (*train, *test) if text]
    kinds = set(stated)
    if _AGE.fullmatch(name):
        banded = [[_years(text) for text in texts] for texts in (train, test)]
        bands = {text for texts in banded for text in texts if text}
        order = sorted(bands, key=lambda text: int(re.split(r"\D", text)[0]))
        return banded[0], banded[1], order
    numbers = {text: _number(text) for text in kinds}
    if len(kinds) > _FEW_VALUES and not any(np.isnan(number) for number in numbers.values()):
        of_train = np.array([numbers[text] for text in train if text])
        if not len(of_train):
            return train, test, []
        cuts = np.unique(np.quantile(of_train, (1 / 3, 2 / 3) if thirds else (0.5,)))
        order = _bands(cuts)
        place = {text: order[int(np.searchsorted(cuts, number, side="left"))] for text, number in numbers.items()}
        return [place.get(text, "") for text in train], [place.get(text, "") for text in test], order
    if len({text for text in train if text}) > MOST_GROUPS:
        return None
    plain = {text: re.sub(r"\s+", " ", text) if text.isprintable() else "?" for text in kinds}
    order = sorted({plain[text] for text in train if text})
    return [plain.get(text, "") for text in train], [plain.get(text, "") for text in test], order


def _years(text: str) -> str:
    """The band of twenty years of an age or of a narrower band; empty where it is neither."""
    band = _AGE_BAND.fullmatch(text)
    years = float(band[1]) if band else _number(text)
    if not 0 <= years < 150:
        return ""
    low = int(years // _SPAN * _SPAN)
    return f"{_OLDEST} and over" if low >= _OLDEST else f"{low} to {low + _SPAN - 1}"


def _rounded(cuts: Floats) -> list[str]:
    """Cut points rounded so that no patient's own number can be read, yet distinct."""
    for digits in (2, 3, 4):
        text = [f"{float(f'{cut:.{digits}g}'):.12g}" for cut in cuts]
        if len(set(text)) == len(text):
            break
    return text


def _bands(cuts: Floats) -> list[str]:
    """Names of the bands between the cuts; a value at a cut belongs below."""
    text = _rounded(cuts)
    between = [f"{low} to {high}" for low, high in itertools.pairwise(text)]
    return [f"up to {text[0]}", *between, f"above {text[-1]}"]
