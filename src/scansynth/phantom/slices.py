"""One axial slice of the phantom's chest: tissue by tissue, from the outside in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scansynth.phantom.anatomy import Anatomy, wall
from scansynth.phantom.shapes import (
    Field,
    Grid,
    angles,
    capsule,
    coverage,
    ellipse,
    line_layer,
    paint,
    slab,
    smooth_noise,
    smooth_union,
)

_FAR = np.float32(1e3)
_REACH = 25.0  # distances are computed as far around a vessel as anything asks for them, mm
_RING = 9.5  # thickness of the ring that holds ribs and intercostal muscle, mm
_THINNEST = 0.55  # radius of the thinnest lung vessel drawn, mm


@dataclass(frozen=True)
class Contrast:
    """Signal of each tissue under one scanner's protocol; fat of a common protocol is 1."""

    fat: float
    muscle: float
    blood: float
    heart: float
    liver: float
    marrow: float
    cord: float
    fluid: float
    cortex: float
    lung: float
    skin: float


@dataclass(frozen=True)
class Slice:
    """A slice before it meets the scanner.

    Attributes:
        signal: Tissue signal, float32 (n, n).
        moving: Share of each pixel that beats: heart and great vessels, 0..1.
        lung: Signed distance to the lungs, millimetres, negative inside.
        body: Share of each pixel inside the body, 0..1.
        vessels: Centres and radii of the lung vessels in the slice, (m, 3) as x, y, radius in millimetres.
    """

    signal: Field
    moving: Field
    lung: Field
    body: Field
    vessels: npt.NDArray[np.float64]


def draw_slice(
    anatomy: Anatomy, level: float, thickness: float, contrast: Contrast, grid: Grid, rng: np.random.Generator
) -> Slice:
    """Draws one slice.

    Args:
        anatomy: The patient.
        level: z of the slice, millimetres toward the feet.
        thickness: Of the slice, millimetres.
        contrast: Signal of the tissues.
        grid: Where the pixels lie.
        rng: For the texture of the tissues.
    """
    size = len(grid.x)
    canvas = np.zeros((size, size), np.float32)
    grains = smooth_noise(rng, size, 3.0 / grid.pixel)
    clouds = smooth_noise(rng, size, 14.0 / grid.pixel)
    outside, body = _draw_wall(canvas, anatomy, level, contrast, grid, grains, clouds)
    spine = _spine(anatomy, grid.x, grid.y)
    vessels, airway = (
        _tube_distance(anatomy.vessels, level, thickness, grid, 2.0),
        _tube_distance(anatomy.airway, level, thickness, grid, 0.0),
    )
    heart = _heart(anatomy, level, grid)
    middle = _mediastinum(anatomy, level, grid, spine, vessels, airway, heart)
    liver = _liver(anatomy, level, grid)
    # 1.5 mm of lining between lung and ribs; corners of the lung are rounded
    solid = smooth_union(smooth_union(middle, liver, 8.0), np.float32(-1.5) - outside, 10.0)
    lung = -solid
    inside = coverage(outside, grid.pixel)
    paint(canvas, contrast.fat * (0.8 + 0.05 * clouds), inside)
    paint(canvas, contrast.liver * (1 + 0.04 * grains), coverage(liver, grid.pixel) * inside)
    drawn = _draw_lung(canvas, anatomy, level, thickness, contrast, grid, lung, grains, clouds)
    pulse = _draw_heart(canvas, anatomy, level, contrast, grid, heart, vessels, grains, inside)
    paint(canvas, contrast.muscle, coverage(airway - 1.3, grid.pixel) * inside)
    paint(canvas, contrast.lung * 0.3, coverage(airway, grid.pixel))
    _draw_spine(canvas, anatomy, level, contrast, grid, grains)
    return Slice(canvas, pulse, lung, body, drawn)


