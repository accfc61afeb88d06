"""The relativistic pairing loss, its gradient penalty, and how strong that has to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from scansynth.config import Settings


class LossSettings(Settings):
    """Relativistic pairing, with a penalty on the discriminator's slope that rises where it is needed."""

    penalty: float = Field(0.2, gt=0, description="R1 and R2: weight gamma/2 of the squared slope, at least.")
    penalty_every: int = Field(2, ge=1, description="Steps between two penalties; each is scaled up by this number.")
    sureness: Annotated[float, Field(gt=0.5, lt=1.0)] = Field(
        0.85,
        description="How sure of its pairs the discriminator may be; above this the penalty rises.",
    )
    follow: float = Field(0.01, ge=0, le=0.1, description="Largest change of the penalty in a round; 0: none.")
    dense: float = Field(
        1.0, gt=0, description="Weight of the logits about places, relative to that about the whole image."
    )
    rate: float = Field(0.4, gt=0, description="The discriminator's learning rate divided by the generator's.")


def pairing_loss(better: Tensor, worse: Tensor, dense: float) -> Tensor:
    """Mean of softplus(worse - better) over the pairs: how little the one is told from the other.

    Jolicoeur-Martineau 2019 (arXiv 1807.00734), with pairs in the batch as in Huang et al. 2024 (R3GAN,
    arXiv 2501.05441), equation 1. The discriminator wants reals to be the better ones, the generator its fakes.

    Args:
        better: Logits (n, 1 + places): the first is about the whole image, the others about its places.
        worse: Logits of the other kind; pairs share the row, and the place.
        dense: Weight of the places beside the whole.
    """
    apart = softplus(worse - better)
    return apart[:, 0].mean() + dense * apart[:, 1:].mean()


def sureness(real: Tensor, fake: Tensor) -> Tensor:
    """Mean probability, over the pairs, of the discriminator's right answer: the whole and the places by halves.

    0.5 for one that tells nothing, 1 for one that is sure and right.
    """
    right = (real - fake).sigmoid()
    return 0.5 * (right[:, 0].mean() + right[:, 1:].mean())


def slope_penalty(logits_of: Callable[[Tensor], Tensor], inputs: Tensor, signs: Tensor, dense: float) -> Tensor:
    """Mean over the inputs of |slope of the whole's logit|^2 + `dense` times the mean over places of |slope|^2.

    R1 and R2 without their weight: Mescheder et al. 2018 (arXiv 1801.04406), equation 9, at reals and at fakes (Huang
    et al. 2024, arXiv 2501.05441, equation 2). With random signs e_p, the squared length of the slope of
    whole + sqrt(dense / places) sum_p e_p place_p is that on average, since the mixed terms cancel: one backward pass
    for all logits.

    Args:
        logits_of: Inputs (n, ...) to logits (n, 1 + places).
        inputs: Where the slope is taken, reals and fakes.
        signs: (n, places), each -1 or 1.
        dense: Weight of the places.

    Returns:
        A number to be differentiated by the discriminator's weights.
    """
    points = inputs.detach().requires_grad_()
    logits = logits_of(points)
    mixed = logits[:, 0].sum() + math.sqrt(dense / signs.shape[1]) * (logits[:, 1:] * signs).sum()
    (slopes,) = torch.autograd.grad(mixed, points, create_graph=True)
    squares: Tensor = slopes.float().square().flatten(1).sum(1)
    return squares.mean()
