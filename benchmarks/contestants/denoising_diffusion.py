"""denoising-diffusion-pytorch: the UNet, diffusion, rate and average of its read-me; flips off."""

from __future__ import annotations

import numpy as np
import torch
from batches import Given, batches, declare_nms
from numpy.typing import NDArray
from torch import Tensor

declare_nms()

from denoising_diffusion_pytorch import GaussianDiffusion, Unet  # noqa: E402
from ema_pytorch import EMA  # noqa: E402

DIM = {"authors": 64, "narrow": 16}
BATCH = {"authors": 64, "narrow": 16}
STEPS = {"authors": 250, "narrow": 25}


class Diffusion:
    """One training."""

    def __init__(self, images: Tensor, size: str) -> None:
        self.batch, side = BATCH[size], images.shape[-1]
        self.diffusion = GaussianDiffusion(
            Unet(dim=DIM[size], dim_mults=(1, 2, 4, 8), channels=1, flash_attn=False),
            image_size=side,
            timesteps=1000,
            sampling_timesteps=STEPS[size],
        )
        self.optimiser = torch.optim.Adam(self.diffusion.parameters(), lr=8e-5, betas=(0.9, 0.99))
        self.average = EMA(self.diffusion, beta=0.995, update_every=10)
        self.loader = batches((images + 1) / 2, self.batch)
        self.settings = (
            f"UNet of width {DIM[size]}, batch {self.batch}, Adam 8e-5, average 0.995 every 10, "
            f"DDIM with {STEPS[size]} steps"
        )

    def step(self) -> None:
        """One step, the gradient clipped as the package's trainer does."""
        loss = self.diffusion(next(self.loader))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update()

    def draw(self, count: int) -> NDArray[np.float32]:
        """From the average."""
        self.average.ema_model.eval()
        with torch.no_grad():
            parts = [self.average.ema_model.sample(batch_size=min(32, count - first)) for first in range(0, count, 32)]
        return np.asarray(torch.cat(parts)[:, 0].clamp(0, 1).numpy() * 2 - 1)


def start(given: Given) -> Diffusion:
    """A training."""
    return Diffusion(given.images, given.size)
