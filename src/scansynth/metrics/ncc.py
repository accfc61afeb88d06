"""Aligned normalised cross-correlation: how close is an image to the nearest of many?

Lewis, Fast Normalized Cross-Correlation, Vision Interface 1995, equation 2: with a the query's centre and
b_s the reference under it at shift s, both over the same k x k pixels,

    NCC(s) = sum (a - mean a)(b_s - mean b_s) / (|a - mean a| |b_s - mean b_s|)

and the score is the largest over the shifts of up to `RADIUS` pixels each way and over the mirror images.
1 is the same image up to brightness and contrast. As only (2 RADIUS + 1)^2 = 81 shifts are wanted, each is one
matrix product over all pairs; a Fourier transform of every pair would compute thousands and keep 81.

`prepare` brings images to one size and to a band of detail. Without it shading that all scans share makes any
two images close, and grain hides a copy. What it leaves is smooth over two pixels, so the sums run over every
second pixel in each direction (`STEP`), while the shifts are of one pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from scansynth.console import Progress, silent

RADIUS = 4
WORKING = 64
"""Side in pixels at which images are compared: larger ones are averaged down, smaller ones stay."""

STEP = 2
"""Every how many pixels the sums of the correlation run, in each direction."""

_FINE, _COARSE = 1 / 64, 6 / 64  # standard deviations of `prepare`, shares of the side
_QUERIES, _REFERENCES = 512, 256  # of a tile; an accelerator takes `_WIDER` times as many of each
_WIDER = 8
_CHUNK = 512  # images filtered at a time
_FLAT = 1e-8  # variance on [-1, 1]: about three steps of 16 bits; below it there is nothing to correlate


class Flip(StrEnum):
    """How the query was mirrored."""

    NONE = "none"
    LEFT_RIGHT = "left-right"
    TOP_BOTTOM = "top-bottom"
    BOTH = "both"


_AXES: dict[Flip, tuple[int, ...]] = {
    Flip.NONE: (),
    Flip.LEFT_RIGHT: (2,),
    Flip.TOP_BOTTOM: (1,),
    Flip.BOTH: (1, 2),
}


@dataclass(frozen=True)
class Nearest:
    """The nearest reference of each query, n of them.

    Attributes:
        score: NCC in [-1, 1], (n,). An image of one grey value scores 0.
        index: Which reference, (n,).
        shift: Rows and columns: the mirrored query's pixel (y, x) lies on the reference's (y + dy, x + dx); (n, 2).
        flip: How the query was mirrored, n values.
    """

    score: NDArray[np.float64]
    index: NDArray[np.int64]
    shift: NDArray[np.int64]
    flip: tuple[Flip, ...]


def mirror(images: NDArray[Any], flip: Flip) -> NDArray[Any]:
    """A view of images (n, h, w)."""
    return np.flip(images, _AXES[flip])


def average(images: NDArray[Any], size: int = WORKING) -> NDArray[np.float32]:
    """Images of at most `size` pixels a side, by averaging: (n, h, w) -> (n, min(h, size), min(w, size))."""
    x = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
    target = (min(x.shape[2], size), min(x.shape[3], size))
    reduced: NDArray[np.float32] = functional.adaptive_avg_pool2d(x, target)[:, 0].numpy()
    return reduced


def prepare(images: NDArray[Any], size: int = WORKING) -> NDArray[np.float32]:
    """Images of at most `size` pixels a side, by averaging, and their middle band of detail.

    A difference of Gaussians (Marr and Hildreth, Proc. R. Soc. B 207, 1980) of 1 and 6 pixels at 64 pixels a side,
    in proportion at other sizes.

    Args:
        images: (n, h, w), any unit.
        size: Largest side of the result.

    Returns:
        (n, min(h, size), min(w, size)), in the unit of the images, about 0.
    """
    reduced = average(images, size)
    side = min(reduced.shape[1:])
    fine, coarse = _FINE * side, _COARSE * side
    band = np.empty_like(reduced)
    for start in range(0, len(band), _CHUNK):
        part = reduced[start : start + _CHUNK]
        shading = ndimage.gaussian_filter(part, (0, coarse, coarse))
        band[start : start + _CHUNK] = ndimage.gaussian_filter(part, (0, fine, fine)) - shading
    return band


def nearest(
    queries: NDArray[Any],
    references: NDArray[Any],
    flips: Sequence[Flip] = (Flip.NONE, Flip.LEFT_RIGHT),
    radius: int = RADIUS,
    step: int = STEP,
    progress: Progress = silent,
    device: str = "cpu",
) -> Nearest:
    """Finds each query's nearest reference among all of them.

    Time is queries x references x flips x shifts x pixels; memory is linear in the images.

    Args:
        queries: (n, h, w), any unit; `prepare` them first.
        references: (m, h, w), the same size, m >= 1.
        flips: Mirror images to try.
        radius: Largest shift, pixels.
        step: Every how many pixels the sums run.
        progress: Told of the tiles done.
        device: Where torch multiplies: `cpu` or `cuda`.

    Raises:
        ValueError: Sizes differ, are too small for the shifts, there is no reference, or a value is not finite.
    """
    _check(queries, references, radius)
    score = np.full(len(queries), -np.inf)
    code = np.zeros(len(queries), dtype=np.int64)
    index = np.zeros(len(queries), dtype=np.int64)
    wider = 1 if device == "cpu" else _WIDER
    wide, deep = _QUERIES * wider, _REFERENCES * wider
    starts = [(q, r) for q in range(0, len(queries), wide) for r in range(0, len(references), deep)]
    for done, (q, r) in enumerate(starts):
        rows = slice(q, q + wide)
        centres = _centres(queries[rows], flips, radius, step).to(device)
        found, where, which = _tile(centres, len(flips), references[r : r + deep], radius, step)
        better = found > score[rows]
        score[rows] = np.where(better, found, score[rows])
        index[rows] = np.where(better, where + r, index[rows])
        code[rows] = np.where(better, which, code[rows])
        progress(done + 1, len(starts), "copies")
    return _decoded(score, index, code, flips, radius)


def pairwise(
    queries: NDArray[Any],
    references: NDArray[Any],
    flips: Sequence[Flip] = (Flip.NONE, Flip.LEFT_RIGHT),
    radius: int = RADIUS,
    step: int = STEP,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """The aligned score of every query (n of them) with every reference (m), (n, m); see `nearest`.

    Raises:
        ValueError: As `nearest`.
    """
    _check(queries, references, radius)
    best = np.empty((len(queries), len(references)), np.float32)
    for q in range(0, len(queries), _QUERIES):
        centres = _centres(queries[q : q + _QUERIES], flips, radius, step).to(device)
        for r in range(0, len(references), _REFERENCES):
            part = references[r : r + _REFERENCES]
            top = torch.full((len(flips), len(centres) // len(flips), len(part)), -torch.inf, device=device)
            for _, crops in _crops(part, radius, step, centres.device):
                torch.maximum(top, (centres @ crops.T).view_as(top), out=top)
            best[q : q + _QUERIES, r : r + _REFERENCES] = top.amax(dim=0).cpu().numpy()
    return np.clip(best, -1.0, 1.0)


def aligned(
    queries: NDArray[Any],
    references: NDArray[Any],
    flips: Sequence[Flip] = (Flip.NONE, Flip.LEFT_RIGHT),
    radius: int = RADIUS,
    step: int = STEP,
) -> Nearest:
    """Each query on the reference of the same place: the best score, shift and mirroring; see `nearest`.

    Raises:
        ValueError: As `nearest`, or the numbers differ.
    """
    if len(queries) != len(references):
        raise ValueError(f"{len(queries)} queries cannot be paired with {len(references)} references")
    _check(queries, references, radius)
    centres = _centres(queries, flips, radius, step).reshape(len(flips), len(queries), -1)
    score = torch.full((len(queries),), -torch.inf)
    code = torch.zeros(len(queries), dtype=torch.int64)
    for place, crops in _crops(references, radius, step):
        top, flip = (centres * crops[None]).sum(2).max(dim=0)
        better = top > score
        score = torch.where(better, top, score)
        code = torch.where(better, flip * (2 * radius + 1) ** 2 + place, code)
    return _decoded(score.double().numpy(), np.arange(len(queries)), code.numpy(), flips, radius)


def paired(
    queries: NDArray[Any],
    references: NDArray[Any],
    flips: Sequence[Flip] = (Flip.NONE, Flip.LEFT_RIGHT),
    radius: int = RADIUS,
    step: int = STEP,
) -> NDArray[np.float64]:
    """The aligned score of each query with the reference of the same place, (n,); see `nearest`.

    Raises:
        ValueError: As `nearest`, or the numbers differ.
    """
    return aligned(queries, references, flips, radius, step).score


def nearest_direction(queries: NDArray[Any], references: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The largest cosine of each query with a reference, and which reference: (n, d) and (m, d) unit rows to (n,)."""
    score, index = np.empty(len(queries)), np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosines = queries[rows] @ references.T
        index[rows] = cosines.argmax(axis=1)
        score[rows] = cosines.max(axis=1)
    return np.clip(score, -1.0, 1.0), index


