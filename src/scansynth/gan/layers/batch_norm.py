"""Batch norm over the whole batch, also where each rank has a part of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scansynth.learning import ranks


class BatchNorm2d(nn.BatchNorm2d):
    """As torch's, and on several ranks with the mean and variance of the images of all.

    torch's `SyncBatchNorm` refuses tensors in memory. Equal shares have the mean of their means, and the mean of their
    variances plus the variance of their means (Chan et al. 1979, STAN-CS-79-773, equation 2.1, for equal parts).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps (n, channels, rows, columns) at mean 0 and variance 1, scaled and shifted."""
        if not self.training or ranks.count() == 1:
            normalised: Tensor = super().forward(input)
            return normalised
        x = input.float()
        spread, centre = torch.var_mean(x, (0, 2, 3), correction=0)
        found = ranks.whole(torch.stack([centre, spread])[None])  # (ranks, 2, channels)
        mean = found[:, 0].mean(0)
        variance = found[:, 1].mean(0) + (found[:, 0] - mean).square().mean(0)
        self._remember(mean.detach(), variance.detach(), ranks.count() * (x.numel() // x.shape[1]))
        y = (x - mean[:, None, None]) * torch.rsqrt(variance[:, None, None] + self.eps)
        if self.affine:
            y = y * self.weight[:, None, None] + self.bias[:, None, None]
        return y.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, values: int) -> None:
        """Moves the running statistics, of which the variance is the unbiased one, as torch's."""
        assert self.running_mean is not None  # a state is kept, and by a fixed share of the new
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (values / (values - 1)), self.momentum)
