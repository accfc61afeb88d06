"""MONAI's diffusion UNet with the rectified-flow scheduler, as its docstring trains it; the network of the tutorial."""

from __future__ import annotations

import numpy as np
import torch
from batches import Given, batches
from monai.networks.schedulers import RFlowScheduler
from monai_diffusion import BATCH, CHANNELS, RATE, unet
from numpy.typing import NDArray
from torch import Tensor

STEPS = 30


class Flow:
    """One training."""

    def __init__(self, images: Tensor, size: str) -> None:
        self.batch, self.side = BATCH[size], images.shape[-1]
        self.network = unet(size)
        self.scheduler = RFlowScheduler(num_train_timesteps=1000, use_discrete_timesteps=True)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE[size])
        self.loader = batches(images, self.batch)
        self.settings = (
            f"DiffusionModelUNet {CHANNELS[size]}, batch {self.batch}, Adam {RATE[size]:g}, Euler with {STEPS} steps"
        )

    def step(self) -> None:
        """One step: the velocity, by the absolute difference."""
        real = next(self.loader)
        noise, times = torch.randn_like(real), self.scheduler.sample_timesteps(real)
        noisy = self.scheduler.add_noise(original_samples=real, noise=noise, timesteps=times)
        loss = torch.nn.functional.l1_loss(self.network(noisy, timesteps=times), real - noise)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def draw(self, count: int) -> NDArray[np.float32]:
        """From the network."""
        self.scheduler.set_timesteps(STEPS)
        times = [int(time) for time in self.scheduler.timesteps]
        self.network.eval()
        parts = []
        with torch.no_grad():
            for first in range(0, count, 32):
                x = torch.randn(min(32, count - first), 1, self.side, self.side)
                for now, after in zip(times, [*times[1:], 0], strict=True):
                    found = self.network(x, timesteps=torch.full((len(x),), now))
                    x, _ = self.scheduler.step(found, now, x, after)
                parts.append(x)
        self.network.train()
        return np.asarray(torch.cat(parts)[:, 0].clamp(-1, 1).numpy())


def start(given: Given) -> Flow:
    """A training."""
    return Flow(given.images, given.size)
