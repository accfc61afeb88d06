"""What is asked of a set's images besides the label, and which values each of them gets."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import TrainingError
from scansynth.gan.asked.conditions import LEAST, PLACE, Condition, Conditions, label_cell
from scansynth.seeds import generator

_RANGE = re.compile(r"\s*(-?\d+(?:\.\d+)?)(?:\s*-\s*(-?\d+(?:\.\d+)?))?\s*")

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Request:
    """What is asked, and known to be learned.

    Attributes:
        conditions: Of the generator.
        categories: The asked value of each asked category.
        ranges: Lowest and highest value of each asked number.
        bins: For each label, the combinations of bins, one of each asked number, in which it was learned.
        narrower: What is not drawn of the ranges, since too few patients had it; one line for each.
    """

    conditions: Conditions
    categories: Mapping[str, str]
    ranges: Ranges
    bins: Mapping[str, tuple[tuple[int, ...], ...]]
    narrower: tuple[str, ...] = ()

    def values(self, label: str, seed: int, index: int) -> dict[str, str | float]:
        """What the image `index` of a set is to be: numbers are drawn evenly within a bin, bins evenly."""
        random = generator(seed, "asked", index)
        chosen = self.bins[label][int(random.integers(len(self.bins[label])))]
        numbers = {}
        for (name, asked), number in zip(self.ranges.items(), chosen, strict=True):
            low, high = _within(_named(self.conditions, name), number, asked)
            numbers[name] = min(max(float(f"{random.uniform(low, high):.4g}"), low), high)
        return {**self.categories, **numbers}

    def columns(self, label: str, seed: int, index: int) -> NDArray[np.float32]:
        """The same as networks take it."""
        return self.conditions.encode(self.values(label, seed, index))


def in_words(values: Mapping[str, str | float]) -> str:
    """What was asked of an image, as tables have it: `diameter=5.3; sex=F`."""
    return "; ".join(f"{name}={value if isinstance(value, str) else f'{value:g}'}" for name, value in values.items())


def request_of(
    run: str, conditions: Conditions | None, asked: Mapping[str, str], labels: Sequence[str]
) -> Request | None:
    """What is asked, checked against what was learned; none: nothing is.

    Args:
        run: Name of the run, for messages.
        conditions: That its generator learned.
        asked: Text for each condition: a category, or a range such as `4-8`; `place` is `ROWS,COLUMNS`.
        labels: Of the images to be drawn; an empty text where the generator does not tell labels apart.

    Raises:
        TrainingError: Too few train patients had this, or the text is no range.
    """
    if not asked:
        return None
    if conditions is None:
        raise TrainingError(
            f"the generator of the run {run} learned no conditions, so {next(iter(asked))} cannot be asked for; name "
            "it in generator.conditions and train again"
        )
    categories, ranges = dict[str, str](), dict[str, tuple[float, float]]()
    for name, text in _parts(asked).items():
        one = next((one for one in conditions.learned if one.name == name), None)
        if one is None:
            known = ", ".join(dict.fromkeys("place" if one.name in PLACE else one.name for one in conditions.learned))
            raise TrainingError(f"the generator of the run {run} learned no condition {name}: it learned {known}")
        if one.values and text not in one.values:
            raise TrainingError(
                f"the generator of the run {run} learned no images of {name} {text}: of the values that at least "
                f"{LEAST} train patients have it knows {', '.join(one.values)}"
            )
        if one.values:
            categories[name] = text
        else:
            ranges[name] = _range(run, one, text)
    bins = {label: _combinations(conditions, categories, ranges, label) for label in labels}
    for label, found in bins.items():
        if not found:
            words = " and ".join([*([label] if label else []), *(f"{name} {text}" for name, text in asked.items())])
            raise TrainingError(
                f"the generator of the run {run} has not learned {words} together: fewer than {LEAST} train patients "
                "have two of them in one image; ask for less"
            )
    request = Request(conditions, categories, ranges, bins)
    return replace(request, narrower=tuple(_narrower(request, _parts(asked))))


def _narrower(request: Request, asked: Mapping[str, str]) -> Iterator[str]:
    """Where a range is drawn in part alone: beyond what was learned, or where a label has too few patients."""
    for place, (name, reach) in enumerate(request.ranges.items()):
        low, high = _ends(asked[name])
        for label, bins in request.bins.items():
            numbers = {chosen[place] for chosen in bins}
            parts = [_within(_named(request.conditions, name), number, reach) for number in sorted(numbers)]
            least, most = min(part[0] for part in parts), max(part[1] for part in parts)
            gaps = any(before[1] < after[0] for before, after in itertools.pairwise(parts))
            if (least, most) != (low, high) or gaps:
                of_label = f" of {label}" if label else ""
                yield (
                    f"{name} {asked[name].strip()} was asked{of_label}, and enough train patients have it between "
                    f"{least:g} and {most:g} alone{', with gaps' if gaps else ''}: nothing else is drawn"
                )


def _parts(asked: Mapping[str, str]) -> dict[str, str]:
    """The place in two.

    Raises:
        TrainingError: It has not two parts.
    """
    found = {}
    for name, text in asked.items():
        parts = text.split(",")
        if name != "place":
            found[name] = text.strip()
        elif len(parts) == len(PLACE):
            found.update(zip(PLACE, parts, strict=True))
        else:
            raise TrainingError(
                f"place {text} is not ROWS,COLUMNS: write shares of the image from the top and from the left, such as "
                "0.2-0.5,0.6-0.9"
            )
    return found


def _range(run: str, one: Condition, text: str) -> tuple[float, float]:
    """Lowest and highest value.

    Raises:
        TrainingError: The text is no range, or lies outside of what was learned.
    """
    low, high = _ends(text)
    if low > high:
        raise TrainingError(f"{one.name} {text} is no range: write two numbers, the lower first, such as 4-8")
    if high < one.edges[0] or low > one.edges[-1]:
        raise TrainingError(
            f"the generator of the run {run} learned no images of {one.name} {text}: of enough train patients it knows "
            f"{one.edges[0]:g} to {one.edges[-1]:g}"
        )
    return max(low, one.edges[0]), min(high, one.edges[-1])


def _ends(text: str) -> tuple[float, float]:
    """Both ends of a range as it is written; the lower one is the greater where the text is not a range."""
    found = _RANGE.fullmatch(text)
    return (float(found[1]), float(found[2] or found[1])) if found else (1.0, 0.0)


def _combinations(
    conditions: Conditions, categories: Mapping[str, str], ranges: Ranges, label: str
) -> tuple[tuple[int, ...], ...]:
    """Combinations of bins, one of each number, that enough patients had beside label and categories."""
    fixed = [label_cell(label)] if label else []
    fixed += [_named(conditions, name).cell(value) for name, value in categories.items()]
    kinds = [_named(conditions, name) for name in ranges]
    reach = [
        [number for number in range(len(one.edges) - 1) if _reaches(one, number, asked)]
        for one, asked in zip(kinds, ranges.values(), strict=True)
    ]
    return tuple(
        chosen
        for chosen in itertools.product(*reach)
        if conditions.fit_each_other(
            [*fixed, *(one.bin(number) for one, number in zip(kinds, chosen, strict=True))]
        )
    )  # fmt: skip


def _reaches(one: Condition, number: int, asked: tuple[float, float]) -> bool:
    """Whether a bin and a range have more than an edge in common, or a single value lies in the bin."""
    low, high = _within(one, number, asked)
    return low < high or (asked[0] == asked[1] and one.cell(asked[0]) == one.bin(number))


def _within(one: Condition, number: int, asked: tuple[float, float]) -> tuple[float, float]:
    """What a bin and a range have in common."""
    return max(one.edges[number], asked[0]), min(one.edges[number + 1], asked[1])


def _named(conditions: Conditions, name: str) -> Condition:
    return next(one for one in conditions.learned if one.name == name)
