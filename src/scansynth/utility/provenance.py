"""Where a synthetic set comes from: of this cohort's train patients and nobody else, or it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scansynth.data.fractions import NOBODY, train_part
from scansynth.data.standing import ADD_SET
from scansynth.data.tensors import Cohort
from scansynth.errors import LedgerError, StudyError
from scansynth.files import read_json
from scansynth.ledger import Role
from scansynth.stage import StageRecord, outdated, read_record
from scansynth.study import RUN, WEIGHTS, Study

_FORBIDDEN = {Role.TEST.value, Role.RESERVE.value}


@dataclass(frozen=True)
class Origin:
    """What is known of a set.

    Attributes:
        digest: Of everything in it.
        known: A run of this study made it, from chance; else what its generator has seen is not known.
    """

    digest: str
    known: bool


def check_set(study: Study, cohort: Cohort, folder: Path, subset: frozenset[str]) -> Origin:
    """Passes when a set was made by a generator that saw the patients of the detectors' subset alone.

    A set made elsewhere (`add-set`), or by a generator that was started from weights of another run, passes, and is
    marked: nobody here can say all that its generator saw.

    Args:
        study: The study.
        cohort: Its cohort.
        folder: Of the set.
        subset: Patients whose images the detectors learn from.

    Raises:
        StudyError: There is no such set.
        LedgerError: It was made from another cohort's weights, or its generator saw other patients.
    """
    made = read_record(folder)
    if made is None:
        raise StudyError(f"there is no synthetic set {folder.name}; run: scansynth utility {study.folder}")
    if made.stage == ADD_SET:
        return Origin(made.digest, False)
    run = _run_of(study, made.inputs.get("weights", ""))
    here = read_record(study.cohort)
    if run is None or here is None or "cohort" not in run[1].inputs or outdated(run[1].inputs, {"cohort": here}):
        raise LedgerError(
            f"the set {folder.name} was made from weights that were not trained on this study's cohort as it is now: "
            "its generator may have seen test patients; train and generate again, or leave the set out"
        )
    place, record = run
    roles = set(read_json(place / RUN).get("roles_in_training", [])) if (place / RUN).is_file() else set(record.roles)
    if roles & _FORBIDDEN:
        raise LedgerError(f"the generator of the set {folder.name} was trained on the roles {', '.join(sorted(roles))}")
    without = tuple(record.settings.get("leave_out", NOBODY))
    seen = train_part(cohort, float(record.settings.get("fraction", 1.0)), record.seed, (without[0], without[1]))
    held_out = {case.patient for case in cohort.cases if case.role is not Role.TRAIN}
    if seen & held_out or not seen <= subset:
        raise LedgerError(
            f"the generator of the set {folder.name} learned from {len(seen)} patients, of whom "
            f"{len(seen - subset)} are not among the {len(subset)} that its detectors learn from; "
            "make the set with a generator of the same share and seed"
        )
    return Origin(made.digest, "start_from" not in record.inputs)


def _run_of(study: Study, weights: str) -> tuple[Path, StageRecord] | None:
    """The run of this study that has these weights."""
    for place in study.runs:
        record = read_record(place)
        if record is not None and weights and record.outputs.get(WEIGHTS) == weights:
            return place, record
    return None


def check_apart(**patients: frozenset[str]) -> None:
    """Passes when no patient stands in two groups.

    Args:
        patients: Keyed hashes by the name of the group, as messages call it.

    Raises:
        LedgerError: Some do.
    """
    names = sorted(patients)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            shared = len(patients[one] & patients[other])
            if shared:
                raise LedgerError(f"{shared} patients are both in {one} and in {other}; run ingest again")
