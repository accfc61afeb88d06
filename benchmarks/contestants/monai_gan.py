"""MONAI's Generator and Discriminator with a plain loop, as in MONAI's tutorial on 2-D images of 64 pixels."""

from __future__ import annotations

import numpy as np
import torch
from batches import Given, batches
from monai.networks import normal_init
from monai.networks.nets import Discriminator, Generator
from numpy.typing import NDArray
from torch import Tensor

LATENT = 64
BATCH = 300


class Gan:
    """One training."""

    def __init__(self, images: Tensor) -> None:
        side = images.shape[-1]
        self.batch = min(BATCH, len(images))
        self.judge = Discriminator((1, side, side), (8, 16, 32, 64, 1), (2, 2, 2, 2, 1), num_res_units=1, kernel_size=5)
        self.maker = Generator(LATENT, (LATENT, side // 8, side // 8), (32, 16, 8, 1), (2, 2, 2, 1))
        self.judge.apply(normal_init)
        self.maker.apply(normal_init)
        self.maker.conv.add_module("activation", torch.nn.Sigmoid())
        self.of_judge = torch.optim.Adam(self.judge.parameters(), 2e-4, betas=(0.5, 0.999))
        self.of_maker = torch.optim.Adam(self.maker.parameters(), 2e-4, betas=(0.5, 0.999))
        self.loss = torch.nn.BCELoss()
        self.loader = batches((images + 1) / 2, self.batch)
        self.settings = f"Generator (32, 16, 8, 1), Discriminator (8, 16, 32, 64, 1), batch {self.batch}, Adam 2e-4"

    def step(self) -> None:
        """One step of both networks."""
        real = next(self.loader)
        made = self.maker(torch.randn(self.batch, LATENT))
        ones, zeros = torch.ones(self.batch, 1), torch.zeros(self.batch, 1)
        self.of_judge.zero_grad()
        loss = (self.loss(self.judge(real), ones) + self.loss(self.judge(made.detach()), zeros)) / 2
        loss.backward()
        self.of_judge.step()
        self.of_maker.zero_grad()
        self.loss(self.judge(made), ones).backward()
        self.of_maker.step()

    def draw(self, count: int) -> NDArray[np.float32]:
        """From the generator."""
        with torch.no_grad():
            made = self.maker.eval()(torch.randn(count, LATENT))
        self.maker.train()
        return np.asarray(made[:, 0].numpy() * 2 - 1)


def start(given: Given) -> Gan:
    """A training; the tutorial's networks are small as they are."""
    return Gan(given.images)
