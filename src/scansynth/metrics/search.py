"""The one search for copies: real images made ready once, and the nearest of them to any other image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.console import Progress, silent
from scansynth.metrics.ncc import RADIUS, STEP, Flip, Nearest, aligned, nearest, prepare
from scansynth.statistics import upper_quantile

Images = NDArray[Any]
Ready = Callable[[Images], NDArray[np.float32]]


@dataclass(frozen=True)
class Search:
    """Real images, ready for comparison.

    Attributes:
        references: As `ready` made them (t, side, side).
        flips: Mirrorings that are searched.
        ready: Makes images ready: the middle band of detail, or the pixels.
        radius: Largest shift, pixels.
        step: Every how many pixels the sums run.
        device: Where the correlations are computed.
    """

    references: NDArray[np.float32]
    flips: tuple[Flip, ...]
    ready: Ready
    radius: int
    step: int
    device: str

    def nearest(self, images: Images, progress: Progress = silent) -> Nearest:
        """Each image (n, side, side) against every real one."""
        ready = self.ready(images)
        return nearest(ready, self.references, self.flips, self.radius, self.step, progress, self.device)

    def paired(self, images: Images, places: NDArray[np.int64]) -> Nearest:
        """Each image (n, side, side) on the real one of its place (n,), for copies whose original is known."""
        return aligned(self.ready(images), self.references[places], self.flips, self.radius, self.step)

    def threshold(self, unseen: Images, share: float) -> float:
        """The likeness that at most 1 - `share` of new patients' images exceed by chance.

        Args:
            unseen: Real images of other patients (n, side, side).
            share: 0..1.
        """
        return upper_quantile(self.nearest(unseen).score, share)


def open_search(
    references: Images,
    flips: Sequence[Flip],
    ready: Ready = prepare,
    radius: int = RADIUS,
    step: int = STEP,
    device: str = "cpu",
) -> Search:
    """Makes real images (t, side, side) ready; the other values as `Search` has them."""
    return Search(ready(references), tuple(flips), ready, radius, step, device)
