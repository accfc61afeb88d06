"""Which two images show the same thing? Unit vectors that hardly change when an image is moved, turned or mirrored.

Every image is described by the sizes of the low frequencies of itself and of four simple maps of it: a shift changes
the phase of a frequency and not its size (Reddy and Chatterji, IEEE Trans. Image Processing 5(8), 1996, eq. 2). What
is left of the influence of shifts, turns, scales, blends, gamma, blur and noise a linear map takes out. It is learned
from distorted copies of the train role in closed form: the linear solution of VICReg (Bardes et al., ICLR 2022,
arXiv:2105.04906, eq. 6: copies of an image together, images apart, dimensions uncorrelated), which is Fisher's
discriminant with the images as classes (Balestriero and LeCun, NeurIPS 2022, arXiv:2205.11508).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from scansynth.metrics.distortions import Ranges, distorted

SIDE = 32
"""Pixels at which images are compared; larger ones are brought down by averaging."""

DIMENSIONS = 128
COPIES = 8
_FLAT = 0.05  # added to a frequency's size before the logarithm, which is at peace with noise below it
_IMAGE, _MAP = 10, 7  # highest frequency kept, cycles across the width
_SHRINKAGE = 0.02  # of the scatter among copies towards the identity: there are more numbers than it can be sure of
_CHUNK = 256


@dataclass(frozen=True)
class Embedding:
    """The learned linear map.

    Attributes:
        mean: Of the features (d,), float64.
        axes: (d, e), float64.
    """

    mean: Tensor
    axes: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Unit vectors (n, e), float64, of images (n, 1, side, side) in [-1, 1]."""
        features = described(images)
        return functional.normalize((features - self.mean.to(images.device)) @ self.axes.to(images.device), dim=1)


def learn(images: Tensor, ranges: Ranges, random: torch.Generator) -> Embedding:
    """The map that keeps distorted copies of an image together and different images apart.

    Args:
        images: (n, 1, side, side) in [-1, 1], of the train role.
        ranges: How the copies are distorted.
        random: Draws the distortions.
    """
    copies = torch.stack([described(distorted(images, ranges, random)) for _ in range(COPIES)], dim=1)
    mean = copies.mean(dim=(0, 1))
    spread = copies.flatten(0, 1).std(dim=0).clamp_min(1e-6)
    copies = (copies - mean) / spread
    centres = copies.mean(dim=1)
    apart = (copies - centres[:, None]).flatten(0, 1)
    within = apart.T @ apart / (len(images) * (COPIES - 1))
    width = len(within)
    within = (1.0 - _SHRINKAGE) * within + _SHRINKAGE * within.trace() / width * torch.eye(width, dtype=within.dtype)
    sizes, vectors = torch.linalg.eigh(within)
    whitening = vectors / sizes.sqrt()
    between = whitening.T @ (centres.T @ centres / len(images)) @ whitening
    ratios, directions = torch.linalg.eigh(between)
    kept = slice(max(0, width - DIMENSIONS), None)
    # the centres of COPIES copies still scatter by 1 / COPIES; directions are weighted by their signal (Wiener)
    signal = (ratios[kept] - 1.0 / COPIES).clamp_min(1e-9)
    axes = whitening @ directions[:, kept] * torch.sqrt(signal / (1.0 + signal))
    return Embedding(mean, axes / spread[:, None])


def described(images: Tensor) -> Tensor:
    """Features (n, d), float64, of images (n, 1, side, side): averaged over the four mirrorings, so blind to them."""
    found = []
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        small = part if part.shape[-1] <= SIDE else functional.adaptive_avg_pool2d(part, SIDE)
        mirrored = (small, small.flip(3), small.flip(2), small.flip(2, 3))
        found.append(torch.stack([_spectra(one) for one in mirrored]).mean(dim=0))
    return torch.cat(found)


def _spectra(images: Tensor) -> Tensor:
    """(n, 1, side, side) to (n, d), float64."""
    return torch.cat([_spectrum(images, _IMAGE), *(_spectrum(change(images), _MAP) for change in _MAPS)], dim=1)


def _spectrum(images: Tensor, highest: int) -> Tensor:
    """Logarithms of the sizes of the frequencies up to `highest`, under a window, (n, (2 highest + 1)(highest + 1))."""
    side = images.shape[-1]
    # the root of Hann's window without its zeros: what leaves at an edge fades first
    window = torch.hann_window(side + 2, periodic=False, device=images.device)[1:-1].sqrt()
    level = images - images.mean(dim=(2, 3), keepdim=True)
    waves = torch.fft.rfft2(level * window[:, None] * window, norm="ortho").abs()[:, 0]
    low = torch.cat([waves[:, -highest:, : highest + 1], waves[:, : highest + 1, : highest + 1]], dim=1)
    return torch.log(low.flatten(1).double() + _FLAT)


def _average(images: Tensor, width: int) -> Tensor:
    return functional.avg_pool2d(images, width, 1, width // 2, count_include_pad=False)


def _steepness(images: Tensor) -> Tensor:
    """Size of the slope, by central differences."""
    wide = functional.pad(images, (1, 1, 1, 1), "replicate")
    across = wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]
    down = wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]
    return (across**2 + down**2 + 1e-4).sqrt()


_MAPS: tuple[Callable[[Tensor], Tensor], ...] = (
    _steepness,
    lambda x: (x - _average(x, 9)).abs(),
    lambda x: _average(x, 3).clamp_min(0.0),
    lambda x: _average(x, 3) ** 2,
)
"""Edges, local contrast, what is bright, and what is bright or dark: bends that a spectrum alone would not show."""
