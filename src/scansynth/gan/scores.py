"""What the last discriminator says of real images: `scores.csv`, for the question who was trained on.

The discriminator itself stays behind. Nothing here trains: the images of calibrate and test patients are looked at
after the weights are final.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scansynth.data.tensors import Case, to_signed
from scansynth.errors import TrainingError
from scansynth.files import write_csv
from scansynth.gan.material import Material
from scansynth.study import SCORES

COLUMNS = ("case", "role", "score")
_BATCH = 16  # always full, so that no score depends on how many images there are


@torch.no_grad()
def scores_of(discriminator: nn.Module, images: NDArray[np.uint16], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Logits of stored images (n, channels, rows, columns) with their `labels` (n, ...): above 0 is rather real.

    In float32 and in evaluation mode: with running statistics where there is batch norm, and without a step of the
    power iteration where there is spectral normalisation. So a score depends on its image alone, and the discriminator
    is left as it came.
    """
    device, training = next(discriminator.parameters()).device, discriminator.training
    found = np.empty(len(images))
    discriminator.eval()
    try:
        for start in range(0, len(images), _BATCH):
            part = images[start : start + _BATCH]
            batch = np.zeros((_BATCH, *images.shape[1:]), np.float32)
            asked = np.zeros((_BATCH, *labels.shape[1:]), labels.dtype)
            batch[: len(part)], asked[: len(part)] = to_signed(part), labels[start : start + _BATCH]
            logits = discriminator(torch.from_numpy(batch).to(device), torch.from_numpy(asked).to(device))
            found[start : start + len(part)] = logits.flatten(1)[: len(part), 0].cpu().numpy()
    finally:
        discriminator.train(training)
    return found


def write_scores(folder: Path, discriminator: nn.Module, cases: Sequence[Case], material: Material) -> None:
    """Writes `scores.csv` of a run: one row for each real image, in the cohort's order.

    Raises:
        TrainingError: A score is no finite number.
        StorageError: The disk is full or the folder cannot be written.
    """
    found = scores_of(discriminator, material.images, material.labels)
    if not np.isfinite(found).all():
        raise TrainingError("the discriminator gives real images NaN or infinite scores; train again")
    rows = [
        {"case": case.case, "role": case.role.value, "score": f"{score:.6g}"}
        for case, score in zip(cases, found, strict=True)
    ]
    write_csv(folder / SCORES, COLUMNS, rows)
