"""The phantom's chest: one patient's anatomy in space, and how a slice cuts it.

Coordinates in millimetres: x toward the patient's left, y toward the back, z toward the feet; the carina lies
near z = -30. Proportions follow an adult thorax; they are drawn, not measured from any patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scansynth.phantom.shapes import bump

Points = npt.NDArray[np.float64]
Tubes = dict[str, list[tuple[float, float, float, float]]]

# x, y, z, radius of points along the great vessels and the airway
_AORTA: list[tuple[float, float, float, float]] = [
    (4, -4, 26, 13), (-10, -18, 0, 15), (-17, -22, -22, 15), (-14, -18, -48, 14.5), (-2, -8, -60, 14),
    (12, 12, -61, 13), (23, 34, -52, 12.5), (25, 44, -30, 12), (23, 46, 20, 11.5), (14, 45, 70, 11), (8, 45, 120, 10.5),
]  # fmt: skip
_VESSELS: Tubes = {
    "cava": [(-33, -18, -90, 8), (-34, -14, -50, 9.5), (-34, -12, -15, 9.5), (-36, -2, 15, 11)],
    "inferior cava": [(-32, 6, 52, 12), (-30, 12, 110, 13)],
    "trunk": [(14, -40, 26, 14), (18, -34, 0, 14), (16, -16, -18, 13.5)],
    "right artery": [(16, -16, -18, 12), (-8, 2, -17, 11.5), (-34, 6, -14, 10), (-50, 8, -8, 7.5)],
    "left artery": [(16, -16, -18, 12), (30, 6, -26, 11), (44, 18, -20, 9), (50, 24, -4, 7)],
    "right veins": [(-54, 22, 10, 5.5), (-30, 26, 16, 7), (-10, 26, 20, 9)],
    "left veins": [(58, 26, 12, 5.5), (32, 28, 16, 7), (10, 26, 20, 9)],
    "brachiocephalic": [(-14, -16, -60, 7), (-20, -12, -110, 6)],
    "carotid": [(-2, -8, -62, 4.5), (4, -6, -110, 4)],
    "subclavian": [(12, 8, -62, 5.5), (24, 6, -110, 5)],
    "left vein": [(-32, -26, -72, 7), (6, -36, -76, 6.5), (34, -32, -92, 6)],
    "azygos": [(-8, 42, -40, 4), (-6, 44, 110, 4)],
    "mammary left": [(26, -84, -110, 2), (24, -84, 110, 2)],
    "mammary right": [(-26, -84, -110, 2), (-24, -84, 110, 2)],
}
_AIRWAY: Tubes = {
    "trachea": [(0, 4, -120, 9), (1, 12, -36, 8.5)],
    "right bronchus": [(1, 12, -36, 7.5), (-28, 15, -18, 6.5), (-42, 16, 4, 4.5)],
    "left bronchus": [(1, 12, -36, 7), (34, 22, -12, 6), (44, 26, 6, 4.5)],
}
_BRANCHING = 10  # generations of a pulmonary tree: 1024 twigs a tree
_SEGMENT_SHARE = (0.2, 0.55)  # how far a branch goes toward the middle of what it feeds


@dataclass(frozen=True)
class Anatomy:
    """One patient's chest in space.

    Attributes:
        sex: F or M.
        age: Years.
        scale: Size of the skeleton and organs, 1 for a large man.
        fat: Thickness of the fat under the skin at the side, millimetres.
        muscle: Strength of the muscles, 1 for a man of 40.
        breast: Height of the breasts over the chest wall, millimetres.
        cavity: Half width and half depth of the chest's inside, millimetres.
        heart: Size of the heart against the chest, about 1.
        dome: Height of the liver's top, z in millimetres.
        shape: Small deviations of the outline, five Fourier terms (5, 2).
        vessels: Great vessels: ends (n, 2, 3) and radii (n,).
        airway: Trachea and main bronchi: ends, radii.
        lung_vessels: Pulmonary arteries and veins: ends, radii.
    """

    sex: str
    age: int
    scale: float
    fat: float
    muscle: float
    breast: float
    cavity: tuple[float, float]
    heart: float
    dome: float
    shape: Points
    vessels: tuple[Points, Points]
    airway: tuple[Points, Points]
    lung_vessels: tuple[Points, Points]


def draw_anatomy(rng: np.random.Generator, sex: str, age: int) -> Anatomy:
    """A patient of this sex and age.

    Women: smaller skeleton, breasts, more fat under the skin. Age: less muscle, deeper chest, wider aorta.

    Args:
        rng: The patient's own generator.
        sex: F or M.
        age: Years.
    """
    woman = sex == "F"
    scale = rng.normal(0.915 if woman else 1.0, 0.03)
    older = (age - 60) / 30
    fat = float(np.clip(rng.lognormal(np.log(15 if woman else 11), 0.35), 5, 26))
    cavity = (rng.normal(130, 4.5) * scale, rng.normal(89 + 5 * older, 4) * scale)
    aorta = 1.0 + 0.13 * older + rng.normal(0, 0.05)
    tubes: Tubes = {"aorta": [(x, y, z, r * aorta) for x, y, z, r in _AORTA]} | _VESSELS
    return Anatomy(
        sex=sex,
        age=age,
        scale=scale,
        fat=fat,
        muscle=float(np.clip(rng.normal(0.78 if woman else 1.0, 0.1) - 0.12 * older, 0.4, 1.3)),
        breast=float(np.clip(rng.normal(20, 7) + 0.5 * (fat - 15), 8, 34)) if woman else 0.0,
        cavity=cavity,
        heart=rng.normal(1.0 + 0.04 * older, 0.05),
        dome=rng.normal(58, 7),
        shape=rng.normal(0, 1, (5, 2)) * np.array([0.6, 1.2, 0.9, 0.6, 0.4])[:, None],
        vessels=_tubes(rng, tubes, scale, cavity),
        airway=_tubes(rng, _AIRWAY, scale, cavity),
        lung_vessels=_lung_vessels(rng, cavity, scale),
    )


def _tubes(
    rng: np.random.Generator,
    tubes: Tubes,
    scale: float,
    cavity: tuple[float, float],
) -> tuple[Points, Points]:
    """Tubes along their points, each rounded into short pieces, moved a little from patient to patient."""
    ends, radii = [], []
    shift = rng.normal(0, 2.0, 3)
    stretch = np.array([scale, scale * cavity[1] / (88 * scale), 1.0])
    for points in tubes.values():
        line = np.array(points, float)
        line[:, :3] = line[:, :3] * stretch + shift + rng.normal(0, 0.8, 3)
        line[:, 3] *= scale * rng.normal(1.0, 0.04)
        at = np.arange(len(line), dtype=float)
        fine = np.linspace(0, len(line) - 1, 3 * (len(line) - 1) + 1)
        curve = np.stack([_curve(at, line[:, column], fine) for column in range(4)], axis=1)
        ends.append(np.stack([curve[:-1, :3], curve[1:, :3]], axis=1))
        radii.append((curve[:-1, 3] + curve[1:, 3]) / 2)
    return np.concatenate(ends), np.concatenate(radii)


def _curve(at: Points, values: Points, fine: Points) -> Points:
    """Values between points along a cubic Hermite curve whose slopes are the mean of both sides."""
    slope = np.gradient(values) if len(values) > 2 else np.full(2, values[1] - values[0])
    left = np.minimum(fine.astype(int), len(at) - 2)
    t = fine - left
    first, last = values[left], values[left + 1]
    return np.asarray(
        first * (1 + 2 * t) * (1 - t) ** 2
        + slope[left] * t * (1 - t) ** 2
        + last * t**2 * (3 - 2 * t)
        + slope[left + 1] * t**2 * (t - 1)
    )


def _lung_vessels(rng: np.random.Generator, cavity: tuple[float, float], scale: float) -> tuple[Points, Points]:
    """An arterial and a venous tree for each lung, filling it."""
    trees = []
    for side in (-1.0, 1.0):
        for root in ((46.0, 10.0, -8.0), (50.0, 22.0, 12.0)):  # artery, vein
            middle = np.array([side * 0.57 * cavity[0], 6.0, 0.0])
            size = np.array([0.46 * cavity[0], 0.93 * cavity[1], 108.0])
            direction = rng.normal(size=(2**_BRANCHING, 3))
            direction /= np.linalg.norm(direction, axis=1, keepdims=True)
            targets = middle + size * direction * rng.random((2**_BRANCHING, 1)) ** (1 / 3)
            hilum = np.array([side * root[0], root[1], root[2]]) * [scale, scale, 1.0] + rng.normal(0, 2, 3)
            trees.append(_tree(rng, hilum, targets, rng.normal(5.4, 0.35) * scale))
    return np.concatenate([ends for ends, _ in trees]), np.concatenate([radii for _, radii in trees])


def _tree(rng: np.random.Generator, root: Points, targets: Points, radius: float) -> tuple[Points, Points]:
    """A tree from the root to all targets: split the targets in halves, branch toward each half, again.

    The radius follows Murray's law, r^3 = r1^3 + r2^3 (Murray 1926): r is the cube root of the targets fed.

    Args:
        rng: The patient's own generator.
        root: (3,).
        targets: (2**k, 3).
        radius: Of the trunk, millimetres.
    """
    ends, radii = [], []
    groups, nodes = targets[None], root[None]
    while groups.shape[1] > 1:
        tries = rng.normal(size=(len(groups), 4, 3))
        tries /= np.linalg.norm(tries, axis=2, keepdims=True)
        spread = np.einsum("gmc,gtc->gtm", groups, tries)
        best = np.argmax(spread.var(axis=2), axis=1)  # the cut across which the targets lie widest
        keys = np.take_along_axis(spread, best[:, None, None], axis=1)[:, 0]
        order = np.argsort(keys, axis=1)
        groups = np.take_along_axis(groups, order[:, :, None], axis=1).reshape(2 * len(groups), -1, 3)
        nodes = np.repeat(nodes, 2, axis=0)
        middle = groups.mean(axis=1)
        share = rng.uniform(*_SEGMENT_SHARE, (len(nodes), 1))
        length = np.linalg.norm(middle - nodes, axis=1, keepdims=True)
        tips = nodes + share * (middle - nodes) + rng.normal(0, 0.05, nodes.shape) * length
        bend = (nodes + tips) / 2 + rng.normal(0, 0.035, nodes.shape) * length
        thick = radius * (groups.shape[1] / len(targets)) ** (1 / 3) * rng.normal(1.0, 0.12, len(nodes))
        thick = np.clip(thick, 0.35, None)
        ends += [np.stack([nodes, bend], axis=1), np.stack([bend, tips], axis=1)]
        radii += [thick, thick * 0.93]
        nodes = tips
    return np.concatenate(ends), np.concatenate(radii)


def wall(anatomy: Anatomy, level: float, theta: Points) -> tuple[Points, Points, Points]:
    """The chest wall at a level, as tables over directions.

    Args:
        anatomy: The patient.
        level: z in millimetres.
        theta: Directions, radians; pi/2 is the back.

    Returns:
        Radius of the cavity; thickness of muscle outside the ribs; thickness of fat; all millimetres.
    """
    width, depth = anatomy.cavity
    narrow = 1.0 - 0.16 / (1.0 + np.exp((level + 62) / 9.0)) - 0.0004 * max(-level, 0.0)
    power = 2.35
    cos, sin = np.abs(np.cos(theta)) / (width * narrow), np.abs(np.sin(theta)) / (depth * narrow**0.5)
    cavity = (cos**power + sin**power) ** (-1 / power)
    for order, (even, odd) in enumerate(anatomy.shape, start=1):
        cavity = cavity + even * np.cos(order * theta) + odd * np.sin(order * theta)
    front, back = -np.pi / 2, np.pi / 2
    upper = 1.0 / (1.0 + np.exp((level + 12) / 14.0))  # 1 at the shoulders
    muscle = 5.0 + 3.0 * bump(theta, 0, 0.5) + 3.0 * bump(theta, np.pi, 0.5)
    for side in (-1.0, 1.0):
        muscle = muscle + (4 + 12 * upper) * bump(theta, front + side * 0.72, 0.3)  # pectoral
        muscle = muscle + (9 + 13 * upper) * bump(theta, back - side * 0.8, 0.34)  # around the shoulder blade
        muscle = muscle + 11.0 * bump(theta, back - side * 0.3, 0.24)  # beside the spine
    muscle = muscle * anatomy.muscle + 6.0 * bump(theta, back, 0.25)
    fat = anatomy.fat * (
        0.62 + 0.3 * np.cos(2 * theta) ** 2 + 0.25 * bump(theta, back, 0.5) - 0.3 * bump(theta, front, 0.3)
    )
    fat = fat + 4.0 * bump(theta, back - 1.35, 0.25) + 4.0 * bump(theta, back + 1.35, 0.25)
    height = anatomy.breast * np.exp(-0.5 * ((level - 18) / 38.0) ** 2)
    for side in (-1.0, 1.0):
        fat = fat + height * bump(theta, front + side * 0.78, 0.27)
    fat = fat - 0.2 * anatomy.fat * bump(theta, back, 0.07)  # groove over the spine
    return cavity, muscle, np.clip(fat, 3.0, None)
