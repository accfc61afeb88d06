"""lightweight-gan: its trainer with the defaults of its command, one grey channel; flips off."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from batches import CpuTorch, Given, batches, declare_nms, pretend_cuda
from numpy.typing import NDArray
from torch import Tensor

AVAILABLE = torch.cuda.is_available()
declare_nms()
pretend_cuda()

from lightweight_gan import lightweight_gan as package  # noqa: E402

if not AVAILABLE:
    package.torch = CpuTorch()  # the step asks for a device by the name cuda:0
package.random_hflip = lambda images, prob: images
BATCH, TIMES = 10, 4
SMALL_DATA = 0.3
"""Probability of augmentation that the package sets by itself for about a thousand images."""


class Lightweight:
    """One training."""

    def __init__(self, images: Tensor) -> None:
        self.batch = BATCH * TIMES
        self.trainer = package.Trainer(
            base_dir=tempfile.mkdtemp(),
            image_size=images.shape[-1],
            greyscale=True,
            batch_size=BATCH,
            gradient_accumulate_every=TIMES,
            attn_res_layers=[32],
            disc_output_size=1,
            aug_prob=SMALL_DATA,
            aug_types=["cutout", "translation"],
            use_aim=False,
        )
        self.trainer.save = self.trainer.evaluate = lambda *_, **__: None
        self.trainer.loader = batches((images + 1) / 2, BATCH)
        self.settings = "defaults of its command: batch 10 x 4, attention at 32, cutout and translation at 0.3"

    def step(self) -> None:
        """One step of the package's trainer."""
        self.trainer.train()

    def draw(self, count: int) -> NDArray[np.float32]:
        """From the generator; from its average once the package has begun one, after 20,000 steps."""
        gan = self.trainer.GAN
        network = gan.GE if self.trainer.steps > 20_000 else gan.G
        with torch.no_grad():
            parts = [
                network.eval()(torch.randn(min(BATCH, count - first), gan.latent_dim))
                for first in range(0, count, BATCH)
            ]
        return np.asarray(torch.cat(parts)[:, 0].clamp(0, 1).numpy() * 2 - 1)


def start(given: Given) -> Lightweight:
    """A training; the authors' size is the only one."""
    return Lightweight(given.images)
