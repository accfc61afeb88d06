"""Patients who were withdrawn from a study: marked in the ledger, and never taken in again.

The mark stands beside the cohort, not in it, so that it outlives a cohort that is removed and made again. It holds
keyed hashes alone: of the patients, and of their pixels, so that the same picture under another number is recognised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scansynth.errors import StudyError
from scansynth.files import read_csv, sha256_json, write_csv

WITHDRAWN = "withdrawn.csv"
"""In the study's folder."""

REASON = "withdrawn"
_PATIENT, _PIXELS = "patient", "pixels"


@dataclass(frozen=True)
class Withdrawn:
    """Who was withdrawn.

    Attributes:
        patients: Keyed hashes.
        pixels: Keyed hashes of the pixels of their images.
    """

    patients: frozenset[str] = frozenset()
    pixels: frozenset[str] = frozenset()

    def __or__(self, other: Withdrawn) -> Withdrawn:
        return Withdrawn(self.patients | other.patients, self.pixels | other.pixels)

    @property
    def inputs(self) -> Mapping[str, str]:
        """What ingest reads of it, by name; nothing as long as nobody was withdrawn."""
        if not self.patients:
            return {}
        return {REASON: sha256_json([sorted(self.patients), sorted(self.pixels)])}

    def holds(self, patients: Iterable[str]) -> bool:
        """Whether one of the keyed hashes under which a person may be known is of them."""
        return not self.patients.isdisjoint(patients)


def read_withdrawn(study: Path) -> Withdrawn:
    """Who was withdrawn from the study in a folder.

    Raises:
        StudyError: The table is damaged: nobody must come back because of that.
    """
    path = study / WITHDRAWN
    if not path.exists():
        return Withdrawn()
    try:
        keys: dict[str, set[str]] = {_PATIENT: set(), _PIXELS: set()}
        for row in read_csv(path):
            keys[row["kind"]].add(row["key"])
    except (KeyError, ValueError):
        raise StudyError(
            f"{WITHDRAWN} is damaged; restore it from a backup: it lists the patients who must stay out"
        ) from None
    return Withdrawn(frozenset(keys[_PATIENT]), frozenset(keys[_PIXELS]))


def write_withdrawn(study: Path, withdrawn: Withdrawn) -> None:
    """Marks patients as withdrawn."""
    keys = [(_PATIENT, key) for key in sorted(withdrawn.patients)] + [
        (_PIXELS, key) for key in sorted(withdrawn.pixels)
    ]
    write_csv(study / WITHDRAWN, ("kind", "key"), [{"kind": kind, "key": key} for kind, key in keys])
