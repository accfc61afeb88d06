"""What a generator learns to be asked for besides the label: categories and numbers that enough patients have.

Nothing in here is of a single patient. A category is kept where at least `LEAST` train patients have it, a number as
bins that hold so many, and a combination of two where so many have both. All of it is part of the weights' facts.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import ConfigError

LEAST = 10
"""Train patients without whom a category, a bin or a combination of two is not kept."""

PLACE = ("place_row", "place_column")
"""The two numbers of the condition `place`: the lesion's centre, 0 to 1 from the top, and from the left."""

_MOST_BINS, _MOST_VALUES, _LONGEST = 8, 20, 40
_OF_A_BIN = 3 * LEAST  # patients, so that enough are left of a bin beside another condition
_FEW = 12  # different numbers in a column up to which they are categories

Values = Mapping[str, str | float]
"""What is known of one image, by condition: a text is a category."""


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        name: Of it.
        values: Its categories; none: it is a number.
        mean: Of the number over train patients.
        spread: Its standard deviation.
        edges: Of the bins, one more than there are; the outermost leave out the `LEAST` / 2 lowest and highest.
    """

    name: str
    values: tuple[str, ...] = ()
    mean: float = 0.0
    spread: float = 1.0
    edges: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Columns: one for each category, or the number and whether it is known."""
        return len(self.values) or 2

    def cell(self, value: str | float) -> str:
        """Name of the category or bin that holds a value; empty: none does."""
        if self.values:
            return f"{self.name}={value}" if value in self.values else ""
        number = _number(value)
        if number is None or not self.edges[0] <= number <= self.edges[-1]:
            return ""
        return self.bin(min(int(np.searchsorted(self.edges, number, "right")), len(self.edges) - 1) - 1)

    def bin(self, number: int) -> str:
        """Name of a bin."""
        return f"{self.name}#{number}"

    def write(self, value: str | float | None, row: NDArray[np.float32]) -> None:
        """Writes a value into its columns (`width`,), which are zeros."""
        number = _number(value)
        if self.values and value in self.values:
            row[self.values.index(str(value))] = 1.0
        elif not self.values and number is not None:
            row[:] = (number - self.mean) / self.spread, 1.0


@dataclass(frozen=True)
class Conditions:
    """All that a generator can be asked for besides the label.

    Attributes:
        learned: In the order of their columns.
        together: Pairs of cells, sorted, and each cell with itself, that at least `LEAST` train patients have in one
            image; a label's cell is `label=...`.
    """

    learned: tuple[Condition, ...]
    together: frozenset[tuple[str, str]]

    @cached_property
    def columns(self) -> Mapping[str, range]:
        """Columns of each condition."""
        ends = list(itertools.accumulate((one.width for one in self.learned), initial=0))
        return {one.name: range(*ends[place : place + 2]) for place, one in enumerate(self.learned)}

    @property
    def width(self) -> int:
        """Columns of all of them."""
        return sum(one.width for one in self.learned)

    def encode(self, values: Values) -> NDArray[np.float32]:
        """The columns (width,) of one image; zeros where a value is not known, or is too rare to be learned."""
        row = np.zeros(self.width, np.float32)
        for one, columns in zip(self.learned, self.columns.values(), strict=True):
            one.write(values.get(one.name), row[columns.start : columns.stop])
        return row

    def fit_each_other(self, cells: Sequence[str]) -> bool:
        """Whether enough patients had each of these cells, and each two of them in one image."""
        return all(tuple(sorted(pair)) in self.together for pair in itertools.combinations_with_replacement(cells, 2))

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"learned": [asdict(one) for one in self.learned], "together": sorted(map(list, self.together))}


def from_plain(values: Mapping[str, Any]) -> Conditions | None:
    """Conditions from JSON values; none: the generator learned none.

    Raises:
        KeyError, TypeError, ValueError: The values are damaged.
    """
    if not values:
        return None
    learned = tuple(
        Condition(**{**one, "values": tuple(one["values"]), "edges": tuple(one["edges"])}) for one in values["learned"]
    )
    return Conditions(learned, frozenset((str(one), str(other)) for one, other in values["together"]))


def label_cell(label: str) -> str:
    """Name of a label's cell."""
    return f"label={label}"


def learn(names: Sequence[str], values: Sequence[Values], patients: Sequence[str], labels: Sequence[str]) -> Conditions:
    """The conditions of a training, from its images alone.

    Args:
        names: Of the conditions; `place` stands as its two numbers.
        values: Of each train image.
        patients: Of each.
        labels: Of each.

    Raises:
        ConfigError: Too few patients have a value.
    """
    learned = tuple(_learned(name, [one.get(name) for one in values], patients) for name in names)
    owners: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one, patient, label in zip(values, patients, labels, strict=True):
        cells = [label_cell(label), *(kind.cell(one[kind.name]) for kind in learned if kind.name in one)]
        for pair in itertools.combinations_with_replacement([*filter(None, cells)], 2):
            owners[min(pair), max(pair)].add(patient)
    return Conditions(learned, frozenset(pair for pair, people in owners.items() if len(people) >= LEAST))


def _learned(name: str, values: Sequence[str | float | None], patients: Sequence[str]) -> Condition:
    """One condition.

    Raises:
        ConfigError: Too few patients have a value.
    """
    known = [(value, patient) for value, patient in zip(values, patients, strict=True) if value not in (None, "")]
    numbers = [(number, patient) for value, patient in known if (number := _number(value)) is not None]
    if known and len(numbers) == len(known) and len({number for number, _ in numbers}) > _FEW:
        return _of_numbers(name, numbers)
    owners: dict[str, set[str]] = defaultdict(set)
    for value, patient in known:
        owners[str(value)].add(patient)
    enough = sorted((-len(people), value) for value, people in owners.items() if len(people) >= LEAST)
    kept = tuple(sorted(value for _, value in enough if len(value) <= _LONGEST)[:_MOST_VALUES])
    if len(kept) < 2:
        raise ConfigError(
            f"generator.conditions: {name} has {len(kept) or 'no'} value that at least {LEAST} train patients have, "
            f"and 2 are needed to ask for one; take {name} out"
        )
    return Condition(name, kept)


def _of_numbers(name: str, found: Sequence[tuple[float, str]]) -> Condition:
    """A number, from the middle of each patient's values.

    Raises:
        ConfigError: Too few patients have one, or all the same.
    """
    by_patient: dict[str, list[float]] = defaultdict(list)
    for number, patient in found:
        by_patient[patient].append(number)
    each = np.array([np.median(numbers) for numbers in by_patient.values()])
    if len(each) < 2 * LEAST or not np.ptp(each):
        raise ConfigError(
            f"generator.conditions: {name} is known of {len(each)} train patients, and at least {2 * LEAST} with "
            f"different values are needed; take {name} out"
        )
    bins = min(_MOST_BINS, max(1, (len(each) - LEAST) // _OF_A_BIN))
    outside = LEAST / 2 / len(each)
    edges = sorted({_rounded(edge) for edge in np.quantile(each, np.linspace(outside, 1.0 - outside, bins + 1))})
    if len(edges) < 2:
        raise ConfigError(f"generator.conditions: nearly all train patients have the same {name}; take {name} out")
    return Condition(name, (), _rounded(each.mean()), max(_rounded(each.std()), 1e-6), tuple(edges))


def _number(value: str | float | None) -> float | None:
    """A value as a finite number."""
    try:
        number = float(value if value is not None else "nan")
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _rounded(value: float) -> float:
    """Two digits that count: no patient's own number."""
    return float(f"{value:.2g}")
