"""Where an audit of two folders reads and writes; quick to import, so that a refusal does not wait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scansynth.errors import CohortError, StudyError

REAL, SYNTHETIC = "--real", "--synthetic"
"""Options that name the folders."""


@dataclass(frozen=True)
class Places:
    """What is audited: real and synthetic images, a new folder for the result, and the list of training images."""

    real: Path
    synthetic: Path
    out: Path
    train_list: Path | None


def check_places(places: Places) -> None:
    """Checks the folders before anything is read.

    Raises:
        CohortError: One is no folder.
        StudyError: They overlap, or the result's folder exists.
    """
    real, synthetic, out = (path.resolve() for path in (places.real, places.synthetic, places.out))
    for option, path in ((REAL, real), (SYNTHETIC, synthetic)):
        if not path.is_dir():
            raise CohortError(f"{option} is not a folder; give the folder with the images")
    if real == synthetic:
        raise StudyError("--real and --synthetic are the same folder; give two separate folders")
    if real in synthetic.parents or synthetic in real.parents:
        raise StudyError("one of --real and --synthetic lies within the other; give two separate folders")
    if {real, synthetic} & {out, *out.parents}:
        raise StudyError("--out lies within an image folder; choose a folder elsewhere")
    if places.out.exists() or places.out.is_symlink():
        raise StudyError("--out exists; choose a new folder, or remove the old result first")
