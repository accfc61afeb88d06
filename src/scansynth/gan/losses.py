"""Adversarial losses, as equations with their source."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from scansynth.config import Settings


class LossSettings(Settings):
    """Binary cross-entropy on logits, with label smoothing."""

    smoothing: bool = Field(True, description="Use label smoothing; otherwise the targets are 1 and 0.")
    real_target: Annotated[float, Field(gt=0.5, le=1.0)] = Field(0.9, description="Target of real images.")
    fake_target: Annotated[float, Field(ge=0.0, lt=0.5)] = Field(0.1, description="Target of generated images.")
    generator_target: Annotated[float, Field(gt=0.5, le=1.0)] = Field(
        0.9, description="Target of generated images in the generator's step."
    )
    penalty: float = Field(0.0, ge=0, description="R1: weight gamma/2 of the squared gradient at real images; 0: off.")
    penalty_every: int = Field(8, ge=1, description="Steps between two penalties; each is scaled up by this number.")


def targets(settings: LossSettings) -> tuple[float, float, float]:
    """Targets of real images, of fakes, and of fakes in the generator's step.

    Without smoothing: 1, 0 and 1, Goodfellow et al. 2014 (arXiv 1406.2661), section 3.
    """
    if not settings.smoothing:
        return 1.0, 0.0, 1.0
    return settings.real_target, settings.fake_target, settings.generator_target


def cross_entropy(logits: Tensor, target: float) -> Tensor:
    """Mean over the batch of -[t log s(l) + (1 - t) log(1 - s(l))], s the logistic function.

    With 0 < t < 1 this is one-sided or two-sided label smoothing, Salimans et al. 2016
    (arXiv 1606.03498), section 3.4. In float32 whatever the precision of `logits`.
    """
    values = logits.float()
    return binary_cross_entropy_with_logits(values, values.new_full(values.shape, target))


def discriminator_loss(real: Tensor, fake: Tensor, settings: LossSettings) -> Tensor:
    """Cross-entropy of real logits against the real target, plus fake logits against the fake target."""
    real_target, fake_target, _ = targets(settings)
    return cross_entropy(real, real_target) + cross_entropy(fake, fake_target)


def generator_loss(fake: Tensor, settings: LossSettings) -> Tensor:
    """Cross-entropy of fake logits against what the generator wants to answer (the non-saturating form)."""
    return cross_entropy(fake, targets(settings)[2])


def gradient_penalty(discriminator: nn.Module, real: Tensor, labels: Tensor) -> Tensor:
    """Mean over the images of the squared length of the logit's gradient by the image: R1 without its weight.

    Mescheder, Geiger, Nowozin 2018 (arXiv 1801.04406), equation 9. With batch norm an image's gradient also holds
    what the image does to the logits of its batch.

    Args:
        discriminator: Images and their labels to logits, one number an image.
        real: Real images (n, channels, rows, columns).
        labels: Their classes (n,).

    Returns:
        A number in float32, to be differentiated by the discriminator's weights. Computed in float32 even where
        the training is not: it squares and adds up as many small numbers as an image has pixels.
    """
    with torch.autocast(real.device.type, enabled=False):
        images = real.detach().float().requires_grad_()
        logits = discriminator(images, labels)
        (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        squares: Tensor = slopes.square().flatten(1).sum(1)
        return squares.mean()
