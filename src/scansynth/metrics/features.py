"""Features of grey images from fixed random filters: nothing learned, nothing downloaded.

Random convolutions with pooled statistics tell distributions of images apart about as well as learned ones
and without a preference for photographs (Naeem et al., Reliable Fidelity and Diversity Metrics, ICML 2020,
arXiv:2002.09797, section 4; Saxe et al., On Random Weights and Unsupervised Feature Learning, ICML 2011).

Two judges: what a generator is trained or stopped on uses `MONITOR_SEED`; what judges it uses `JUDGE_SEED`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

JUDGE_SEED = 20261101
"""Seed of the filters that judge a finished set."""

MONITOR_SEED = 7340033
"""Seed of the filters that watch a training and choose its end. Never that of the judge."""

SMALLEST = 32
_CHANNELS = (1, 16, 32, 64, 64)
_THUMBNAIL = 8
_SLOPE = 0.2
_LIMIT = 2.0
_LEAST_SPREAD = 1e-3  # keeps the logarithm of a flat response finite
_CHUNK_PIXELS = 1 << 18  # in one pass: at 230 bytes a pixel it takes 60 MB, whatever the size of the images

DIMENSIONS = 2 * sum(_CHANNELS[1:]) + _THUMBNAIL**2
"""Length of a feature vector: mean and log spread of 176 responses, and an 8 x 8 thumbnail: 416."""


@dataclass(frozen=True)
class RandomEncoder:
    """Four layers of random 3 x 3 filters, each at half the size of the one before.

    Attributes:
        seed: Of the filters.
        filters: Four tensors (out, in, 3, 3), float32.
    """

    seed: int
    filters: tuple[torch.Tensor, ...]

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Features of images.

        Args:
            images: (n, height, width) in [-1, 1], n >= 1, sides of 32 pixels at least.

        Returns:
            (n, 416) float64, not at scale; an image's features do not depend on its neighbours.

        Raises:
            ValueError: The images have another shape, or a value that is not finite.
        """
        if images.ndim != 3 or len(images) == 0 or min(images.shape[1:]) < SMALLEST:
            raise ValueError(f"need images (n, height, width) from {SMALLEST} pixels, not {images.shape}")
        chunk = max(1, _CHUNK_PIXELS // (images.shape[1] * images.shape[2]))
        parts = [self._encode(images[start : start + chunk]) for start in range(0, len(images), chunk)]
        features = np.concatenate(parts)
        if not np.isfinite(features).all():
            raise ValueError("an image holds a value that is not finite")
        return features

    @torch.no_grad()
    def _encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """(n, h, w) -> (n, 416)."""
        x = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
        found = [functional.adaptive_avg_pool2d(x, _THUMBNAIL).flatten(1)]
        for layer, weight in enumerate(self.filters):
            if layer:
                x = functional.avg_pool2d(x, 2)
            x = functional.leaky_relu(functional.conv2d(functional.pad(x, (1, 1, 1, 1), "replicate"), weight), _SLOPE)
            # float64: the spread of a nearly flat response is a difference of nearly equal numbers
            flat = x.flatten(2).double()
            # the logarithm: blur and noise change a spread by a factor, whatever the image's contrast
            found += [flat.mean(2), torch.log(flat.std(2, correction=0) + _LEAST_SPREAD)]
        return torch.cat([part.double() for part in found], 1).numpy()


def random_encoder(seed: int) -> RandomEncoder:
    """The encoder of a seed, the same on every machine.

    Filters are normal with He's spread sqrt(2 / inputs) (arXiv:1502.01852); those of the first layer sum to 0,
    so that they see edges and grain, and the thumbnail sees the grey.
    """
    rng = np.random.default_rng(seed)
    filters = []
    for inputs, outputs in itertools.pairwise(_CHANNELS):
        weight = rng.normal(0.0, np.sqrt(2.0 / (9 * inputs)), (outputs, inputs, 3, 3))
        if inputs == 1:
            weight -= weight.mean(axis=(2, 3), keepdims=True)
        filters.append(torch.from_numpy(weight.astype(np.float32)))
    return RandomEncoder(seed, tuple(filters))


@dataclass(frozen=True)
class Scale:
    """How features are brought to scale: whitened on reference images, and limited softly.

    Attributes:
        mean: Of the reference's features (d,).
        axes: Principal axes, each divided by the reference's spread along it (d, k).
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Features (n, d) at scale, (n, k): about mean 0 and spread 1, all within -2 and 2.

        2 tanh(z/2) keeps one unusual image from deciding a mean of cubes.
        """
        return np.asarray(_LIMIT * np.tanh((features - self.mean) @ self.axes / _LIMIT), dtype=np.float64)


def fit_scale(features: NDArray[np.float64], dimensions: int = 64) -> Scale:
    """The scale of reference features (n, d), from real images that the judged ones do not contain.

    Each feature is brought to spread 1, and the leading principal components are whitened: else contrast, which all
    features share, hides every finer difference. k is `dimensions`, or a quarter of n where that is less.

    Raises:
        ValueError: There are fewer than two references, or they are all the same.
    """
    if len(features) < 2 or not features.std(axis=0).any():
        raise ValueError("a scale needs two different references at least")
    mean, spread = features.mean(axis=0), features.std(axis=0)
    unit = np.where(spread > 1e-12, spread, np.inf)  # a feature without spread says nothing
    _, values, rows = np.linalg.svd((features - mean) / unit, full_matrices=False)
    kept = max(1, min(dimensions, len(features) // 4, int((values > 1e-6 * values[0]).sum())))
    lengths = values[:kept] / np.sqrt(len(features))
    return Scale(mean, rows[:kept].T / unit[:, None] / lengths)
