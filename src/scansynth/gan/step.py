"""One round with cross-entropy: the discriminator's step, then, apart from it, the generator's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from scansynth.gan import losses, replay
from scansynth.gan.freezing import held
from scansynth.gan.losses import LossSettings
from scansynth.gan.models.family import Batch
from scansynth.gan.state import TrainingState
from scansynth.learning import ema, ranks
from scansynth.learning.device import Device
from scansynth.recipe import Recipe


def round_of_steps(
    state: TrainingState, batch: Batch, settings: LossSettings, recipe: Recipe, device: Device
) -> Tensor:
    """Updates both networks once; changes `state`.

    The fakes are made once: the discriminator sees them cut off from the generator, the generator sees what the
    discriminator says after its step.

    Args:
        state: Networks, optimisers, history.
        batch: Real images, labels, noise.
        settings: Targets, and the penalty.
        recipe: Replay, moving average.
        device: Precision.

    Returns:
        (4,) on the device, the figures of `state.FIGURES`: both losses, and how real the discriminator calls reals and
        fakes, a mean probability. Nothing waits for the device here.
    """
    with device.autocast():
        fakes = state.generator(batch.noise, batch.labels)

    shown: Sequence[tuple[Tensor, Tensor]] = [(fakes.detach(), batch.labels)]
    if state.history is not None:
        made = ranks.whole(fakes.detach()), ranks.whole(batch.labels)  # every rank keeps the same history
        mixed = replay.exchange(state.history, *made, recipe.replay.share, batch.random)
        shown = [(ranks.own(images), ranks.own(labels)) for images, labels in mixed]
    with device.autocast(), parametrize.cached():  # normalises the weights once for all
        real_logits = state.discriminator(batch.real, batch.labels)
        fake_logits = torch.cat([state.discriminator(*part) for part in shown])
        penalty = _penalty(state, batch, settings)
    loss_d = losses.discriminator_loss(real_logits, fake_logits, settings)  # told without the penalty: curves compare
    pulled = loss_d if penalty is None else loss_d + penalty
    state.discriminator_optimiser.zero_grad()
    pulled.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
    state.discriminator_optimiser.step()

    with held(state.discriminator):  # its gradients would be thrown away
        with device.autocast():
            wanted = state.discriminator(fakes, batch.labels)
        loss_g = losses.generator_loss(wanted, settings)
        state.generator_optimiser.zero_grad()
        loss_g.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
        state.generator_optimiser.step()

    if state.average is not None:
        ema.update(state.average, state.generator, ema.decay_for(batch.count, recipe.ema.half_life_images))
    said = [real_logits.detach().float().sigmoid().mean(), fake_logits.detach().float().sigmoid().mean()]
    return torch.stack([loss_d.detach(), loss_g.detach(), *said])


def _penalty(state: TrainingState, batch: Batch, settings: LossSettings) -> Tensor | None:
    """The penalty on the discriminator's gradient with its weight, in the rounds that have one.

    It is taken every few steps and scaled up by that number: lazy regularisation, Karras et al. 2020
    (arXiv 1912.04958), appendix B.
    """
    if not settings.penalty or (batch.seen // batch.count) % settings.penalty_every:
        return None
    weight = 0.5 * settings.penalty * settings.penalty_every
    return weight * losses.gradient_penalty(state.discriminator, batch.real, batch.labels)
