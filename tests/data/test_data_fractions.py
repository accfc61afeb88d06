"""Parts of the train patients."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

from scansynth.data.fractions import train_part
from scansynth.data.tensors import Case, Cohort
from scansynth.ledger import Role


def cohort() -> Cohort:
    cases = []
    for number in range(200):
        role = Role.TRAIN if number < 120 else Role.TEST
        for label in ("clear",) if number % 4 else ("nodule", "clear"):
            name, site = f"p{number:03d}", {"site": "north" if number % 3 else "south"}
            cases.append(Case(len(cases), name + label, name, role, label, 0.0, 1.0, (1.0, 1.0), site))
    return Cohort(Path(), SimpleNamespace(positive="nodule"), tuple(cases))  # type: ignore[arg-type]


def test_parts_are_nested_train_patients_in_proportion() -> None:
    whole, known = cohort(), {case.patient for case in cohort().cases if case.role is Role.TRAIN}
    parts = [train_part(whole, share, 5) for share in (0.1, 0.25, 0.5, 1.0)]
    assert parts[-1] == known
    assert all(small < large for small, large in itertools.pairwise(parts))
    positive = {case.patient for case in whole.cases if case.label == "nodule"}
    assert [len(part & positive) for part in parts] == [3, 8, 15, 30]
    assert [len(part - positive) for part in parts] == [9, 23, 45, 90]


def test_another_seed_gives_another_part_and_the_same_seed_the_same() -> None:
    assert train_part(cohort(), 0.25, 1) == train_part(cohort(), 0.25, 1)
    assert train_part(cohort(), 0.25, 1) != train_part(cohort(), 0.25, 2)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share of patients"):
        train_part(cohort(), share, 0)


def test_who_is_left_out_is_taken_from_the_same_part() -> None:
    there = {case.patient for case in cohort().cases if case.attributes["site"] == "south"}
    whole = train_part(cohort(), 0.5, 5)
    assert train_part(cohort(), 0.5, 5, ("site", "south")) == whole - there
    assert 0 < len(whole & there) < len(whole)
    assert train_part(cohort(), 0.5, 5, ("site", "east")) == whole
