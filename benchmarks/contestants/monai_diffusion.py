"""MONAI's diffusion UNet with the DDPM scheduler, as in MONAI's tutorial on 2-D images of 64 pixels."""

from __future__ import annotations

import numpy as np
import torch
from batches import Given, batches
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor

CHANNELS = {"authors": (128, 256, 256), "narrow": (32, 64, 64)}
BATCH = {"authors": 128, "narrow": 16}
RATE = {"authors": 2.5e-5, "narrow": 1e-4}
STEPS = {"authors": 1000, "narrow": 25}


def unet(size: str) -> DiffusionModelUNet:
    """The tutorial's network, or one a quarter as wide."""
    channels = CHANNELS[size]
    return DiffusionModelUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=channels,
        attention_levels=(False, True, True),
        num_res_blocks=1,
        num_head_channels=channels[-1],
        norm_num_groups=32 if size == "authors" else 16,
    )


class Diffusion:
    """One training."""

    def __init__(self, images: Tensor, size: str) -> None:
        self.batch, self.side, self.steps = BATCH[size], images.shape[-1], STEPS[size]
        self.network = unet(size)
        self.scheduler = DDPMScheduler(num_train_timesteps=1000)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE[size])
        self.loader = batches(images, self.batch)
        self.settings = (
            f"DiffusionModelUNet {CHANNELS[size]}, batch {self.batch}, Adam {RATE[size]:g}, "
            f"{'DDPM' if self.steps == 1000 else 'DDIM'} with {self.steps} steps"
        )

    def step(self) -> None:
        """One step."""
        real = next(self.loader)
        noise, times = torch.randn_like(real), torch.randint(0, 1000, (len(real),))
        noisy = self.scheduler.add_noise(original_samples=real, noise=noise, timesteps=times)
        loss = torch.nn.functional.mse_loss(self.network(noisy, timesteps=times), noise)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def draw(self, count: int) -> NDArray[np.float32]:
        """From the network."""
        sampler = self.scheduler if self.steps == 1000 else DDIMScheduler(num_train_timesteps=1000)
        sampler.set_timesteps(self.steps)
        self.network.eval()
        parts = []
        with torch.no_grad():
            for first in range(0, count, 32):
                x = torch.randn(min(32, count - first), 1, self.side, self.side)
                for time in sampler.timesteps:
                    found = self.network(x, timesteps=torch.full((len(x),), int(time)))
                    x, _ = sampler.step(found, int(time), x)
                parts.append(x)
        self.network.train()
        return np.asarray(torch.cat(parts)[:, 0].clamp(-1, 1).numpy())


def start(given: Given) -> Diffusion:
    """A training."""
    return Diffusion(given.images, given.size)
