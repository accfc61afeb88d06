"""Who the weights learned from that a training starts from: nobody whom this study holds out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scansynth.data.tensors import Case, Cohort, load_cohort
from scansynth.errors import CohortError, LedgerError
from scansynth.files import read_json
from scansynth.ledger import Role
from scansynth.stage import read_record
from scansynth.study import COHORT, RUN

_LEARNED_FROM = (Role.TRAIN, Role.TUNE)
"""Train images made the weights, and tune images chose among them."""


@dataclass(frozen=True)
class Comparison:
    """What came of comparing the roles of two studies.

    Attributes:
        known: All patients were compared.
        own: The weights were trained on this very cohort.
        words: The same, for people.
    """

    known: bool
    own: bool
    words: str


def compare_roles(ours: Cohort, learning: frozenset[str], run: Path) -> Comparison:
    """Passes when nobody whom the weights of `run` learned from is held out here.

    Patients are compared by their keyed hashes and by those of their pixels, where both studies used one institution
    key, and else by the hashes of their files.

    Args:
        ours: The cohort of this training.
        learning: Patients whom this training may learn from.
        run: Folder of the other run, within its study.

    Raises:
        LedgerError: Somebody is.
    """
    try:
        other = load_cohort(run.parent.parent / COHORT)
    except CohortError:
        return Comparison(False, False, "cannot be compared: the cohort that they learned from is not beside them")
    one_key = ours.facts.key_fingerprint == other.facts.key_fingerprint
    names = ("patient", "pixels") if one_key else ("source_sha256",)
    held_out = {case.patient: case.role for name in names for case in _held_out(ours, learning, other, name)}
    if held_out:
        raise LedgerError(
            f"generator.start_from: {len(held_out)} patients whom its weights learned from are held out here "
            f"({', '.join(sorted({role.value for role in held_out.values()}))}); take over the roles of that study "
            "(cohort.split_from), or start from other weights"
        )
    if not one_key:
        words = "cannot be compared: the two cohorts were hashed with different institution keys; no file is in both"
        return Comparison(False, False, words)
    record, theirs, here = read_record(run), read_record(other.folder), read_record(ours.folder)
    if record is None or theirs is None or record.inputs.get("cohort") != theirs.digest:
        words = "cannot be compared: the cohort that they learned from has changed since; of it as it is, nobody is"
        return Comparison(False, False, f"{words} held out here")
    if _facts_of(run).get("started_from"):
        return Comparison(False, False, "cannot be compared: these weights were themselves started from others")
    own = here is not None and here.digest == theirs.digest
    return Comparison(True, own, "nobody whom they learned from is held out here")


def _held_out(ours: Cohort, learning: frozenset[str], other: Cohort, name: str) -> list[Case]:
    """Cases held out here that have the value of a column in common with one that the weights learned from."""
    learned = {
        value: case.role
        for case, value in zip(other.cases, _values(other, name), strict=True)
        if value and case.role in _LEARNED_FROM
    }
    return [
        case
        for case, value in zip(ours.cases, _values(ours, name), strict=True)
        if value in learned and case.patient not in learning and {case.role, learned[value]} != {Role.TUNE}
    ]


def _values(cohort: Cohort, name: str) -> list[str]:
    return [row.get(name, "") for row in cohort.images.rows]


def _facts_of(run: Path) -> Mapping[str, object]:
    try:
        found: Mapping[str, object] = read_json(run / RUN)
    except (OSError, ValueError):
        return {}
    return found
