"""stylegan2-pytorch: its trainer with the defaults of its command and its setting for little data; flips off.

It knows colour only: the grey channel is given three times, and their mean is taken.
"""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from batches import Given, absent, batches, declare_nms, pretend_cuda
from numpy.typing import NDArray
from torch import Tensor

declare_nms()
pretend_cuda()
absent("aim")

from stylegan2_pytorch import stylegan2_pytorch as package  # noqa: E402

package.random_hflip = lambda images, prob: images
BATCH, TIMES = 5, 6


class StyleGan:
    """One training."""

    def __init__(self, images: Tensor) -> None:
        self.batch = BATCH * TIMES
        self.trainer = package.Trainer(
            base_dir=tempfile.mkdtemp(),
            image_size=images.shape[-1],
            batch_size=BATCH,
            gradient_accumulate_every=TIMES,
            ttur_mult=1.5,
            trunc_psi=0.75,
            aug_prob=0.25,
        )
        self.trainer.save = self.trainer.evaluate = lambda *_, **__: None
        self.trainer.loader = batches(((images + 1) / 2).expand(-1, 3, -1, -1).contiguous(), BATCH)
        self.settings = "defaults of its command: capacity 16, batch 5 x 6, truncation 0.75; augmentation at 0.25"

    def step(self) -> None:
        """One step of the package's trainer."""
        self.trainer.train()

    def draw(self, count: int) -> NDArray[np.float32]:
        """From the generator; from its average once the package has begun one, after 20,000 steps."""
        trainer, gan = self.trainer, self.trainer.GAN
        gan.eval()
        style, network = (gan.SE, gan.GE) if trainer.steps > 20_000 else (gan.S, gan.G)
        latents = package.noise_list(count, network.num_layers, network.latent_dim, device=0)
        grain = package.image_noise(count, network.image_size, device=0)
        with torch.no_grad():
            made = trainer.generate_truncated(style, network, latents, grain, trunc_psi=trainer.trunc_psi)
        trainer.av = None
        return np.asarray(made.mean(1).clamp(0, 1).numpy() * 2 - 1)


def start(given: Given) -> StyleGan:
    """A training; the authors' size is the only one."""
    return StyleGan(given.images)
