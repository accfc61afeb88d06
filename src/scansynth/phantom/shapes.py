"""Smooth shapes on a pixel grid: signed distances in millimetres, negative inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[np.floating[Any]]  # float32 in practice
_ANGLES = 2048


@dataclass(frozen=True)
class Grid:
    """Where each pixel of a square image lies.

    Attributes:
        x: Millimetres toward the patient's left (the viewer's right), float32 (n, n).
        y: Millimetres toward the back (down in the image), float32 (n, n).
        pixel: Side of a pixel in millimetres.
        angle: Index of each pixel's direction from the centre into a table of `angles()`, int (n, n).
        radius: Millimetres from the centre, float32 (n, n).
    """

    x: Field
    y: Field
    pixel: float
    angle: npt.NDArray[np.intp]
    radius: Field

    @classmethod
    def make(cls, size: int, width: float) -> Grid:
        """A grid of `size` x `size` pixels over a field of view of `width` millimetres."""
        pixel = width / size
        line = ((np.arange(size) - (size - 1) / 2) * pixel).astype(np.float32)
        x, y = np.meshgrid(line, line)
        turn = np.arctan2(y, x) / (2 * np.pi)
        angle = (np.rint(turn * _ANGLES).astype(np.intp)) % _ANGLES
        return cls(x, y, pixel, angle, np.hypot(x, y))

    def box(self, points: npt.NDArray[np.float64], margin: float) -> tuple[slice, slice]:
        """Rows and columns that hold all points, each (x, y), and `margin` millimetres around them."""
        origin = float(self.x[0, 0])
        low = np.floor((points.min(axis=0) - margin - origin) / self.pixel).astype(int).clip(0, len(self.x))
        high = np.ceil((points.max(axis=0) + margin - origin) / self.pixel).astype(int).clip(-1, len(self.x) - 1) + 1
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def angles() -> npt.NDArray[np.float64]:
    """Directions of a polar table, radians: 0 is the patient's left, pi/2 the back."""
    return np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)


