"""A set that knows nobody: what membership must not be read from."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.context import Context, open_context
from scansynth.audit.encoders import Encoders
from scansynth.config import EvidenceSettings
from scansynth.data.tensors import Case
from scansynth.ledger import Role

SIZE = 32


def scans(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(count, SIZE, SIZE)), (0, 2.0, 2.0)) * 4
    return np.clip(coarse + rng.normal(0, 0.03, (count, SIZE, SIZE)), -1, 1).astype(np.float32)


def reals(patients: int, role: Role, seed: int, each: int = 2) -> Reals:
    cases = tuple(
        Case(i, f"{role}{i}", f"{role}-{i // each}", role, "nodule", 0.0, 1.0, (1.0, 1.0), {})
        for i in range(patients * each)
    )
    return Reals(cases, scans(patients * each, seed))


def strangers() -> Compared:
    """A set that knows nobody, and scores that know nobody."""
    parts = {
        "train": reals(60, Role.TRAIN, 2),
        "calibrate": reals(20, Role.CALIBRATE, 3),
        "test": reals(40, Role.TEST, 4),
    }
    rng = np.random.default_rng(9)
    return Compared(
        files=tuple(f"dicom/{i:06d}.dcm" for i in range(120)),
        synthetic=scans(120, 1),
        labels=("nodule",),
        view="chest",
        unlabelled=False,
        **parts,
        inputs={"cohort": "0" * 64, "set": "1" * 64},
        scores={case.case: float(rng.normal()) for part in parts.values() for case in part.cases},
    )


def context_of(compared: Compared) -> Context:
    return open_context(compared, Encoders((), None), EvidenceSettings(draws=40), 7)
