"""The real image nearest to another: what to compare with once the truth was told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Stored = NDArray[np.uint16]

_SIDE = 32


def nearest(images: Stored, patients: Sequence[str], candidates: Stored, owners: Sequence[str]) -> tuple[int, ...]:
    """For each image the candidate of another patient that correlates with it most, at 32 x 32 pixels at most.

    Coarse on purpose: the same part of the body, of like size and position; it says nothing of copies, which the audit
    looks for.

    Args:
        images: uint16 (n, rows, columns).
        patients: Of each image; empty for a synthetic one.
        candidates: uint16 (m, rows, columns).
        owners: Patient of each candidate.

    Returns:
        Place of a candidate for each image; -1 where none is of another patient.
    """
    if not len(images) or not len(candidates):
        return (-1,) * len(images)
    alike = _coarse(images) @ _coarse(candidates).T
    same = np.array(patients)[:, None] == np.array(owners)[None, :]
    alike[same] = -np.inf
    best = np.argmax(alike, axis=1)
    return tuple(int(place) if np.isfinite(alike[row, place]) else -1 for row, place in enumerate(best))


def _coarse(images: Stored) -> NDArray[np.float64]:
    """Means over blocks, brought to mean 0 and length 1, (n, blocks)."""
    rows, columns = (np.linspace(0, side, min(side, _SIDE) + 1).astype(int)[:-1] for side in images.shape[1:])
    blocks = np.add.reduceat(np.add.reduceat(images.astype(np.float64), rows, axis=1), columns, axis=2)
    flat = blocks.reshape(len(images), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    found: NDArray[np.float64] = flat / np.where(length > 0, length, 1.0)
    return found
