"""A small encoder that learns from the train role alone, without labels and without a download.

A convolutional network learns which crops come from one image in one state, by the contrastive loss of SimCLR (Chen
et al., ICML 2020, arXiv:2002.05709, eq. 1). A blurred or noisy version of an image counts as another image, so the
network must see what a generator gets wrong: its layers serve to judge. What finds copies must overlook just that,
and is learned beside it (`embedding`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from scansynth.files import sha256_bytes, write_bytes
from scansynth.metrics.distortions import Ranges, blurred
from scansynth.metrics.embedding import Embedding, learn
from scansynth.metrics.threads import one_thread

VERSION = 2
"""Of everything that decides what is learned; another one is learned again."""

LEARNED_SEED = 20270313
"""Seed of the network's first weights and of all draws. Never that of another judge, nor of the monitor."""

SIDE = 64
"""Pixels at which the network learns; larger images are brought down by averaging."""

LEAST_IMAGES = 32
"""Fewer images teach an encoder nothing that holds for others."""

STEPS = 120
_IMAGES = 64  # in a step: each whole and in a spoiled state, two crops of either
_TEMPERATURE = 0.2
_RATE = 2e-3
_WARM = 10  # steps until the full rate
_CHANNELS = (1, 16, 32, 64, 64)
_NATIVE = 2  # layers that look at larger images at their own size as well
_SLOPE = 0.2
_PROJECTION = 64
_THUMBNAIL = 8
_LEAST_SPREAD = 1e-3  # keeps the logarithm of a flat response finite
_CHUNK_PIXELS = 1 << 18

Images = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LearnedEncoder:
    """What was learned from the train role.

    Attributes:
        filters: Four tensors (out, in, 3, 3), float32.
        embedding: Finds copies.
        device: Where images are encoded: `cpu` or `cuda`.
    """

    filters: tuple[Tensor, ...]
    embedding: Embedding
    device: str = "cpu"

    def features(self, images: NDArray[Any]) -> Floats:
        """Features for judging, not at scale.

        Args:
            images: (n, side, side) in [-1, 1], n >= 1, sides of 32 pixels at least.

        Returns:
            (n, d) float64: mean and log spread of the responses of every layer at `SIDE`, of the first layers at the
            images' own size where that is larger, and an 8 x 8 thumbnail. An image's features do not depend on its
            neighbours.

        Raises:
            ValueError: A value is not finite.
        """
        return _in_parts(self._describe, images, self.device)

    def embed(self, images: NDArray[Any]) -> Floats:
        """Unit vectors (n, e) for the search for copies, of images (n, side, side) in [-1, 1].

        Raises:
            ValueError: A value is not finite.
        """
        return _in_parts(self.embedding, images, self.device)

    def _describe(self, images: Tensor) -> Tensor:
        filters = tuple(weight.to(images.device) for weight in self.filters)
        small = _small(images)
        found = [functional.adaptive_avg_pool2d(small, _THUMBNAIL).flatten(1).double(), *responses(small, filters)]
        if images.shape[-1] > SIDE:
            found += responses(images, filters[:_NATIVE])
        return torch.cat(found, dim=1)


