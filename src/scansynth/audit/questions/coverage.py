"""Do the images lie among those of new patients, and do they cover all kinds of patients?

The claims `fidelity.precision`, `fidelity.density`, `diversity.coverage` and `diversity.recall`, by each judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.audit.context import Context
from scansynth.claims.claim import Claim, Control, Finding, Measurement, decide, floor_of, sensible
from scansynth.console import Progress
from scansynth.metrics import planted
from scansynth.metrics.diversity import distances
from scansynth.metrics.prdc import caught, crowd, expected_coverage, inside, reached
from scansynth.statistics import Interval, Verdict, group_masks

K = 3
"""A ball reaches to the third nearest image: with fewer, noise dominates; with more, the figures saturate."""

LARGEST_HALF = 250
REDRAWS = 3
"""How often the image of each patient is resampled within a draw of halves."""

_MOST = 1 << 21  # distances processed in one pass: 16 MB per copy

CONTROL_DRAWS = 50
SHARE = 0.3
"""Share of a planted set that is degraded, or of the patients that it leaves out."""

NEEDED = 0.8
"""Share of the draws in which a planted fault must be found."""

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

NOISE, CALM = "noise", "half the variation"
MIXED_UP = "three images in ten with their quarters exchanged"
LEFT_OUT = "a kind of patient left out"
_FLOOR = "two random halves of the test patients, one image of each patient, each half in turn against the other"


@dataclass(frozen=True)
class _Measure:
    """One of the four figures.

    Attributes:
        what: In words.
        of: The figure, from what lies in the balls of the real images, and what in those of the judged ones.
        expected: Of two sets of one source, by their sizes; none: measured on the floor.
        faults: What it must find.
        shown: What follows when it is at least the margin.
        refuted: What follows when it is less.
    """

    what: str
    of: Callable[[Mask, Mask], Floats]
    expected: Callable[[int, int], float] | None
    faults: tuple[str, ...]
    shown: str
    refuted: str


_AMONG = "the images lie among those of real patients, by this measure"
_REACH = "the set covers as many patients as new patients do, by this measure"

MEASURES: Mapping[str, _Measure] = {
    "fidelity.precision": _Measure(
        "The share of synthetic images with a real patient close by",
        lambda real, made: caught(real),
        None,
        (MIXED_UP, NOISE),
        _AMONG,
        "some images resemble no real patient",
    ),
    "fidelity.density": _Measure(
        "The number of real patients close to a synthetic image",
        lambda real, made: crowd(real, K),
        lambda n, m: 1.0,
        (MIXED_UP, NOISE),
        _AMONG,
        "images lie where real patients are rare",
    ),
    "diversity.coverage": _Measure(
        "The share of real patients with a synthetic image close by",
        lambda real, made: reached(real),
        lambda n, m: expected_coverage(n, m, K),
        (LEFT_OUT,),
        _REACH,
        "kinds of patients are missing",
    ),
    "diversity.recall": _Measure(
        "The share of real patients within the spread of the synthetic images",
        lambda real, made: caught(made),
        None,
        (CALM,),
        _REACH,
        "the set spreads less than real patients do",
    ),
}
CLAIMS = NAMES = tuple(MEASURES)


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The four figures by each judge."""
    spoiled = faults(context.real.images, context.rng("neighbour faults"))
    findings: list[Finding] = []
    for place, view in enumerate(context.views):
        progress(place, len(context.views), view.judge)
        found = assess(
            view.synthetic,
            view.real,
            context.real.patients,
            {fault: view.encode(images) for fault, images in spoiled.items()},
            context.settings.draws,
            context.settings.level,
            context.rng("neighbours"),
        )
        findings += [finding.by(view.judge) for finding in found.values()]
    return tuple(findings)


def faults(images: NDArray[np.float32], rng: np.random.Generator) -> Mapping[str, NDArray[np.float32]]:
    """Degraded test images (n, side, side), of which planted sets are made; a missing kind needs none."""
    half = images.shape[1] // 2
    return {
        MIXED_UP: np.roll(images, (half, half), axis=(1, 2)),
        NOISE: planted.noise(images, 0.025, rng),
        CALM: planted.halfway_to_mean(images),
    }


@dataclass(frozen=True)
class _Space:
    """Distances between all images that there are, of which every draw takes its part.

    Attributes:
        real: Of the test images (n, n).
        across: From the test images to the set (n, m).
        made: Of the set (m, m).
        spoiled: From the test images to their spoiled selves (n, n), by fault.
        calm: Of the test images with half the variation (n, n).
    """

    real: Floats
    across: Floats
    made: Floats
    spoiled: Mapping[str, Floats]
    calm: Floats


@dataclass(frozen=True)
class _Draws:
    """Figures of all draws, one column for each of `NAMES`.

    Attributes:
        size: Images on each side, all of different patients on a real one.
        floor: Half against half (draws, 4).
        figure: First and second half of the patients, by first and second part of the set (draws, 2, 2, 4).
        planted: Planted sets of the first draws, at least `CONTROL_DRAWS` where there are as many, by claim and fault;
            as times the expected where that is a formula.
    """

    size: int
    floor: Floats
    figure: Floats
    planted: Mapping[tuple[str, str], Floats]


