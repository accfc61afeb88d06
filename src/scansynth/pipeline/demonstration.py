"""The demo: a phantom cohort, a study of it, every stage up to the report, and a reader study to try."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from scansynth.console import Progress
from scansynth.dicom.deidentify import load_key
from scansynth.files import write_bytes
from scansynth.phantom.cohort import write_phantom_cohort
from scansynth.pipeline.new_study import Wishes, create
from scansynth.pipeline.stages import Surroundings, run_stale
from scansynth.reader.create import Created
from scansynth.reader.create import create as create_reading
from scansynth.reader.probe import Override
from scansynth.study import PAGE, Study, is_study, open_study

PATIENTS = 400
SIZE = 64
RECIPE = "demo"
SEED = 1

READING = {"title": "Phantom chest MR", "readers": 3, "images": 40, "practice": 6}
"""Small enough to be read in a few minutes."""

ANSWERS = Override("scansynth demo", "demonstration with phantom images only")


@dataclass(frozen=True)
class Demonstration:
    """What was made.

    Attributes:
        study: The study's folder.
        page: The report.
        reading: A new reader study with its invitations; none where there was one already.
    """

    study: Path
    page: Path
    reading: Created | None


def demonstrate(
    out: Path,
    bar: Callable[[str], AbstractContextManager[Progress]],
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> Demonstration:
    """Makes what is missing of the demonstration in `out`.

    Phantom patients are not real, so the key that hashes them is not secret: it is the same everywhere, and so are
    the roles, the weights and the figures on one machine.

    Raises:
        StorageError: `out` cannot be written.
    """
    scans, study, key = out / "scans", out / "study", out / "institution.key"
    if not key.exists():
        write_bytes(key, hashlib.sha256(b"the key of the demonstration is public").digest(), mode=0o600)
    if not (scans / "labels.csv").exists():
        with bar("making patients") as progress:
            write_phantom_cohort(scans, PATIENTS, SIZE, SEED, progress)
    if not is_study(study):
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
        surroundings = Surroundings(load_key(key), bar, say, warn)
        run_stale(opened, surroundings)
        reading = None if opened.reader.exists() else _reading(opened, out / "reader.seal", bar)
        run_stale(opened, surroundings)  # the page says that a reader study is under way
    return Demonstration(study, opened.report / PAGE, reading)


def _reading(study: Study, seal: Path, bar: Callable[[str], AbstractContextManager[Progress]]) -> Created:
    """A reader study of the demo; where traces reveal the images, it says so and continues."""
    seal.unlink(missing_ok=True)  # of a reader study that was removed
    settings = study.config.reader.model_copy(update=READING)
    with bar("reader study") as progress:
        return create_reading(study, settings, seal_file=seal, override=ANSWERS, progress=progress)
