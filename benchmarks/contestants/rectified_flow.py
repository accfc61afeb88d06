"""rectified-flow-pytorch: the package's UNet and flow, its trainer's defaults for batch, rate and average."""

from __future__ import annotations

import numpy as np
import torch
from batches import Given, batches, declare_nms
from numpy.typing import NDArray
from torch import Tensor

declare_nms()

from ema_pytorch import EMA  # noqa: E402
from rectified_flow_pytorch import RectifiedFlow, Unet  # noqa: E402

DIM = {"authors": 64, "narrow": 16}
STEPS = 16
"""Of the sampler, midpoint: twice as many evaluations."""


class Flow:
    """One training."""

    def __init__(self, images: Tensor, size: str) -> None:
        self.batch, self.side = 16, images.shape[-1]
        self.flow = RectifiedFlow(Unet(dim=DIM[size], channels=1))
        self.optimiser = torch.optim.Adam(self.flow.parameters(), lr=3e-4)
        self.average = EMA(self.flow, forward_method_names=("sample",), update_every=10)
        self.loader = batches((images + 1) / 2, self.batch)
        self.settings = f"UNet of width {DIM[size]}, batch 16, Adam 3e-4, average every 10, midpoint with {STEPS} steps"

    def step(self) -> None:
        """One step, the gradient clipped as the package's trainer does."""
        loss = self.flow(next(self.loader))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.flow.parameters(), 0.5)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update()

    def draw(self, count: int) -> NDArray[np.float32]:
        """From the average."""
        self.average.ema_model.eval()
        with torch.no_grad():
            parts = [
                self.average.ema_model.sample(
                    batch_size=min(32, count - first), steps=STEPS, data_shape=(1, self.side, self.side)
                )
                for first in range(0, count, 32)
            ]
        return np.asarray(torch.cat(parts)[:, 0].clamp(0, 1).numpy() * 2 - 1)


def start(given: Given) -> Flow:
    """A training."""
    return Flow(given.images, given.size)