def assess(
    synthetic: Floats,
    real: Floats,
    patients: NDArray[Any],
    spoiled: Mapping[str, Floats],
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> dict[str, Finding]:
    """The four figures of a set against test patients, by the rules in `docs/evidence.md`.

    Args:
        synthetic: Features of the set (m, d); m >= 8.
        real: Features of the test images (n, d); eight patients at least.
        patients: Patient of each test image (n,).
        spoiled: Features of the images of `faults` (n, d).
        draws: Number of random splits of the patients into halves.
        level: Of the intervals.
        rng: Draws halves, images, parts of the set and patients left out.
    """
    space = _Space(
        distances(real),
        distances(real, synthetic),
        distances(synthetic),
        {fault: distances(real, features) for fault, features in spoiled.items()},
        distances(spoiled[CALM]),
    )
    found = _draw(space, patients, draws, rng)
    n = {"synthetic images": len(synthetic), "real images": len(real), "real patients": len(np.unique(patients))}
    return {name: _finding(name, found, n, level) for name in NAMES}


def half_size(patients: NDArray[Any], made: int) -> int:
    """Images on each side of a draw, for test images of these patients and so many synthetic images."""
    return min(len(np.unique(patients)) // 2, made // 2, LARGEST_HALF)


def draw_images(patients: NDArray[Any], size: int, shape: tuple[int, int], rng: np.random.Generator) -> Places:
    """Two sets of images, all of different patients, in each draw.

    Args:
        patients: Patient of each image (n,).
        size: Images in each set.
        shape: Draws of the patients, and of the images of each patient within a draw.
        rng: Draws both.

    Returns:
        Places (*shape, 2, size).
    """
    members = [np.flatnonzero(mask) for mask in group_masks(patients)]
    counts = np.array([len(images) for images in members])
    table = np.zeros((len(members), counts.max()), dtype=np.int64)
    for row, images in zip(table, members, strict=True):
        row[: len(images)] = images
    who = np.stack([rng.permutation(len(members))[: 2 * size] for _ in range(shape[0])])[:, None, :]
    which = (rng.random((*shape, 2 * size)) * counts[who]).astype(np.int64)
    return np.asarray(table[who, which].reshape(*shape, 2, size), dtype=np.int64)


def draw_parts(made: int, size: int, draws: int, rng: np.random.Generator) -> Places:
    """Two parts of a set in each draw: places (draws, 2, size), drawn without replacement."""
    return np.stack([rng.permutation(made)[: 2 * size].reshape(2, size) for _ in range(draws)])


def take(matrix: Floats, rows: Places, columns: Places) -> Floats:
    """The part of a matrix between places, for many draws at a time: (..., n) and (..., m) to (..., n, m)."""
    found: Floats = matrix[rows[..., :, None], columns[..., None, :]]
    return found


def _draw(space: _Space, patients: NDArray[Any], draws: int, rng: np.random.Generator) -> _Draws:
    """Splits the patients repeatedly, and measures each half against the other and against parts of the set."""
    size = half_size(patients, len(space.made))
    images = draw_images(patients, size, (draws, REDRAWS), rng)
    parts = draw_parts(len(space.made), size, draws, rng)
    floor, figure = np.zeros((draws, 4)), np.zeros((draws, 2, 2, 4))
    planted_sets: dict[tuple[str, str], list[Floats]] = {}
    step = max(1, _MOST // (2 * REDRAWS * size**2))
    for rows in (slice(start, min(start + step, draws)) for start in range(0, draws, step)):
        half = images[rows]
        other, of_half = half[:, :, ::-1], take(space.real, half, half)
        floor[rows] = _figures(of_half, take(space.real, half, other), of_half[:, :, ::-1]).mean(axis=(1, 2))
        for place in (0, 1):
            part = parts[rows, None, None, place]
            found = _figures(of_half, take(space.across, half, part), take(space.made, part, part))
            figure[rows, :, place] = found.mean(axis=1)
        if rows.start < CONTROL_DRAWS:
            for key, values in _planted(space, half, other, of_half, rng).items():
                planted_sets.setdefault(key, []).append(values.mean(axis=(1, 2)))
    return _Draws(size, floor, figure, {key: np.concatenate(values) for key, values in planted_sets.items()})


def _figures(real: Floats, across: Floats, made: Floats) -> Floats:
    """The figures of `NAMES`, (..., 4), from distances within and between sets."""
    balls, judged = inside(real, across, K), inside(made, np.swapaxes(across, -1, -2), K)
    return np.stack([measure.of(balls, judged) for measure in MEASURES.values()], axis=-1)


def _planted(
    space: _Space, half: Places, other: Places, of_half: Floats, rng: np.random.Generator
) -> dict[tuple[str, str], Floats]:
    """What one half of the patients says of the other, degraded in each way, as times the expected (..., sides)."""
    kept = without_a_kind(space.real, other, rng)
    mixed = rng.random(other.shape).argsort(axis=-1) < round(SHARE * other.shape[-1])
    across = {
        MIXED_UP: np.where(
            mixed[..., None, :], take(space.spoiled[MIXED_UP], half, other), take(space.real, half, other)
        ),
        NOISE: take(space.spoiled[NOISE], half, other),
        LEFT_OUT: take(space.real, half, kept),
        CALM: take(space.spoiled[CALM], half, other),
    }
    found = {}
    for fault, matrix in across.items():
        balls = inside(of_half, matrix, K)
        # only recall looks at the balls of the judged side, and its fault is the calm set
        judged = inside(take(space.calm, other, other), np.swapaxes(matrix, -1, -2), K) if fault == CALM else balls
        for name, measure in MEASURES.items():
            if fault in measure.faults:
                expected = measure.expected(half.shape[-1], matrix.shape[-1]) if measure.expected else 1.0
                found[name, fault] = measure.of(balls, judged) / expected
    return found


def without_a_kind(matrix: Floats, places: Places, rng: np.random.Generator) -> Places:
    """Those of the places that are not among the nearest to one of them, chosen at random: a kind is left out.

    Args:
        matrix: Distances of all images (n, n).
        places: Of images of different patients (..., k).
        rng: Draws the middle of the kind.

    Returns:
        (..., k - `SHARE` k); nobody is repeated in the place of those who are gone.
    """
    centre = np.take_along_axis(places, rng.integers(places.shape[-1], size=(*places.shape[:-1], 1)), axis=-1)
    order = np.argsort(matrix[centre, places], axis=-1, kind="stable")
    kept: Places = np.take_along_axis(places, order[..., round(SHARE * places.shape[-1]) :], axis=-1)
    return kept


def _finding(name: str, draws: _Draws, n: Mapping[str, int], level: float) -> Finding:
    measure, place = MEASURES[name], NAMES.index(name)
    floor, figure = draws.floor[:, place], draws.figure[..., place]
    expected = max(measure.expected(draws.size, draws.size) if measure.expected else float(floor.mean()), 1e-9)
    margin = float(np.quantile(floor, 0.05)) / expected
    scale = 1.0 if measure.expected else expected
    planted_sets = {fault: draws.planted[name, fault] / scale for fault in measure.faults}
    value = float(figure.mean()) / expected
    error = _error(figure, draws.size, n, measure.expected is None) / expected
    half = float(stats.t.ppf(0.5 + level / 2.0, 2 * draws.size - 1)) * error
    measured = Measurement(
        value=value,
        interval=Interval(max(value - half, 0.0), value + half),
        level=level,
        floor=floor_of(_FLOOR, floor / expected),
        control=tuple(Control(fault, float(np.mean(d < margin)), NEEDED) for fault, d in planted_sets.items()),
        margin=margin,
        n=n,
    )
    picture = {
        "floor": (floor / expected).tolist(),
        "synthetic": (figure.mean(axis=(1, 2)) / expected).tolist(),
        "planted": planted_sets[measure.faults[0]].tolist(),
    }
    return Finding(_claim(name, measured), picture)


def _error(figure: Floats, size: int, n: Mapping[str, int], measured: bool) -> float:
    """Standard error of a figure averaged over draws, from halves: the delete-half jackknife.

    Half of the squared difference between the figures of two halves is, on average, twice the variance of a figure
    from both (Shao and Wu, Ann. Stat. 17, 1989). Here patients and images are halved at once: what is due to their
    meeting is taken off each side, counted once, and each part is brought from 2 x `size` to the number of images
    that all draws together used. It does not vanish with more draws, and errs on the wide side.

    Args:
        figure: Halves of patients by parts of the set (draws, 2, 2).
        size: Images on a side.
        n: Numbers of images and patients.
        measured: What is expected was measured on the same patients, whose luck as the judged side counts too.
    """
    of_patients = float(np.mean((figure[:, 0].mean(axis=1) - figure[:, 1].mean(axis=1)) ** 2)) / 4.0
    of_images = float(np.mean((figure[:, :, 0].mean(axis=1) - figure[:, :, 1].mean(axis=1)) ** 2)) / 4.0
    meeting = float(np.mean((figure[:, 0, 0] - figure[:, 0, 1] - figure[:, 1, 0] + figure[:, 1, 1]) ** 2)) / 16.0
    by_patients, by_images = 2 * size / n["real patients"], 2 * size / n["synthetic images"]
    patients, images = max(of_patients - meeting, 0.0), max(of_images - meeting, 0.0)
    extra = images * by_patients if measured else 0.0
    return math.sqrt(patients * by_patients + images * by_images + meeting * by_patients * by_images + extra)


def _claim(name: str, measured: Measurement) -> Claim:
    measure, interval = MEASURES[name], measured.interval
    start = (
        f"{measure.what} is {sensible(measured.value)} times what new patients would give ({measured.level:.0%} "
        f"interval {sensible(interval.low)} to {sensible(interval.high)}). "
        f"Between two groups of real patients it falls to {sensible(measured.margin)} times by chance."
    )
    return decide(
        name,
        measured,
        {
            Verdict.SHOWN: f"{start} So {measure.shown}.",
            Verdict.REFUTED: f"{start} So {measure.refuted}.",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients or synthetic images would help.",
        },
    )
