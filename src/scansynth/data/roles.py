"""Roles that patients already have, and the table of all roles that a study knows.

The table outlives the images: a patient whose scans were taken away and come back keeps the role, or a test
patient could turn into a train patient.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from scansynth.data.imageset import TABLE
from scansynth.data.tensors import ROLES, load_facts
from scansynth.errors import CohortError, StudyError
from scansynth.files import read_csv, sha256_json, write_csv
from scansynth.ledger import Role
from scansynth.study import COHORT

_COLUMNS = ("patient", "role", "person")


def known_roles(cohort: Path) -> dict[str, Role]:
    """Role of every patient that a cohort's folder knows; empty when there is no cohort.

    Args:
        cohort: Folder of a cohort.

    Raises:
        CohortError: The tables are damaged.
    """
    roles: dict[str, Role] = {}
    for name in (TABLE, ROLES):
        if not (cohort / name).exists():
            continue
        try:
            roles |= {row["patient"]: Role(row["role"]) for row in read_csv(cohort / name)}
        except (KeyError, ValueError):
            raise CohortError(
                f"{name} of the cohort is damaged; restore it, or remove the folder cohort and run ingest again"
            ) from None
    return roles


def write_roles(folder: Path, roles: Mapping[str, Role], groups: Mapping[str, str]) -> None:
    """Writes the table of roles, sorted by patient.

    Args:
        folder: The cohort's.
        roles: Of every patient that the study knows.
        groups: Under which patient the images of a patient stand, for those who share a picture.
    """
    rows = [
        {"patient": patient, "role": roles[patient].value, "person": groups.get(patient, patient)}
        for patient in sorted(roles)
    ]
    write_csv(folder / ROLES, _COLUMNS, rows)


def numbers_of(cohort: Path, patient: str) -> frozenset[str]:
    """All keyed hashes under which a cohort's folder knows one person; empty: it does not know the person."""
    rows = read_csv(cohort / ROLES) if (cohort / ROLES).exists() else []
    firsts = {row["person"] for row in rows if patient in (row["patient"], row["person"])}
    return frozenset(row["patient"] for row in rows if row["person"] in firsts)


def forget_roles(folder: Path, patients: Collection[str]) -> None:
    """Takes patients out of the table of roles."""
    kept = [row for row in read_csv(folder / ROLES) if row["patient"] not in patients]
    write_csv(folder / ROLES, _COLUMNS, kept)


def check_key(cohort: Path, fingerprint: str, whose: str) -> None:
    """Passes when a cohort's patients were hashed with the key in use, or when there is no cohort yet.

    Args:
        cohort: Folder of a cohort.
        fingerprint: Of the key in use.
        whose: "this study" or "the study of split_from", for the message.

    Raises:
        StudyError: Another key: patients could not be told apart from new ones.
    """
    if (cohort / TABLE).exists() and load_facts(cohort).key_fingerprint != fingerprint:
        raise StudyError(
            f"{whose} was made with another institution key; give the key it was made with, or start a new study"
        )


def inherited_roles(other: Path | None, fingerprint: str) -> dict[str, Role]:
    """Roles taken over from the study that `split_from` names.

    Args:
        other: Folder of that study; none: there is none.
        fingerprint: Of the key in use.

    Raises:
        StudyError: That study has no cohort, or was made with another key.
    """
    if other is None:
        return {}
    if not (other / COHORT / TABLE).exists():
        raise StudyError("the study of split_from has no cohort; ingest it first, or remove cohort.split_from")
    check_key(other / COHORT, fingerprint, "the study of split_from")
    return known_roles(other / COHORT)


def roles_digest(roles: Mapping[str, Role]) -> str:
    """SHA-256 of a table of roles."""
    return sha256_json({patient: role.value for patient, role in roles.items()})


def merge_roles(
    asked: Mapping[str, tuple[Role, int]], kept: Mapping[str, Role], inherited: Mapping[str, Role]
) -> dict[str, Role]:
    """One role for each patient from three tables.

    Args:
        asked: Role that labels.csv gives a patient, and the row that does.
        kept: Roles from this study's earlier ingest.
        inherited: Roles from the study of split_from.

    Raises:
        CohortError: Two tables disagree on a patient.
    """
    torn = sum(kept[patient] != role for patient, role in inherited.items() if patient in kept)
    if torn:
        raise CohortError(
            f"{torn} patients have one role in this study and another in the study of split_from; start a new study "
            "with --split-from, so that each patient keeps one role"
        )
    merged = {**kept, **inherited}
    for patient, (role, row) in asked.items():
        if merged.get(patient, role) != role:
            raise CohortError(
                f"labels.csv row {row}: the patient already has the role {merged[patient].value}, and a patient keeps "
                "it; empty the role in labels.csv, or start a new study"
            )
        merged[patient] = role
    return merged


def with_aliases(given: Mapping[str, Role], aliases: Iterable[tuple[str, Sequence[str]]]) -> dict[str, Role]:
    """The same roles, and for a patient without one the role under which another study knows the same person.

    Args:
        given: Roles that patients already have.
        aliases: Patients, and the other hashes of each.

    Raises:
        CohortError: Another study knows one person under two names with two roles.
    """
    roles = dict(given)
    for patient, others in aliases:
        for other in others:
            if other in given and roles.setdefault(patient, given[other]) != given[other]:
                raise CohortError(
                    "a patient of this study stands under two numbers in an earlier ingest or in the study of "
                    "split_from, with two roles; start a new study of all scans together"
                )
    return roles


def one_role_a_group(given: Mapping[str, Role], groups: Mapping[str, str]) -> dict[str, Role]:
    """The same roles, and every member of a group the role of the others.

    Args:
        given: Roles that patients already have.
        groups: First member of each patient's group.

    Raises:
        CohortError: Two members have two roles already.
    """
    of_group: dict[str, Role] = {}
    for patient, first in groups.items():
        if patient in given and of_group.setdefault(first, given[patient]) != given[patient]:
            raise CohortError(
                f"patients with the same picture have the roles {of_group[first].value} and {given[patient].value} "
                "already (private/same_pictures.csv names the files); remove the images of one of them, or start a new "
                "study"
            )
    return {**given, **{patient: of_group[first] for patient, first in groups.items() if first in of_group}}