def _decoded(
    score: NDArray[np.float64], index: NDArray[np.int64], code: NDArray[np.int64], flips: Sequence[Flip], radius: int
) -> Nearest:
    """What a code (flip, row shift, column shift) says of each query."""
    steps = 2 * radius + 1
    flip, place = np.divmod(code, steps**2)
    shift = np.stack(np.divmod(place, steps), axis=1) - radius
    return Nearest(np.clip(score, -1.0, 1.0), index, shift, tuple(flips[i] for i in flip))


def _check(queries: NDArray[Any], references: NDArray[Any], radius: int) -> None:
    if queries.ndim != 3 or queries.shape[1:] != references.shape[1:] or len(references) == 0:
        raise ValueError(f"cannot compare images {queries.shape} with references {references.shape}")
    if min(queries.shape[1:]) < 4 * radius or radius < 0:
        raise ValueError(f"images of {queries.shape[1:]} pixels are too small for shifts of {radius}")
    if not (np.isfinite(queries).all() and np.isfinite(references).all()):
        raise ValueError("an image holds a value that is not finite")


def _unit(flat: torch.Tensor) -> torch.Tensor:
    """Rows (n, pixels) with mean 0 and length 1; a flat row becomes 0."""
    flat = flat - flat.mean(dim=1, keepdim=True)
    variance = flat.square().mean(dim=1, keepdim=True)
    inverse = torch.where(variance > _FLAT, (variance * flat.shape[1]).rsqrt(), 0.0)
    return flat * inverse