def _draw_wall(
    canvas: Field, anatomy: Anatomy, level: float, contrast: Contrast, grid: Grid, grains: Field, clouds: Field
) -> tuple[Field, Field]:
    """Skin, fat, muscle, ribs, breastbone; gives the distance to the cavity and the share inside the body."""
    theta = angles()
    cavity, muscle, fat = wall(anatomy, level, theta)
    slope = np.gradient(cavity, theta)
    tilt = 1 / np.sqrt(1 + (slope / cavity) ** 2)
    table = np.stack([cavity, tilt, muscle, fat, _ribs(anatomy, level, theta, cavity)]).astype(np.float32)
    radius, tilt_at, muscle_at, fat_at, rib_at = (row[grid.angle] for row in table)
    depth = (grid.radius - radius) * tilt_at  # distance outside the cavity
    pixel, flesh = grid.pixel, muscle_at + np.float32(_RING)
    surface = depth - flesh - fat_at
    body = coverage(surface, pixel)
    septa = 1 - 0.16 * coverage(np.abs(grains + 0.5 * clouds) * 3 - 0.5, 2 * pixel)
    paint(canvas, contrast.skin, body)
    paint(canvas, contrast.fat * (1 + 0.06 * clouds) * septa, coverage(surface + 1.8, pixel))
    if anatomy.breast:
        gland = 0.45 * anatomy.breast * np.exp(-0.5 * ((level - 18) / 30.0) ** 2)
        depth_in = ellipse(
            np.abs(grid.x), grid.y, (78 * anatomy.scale, -anatomy.cavity[1] * 0.72 - 24), (30, max(gland, 2.0)), 0.7
        )
        strands = np.clip(0.5 + 0.6 * grains + 0.5 * clouds, 0, 1) * coverage(surface + 6, pixel)
        paint(canvas, contrast.muscle * 1.15, coverage(depth_in, 4 * pixel) * strands * 0.8)
    meat = contrast.muscle * (1 + 0.05 * grains + 0.05 * clouds)
    paint(canvas, meat, coverage(depth - flesh, pixel))
    streak = np.abs(depth - np.float32(_RING) - muscle_at * np.float32(0.45) - 1.5 * clouds) - 0.5
    paint(
        canvas,
        contrast.fat * 0.8,
        coverage(streak, pixel) * np.clip(muscle_at / 14 - 0.35, 0, 0.75) * np.clip(0.6 + 0.5 * clouds, 0, 1),
    )
    paint(canvas, contrast.fat * 0.75, coverage(np.abs(depth - np.float32(_RING) - 0.6) - 0.7, pixel) * 0.7)
    paint(canvas, meat * 0.95, coverage(depth - np.float32(_RING - 1), pixel))
    rib = np.abs(depth - 4.6) - rib_at
    paint(canvas, contrast.cortex, coverage(rib, pixel))
    paint(canvas, contrast.marrow * (0.9 + 0.06 * grains), coverage(rib + 1.5, pixel))
    front = -float(cavity[len(cavity) * 3 // 4]) - 6.5
    plate = ellipse(grid.x, grid.y, (0.0, front), (19 * anatomy.scale, 6.2))
    paint(canvas, contrast.cortex, coverage(plate, pixel))
    paint(canvas, contrast.marrow * (1 + 0.06 * grains), coverage(plate + 1.5, pixel))
    return depth, body


def _ribs(
    anatomy: Anatomy, level: float, theta: npt.NDArray[np.float64], cavity: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Half thickness of rib over directions, millimetres, far below 0 between ribs.

    Ribs run obliquely: a slice cuts each as a streak, and the streaks move along the wall with the level.
    """
    half = np.full(len(theta), -9.0)
    gap = 31.0 * anatomy.scale  # along the wall, between two ribs
    for side in (-1.0, 1.0):
        away = np.abs(np.angle(np.exp(1j * (theta - np.pi / 2)))) * np.mean(cavity)
        mine = np.sign(np.cos(theta)) == side
        start = 20.0 + (level * 0.9 + 3 * side) % gap
        for centre in np.arange(start, 0.84 * np.pi * np.mean(cavity), gap):
            length = 8.5 + 0.035 * centre
            streak = 3.9 * anatomy.scale * np.sqrt(np.clip(1 - ((away - centre) / length) ** 2, 0, None))
            half = np.where(mine & (np.abs(away - centre) < length), np.maximum(half, streak), half)
    return half


def _spine_places(anatomy: Anatomy) -> tuple[float, float]:
    """The y of the middle of the vertebral body and of the canal."""
    body = anatomy.cavity[1] - 25.0 * anatomy.scale
    return body, body + 24.0 * anatomy.scale


def _spine(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Signed distance to a vertebral body."""
    body, _ = _spine_places(anatomy)
    s = anatomy.scale
    return ellipse(x, y, (0.0, body), (17.5 * s, 15.0 * s))


def _tube_distance(
    tubes: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    level: float,
    thickness: float,
    grid: Grid,
    blend: float,
) -> Field:
    """Signed distance to all tubes that the slice cuts."""
    flat, radii, _ = slab(*tubes, level, thickness)
    distance = np.full(grid.x.shape, _FAR)
    for ends, radius in zip(flat, radii, strict=True):
        box = grid.box(ends, float(radius) + _REACH)
        one = capsule(grid.x[box], grid.y[box], ends, float(radius))
        distance[box] = smooth_union(distance[box], one, blend) if blend else np.minimum(distance[box], one)
    return distance


def _heart_section(anatomy: Anatomy, level: float) -> tuple[tuple[float, float], float]:
    """Centre of the heart in the slice, and its size against the widest section (0: not cut)."""
    s = anatomy.scale
    away = (level - 40.0) / 56.0
    grow = float(np.sqrt(max(0.0, 1 - away * away))) * anatomy.heart
    return ((27 + 6 * away) * s, (-20 - 5 * away) * s), grow


def _heart(anatomy: Anatomy, level: float, grid: Grid) -> Field:
    """Signed distance to the heart with its sac."""
    centre, grow = _heart_section(anatomy, level)
    if grow <= 0.05:
        return np.full(grid.x.shape, _FAR)
    s = anatomy.scale * grow
    long = ellipse(grid.x, grid.y, centre, (66 * s, 45 * s), -0.5)
    right = ellipse(grid.x, grid.y, (centre[0] - 40 * s, centre[1] + 10 * s), (31 * s, 38 * s), 0.1)
    return smooth_union(long, right, 16.0)


def _mediastinum(
    anatomy: Anatomy, level: float, grid: Grid, spine: Field, vessels: Field, airway: Field, heart: Field
) -> Field:
    """Signed distance to all that lies between the lungs."""
    s, depth = anatomy.scale, anatomy.cavity[1]
    upper = 1 / (1 + np.exp((level + 45) / 8.0))
    front = ellipse(grid.x, grid.y, (1.0, -0.62 * depth), ((9 + 14 * upper) * s, 0.42 * depth))
    core = ellipse(grid.x, grid.y, (2.0, 4.0), ((22 + 12 * upper) * s, 36.0))
    solid = smooth_union(core, front, 14.0)
    solid = smooth_union(solid, spine - 5.0, 14.0)
    central = np.where(np.abs(grid.x) < 55 * s, vessels, vessels + 3.0)
    solid = smooth_union(solid, central - 2.5, 9.0)
    solid = smooth_union(solid, airway - 2.5, 9.0)
    return smooth_union(solid, heart - 2.0, 8.0)


def _liver(anatomy: Anatomy, level: float, grid: Grid) -> Field:
    """Signed distance to the dome of the liver under the right lung."""
    height = (level - anatomy.dome) / 45.0
    if height <= 0:
        return np.full(grid.x.shape, _FAR)
    s = float(np.sqrt(1 - (1 - min(height, 1.0)) ** 2))
    return ellipse(
        grid.x, grid.y, (-0.55 * anatomy.cavity[0], -4.0), (0.62 * anatomy.cavity[0] * s, 0.72 * anatomy.cavity[1] * s)
    )


def _draw_lung(
    canvas: Field,
    anatomy: Anatomy,
    level: float,
    thickness: float,
    contrast: Contrast,
    grid: Grid,
    lung: Field,
    grains: Field,
    clouds: Field,
) -> npt.NDArray[np.float64]:
    """Lung tissue, denser toward the back, with its branching vessels; gives the vessels' places."""
    inside = coverage(lung, grid.pixel)
    tissue = contrast.lung * (1.0 + 0.0035 * grid.y + 0.12 * clouds + 0.10 * grains)
    paint(canvas, tissue, inside)
    flat, radii, fill = slab(*anatomy.lung_vessels, level, thickness)
    keep = radii > _THINNEST
    flat, radii, fill = flat[keep], radii[keep], fill[keep]
    layer = line_layer(grid, flat, radii, fill)
    paint(canvas, contrast.blood * 0.85, layer * inside)
    return np.column_stack([flat.mean(axis=1), radii])


def _draw_heart(
    canvas: Field,
    anatomy: Anatomy,
    level: float,
    contrast: Contrast,
    grid: Grid,
    heart: Field,
    vessels: Field,
    grains: Field,
    inside: Field,
) -> Field:
    """Heart muscle, chambers and great vessels; gives the share of each pixel that beats."""
    pixel = grid.pixel
    wall_of_heart = coverage(heart, pixel) * inside
    paint(canvas, contrast.heart * (1 + 0.05 * grains), wall_of_heart)
    pool = vessels
    (cx, cy), grow = _heart_section(anatomy, level)
    if grow > 0.05:
        s = anatomy.scale * anatomy.heart
        for x, y, z, a, b, c, turn in _CHAMBERS:
            square = 1 - ((level - z) / c) ** 2
            if square > 0.02:
                k = float(np.sqrt(square)) * s
                chamber = ellipse(grid.x, grid.y, (cx + x * s, cy + y * s), (a * k, b * k), turn)
                pool = np.minimum(pool, np.maximum(chamber + 0.9 * grains, heart + 3.5))
    blood = coverage(pool, 1.3 * pixel) * inside
    paint(canvas, contrast.muscle, coverage(vessels - 1.2, pixel) * inside * (1 - wall_of_heart))
    paint(canvas, contrast.blood * (1 + 0.05 * grains), blood)
    return np.asarray(np.maximum(wall_of_heart, blood))


# x, y from the heart's middle; z; half axes; rotation: left and right ventricle, left and right atrium
_CHAMBERS = (
    (27.0, 3.0, 50.0, 28.0, 16.0, 38.0, -0.62),
    (10.0, -26.0, 46.0, 34.0, 13.0, 40.0, -0.42),
    (-18.0, 30.0, 22.0, 27.0, 16.0, 24.0, 0.12),
    (-48.0, 8.0, 32.0, 19.0, 25.0, 38.0, 0.15),
)


def _draw_spine(canvas: Field, anatomy: Anatomy, level: float, contrast: Contrast, grid: Grid, grains: Field) -> None:
    """Vertebra with its arch, the canal with the cord."""
    s, pixel = anatomy.scale, grid.pixel
    _, canal_y = _spine_places(anatomy)
    box = grid.box(np.array([[-50.0, canal_y - 50], [50.0, canal_y + 50]]), 0.0)
    canvas, grains, across, down = canvas[box], grains[box], grid.x[box], grid.y[box]
    disc = float(np.clip(8 * np.cos(2 * np.pi * level / 27.0) - 6.4, 0, 1))  # a disc every 27 mm
    marrow = contrast.marrow * (1 - 0.35 * disc) * (1 + 0.06 * grains)
    x = np.abs(across)
    arch = capsule(x, down, np.array([[9.0, canal_y - 8], [13.0, canal_y + 4]]) * [s, 1], 4.5 * s)
    wing = capsule(x, down, np.array([[12.0, canal_y + 3], [36.0, canal_y + 11]]) * [s, 1], 4.6 * s)
    lamina = capsule(x, down, np.array([[13.0, canal_y + 4], [2.0, canal_y + 16]]) * [s, 1], 3.8 * s)
    spinous = capsule(x, down, np.array([[0.0, canal_y + 15], [0.0, canal_y + 32 * s]]) * [s, 1], 3.6 * s)
    bone = np.minimum(np.minimum(arch, lamina), np.minimum(wing, spinous))
    paint(canvas, contrast.cortex, coverage(bone, pixel))
    paint(canvas, contrast.marrow * 0.85 * (1 + 0.06 * grains), coverage(bone + 1.8, pixel))
    body = _spine(anatomy, across, down)
    hollow = ellipse(across, down, (0.0, canal_y), (11.0 * s, 9.5 * s))
    body = np.maximum(body, -hollow + 1.0)
    paint(canvas, contrast.cortex + (contrast.muscle - contrast.cortex) * disc, coverage(body, pixel))
    paint(canvas, marrow, coverage(body + 1.7, pixel))
    paint(canvas, contrast.fat * 0.5, coverage(hollow, pixel))
    paint(canvas, contrast.fluid, coverage(hollow + 1.8, pixel))
    paint(canvas, contrast.cord, coverage(ellipse(across, down, (0.0, canal_y), (5.2 * s, 4.2 * s)), pixel))