def _in_parts(encode: Any, images: NDArray[Any], device: str) -> Floats:
    """Encodes images a few at a time, in full precision on every device."""
    if images.ndim != 3 or not len(images):
        raise ValueError(f"need images (n, side, side), not {images.shape}")
    chunk = max(1, _CHUNK_PIXELS // (images.shape[1] * images.shape[2]))
    parts = []
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for start in range(0, len(images), chunk):
            part = np.ascontiguousarray(images[start : start + chunk], dtype=np.float32)
            parts.append(encode(torch.from_numpy(part)[:, None].to(device)).cpu().numpy())
    found: Floats = np.concatenate(parts)
    if not np.isfinite(found).all():
        raise ValueError("an image holds a value that is not finite")
    return found


def responses(images: Tensor, filters: tuple[Tensor, ...]) -> list[Tensor]:
    """Mean and log spread of each layer's responses to images (n, 1, h, w): tensors (n, channels), float64."""
    found, x = [], images
    # the first filters sum to 0: they see edges and grain, and the thumbnail sees the grey
    level = filters[0] - filters[0].mean(dim=(2, 3), keepdim=True)
    for layer, weight in enumerate((level, *filters[1:])):
        if layer:
            x = functional.avg_pool2d(x, 2)
        x = functional.leaky_relu(functional.conv2d(functional.pad(x, (1, 1, 1, 1), "replicate"), weight), _SLOPE)
        flat = x.flatten(2)
        mean = flat.mean(dim=2, keepdim=True)
        variance = ((flat - mean) ** 2).mean(dim=2).double()  # in one pass and in double it took twice as long
        found += [mean[..., 0].double(), torch.log(torch.sqrt(variance + 1e-12) + _LEAST_SPREAD)]
    return found


def _small(images: Tensor) -> Tensor:
    return images if images.shape[-1] <= SIDE else functional.adaptive_avg_pool2d(images, SIDE)


def learned_encoder(train: Images, cache: Path | None = None, device: str = "cpu") -> LearnedEncoder:
    """The encoder of these images: from the cache, or learned and put there.

    Learning runs on the CPU in float32 with one thread and a fixed number of steps, so that the same images give
    the same encoder on one machine, however many cores it has and whatever else runs there.

    Args:
        train: (n, side, side) in [-1, 1], n >= `LEAST_IMAGES`, sides of 32 pixels at least.
        cache: Folder of one file for each content; a damaged file is learned again. None: nothing is kept.
        device: Where images will be encoded.

    Raises:
        ValueError: There are too few images, or a value is not finite.
        StorageError: The cache cannot be written.
    """
    if len(train) < LEAST_IMAGES:
        raise ValueError(f"{len(train)} images are too few to train an encoder; {LEAST_IMAGES} are needed")
    if not np.isfinite(train).all():
        raise ValueError("an image holds a value that is not finite")
    path = None if cache is None else cache / f"{content_digest(train)}.safetensors"
    kept = _read(path) if path else None
    if kept is None:
        kept = _learn(train)
        if path:
            write_bytes(path, _to_bytes(kept))
    return replace(kept, device=device)


def content_digest(train: Images) -> str:
    """SHA-256 of the images, the settings and the version."""
    settings = (VERSION, LEARNED_SEED, SIDE, STEPS, _IMAGES, _CHANNELS, Ranges(), train.shape)
    values = np.ascontiguousarray(train, dtype="<f4").tobytes()
    return sha256_bytes(repr(settings).encode() + values)


def _learn(train: Images) -> LearnedEncoder:
    with one_thread():
        images = _small(torch.from_numpy(np.ascontiguousarray(train, dtype=np.float32))[:, None])
        random = torch.Generator().manual_seed(LEARNED_SEED)
        filters = _learn_filters(images, random)
        with torch.no_grad():
            embedding = learn(images, Ranges(), random)
        return LearnedEncoder(filters, embedding)


def _learn_filters(images: Tensor, random: torch.Generator) -> tuple[Tensor, ...]:
    """Filters that tell crops of one image in one state from all others."""
    filters = tuple(
        (torch.randn(outputs, inputs, 3, 3, generator=random) * math.sqrt(2.0 / (9 * inputs))).requires_grad_()
        for inputs, outputs in itertools.pairwise(_CHANNELS)
    )
    norm = nn.BatchNorm1d(2 * sum(_CHANNELS[1:]), affine=False).double()
    start = torch.randn(norm.num_features, _PROJECTION, generator=random, dtype=torch.float64)
    projection = (start / math.sqrt(norm.num_features)).requires_grad_()
    optimiser = torch.optim.Adam([*filters, projection], lr=_RATE)
    for step, places in enumerate(_batches(len(images), random)):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, (step + 1) / _WARM) * 0.5 * (1.0 + math.cos(math.pi * step / STEPS))
        whole = images[places]
        states = torch.cat([whole, _spoiled(whole, random)])
        crops = torch.cat([_cropped(states, random), _cropped(states, random)])
        codes = functional.normalize(norm(torch.cat(responses(crops, filters), dim=1)) @ projection, dim=1)
        optimiser.zero_grad()
        nt_xent(codes, _TEMPERATURE).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return tuple(weight.detach() for weight in filters)


