"""The phantom's scanners: contrast, coils, resolution, ghosts, noise.

Magnitude images of complex Gaussian noise are Rician (Gudbjartsson and Patz, Magn Reson Med 34:910, 1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from scansynth.phantom.shapes import Field, smooth_noise
from scansynth.phantom.slices import Contrast

_NOISE = 0.034  # standard deviation of the noise at 1.5 T where fat is 1, at a 1.4 mm pixel
_CONTRASTS = {
    "Siemens": Contrast(
        fat=1.0, muscle=0.40, blood=0.74, heart=0.46, liver=0.56, marrow=0.62, cord=0.42, fluid=0.24, cortex=0.12,
        lung=0.075, skin=0.5,
    ),
    "Philips": Contrast(
        fat=0.52, muscle=0.42, blood=0.95, heart=0.52, liver=0.62, marrow=0.34, cord=0.44, fluid=0.26, cortex=0.12,
        lung=0.08, skin=0.4,
    ),
    "GE": Contrast(
        fat=0.82, muscle=0.34, blood=0.52, heart=0.40, liver=0.44, marrow=0.55, cord=0.46, fluid=0.66, cortex=0.11,
        lung=0.085, skin=0.45,
    ),
}  # fmt: skip
MANUFACTURERS = tuple(_CONTRASTS)
"""Three makers, each with an imagined protocol: fat bright, fat suppressed, fluid bright.

The names are those of real makers because de-identification lets no other through; the contrasts are not theirs.
"""


@dataclass(frozen=True)
class Scanner:
    """One patient's examination.

    Attributes:
        manufacturer: One of `MANUFACTURERS`.
        model: The maker's model.
        field_strength: Tesla.
        contrast: Signal of the tissues in this patient.
        noise: Standard deviation of the noise, fat is 1.
        shading: How much the coils' falloff stays in the image, 0..1.
        field_bias: Strength of the slow variation of the transmit field.
        ghost: Strength of the ghosts of the beating heart.
        blur: Breathing blur along the phase direction, millimetres.
        phase_direction: ROW or COL: along which image axis ghosts repeat.
        gain: Stored value of a signal of 1.
    """

    manufacturer: str
    model: str
    field_strength: float
    contrast: Contrast
    noise: float
    shading: float
    field_bias: float
    ghost: float
    blur: float
    phase_direction: str
    gain: float


def draw_scanner(rng: np.random.Generator, manufacturer: str, field_strength: float) -> Scanner:
    """An examination on this maker's scanner at this field strength.

    3 T: noise halved, the transmit field varies twice as much. Makers differ in contrast, gain and phase direction.

    Args:
        rng: The patient's own generator.
        manufacturer: One of `MANUFACTURERS`.
        field_strength: 1.5 or 3 tesla.
    """
    strong = field_strength > 2
    base = _CONTRASTS[manufacturer]
    names = Contrast.__dataclass_fields__
    tissue = {name: getattr(base, name) * rng.normal(1.0, 0.05) for name in names}
    index = MANUFACTURERS.index(manufacturer)
    return Scanner(
        manufacturer=manufacturer,
        model="phantom 3T" if strong else "phantom 1.5T",
        field_strength=field_strength,
        contrast=Contrast(**tissue),
        noise=_NOISE * (0.5 if strong else 1.0) * rng.lognormal(0, 0.15),
        shading=float(np.clip(rng.normal(0.4, 0.1), 0.1, 0.7)),
        field_bias=(0.16 if strong else 0.07) * rng.lognormal(0, 0.2),
        ghost=float(rng.lognormal(np.log(0.035), 0.5)),
        blur=float(rng.uniform(0.6, 2.2)),
        phase_direction="ROW" if index == 1 else "COL",
        gain=(1150.0, 620.0, 1900.0)[index] * rng.lognormal(0, 0.12),
    )


def _coils(size: int, pixel: float, rng: np.random.Generator) -> Field:
    """Combined sensitivity of six surface coils, three in front and three behind; mean 1 over the image."""
    line = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * pixel
    total = np.zeros((size, size), np.float32)
    for side in (-1, 1):
        for across in (-95, 0, 95):
            cx, cy = across + rng.normal(0, 6), side * (150 + rng.normal(0, 6))
            reach = rng.uniform(115, 145)
            total += np.exp(-((line - cx) ** 2)[None, :] / reach**2) * np.exp(-((line - cy) ** 2)[:, None] / reach**2)
    total = np.sqrt(total)
    return np.asarray(total / total.mean(), np.float32)


def acquire(
    signal: Field, moving: Field, pixel: float, scanner: Scanner, rng: np.random.Generator
) -> npt.NDArray[np.uint16]:
    """A slice as the scanner stores it.

    Coil falloff and transmit field; resolution and breathing blur as filters of k-space; the beating share repeats
    along the phase direction; complex noise; magnitude; most of the falloff divided out again, which raises the
    noise in the middle; 12 bits.

    Args:
        signal: Tissue signal, float32 (n, n).
        moving: Share of each pixel that beats, 0..1.
        pixel: Millimetres.
        scanner: The examination.
        rng: The slice's own generator.

    Returns:
        uint16 (n, n), below 4096.
    """
    size = len(signal)
    coils = _coils(size, pixel, rng)
    bias = 1 + scanner.field_bias * np.clip(smooth_noise(rng, size, size / 3.2), -2.2, 2.2)
    seen = signal * coils * bias
    phase_axis = 1 if scanner.phase_direction == "ROW" else 0
    frequency = fft.fftfreq(size).astype(np.float32)
    along = frequency[:, None] if phase_axis == 0 else frequency[None, :]
    space = fft.fft2(seen)
    period = int(rng.integers(3, 8))
    lines = np.cos(2 * np.pi * (np.rint(along * size) / period + rng.random())).astype(np.float32)
    wobble = 1 + 0.5 * rng.standard_normal(lines.shape, dtype=np.float32)
    space = space + fft.fft2(seen * moving) * (np.float32(2 * scanner.ghost) * lines * wobble)
    square = (frequency**2)[:, None] + (frequency**2)[None, :]
    space *= np.exp(-square / np.float32(2 * 0.33**2))  # the maker's smoothing filter
    sigma = scanner.blur / pixel
    space *= np.exp(-2 * np.float32(np.pi**2 * sigma**2) * along**2)
    image = fft.ifft2(space)
    # a larger pixel collects more signal: noise falls with the side, as several acquisitions would make it
    noise = np.float32(scanner.noise * min(1.0, (1.4 / pixel) ** 0.5))
    real = image.real + noise * rng.standard_normal((size, size), dtype=np.float32)
    imaginary = image.imag + noise * rng.standard_normal((size, size), dtype=np.float32)
    magnitude = np.hypot(real, imaginary) / coils ** np.float32(1 - scanner.shading)
    stored: npt.NDArray[np.uint16] = np.clip(np.rint(magnitude * scanner.gain), 0, 4095).astype(np.uint16)
    return stored
