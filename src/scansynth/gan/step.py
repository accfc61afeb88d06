"""One round: the discriminator's step, then, apart from it, the generator's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from scansynth.gan import losses, replay
from scansynth.gan.state import TrainingState
from scansynth.learning import ema
from scansynth.learning.device import Device
from scansynth.recipe import Recipe


def round_of_steps(
    state: TrainingState, real: Tensor, latent: Tensor, random: torch.Generator, recipe: Recipe, device: Device
) -> Tensor:
    """Updates both networks once; changes `state`.

    The fakes are made once: the discriminator sees them cut off from the generator, the generator sees them
    judged by the discriminator as it is after its step.

    Args:
        state: Networks, optimisers, history.
        real: (n, 1, side, side) in [-1, 1].
        latent: Noise (n, length, 1, 1).
        random: A generator on the CPU, for the history.
        recipe: Losses, replay, moving average.
        device: Precision.

    Returns:
        (4,) on the device, the figures of `state.FIGURES`: both losses, and the mean probability of being real that
        the discriminator gives reals and fakes. Nothing waits for the device here.
    """
    with device.autocast():
        fakes = state.generator(latent)

    shown: tuple[Tensor, ...] = (fakes.detach(),)
    if state.history is not None:
        shown = replay.exchange(state.history, shown[0], recipe.replay.share, random)
    with device.autocast(), parametrize.cached():  # normalises the weights once for both
        real_logits = state.discriminator(real)
        fake_logits = torch.cat([state.discriminator(part) for part in shown])
    loss_d = losses.discriminator_loss(real_logits, fake_logits, recipe.loss)
    state.discriminator_optimiser.zero_grad()
    loss_d.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
    state.discriminator_optimiser.step()

    state.discriminator.requires_grad_(False)  # its gradients would be thrown away
    with device.autocast():
        wanted = state.discriminator(fakes)
    loss_g = losses.generator_loss(wanted, recipe.loss)
    state.generator_optimiser.zero_grad()
    loss_g.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
    state.generator_optimiser.step()
    state.discriminator.requires_grad_(True)

    if state.average is not None:
        ema.update(state.average, state.generator, ema.decay_for(len(real), recipe.ema.half_life_images))
    said = [real_logits.detach().float().sigmoid().mean(), fake_logits.detach().float().sigmoid().mean()]
    return torch.stack([loss_d.detach(), loss_g.detach(), *said])
