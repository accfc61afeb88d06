from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scansynth.config import RoleShares
from scansynth.data.roles import merge_roles
from scansynth.data.split import Stratum, assign_roles, patients_needed, role_targets
from scansynth.errors import CohortError
from scansynth.ledger import Role

SHARES = RoleShares().by_role()


def cohort(sizes: dict[str, int], site: str = "") -> dict[str, Stratum]:
    return {f"{label}{site}{number:04d}": Stratum((label,), site) for label, n in sizes.items() for number in range(n)}


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_shares_are_met_exactly_and_strata_nearly(sizes: list[int], seed: int) -> None:
    patients = cohort({f"label{i}": n for i, n in enumerate(sizes)})
    if len(patients) < patients_needed(SHARES):
        return
    roles = assign_roles(patients, SHARES, seed, {})
    assert roles.keys() == patients.keys()
    assert dict(Counter(roles.values())) == {r: n for r, n in role_targets(len(patients), SHARES).items() if n}
    for stratum in set(patients.values()):
        members = [roles[p] for p, s in patients.items() if s == stratum]
        for role, share in SHARES.items():
            assert abs(members.count(role) - share * len(members)) < 2.0


def test_targets_are_largest_remainder_with_one_each() -> None:
    assert role_targets(100, SHARES) == {
        Role.TRAIN: 50, Role.TUNE: 10, Role.CALIBRATE: 10, Role.RESERVE: 10, Role.TEST: 20,
    }  # fmt: skip
    assert min(role_targets(5, SHARES).values()) == 1
    assert sum(role_targets(8, SHARES).values()) == 8
    assert role_targets(3, {Role.TRAIN: 0.5, Role.TEST: 0.5, Role.TUNE: 0.0})[Role.TUNE] == 0


def test_large_strata_are_split_to_within_one() -> None:
    patients = cohort({"nodule": 200, "clear": 100})
    roles = assign_roles(patients, SHARES, 0, {})
    for label, size in (("nodule", 200), ("clear", 100)):
        counts = Counter(role for patient, role in roles.items() if patient.startswith(label))
        assert all(abs(counts[role] - share * size) <= 1 for role, share in SHARES.items())


def test_same_seed_same_roles_in_any_order() -> None:
    patients = cohort({"a": 30, "b": 20})
    backwards = dict(reversed(patients.items()))
    assert assign_roles(patients, SHARES, 3, {}) == assign_roles(backwards, SHARES, 3, {})
    assert assign_roles(patients, SHARES, 3, {}) != assign_roles(patients, SHARES, 4, {})


def test_given_roles_stay_and_the_rest_fills_up() -> None:
    patients = cohort({"a": 40})
    fixed = {"a0000": Role.TEST, "a0001": Role.TEST, "a0002": Role.TUNE}
    roles = assign_roles(patients, SHARES, 0, fixed)
    assert {patient: roles[patient] for patient in fixed} == fixed
    assert Counter(roles.values()) == role_targets(40, SHARES)


def test_growing_cohort_keeps_its_roles_and_its_shares() -> None:
    roles: dict[str, Role] = {}
    for size in range(10, 101, 9):
        patients = cohort({"a": size, "b": size // 2})
        grown = assign_roles(patients, SHARES, 0, roles)
        assert all(grown[patient] == role for patient, role in roles.items())
        roles = grown
    targets = role_targets(len(roles), SHARES)
    counts = Counter(roles.values())
    assert all(abs(counts[role] - targets[role]) <= 1 for role in Role)


def test_too_few_patients_says_how_many() -> None:
    with pytest.raises(CohortError, match=r"4 patients.*at least 5"):
        assign_roles(cohort({"a": 4}), SHARES, 0, {})
    two = {Role.TRAIN: 0.5, Role.TEST: 0.5}
    assert set(assign_roles(cohort({"a": 2}), two, 0, {}).values()) == {Role.TRAIN, Role.TEST}
    given = {f"a{i:04d}": Role.TRAIN for i in range(4)}
    assert assign_roles(cohort({"a": 4}), SHARES, 0, given) == given


def test_tables_of_roles_must_agree() -> None:
    assert merge_roles({"p": (Role.TUNE, 2)}, {"q": Role.TEST}, {"r": Role.TRAIN}) == {
        "p": Role.TUNE,
        "q": Role.TEST,
        "r": Role.TRAIN,
    }
    with pytest.raises(CohortError, match="row 7"):
        merge_roles({"p": (Role.TUNE, 7)}, {"p": Role.TEST}, {})
    with pytest.raises(CohortError, match="row 7"):
        merge_roles({"p": (Role.TUNE, 7)}, {}, {"p": Role.TEST})
    with pytest.raises(CohortError, match="1 patients"):
        merge_roles({}, {"p": Role.TRAIN}, {"p": Role.TEST})
