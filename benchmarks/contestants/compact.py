"""scansynth's recipe `compact`: the family's own step, no flips; rates run down over the time that is given."""

from __future__ import annotations

import time

import numpy as np
import torch
from batches import Given, batches
from numpy.typing import NDArray

from scansynth.data.tensors import to_stored
from scansynth.gan.models.families import complete, family_of
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.sampling import Latent, images_of
from scansynth.gan.start import new_state, shapes_of
from scansynth.learning.device import pick_device
from scansynth.recipe import load_recipe


class Recipe:
    """One training."""

    def __init__(self, given: Given, recipe: str) -> None:
        images = given.images
        self.device, self.recipe, self.last = pick_device(), complete(load_recipe(recipe, {})), given.seconds
        self.family = family_of(self.recipe)
        form = Form((images.shape[2], images.shape[3]), 1, 1)
        self.noise, self.batch, self.seen = shapes_of(self.family, form).noise, self.recipe.schedule.batch, 0
        seed, stored = torch.initial_seed(), to_stored(images.numpy())
        self.state = new_state(self.recipe, form, seed, self.device, stored, given.patients)
        self.random = torch.Generator().manual_seed(seed)
        self.loader, self.began = batches(images, self.batch), time.process_time()
        self.labels = torch.zeros(self.batch, dtype=torch.int64)
        self.settings = f"recipe {recipe}, without flips; {self.device.precision}"

    def step(self) -> None:
        """One round of both networks."""
        spent = max(time.process_time() - self.began, 1.0)
        total = max(self.seen + self.batch, round((self.seen + self.batch) * self.last / spent))
        noise = torch.randn(self.batch, self.noise, generator=self.random)
        batch = Batch(next(self.loader), self.labels, noise, self.random, self.seen, total)
        self.family.step(self.state, batch, self.recipe, self.device)
        self.seen += self.batch

    def draw(self, count: int) -> NDArray[np.float32]:
        """From the network that images are drawn from."""
        noise = torch.randn(count, self.noise)
        made = images_of(self.state.sampler, Latent(noise, torch.zeros(count, dtype=torch.int64)))
        return np.asarray(made[:, 0].numpy())


def start(given: Given) -> Recipe:
    """A training; the recipe's size is the only one."""
    return Recipe(given, "compact")
