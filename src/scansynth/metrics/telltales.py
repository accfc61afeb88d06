"""What a pipeline leaves behind in images and files, as numbers; the anatomy is not looked at.

Each figure of an image compares the image with itself: its grey values with their neighbours on the scale, its
borders with the next row, one grid of 8 x 8 blocks with the 63 others. High-frequency energy is left out: it is a
matter of how sharp a scan is, and no trace of a file.

`as_readers_see` is the one way on which images of both kinds reach a reader. It takes away what only a program sees of
how grey values were written down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Floats = NDArray[np.float64]
Stored = NDArray[np.uint16]

_TOP = 65535
_BIN = 256  # grey values within which a histogram is taken for even
_LEVEL = 257  # grey values of 16 bits to one of 8
_BLOCK = 8  # side of a block of JPEG (ITU-T T.81, A.3.1)
_FINE = 4  # cosine terms from this diagonal on are fine detail, the first that JPEG drops
_LARGEST = 128  # pixels a side that are searched for block grids: enough, and the time stays short
LEAST_SIDE = 16

_SIDES = ("top", "bottom", "left", "right")
TRACES: tuple[str, ...] = (
    "smallest step between grey values",
    "common step of all grey values",
    "grey values used of those within reach",
    "share of odd grey values",
    "bits in use",
    "grey levels used more than their neighbours",
    "share of black",
    "share of white",
    *(f"border that repeats its neighbour, {side}" for side in _SIDES),
    *(f"border of one grey value, {side}" for side in _SIDES),
    "edges along a grid of 8 pixels",
    "fine detail dropped in blocks of 8 pixels",
    "edges along any other grid",
)
"""Names of the columns of `trace_features`."""


def as_readers_see(images: Stored, rng: np.random.Generator) -> Stored:
    """Images as readers get them: spread by noise of one level, and rounded to 256 grey levels.

    Two images that were written in different steps (whole Hounsfield units, 8 bits, 12 bits) must not be told by the
    steps. Rounding alone is not enough: 1,401 units on 256 levels give five or six units to a level, a comb that any
    histogram shows. Noise with a triangular distribution of one level to each side makes mean and variance of the
    error the same whatever the steps were (Lipshitz, Wannamaker and Vanderkooy, J. Audio Eng. Soc. 40, 1992). With
    the rounding its standard deviation is half a level, 0.2% of the grey range: less than the noise of a scan.

    Args:
        images: uint16 (n, side, side), 0..65535.
        rng: Of the noise.

    Returns:
        uint16 (n, side, side), multiples of 257.
    """
    made = np.empty_like(images)
    for place, image in enumerate(images):
        noise = rng.random((2, *image.shape), dtype=np.float32)
        levels = np.rint(image / np.float32(_LEVEL) + noise[0] - noise[1])
        made[place] = np.clip(levels, 0, 255).astype(np.uint16) * np.uint16(_LEVEL)
    return made


def trace_features(images: Stored) -> Floats:
    """Traces of the pipeline in each image.

    Args:
        images: uint16 (n, side, side), all of one size, 0..65535.

    Returns:
        (n, d) with a column for each of `TRACES`, all finite. Steps are log2 of grey values, shares 0..1, the
        figures of grids have no unit.

    Raises:
        ValueError: The images are not square, not uint16, or smaller than 16 pixels a side.
    """
    if images.dtype != np.uint16 or images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError("traces are looked for in square images of 16 bits, (n, side, side)")
    if images.shape[1] < LEAST_SIDE:
        raise ValueError(f"traces need images of {LEAST_SIDE} pixels a side at least")
    rows = [[*_grey_values(image), *_borders(image), *_grids(image)] for image in images]
    return np.array(rows, dtype=np.float64).reshape(len(images), len(TRACES))


def _grey_values(image: Stored) -> tuple[float, ...]:
    """Gaps, bits, clipping. The two ends of the scale count as clipping and for nothing else."""
    black, white = float(np.mean(image == 0)), float(np.mean(image == _TOP))
    inner = image[(image > 0) & (image < _TOP)].astype(np.int64)
    values = np.unique(inner)
    if len(values) < 2:
        return 16.0, 16.0, 1.0, 0.5, 0.0, 0.0, black, white
    steps = np.diff(values)
    counts = np.bincount(inner // _BIN)
    # so many different values are expected when all of a bin are equally likely
    expected = float(np.sum(_BIN * (1.0 - (1.0 - 1.0 / _BIN) ** counts[counts > 0])))
    lowest_bit = int(np.bitwise_or.reduce(values))
    trailing = (lowest_bit & -lowest_bit).bit_length() - 1
    return (
        float(np.log2(steps.min())),
        float(np.log2(np.gcd.reduce(steps))),
        len(values) / expected,
        float(np.mean(inner & 1)),
        float(int(values[-1]).bit_length() - trailing),
        _comb(counts),
        black,
        white,
    )


def _comb(counts: NDArray[np.int64]) -> float:
    """How far neighbouring levels of 8 bits differ in use, against what chance allows: log, 0 for an even histogram.

    A coarser or finer scale that was rounded to this one leaves a comb in the histogram (Stamm and Liu, IEEE Trans.
    Inf. Forensics Secur. 5, 2010). Levels at the ends of what occurs are left out.
    """
    used = np.flatnonzero(counts)
    h = counts[used[0] : used[-1] + 1].astype(np.float64)[1:-1]
    if len(h) < 3:
        return 0.0
    beside = h[:-2] + h[2:]
    excess, by_chance = np.sum((h[1:-1] - beside / 2.0) ** 2), np.sum(h[1:-1] + beside / 4.0)
    return float(np.log((excess + 1.0) / (by_chance + 1.0)))


def _borders(image: Stored) -> tuple[float, ...]:
    """For each side: the share of its outermost line that equals the next one, and the share of lines all constant."""
    repeats, constant = [], []
    for view in (image, image[::-1], image.T, image.T[::-1]):
        repeats.append(float(np.mean(view[0] == view[1])))
        varied = (view != view[0, 0]).any(axis=1)
        constant.append(float(np.argmax(varied) if varied.any() else len(view)) / len(view))
    return (*repeats, *constant)


def _grids(image: Stored) -> tuple[float, ...]:
    """Block edges on the 8-grid, detail dropped on one 8-grid, edges on a grid of another period."""
    start = max(0, (len(image) - _LARGEST) // 2)
    centre = image[start : start + _LARGEST, start : start + _LARGEST].astype(np.float32)
    across, down = _edge_profile(centre), _edge_profile(centre.T)
    on_eight = _best_phase(across, 8) + _best_phase(down, 8)
    on_others = np.mean([_best_phase(across, period) + _best_phase(down, period) for period in (7, 9)])
    return float(on_eight - on_others), _dropped_detail(centre), _any_grid(across, down)


def _edge_profile(image: NDArray[np.float32]) -> Floats:
    """How much larger the step over each column boundary is than the steps beside it, (side - 3,).

    Wang, Sheikh and Bovik, ICIP 2002: blockiness as excess of the differences over block boundaries. In units of the
    image's mean step, so contrast does not count.
    """
    steps = np.abs(np.diff(image, axis=1)).mean(axis=0, dtype=np.float64)
    excess = steps[1:-1] - (steps[:-2] + steps[2:]) / 2.0
    return np.asarray(excess / (steps.mean() + 1e-9), dtype=np.float64)


def _best_phase(profile: Floats, period: int) -> float:
    """The largest mean of the profile over boundaries `period` apart, among all phases."""
    phase = np.arange(len(profile)) % period
    return float((np.bincount(phase, profile, period) / np.maximum(np.bincount(phase, minlength=period), 1)).max())


def _any_grid(across: Floats, down: Floats) -> float:
    """Whether edges return at even distances of 2 to 16 pixels: log of the highest peak over the mean power.

    Finds blocks that were enlarged or shrunk, and the grid of a network that enlarges by repeating.
    """
    power = np.zeros(len(across) // 2 + 1)
    for profile in (across, down):
        part = np.abs(fft.rfft(profile - profile.mean())) ** 2
        power += part / (part.mean() + 1e-12)
    power = power[len(across) // 16 :]
    return float(np.log(power.max() + 1e-6) - np.log(power.mean() + 1e-6))


def _fine_terms() -> NDArray[np.float32]:
    """The transform of a block of 64 pixels to its cosine terms of fine detail, (terms, 64)."""
    one = fft.dct(np.eye(_BLOCK), axis=0, norm="ortho")
    fine = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)) >= _FINE
    return np.asarray(np.kron(one, one)[fine.ravel()], dtype=np.float32)


_TERMS = _fine_terms()


def _dropped_detail(image: NDArray[np.float32]) -> float:
    """How far one of the 64 phases of the 8 x 8 grid stands out by less fine detail than the others.

    JPEG rounds most cosine terms of fine detail to zero, on its own grid only (Fan and de Queiroz, IEEE Trans. Image
    Process. 12, 2003). The mean logarithm of these terms is taken on each grid; given is the distance of the lowest
    from the median, in units of the middle half of all phases.
    """
    count = (len(image) - _BLOCK + 1) // _BLOCK
    reach = count * _BLOCK
    windows = np.lib.stride_tricks.sliding_window_view(image, (reach, reach))[:_BLOCK, :_BLOCK]
    phases = windows.reshape(_BLOCK, _BLOCK, count, _BLOCK, count, _BLOCK)
    # to (phase, cosine terms, blocks): both passes of the transform are then one product of matrices
    blocks = np.ascontiguousarray(phases.transpose(0, 1, 3, 5, 2, 4)).reshape(_BLOCK**2, _BLOCK**2, count**2)
    size = np.abs(_TERMS @ blocks)
    # a sixteenth of a grey level of 8 bits: below, rounding speaks
    detail = np.log(size + np.float32(16.0)).mean(axis=(1, 2), dtype=np.float64)
    low, middle, high = np.quantile(detail, (0.25, 0.5, 0.75))
    return float(np.log1p((middle - detail.min()) / (high - low + 1e-3)))


def header_features(rows: Sequence[Mapping[str, Any]]) -> tuple[Floats, tuple[str, ...]]:
    """What a viewer or a file system shows of files, as columns of numbers.

    A number is taken as it is, and is 0 where it is missing or not finite; a word becomes a column of 0 and 1 for each
    value that occurs; another column marks where something is missing.

    Args:
        rows: One mapping for each file, of one set of keys: numbers, truth values, words, or None.

    Returns:
        (n, d), and the names of the columns in their order.

    Raises:
        ValueError: A file has other keys than the first.
    """
    columns: dict[str, list[float]] = {}
    keys = tuple(rows[0]) if rows else ()
    if any(row.keys() != set(keys) for row in rows):
        raise ValueError("every file needs the same keys")
    for key in keys:
        values = [None if isinstance(row[key], float) and not math.isfinite(row[key]) else row[key] for row in rows]
        words = sorted({value for value in values if isinstance(value, str)})
        if any(value is None for value in values):
            columns[f"{key} missing"] = [float(value is None) for value in values]
        if len(words) < len(values) and any(not isinstance(value, str | None) for value in values):
            columns[key] = [0.0 if isinstance(value, str | None) else float(value) for value in values]
        columns |= {f"{key} is {word}": [float(value == word) for value in values] for word in words}
    names = tuple(columns)
    return np.array([columns[name] for name in names], dtype=np.float64).T.reshape(len(rows), len(names)), names
