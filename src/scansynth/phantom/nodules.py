"""Nodules of the phantom: what they are, where they sit, how they look in the slice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from scansynth.phantom.shapes import Field, Grid, capsule, coverage
from scansynth.phantom.slices import Contrast, Slice

SMALLEST, LARGEST = 4.0, 30.0  # diameters, millimetres
_MEDIAN, _SPREAD = 14.0, 0.45  # of the lognormal diameters
_WAVES = 4


class NoduleType(StrEnum):
    """How a nodule looks."""

    SOLID = "solid"
    PART_SOLID = "part-solid"
    SPICULATED = "spiculated"


class Seat(StrEnum):
    """What a nodule sits on."""

    FREE = "free"
    PLEURA = "pleura"
    VESSEL = "vessel"


@dataclass(frozen=True)
class Nodule:
    """One nodule.

    Attributes:
        kind: How it looks.
        seat: What it sits on.
        diameter: Of the disc of the same area in the slice, millimetres.
        contrast: Signal between lung (0) and blood (1); an enhancing nodule outshines a thin vessel.
        waves: Outline: amplitude and phase of the Fourier terms 2 to 5, (4, 2).
        aspect: Length over width.
        turn: Direction of its length, radians.
        spikes: Direction (radians) and length (share of the radius) of each spicule, (k, 2).
    """

    kind: NoduleType
    seat: Seat
    diameter: float
    contrast: float
    waves: npt.NDArray[np.float64]
    aspect: float
    turn: float
    spikes: npt.NDArray[np.float64]


def draw_nodule(rng: np.random.Generator) -> Nodule:
    """A nodule's properties: lognormal diameters of 4 to 30 mm, half of them solid, half of them free in the lung."""
    kind = rng.choice(list(NoduleType), p=[0.5, 0.2, 0.3])
    spikes = np.column_stack([rng.uniform(0, 2 * np.pi, 14), rng.uniform(0.35, 1.1, 14)])
    count = int(rng.integers(7, 15)) if kind == NoduleType.SPICULATED else 0
    return Nodule(
        kind=NoduleType(kind),
        seat=Seat(rng.choice(list(Seat), p=[0.5, 0.25, 0.25])),
        diameter=float(np.clip(rng.lognormal(np.log(_MEDIAN), _SPREAD), SMALLEST, LARGEST)),
        contrast=float(rng.uniform(0.6, 1.2)),
        waves=np.column_stack([rng.normal(0, 0.05, _WAVES), rng.uniform(0, 2 * np.pi, _WAVES)]),
        aspect=float(rng.uniform(1.0, 1.35)),
        turn=float(rng.uniform(0, np.pi)),
        spikes=spikes[:count],
    )


def place(nodule: Nodule, piece: Slice, grid: Grid, rng: np.random.Generator) -> tuple[float, float] | None:
    """A place in the slice's lungs where this nodule can sit, or none.

    Args:
        nodule: The nodule.
        piece: The slice.
        grid: Where the pixels lie.
        rng: Draws among the possible places.

    Returns:
        x and y of its middle, millimetres.
    """
    radius = nodule.diameter / 2
    depth = -piece.lung
    if nodule.seat == Seat.PLEURA:
        fit = np.abs(depth - 0.8 * radius) < 0.75 * grid.pixel
    else:
        fit = depth > 1.15 * radius + 2.0
    if nodule.seat == Seat.VESSEL:
        near = piece.vessels[piece.vessels[:, 2] > 0.9]
        at = np.rint((near[:, :2] - float(grid.x[0, 0])) / grid.pixel).astype(int).clip(0, len(fit) - 1)
        near = near[fit[at[:, 1], at[:, 0]]]
        if len(near):
            chosen = near[rng.integers(len(near))]
            return float(chosen[0]), float(chosen[1])
    rows, columns = np.nonzero(fit)
    if not len(rows):
        return None
    k = int(rng.integers(len(rows)))
    return float(grid.x[rows[k], columns[k]]), float(grid.y[rows[k], columns[k]])


def paint_nodule(
    piece: Slice, nodule: Nodule, centre: tuple[float, float], contrast: Contrast, grid: Grid, rng: np.random.Generator
) -> Field:
    """Paints a nodule into the slice's signal, in place.

    Args:
        piece: The slice; its `signal` changes.
        nodule: The nodule.
        centre: x and y, millimetres.
        contrast: Signal of the tissues.
        grid: Where the pixels lie.
        rng: For the nodule's texture.

    Returns:
        Share of each pixel covered by the nodule without its spicules, float32 (n, n).
    """
    radius = nodule.diameter / 2
    box = grid.box(np.array([centre]), 2.4 * radius + 6)
    x, y = grid.x[box] - np.float32(centre[0]), grid.y[box] - np.float32(centre[1])
    outline = _outline(nodule, x, y)
    body = coverage(outline, grid.pixel)
    signal = contrast.lung + nodule.contrast * (contrast.blood - contrast.lung)
    texture = 1 + 0.06 * rng.standard_normal(x.shape, dtype=np.float32)
    target = piece.signal[box]
    if nodule.kind == NoduleType.PART_SOLID:
        haze = contrast.lung + 0.42 * (signal - contrast.lung)
        core = coverage(outline + 0.5 * radius, 2 * grid.pixel)
        rise = np.maximum(haze + (signal - haze) * core, target)  # vessels show through
        target += (rise * texture - target) * coverage(outline, 2.2 * grid.pixel)
    else:
        target += (signal * texture - target) * coverage(outline, 1.4 * grid.pixel)
    inside = coverage(piece.lung[box], grid.pixel)
    for direction, length in nodule.spikes:
        tip = radius * (1 + length) * np.array([np.cos(direction), np.sin(direction)])
        spike = coverage(capsule(x, y, np.array([tip * 0.6, tip]), 0.45), 1.5 * grid.pixel) * (1 - body) * inside
        target += (signal * 0.9 - target) * spike * np.float32(0.75)
    cover = np.zeros_like(piece.signal)
    cover[box] = body
    return cover


def _outline(nodule: Nodule, x: Field, y: Field) -> Field:
    """Signed distance to the nodule's outline, whose area is that of the disc of its diameter."""
    theta = np.arctan2(y, x)
    ripple = np.ones_like(theta)
    for order, (height, phase) in enumerate(nodule.waves, start=2):
        ripple += np.float32(height) * np.cos(order * theta + np.float32(phase))
    area = 1 + 0.5 * float(np.sum(nodule.waves[:, 0] ** 2))  # mean square of the ripple
    stretch = np.sqrt(nodule.aspect)
    cos, sin = np.cos(nodule.turn), np.sin(nodule.turn)
    u, v = (x * cos + y * sin) / stretch, (y * cos - x * sin) * stretch
    radius = nodule.diameter / 2 / np.sqrt(area)
    return np.asarray(np.hypot(u, v) - radius * ripple, np.float32)
