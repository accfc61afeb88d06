"""History of generated images for the discriminator.

Shrivastava et al. 2017 (arXiv 1612.07828), section 2.3: part of each batch of fakes comes from a buffer of
earlier ones, and current fakes replace random places of the buffer. The discriminator so remembers what
the generator gave up, and a generator that runs from mode to mode gains nothing.

Past and current fakes stay apart on their way through the discriminator. In one batch, its batch norm would
see from the batch's statistics that old images are among the new, call every mixture fake and every batch of
current fakes real, and the generator would learn nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class ReplayHistory:
    """Past fakes.

    Attributes:
        images: (capacity, channels, rows, columns), on the training device; those from `filled` on are unused.
        labels: (capacity,) int64, the class that each was made for.
        filled: Rows in use.
    """

    images: Tensor
    labels: Tensor
    filled: int = 0


def new_history(capacity: int, shape: tuple[int, int, int], like: Tensor) -> ReplayHistory:
    """An empty history of `capacity` images (channels, rows, columns), of the number format and device of `like`."""
    return ReplayHistory(like.new_zeros((capacity, *shape)), like.new_zeros(capacity, dtype=torch.int64))


def past_among(share: float, count: int) -> int:
    """How many of `count` fakes are past ones."""
    return min(max(1, round(share * count)), count - 1)


@torch.no_grad()
def exchange(
    history: ReplayHistory, fakes: Tensor, labels: Tensor, share: float, random: torch.Generator
) -> tuple[tuple[Tensor, Tensor], ...]:
    """Fakes for the discriminator: current ones, then past ones in place of the rest, which are stored.

    While the history fills, all are current.

    Args:
        history: Changed in place.
        fakes: Current fakes, (n, channels, rows, columns), detached.
        labels: (n,), the class that each was made for.
        share: Of past fakes among the n, in (0, 1).
        random: A generator on the CPU.

    Returns:
        One batch of n images and their labels while the history fills; then two, of current and of past fakes, n in
        all.
    """
    capacity, count = history.images.shape[0], fakes.shape[0]
    fresh = min(count, capacity - history.filled)
    if fresh > 0:
        history.images[history.filled : history.filled + fresh] = fakes[:fresh].to(history.images.dtype)
        history.labels[history.filled : history.filled + fresh] = labels[:fresh]
        history.filled += fresh
        return ((fakes, labels),)
    past = past_among(share, count)
    drawn = torch.randperm(capacity, generator=random)[:past].to(fakes.device)
    recalled = history.images[drawn].to(fakes.dtype), history.labels[drawn]
    # The fakes that gave way go into the places that were drawn: each is shown once, now or later.
    history.images[drawn] = fakes[:past].to(history.images.dtype)
    history.labels[drawn] = labels[:past]
    return (fakes[past:], labels[past:]), recalled
