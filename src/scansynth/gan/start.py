"""A training before its first round: networks with fresh weights, their optimisers, an empty history."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scansynth.gan.freezing import freeze
from scansynth.gan.models.families import family_of
from scansynth.gan.models.family import Family, Form, Networks
from scansynth.gan.origin.start_from import Origin, begin_with
from scansynth.gan.replay import ReplayHistory, new_history
from scansynth.gan.state import FIGURES, TrainingState
from scansynth.learning import ranks
from scansynth.learning.device import Device
from scansynth.recipe import Recipe
from scansynth.seeds import derive_seed


def new_state(
    recipe: Recipe,
    form: Form,
    seed: int,
    device: Device,
    images: NDArray[np.uint16] | None = None,
    patients: int = 0,
    origin: Origin | None = None,
) -> TrainingState:
    """Freshly initialised networks, or those that the training starts from.

    The same seed gives the same weights on any device.

    Args:
        recipe: Family, optimiser, replay, average.
        form: What the networks are built for.
        seed: The study's.
        device: Where they train.
        images: Training images (n, channels, rows, columns), from which a family may take constants; none: not taken,
            for a state that is about to be restored, or that only costs time and memory.
        patients: Of how many patients these are; 0: not known, as of the fewest.
        origin: Weights to start from, where `images` are given; what a family takes from the images, it takes anew.

    Raises:
        ConfigError: The family has no networks for this form.
    """
    family = family_of(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        networks = family.build(*form)
    if images is not None:
        if origin is not None:
            begin_with(networks, origin)
        family.fit(networks, images, patients)
    freeze(family.layers(networks.discriminator), origin.freeze if origin is not None else 0)
    for network in (networks.generator, networks.discriminator):
        network.to(device=device.torch_device)
        network.to(memory_format=device.memory_format)  # type: ignore[call-overload]  # torch's stub lacks this form
    return TrainingState(
        generator=networks.generator,
        discriminator=networks.discriminator,
        average=copy.deepcopy(networks.generator).requires_grad_(False) if recipe.ema.on else None,
        generator_optimiser=optimiser_for(networks.generator, recipe),
        discriminator_optimiser=optimiser_for(networks.discriminator, recipe),
        history=history_for(recipe, family, form, device),
        sums=torch.zeros(len(FIGURES), device=device.torch_device),
    )


def shapes_of(family: Family, form: Form) -> Networks:
    """Both networks without content: nothing is allocated and nothing drawn.

    Raises:
        ConfigError: The family has no networks for this form.
    """
    with torch.device("meta"):
        return family.build(*form)


def optimiser_for(network: nn.Module, recipe: Recipe) -> torch.optim.Adam:
    """Adam, Kingma and Ba 2015 (arXiv 1412.6980), all weights in one kernel, on the gradients of all ranks."""
    settings = recipe.optimiser
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, settings.betas, fused=True)
    if ranks.count() > 1:
        optimiser.register_step_pre_hook(ranks.average_gradients)
    return optimiser


def history_for(recipe: Recipe, family: Family, form: Form, device: Device) -> ReplayHistory | None:
    """An empty history of fakes in the training's precision; none when the recipe has replay off."""
    like = torch.empty(0, device=device.torch_device, dtype=getattr(torch, device.precision))
    shape = (form.channels + family.masks, *form.shape)
    return new_history(recipe.replay.capacity, shape, like) if recipe.replay.on else None