def _batches(count: int, random: torch.Generator) -> Iterator[Tensor]:
    """Places of the images of each step; every image comes once before one comes again."""
    size, order = min(_IMAGES, count), torch.empty(0, dtype=torch.long)
    for _ in range(STEPS):
        if len(order) < size:
            order = torch.randperm(count, generator=random)
        yield order[:size]
        order = order[size:]


def _spoiled(images: Tensor, random: torch.Generator) -> Tensor:
    """Every image blurred or noisy, to an extent of its own: as a generator might make it."""
    extent = torch.rand(len(images), generator=random)
    noisy = torch.rand(len(images), generator=random) < 0.5
    blur = torch.where(noisy, 0.0, 0.5 + extent)  # standard deviation in pixels
    noise = torch.where(noisy, 0.02 + 0.08 * extent, 0.0).view(-1, 1, 1, 1)  # of a grey range of 2
    grain = torch.randn(images.shape, generator=random)
    return (blurred(images, blur) + noise * grain).clamp(-1.0, 1.0)


def _cropped(images: Tensor, random: torch.Generator) -> Tensor:
    """A square of half the side (three quarters of a small image), anywhere in each image, mirrored at random."""
    side = images.shape[-1]
    width = 8 * max(3, side // 16)
    rows, columns = (torch.randint(side - width + 1, (len(images),), generator=random) for _ in range(2))
    flips = torch.rand(2, len(images), generator=random) < 0.5
    crops = []
    for image, row, column, flip in zip(images, rows.tolist(), columns.tolist(), flips.T.tolist(), strict=True):
        crop = image[:, row : row + width, column : column + width]
        crops.append(crop.flip([axis for axis, turned in zip((1, 2), flip, strict=True) if turned]))
    return torch.stack(crops)


def nt_xent(codes: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy (arXiv:2002.05709, eq. 1).

    Args:
        codes: Unit vectors (2n, d); i and i + n belong together.
        temperature: Of the similarities.

    Returns:
        The mean over all 2n: -log of exp(s_ij / t) / sum over k != i of exp(s_ik / t).
    """
    count = len(codes) // 2
    likeness = codes @ codes.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * count, dtype=torch.bool), -math.inf)
    partner = torch.cat([torch.arange(count, 2 * count), torch.arange(count)])
    return functional.cross_entropy(likeness, partner)


def _to_bytes(encoder: LearnedEncoder) -> bytes:
    tensors = {f"filters.{layer}": weight for layer, weight in enumerate(encoder.filters)}
    tensors |= {"mean": encoder.embedding.mean, "axes": encoder.embedding.axes}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save({**tensors, "sum": _sum(tensors)})


def _sum(tensors: Mapping[str, Tensor]) -> Tensor:
    """SHA-256 over all tensors, as 32 bytes: safetensors has no sum of its own."""
    data = b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
    return torch.tensor(list(bytes.fromhex(sha256_bytes(data))), dtype=torch.uint8)


def _read(path: Path) -> LearnedEncoder | None:
    """The encoder in a file; none where there is no file, or a damaged one."""
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        found = tensors.pop("sum")
        filters = tuple(tensors[f"filters.{layer}"] for layer in range(len(_CHANNELS) - 1))
        encoder = LearnedEncoder(filters, Embedding(tensors["mean"], tensors["axes"]))
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return encoder if torch.equal(found, _sum(tensors)) else None
