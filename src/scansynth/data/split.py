"""Roles: each patient gets one, by shares, evenly over labels and sites.

Patients are split, never images: two images of one patient in two roles would let a copy of the first
pass for a new patient in the second.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from scansynth.errors import CohortError
from scansynth.ledger import Role
from scansynth.seeds import generator


@dataclass(frozen=True, order=True)
class Stratum:
    """What should be spread evenly over the roles: the labels that a patient has, and the site."""

    labels: tuple[str, ...]
    site: str = ""


def patients_needed(shares: Mapping[Role, float]) -> int:
    """Fewest patients that fill every role with a share: one each.

    Fewer would leave a question without anybody to answer it. One each lets every stage run; whether that is
    enough to show anything is for the claims to say, which read `not shown` or `not assessable` at small counts.
    """
    return sum(share > 0 for share in shares.values())


def role_targets(count: int, shares: Mapping[Role, float]) -> dict[Role, int]:
    """Patients of each role: largest remainder, with at least one for every role that has a share.

    Args:
        count: Patients in all; at least `patients_needed`.
        shares: Shares, which add up to 1.
    """
    exact = {role: count * share for role, share in shares.items()}
    targets = {role: max(math.floor(value + 1e-9), int(value > 0)) for role, value in exact.items()}
    while sum(targets.values()) < count:
        wanted = [role for role in targets if exact[role] > 0]
        targets[max(wanted, key=lambda role: exact[role] - targets[role])] += 1
    while sum(targets.values()) > count:
        spare = [role for role in targets if targets[role] > 1]
        targets[min(spare, key=lambda role: exact[role] - targets[role])] -= 1
    return targets


def assign_roles(
    patients: Mapping[str, Stratum], shares: Mapping[Role, float], seed: int, fixed: Mapping[str, Role]
) -> dict[str, Role]:
    """A role for each patient.

    Within each stratum patients, in an order drawn from the seed, go to the role that is furthest behind its
    share there. Then patients without a given role change places until the whole cohort has its targets by
    largest remainder, each time where the stratum suffers least.

    Args:
        patients: Keyed hash of each patient, and the stratum.
        shares: Share of each role; they add up to 1.
        seed: The study's seed; the same patients and seed give the same roles.
        fixed: Roles that patients already have; they are kept, also when that misses the shares.

    Returns:
        The role of every patient of `patients`.

    Raises:
        CohortError: Patients without a given role are to be spread, and there are too few in all.
    """
    roles = {patient: fixed[patient] for patient in patients if patient in fixed}
    free = sorted(patients.keys() - roles.keys())
    if not free:
        return roles
    needed = patients_needed(shares)
    if len(patients) < needed:
        raise CohortError(
            f"there are {len(patients)} patients, and the roles need at least {needed}; add patients, give every "
            "patient a role in labels.csv, or make the study with --unlabelled"
        )
    deficit = _deficits(patients, shares, roles)
    order = generator(seed, "roles").permutation(len(free))
    for patient in (free[i] for i in order):
        row = deficit[patients[patient]]
        roles[patient] = max(row, key=lambda role: (row[role], shares[role]))
        row[roles[patient]] -= 1
    _meet_targets(patients, roles, [free[i] for i in order], deficit, role_targets(len(patients), shares))
    return {patient: roles[patient] for patient in patients}


def _deficits(
    patients: Mapping[str, Stratum], shares: Mapping[Role, float], roles: Mapping[str, Role]
) -> dict[Stratum, dict[Role, float]]:
    """How many patients each role still wants in each stratum."""
    sizes = Counter(patients.values())
    deficit = {stratum: {role: size * share for role, share in shares.items()} for stratum, size in sizes.items()}
    for patient, role in roles.items():
        deficit[patients[patient]][role] -= 1
    return deficit


def _meet_targets(
    patients: Mapping[str, Stratum],
    roles: dict[str, Role],
    free: list[str],
    deficit: dict[Stratum, dict[Role, float]],
    targets: Mapping[Role, int],
) -> None:
    """Moves free patients between roles, in place, until the cohort has its targets or none can move."""
    counts = Counter(roles.values())
    movable: dict[tuple[Stratum, Role], list[str]] = defaultdict(list)
    for patient in free:
        movable[patients[patient], roles[patient]].append(patient)
    while True:
        moves = [
            (row[to] - row[away], stratum, away, to)
            for stratum, row in deficit.items()
            for away in row
            if counts[away] > targets[away] and movable[stratum, away]
            for to in row
            if counts[to] < targets[to]
        ]
        if not moves:
            return
        _, stratum, away, to = max(moves)
        patient = movable[stratum, away].pop()
        roles[patient] = to
        movable[stratum, to].append(patient)
        deficit[stratum][away] += 1
        deficit[stratum][to] -= 1
        counts[away] -= 1
        counts[to] += 1
