"""What a network that fills in a lesion is given: its surroundings, and the mask of what it is to make.

As networks take labels (see `gan.asked.labels`), float32 (n, 1 + k): the class, always 0, and then the window with the
lesion hidden and its mask, row by row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def softened(masks: Tensor) -> Tensor:
    """Share of each pixel that is made anew, 1 on a lesion and a pixel around it, 0 beyond `data.windows.REACH` pixels.

    Args:
        masks: (n, 1, rows, columns), above 0 inside.
    """
    wider = functional.max_pool2d((masks > 0.0).float(), 5, 1, 2)
    return functional.avg_pool2d(wider, 3, 1, 1, count_include_pad=False)


def surroundings(images: Tensor) -> Tensor:
    """Windows whose last channel is the mask, with the grey of the lesion hidden, of the same shape."""
    grey, mask = images[:, :-1], images[:, -1:]
    return torch.cat([grey * (1.0 - softened(mask)), mask], 1)


def composed(given: Tensor, made: Tensor) -> Tensor:
    """Windows with what was made in the place of what is hidden, and their mask as the last channel.

    Args:
        given: See `surroundings`.
        made: (n, channels, rows, columns), without a mask.
    """
    mask = given[:, -1:]
    return torch.cat([given[:, :-1] + softened(mask) * made, mask], 1)


def as_labels(given: Tensor) -> Tensor:
    """Surroundings (n, channels, rows, columns) as labels (n, 1 + k)."""
    return torch.cat([given.new_zeros(len(given), 1), given.flatten(1)], 1)


def from_labels(labels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """What `as_labels` was given, for windows of `shape`; of labels that give nothing, an empty window to be filled."""
    if labels.dim() < 2 or labels.shape[1] != 1 + math.prod(shape):
        empty = torch.zeros(len(labels), *shape, device=labels.device)
        empty[:, -1] = 1.0
        return empty
    return labels[:, 1:].reshape(len(labels), *shape)
