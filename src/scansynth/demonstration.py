"""The demonstration: a phantom cohort, a study of it, and every stage up to the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from scansynth.dicom.deidentify import load_key
from scansynth.files import write_bytes
from scansynth.new_study import Wishes, create
from scansynth.phantom.cohort import write_phantom_cohort
from scansynth.pipeline import Surroundings, run_stale
from scansynth.progress import Progress
from scansynth.study import open_study

PATIENTS = 400
SIZE = 64
RECIPE = "demo"
SEED = 1


def demonstrate(
    out: Path,
    bar: Callable[[str], AbstractContextManager[Progress]],
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> Path:
    """Makes what is missing of the demonstration in `out`; returns the report's page.

    The phantom's patients are nobody, so the key that hashes them is no secret: it is the same everywhere,
    and so are the roles, the weights and the figures of one machine.

    Raises:
        StorageError: `out` cannot be written.
    """
    scans, study, key = out / "scans", out / "study", out / "institution.key"
    if not key.exists():
        write_bytes(key, hashlib.sha256(b"the key of the demonstration is public").digest(), mode=0o600)
    if not (scans / "labels.csv").exists():
        with bar("drawing patients") as progress:
            write_phantom_cohort(scans, PATIENTS, SIZE, SEED, progress)
    if not (study / "study.toml").exists():
        wishes = Wishes(
            scans,
            scans / "labels.csv",
            recipe=RECIPE,
            view="chest",
            size=SIZE,
            name="Phantom chest MR",
            seed=SEED,
            key=key,
        )
        create(study, wishes)
    opened = open_study(study)
    with opened.lock():
        run_stale(opened, Surroundings(load_key(key), bar, say, warn))
    return study / "report" / "index.html"