def _centres(queries: NDArray[Any], flips: Sequence[Flip], radius: int, step: int) -> torch.Tensor:
    """Centres of the mirrored queries with mean 0 and length 1, (flips * n, pixels)."""
    height, width = queries.shape[1:]
    middle = (slice(None), slice(radius, height - radius, step), slice(radius, width - radius, step))
    parts = [mirror(queries, flip)[middle].reshape(len(queries), -1) for flip in flips]
    # float64 for the mean: images may lie far from 0
    return _unit(torch.from_numpy(np.concatenate(parts).astype(np.float64))).float()


def _crops(
    references: NDArray[Any], radius: int, step: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[int, torch.Tensor]]:
    """For each shift, its number and what then lies under a query's centre, mean 0 and length 1, (m, pixels)."""
    height, width = references.shape[1] - 2 * radius, references.shape[2] - 2 * radius
    # taken about each image's mean, so that float32 is exact for images far from 0
    tile = torch.from_numpy((references - references.mean(axis=(1, 2), keepdims=True)).astype(np.float32)).to(device)
    steps = 2 * radius + 1
    # every `step`-th pixel from each start side by side, so that a crop is cut from rows that lie together
    grids = [[tile[:, y::step, x::step].contiguous() for x in range(step)] for y in range(step)]
    rows, columns = -(-height // step), -(-width // step)
    for place in range(steps**2):
        (top, y), (left, x) = (divmod(shift, step) for shift in divmod(place, steps))
        crop = grids[y][x][:, top : top + rows, left : left + columns]
        yield place, _unit(crop.reshape(len(tile), -1))


def _tile(
    centres: torch.Tensor, flips: int, references: NDArray[Any], radius: int, step: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Best score, reference and code (flip, row shift, column shift) of each query within one tile."""
    shifts = (2 * radius + 1) ** 2
    count = len(centres) // flips
    best = torch.full((count,), -torch.inf, device=centres.device)
    where, code = (torch.zeros(count, dtype=torch.int64, device=centres.device) for _ in range(2))
    for place, crops in _crops(references, radius, step, centres.device):
        top, at = (centres @ crops.T).max(dim=1)
        for flip in range(flips):
            rows = slice(flip * count, (flip + 1) * count)
            better = top[rows] > best
            best = torch.where(better, top[rows], best)
            where = torch.where(better, at[rows], where)
            code = torch.where(better, torch.full_like(code, flip * shifts + place), code)
    return best.double().cpu().numpy(), where.cpu().numpy(), code.cpu().numpy()