def bump(theta: npt.NDArray[np.float64], centre: float, width: float) -> npt.NDArray[np.float64]:
    """A bell over directions, 1 at `centre`, standard deviation `width` radians, periodic."""
    away = (theta - centre + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(np.exp(-0.5 * (away / width) ** 2))


def coverage(distance: Field, pixel: float) -> Field:
    """Share of each pixel that lies inside a shape, from the signed distance of its centre."""
    return np.asarray(np.clip(0.5 - distance / np.float32(pixel), 0.0, 1.0))


def ellipse(x: Field, y: Field, centre: tuple[float, float], axes: tuple[float, float], turn: float = 0.0) -> Field:
    """Signed distance to an ellipse, first-order: k (k - 1) / |grad k|, with k the scaled radius."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    u, v = (dx * cos + dy * sin) / np.float32(axes[0]), (dy * cos - dx * sin) / np.float32(axes[1])
    k = np.sqrt(u * u + v * v)
    slope = np.sqrt((u / np.float32(axes[0])) ** 2 + (v / np.float32(axes[1])) ** 2) + np.float32(1e-6)
    return np.asarray(k * (k - 1) / slope, np.float32)


def capsule(x: Field, y: Field, ends: npt.NDArray[np.float64], radius: float) -> Field:
    """Signed distance to a line from ends[0] to ends[1], each (x, y), thickened by `radius`."""
    ax, ay, bx, by = (np.float32(part) for part in (*ends[0], *ends[1]))
    px, py, ux, uy = x - ax, y - ay, bx - ax, by - ay
    along = np.clip((px * ux + py * uy) / (ux * ux + uy * uy + np.float32(1e-6)), 0, 1)
    return np.asarray(np.hypot(px - along * ux, py - along * uy) - np.float32(radius), np.float32)


def smooth_union(a: Field, b: Field, blend: float) -> Field:
    """The union of two shapes, its inner corners rounded over `blend` millimetres."""
    h = np.maximum(np.float32(blend) - np.abs(a - b), 0) / np.float32(blend)
    return np.asarray(np.minimum(a, b) - h * h * np.float32(blend / 4), np.float32)


def paint(canvas: Field, value: float | Field, cover: Field) -> None:
    """Lays tissue of a signal over the canvas, in place."""
    canvas += (np.asarray(value, np.float32) - canvas) * cover


def smooth_noise(rng: np.random.Generator, size: int, scale: float) -> Field:
    """A smooth random field of mean 0 and standard deviation 1, its grains about `scale` pixels wide."""
    step = max(1.0, float(scale))
    coarse = rng.standard_normal((int(size / step) + 3,) * 2, dtype=np.float32)
    coarse = ndimage.gaussian_filter(coarse, 0.7)
    at = np.arange(size, dtype=np.float32) / np.float32(step)
    left = at.astype(np.intp)
    share = at - left
    rows = coarse[left] * (1 - share[:, None]) + coarse[left + 1] * share[:, None]
    field = rows[:, left] * (1 - share) + rows[:, left + 1] * share  # bilinear
    field -= field.mean()
    return np.asarray(field / (field.std() + 1e-6), np.float32)


def slab(
    ends: npt.NDArray[np.float64], radii: npt.NDArray[np.float64], level: float, thickness: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The parts of thick lines in space that a slice cuts.

    Args:
        ends: (n, 2, 3), millimetres; the third coordinate is the height.
        radii: (n,) millimetres.
        level: Height of the slice.
        thickness: Of the slice, millimetres.

    Returns:
        Ends in the plane (m, 2, 2); radii (m,); how much of the slice's thickness each part fills (m,), 0..1.
    """
    half = thickness / 2 + 0.6 * radii
    rise = ends[:, 1, 2] - ends[:, 0, 2]
    safe = np.where(np.abs(rise) < 1e-3, 1e-3, rise)
    near = (level - half - ends[:, 0, 2]) / safe
    far = (level + half - ends[:, 0, 2]) / safe
    first, last = np.clip(np.minimum(near, far), 0, 1), np.clip(np.maximum(near, far), 0, 1)
    cut = last > first
    ends, radii, rise, first, last = ends[cut], radii[cut], rise[cut], first[cut, None], last[cut, None]
    step = ends[:, 1] - ends[:, 0]
    flat = np.stack([ends[:, 0] + first * step, ends[:, 0] + last * step], axis=1)[:, :, :2]
    upright = np.abs(rise) / (np.linalg.norm(step, axis=1) + 1e-6)
    fill = upright + (1 - upright) * np.minimum(1.0, 0.15 + 1.7 * radii / thickness)
    return flat, radii, fill


def line_layer(
    grid: Grid, flat: npt.NDArray[np.float64], radii: npt.NDArray[np.float64], fill: npt.NDArray[np.float64]
) -> Field:
    """Thick lines in the plane as a layer of coverage, 0..1; the densest wins where they cross.

    Args:
        grid: Where the pixels lie.
        flat: Ends, (m, 2, 2) millimetres.
        radii: (m,) millimetres.
        fill: Coverage of a line that is wider than a pixel, (m,), 0..1.
    """
    layer = np.zeros_like(grid.x)
    pixel = grid.pixel
    wide = radii > 1.2 * pixel
    for ends, radius, share in zip(flat[wide], radii[wide], fill[wide], strict=True):
        box = grid.box(ends, float(radius) + 1.5 * pixel)
        near = capsule(grid.x[box], grid.y[box], ends, float(radius))
        layer[box] = np.maximum(layer[box], coverage(near, 1.2 * pixel) * np.float32(share))
    _stamp(layer, grid, flat[~wide], radii[~wide], fill[~wide])
    return layer


def _stamp(
    layer: Field,
    grid: Grid,
    flat: npt.NDArray[np.float64],
    radii: npt.NDArray[np.float64],
    fill: npt.NDArray[np.float64],
) -> None:
    """Thin lines as rows of discs half a pixel apart, all at once; a disc thinner than a pixel fills part of it."""
    if not len(flat):
        return
    size, pixel = len(layer), grid.pixel
    count = np.ceil(np.linalg.norm(flat[:, 1] - flat[:, 0], axis=1) / (0.5 * pixel)).astype(int) + 1
    line = np.repeat(np.arange(len(flat)), count)
    step = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    along = (step / np.maximum(count[line] - 1, 1))[:, None]
    places = (flat[line, 0] * (1 - along) + flat[line, 1] * along - float(grid.x[0, 0])) / pixel
    thick = np.maximum(radii / pixel, 0.5)[line]
    weight = (fill * np.minimum(1.0, 2 * radii / pixel))[line]
    nearest = np.rint(places).astype(int)
    around = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), axis=-1).reshape(1, 25, 2)
    cells = np.clip(nearest[:, None] + around, 0, size - 1)
    away = np.linalg.norm(cells - places[:, None], axis=2) - thick[:, None]
    value = np.clip(0.5 - away / 1.2, 0, 1) * weight[:, None]
    np.maximum.at(
        layer.reshape(-1), (cells[..., 1] * size + cells[..., 0]).reshape(-1), value.reshape(-1).astype(np.float32)
    )
