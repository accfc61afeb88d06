"""Planning: readers and images needed to show that synthetic images cannot be distinguished.

Power is the share of simulated studies that reach the verdict when the true mean AUC is 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.console import Progress, silent
from scansynth.errors import ReaderError
from scansynth.reader.statistics.arms import Compared
from scansynth.reader.statistics.designs import Arms, compared_power
from scansynth.reader.statistics.searching import Search
from scansynth.reader.statistics.searching import power as search_power
from scansynth.reader.statistics.simulation import ShareWorld, World, share_interval, study
from scansynth.reader.statistics.verdict import LEAST_READERS, Outcome, decide, equivalence_level
from scansynth.seeds import generator

READERS, IMAGES = (2, 3, 5, 8, 12), (100, 200, 400)
RUNS = 400
"""Simulated studies for each cell: a power is known to within 5 points."""

ENOUGH = 0.8


@dataclass(frozen=True)
class Asked:
    """What a plan is made for.

    Attributes:
        margin: Of equivalence, as distance of the AUC from 0.5.
        level: Of the study's intervals.
        reader_sd: Standard deviation of the readers' true AUC, or of the share of findings that they find.
        readers: Numbers of readers.
        images: Numbers of images that each of them reads.
        runs: Simulated studies for each cell.
        seed: Of the draws.
    """

    margin: float = 0.1
    level: float = 0.95
    reader_sd: float = 0.1
    readers: Sequence[int] = READERS
    images: Sequence[int] = IMAGES
    runs: int = RUNS
    seed: int = 0

    @property
    def rule(self) -> tuple[float, float, int, int]:
        """What every simulated study is judged with: margin, level, runs, seed."""
        return self.margin, self.level, self.runs, self.seed


DEFAULTS = Asked()


@dataclass(frozen=True)
class Cell:
    """One design.

    Attributes:
        readers: How many.
        images: That each reader reads, half of them synthetic, repeats not counted.
        equivalent: Share of the studies that show equivalence, or a difference within the margin, when AUC is 0.5.
        found: Share that come to `distinguishable` when the AUC is 0.5 plus twice the margin.
    """

    readers: int
    images: int
    equivalent: float
    found: float


@dataclass(frozen=True)
class Plan:
    """A table of designs.

    Attributes:
        margin: Of equivalence, as distance of the AUC from 0.5.
        level: Of the study's intervals.
        reader_sd: Standard deviation of the readers' true AUC.
        runs: Simulated studies behind each cell.
        cells: The designs.
        single: Images of each class that one reader needs for a share within the margin, readers left aside.
    """

    margin: float
    level: float
    reader_sd: float
    runs: int
    cells: tuple[Cell, ...]
    single: int


def power(
    world: World, readers: int, images: int, margin: float, level: float, runs: int, seed: int
) -> dict[Outcome, float]:
    """Share of the simulated studies that come to each outcome.

    Args:
        world: The truth.
        readers: Two at least, for there to be an analysis; fewer than `LEAST_READERS` get no verdict in a real study.
        images: That each reader reads.
        margin: Of equivalence.
        level: Of the intervals.
        runs: Simulated studies.
        seed: Of the draws.
    """
    outcomes = dict.fromkeys(Outcome, 0)
    for run in range(runs):
        rng = generator(seed, "plan reader", world, readers, images, run)
        outcomes[decide(study(world, readers, images, rng).general, margin, level).outcome] += 1
    return {outcome: count / runs for outcome, count in outcomes.items()}


def plan(asked: Asked = DEFAULTS, progress: Progress = silent) -> Plan:
    """The table of `scansynth plan reader`.

    Raises:
        ReaderError: A number is out of range.
    """
    _check(asked, 8)

    def cell(count: int, size: int) -> Cell:
        worlds = World(0.5, asked.reader_sd), World(min(0.5 + 2 * asked.margin, 0.95), asked.reader_sd)
        none, seen = (power(world, count, size, *asked.rule) for world in worlds)
        shown = none[Outcome.EQUIVALENT] + none[Outcome.WITHIN]
        return Cell(count, size, shown, seen[Outcome.DISTINGUISHABLE])

    cells = _each(cell, asked, progress)
    return Plan(asked.margin, asked.level, asked.reader_sd, asked.runs, cells, exact_images(asked.margin, asked.level))


def plan_sets(asked: Asked = DEFAULTS, progress: Progress = silent) -> Plan:
    """The same for two sets that are compared: half of a reader's images are real, a quarter of either set.

    Readers' own difference between the sets has half the standard deviation of their AUC.

    Raises:
        ReaderError: A number is out of range.
    """
    _check(asked, 16)
    same = Arms(reader_sd=asked.reader_sd, apart_sd=asked.reader_sd / 2.0)
    other = replace(same, difference=min(2.0 * asked.margin, 0.35))

    def cell(count: int, size: int) -> Cell:
        none, seen = (compared_power(arms, count, size, *asked.rule) for arms in (same, other))
        shown = none[Compared.EQUIVALENT] + none[Compared.WITHIN]
        return Cell(count, size, shown, seen[Compared.DIFFERENT])

    return Plan(asked.margin, asked.level, asked.reader_sd, asked.runs, _each(cell, asked, progress), 0)


def plan_marks(asked: Asked = DEFAULTS, progress: Progress = silent) -> Plan:
    """The same for marks: whether findings are found in synthetic images as in real ones.

    Readers' own difference between real and synthetic images has half the standard deviation of what they find.

    Raises:
        ReaderError: A number is out of range.
    """
    _check(asked, 8)
    same = Search(reader_sd=asked.reader_sd, apart_sd=asked.reader_sd / 2.0)
    other = replace(same, difference=min(2.0 * asked.margin, 0.35))

    def cell(count: int, size: int) -> Cell:
        none, seen = (search_power(world, count, size, *asked.rule) for world in (same, other))
        shown = none[Compared.EQUIVALENT] + none[Compared.WITHIN]
        return Cell(count, size, shown, seen[Compared.DIFFERENT])

    return Plan(asked.margin, asked.level, asked.reader_sd, asked.runs, _each(cell, asked, progress), 0)


def _each(cell: Callable[[int, int], Cell], asked: Asked, progress: Progress) -> tuple[Cell, ...]:
    """A cell for each number of readers with each number of images."""
    designs = [(count, size) for count in asked.readers for size in asked.images]
    cells: list[Cell] = []
    for count, size in designs:
        progress(len(cells), len(designs), f"{count} readers, {size} images")
        cells.append(cell(count, size))
    return tuple(cells)


def _check(asked: Asked, least: int) -> None:
    """Refuses numbers that are out of range."""
    if not 0.0 < asked.margin < 0.5 or not 0.5 < asked.level < 1.0 or not 0.0 <= asked.reader_sd <= 0.4:
        raise ReaderError(
            "give a margin between 0 and 0.5, a level between 0.5 and 1, and a standard deviation of readers from 0 "
            "to 0.4"
        )
    if min(asked.readers, default=0) < 2 or min(asked.images, default=0) < least:
        told = {8: "eight", 16: "sixteen"}[least]
        raise ReaderError(f"a plan needs at least two readers and {told} images")


def exact_power(images: int | NDArray[np.int64], margin: float, level: float) -> NDArray[np.float64]:
    """Chance that one reader who guesses shows a share within 0.5 +- margin by Clopper-Pearson bounds.

    The upper bound of x lies below p exactly when so few, or fewer, have at most a chance of 1 - level under p.

    Args:
        images: That the reader answers; one number, or several at once.
        margin: Around one half.
        level: Of each of the two bounds.
    """
    count = np.asarray(images)
    most = stats.binom.ppf(1.0 - level, count, 0.5 + margin)
    most = np.where(stats.binom.cdf(most, count, 0.5 + margin) > 1.0 - level, most - 1, most)
    within = stats.binom.cdf(most, count, 0.5) - stats.binom.cdf(count - most - 1, count, 0.5)
    return np.asarray(np.maximum(within, 0.0), dtype=np.float64)


def exact_images(margin: float, level: float = 0.95, enough: float = ENOUGH) -> int:
    """Images from which on one reader has the power, whatever more are added: exact, by trying.

    The normal approximation starts the search: (z_level + z_((1 + power) / 2))^2 / (4 margin^2). Power saws up and
    down with the number, so the last number that falls short is looked for, not the first that does not.
    """
    start = (stats.norm.ppf(level) + stats.norm.ppf((1.0 + enough) / 2.0)) ** 2 / (4.0 * margin**2)
    numbers = np.arange(max(math.floor(0.7 * start), 1), math.ceil(1.4 * start) + 20)
    return 1 + int(numbers[exact_power(numbers, margin, level) < enough].max())


def share_power(
    world: ShareWorld, readers: int, images: int, margin: float, level: float, runs: int, seed: int
) -> float:
    """Share of simulated studies that show a share of "called real" within 0.5 +- margin, readers and images random.

    It looks at synthetic images alone, as the published study did; a study by our rule looks at the AUC (`power`).
    """
    shown = 0
    for run in range(runs):
        calls = world.calls(readers, images, generator(seed, "plan shares", world, readers, images, run))
        found = share_interval(calls, equivalence_level(level))
        shown += 0.5 - margin <= found.low and found.high <= 0.5 + margin
    return shown / runs


def sentences_of_sets(made: Plan) -> tuple[str, ...]:
    """The plan of two sets in plain words."""
    enough = [cell for cell in made.cells if cell.equivalent >= ENOUGH and cell.readers >= LEAST_READERS]
    least = min(enough, key=lambda cell: (cell.readers * cell.images, cell.readers), default=None)
    points = round(100 * made.margin)
    first = (
        f"{least.readers} readers of {least.images} images each show that two sets differ by less than {points} points "
        f"in {least.equivalent:.0%} of studies, if they do not differ; it is the smallest design of this table that "
        f"reaches {ENOUGH:.0%}."
        if least
        else f"No design of this table shows in {ENOUGH:.0%} of studies that two sets differ by less than {points} "
        "points, even if they do not differ. Add readers or images, or plan with a wider margin and state it."
    )
    return (
        first,
        "Each reader is compared with nobody but himself or herself, so that how much readers differ matters little, "
        "and images matter more than in a study of one set.",
    )


def sentences_of_marks(made: Plan) -> tuple[str, ...]:
    """The plan of marks in plain words."""
    enough = [cell for cell in made.cells if cell.equivalent >= ENOUGH and cell.readers >= LEAST_READERS]
    least = min(enough, key=lambda cell: (cell.readers * cell.images, cell.readers), default=None)
    points = round(100 * made.margin)
    first = (
        f"{least.readers} readers of {least.images} images each show that findings are found in synthetic images as in "
        f"real ones, within {points} points of the area under the free-response curve, in {least.equivalent:.0%} of "
        f"studies, if they are; it is the smallest design of this table that reaches {ENOUGH:.0%}."
        if least
        else f"No design of this table shows in {ENOUGH:.0%} of studies that findings are found in synthetic images as "
        f"in real ones, within {points} points, even if they are. Add readers or images, or plan with a wider margin "
        "and state it."
    )
    world = Search()
    return (
        first,
        f"Supposed are one lesion in each image, {world.found:.0%} of them found, and {world.false:g} false marks for "
        "each image. Each reader is compared with nobody but himself or herself.",
        "Only images of which it is known where their lesions are count: the synthetic set needs masks for this.",
    )


def sentences(made: Plan) -> tuple[str, ...]:
    """The plan in plain words."""
    enough = [cell for cell in made.cells if cell.equivalent >= ENOUGH and cell.readers >= LEAST_READERS]
    least = min(enough, key=lambda cell: (cell.readers * cell.images, cell.readers), default=None)
    points = round(100 * made.margin)
    spread = f"readers whose AUCs differ by a standard deviation of {round(100 * made.reader_sd)} points"
    first = (
        f"With {spread}, {least.readers} readers of {least.images} images each show equivalence within {points} points "
        f"in {least.equivalent:.0%} of studies, if readers truly cannot distinguish them; it is the smallest design "
        f"of this table that reaches {ENOUGH:.0%}."
        if least
        else f"With {spread}, no design of this table shows equivalence within {points} points in {ENOUGH:.0%} of "
        "studies, "
        f"even if readers truly cannot distinguish them. Add readers, or plan with a wider margin and state it."
    )
    return (
        first,
        "More readers help more than more images: images sharpen each reader's figure, but only readers show how much "
        "readers differ.",
        f"One reader alone needs {made.single} images of a class for a share within {points} points of one half, and "
        f"the result then holds for that reader only.",
        "Two readers can never show that readers in general cannot distinguish the images: their difference is a "
        "single number, and any verdict beyond the two would rest on it. Their figures are reported singly. A verdict "
        f"needs {LEAST_READERS} readers, and a good chance of one needs more.",
    )
