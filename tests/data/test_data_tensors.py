import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_sets import change_set, put_cohort

from scansynth.data.stack import StackWriter
from scansynth.data.tensors import (
    Cohort,
    CohortFacts,
    load_cohort,
    select,
    to_signed,
    to_stored,
)
from scansynth.errors import CohortError, LedgerError
from scansynth.ledger import PERMITTED, Role, Use

FACTS = CohortFacts(
    modality="MR", sop_class_uid="1.2.840.10008.5.1.4.1.1.4", shape=(32, 32), view="chest", labels=("clear", "nodule"),
    positive="nodule", unlabelled=False, files_found=10, excluded={}, low=0.0, high=900.0, spacing=(1.5, 1.5),
    bits_stored=12, signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="f",
)  # fmt: skip


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Two images of each role, one of each label; image i is filled with i."""
    roles = [role for role in Role for _ in range(2)]
    images = np.stack([np.full((32, 32), index, np.uint16) for index in range(len(roles))])
    rows = [
        {"id": f"c{i}", "patient": f"p{i}", "role": role.value, "label": FACTS.labels[i % 2], "low": 0.25, "high": 9,
         "spacing_row": 1.5, "spacing_col": 1.25, "sop": "2.25.1", "source_sha256": "s", "source_side": 40,
         "attr_sex": "F"}
        for i, role in enumerate(roles)
    ]  # fmt: skip
    put_cohort(tmp_path, FACTS, rows, images)
    return load_cohort(tmp_path)


def test_load_gives_back_what_was_written(cohort: Cohort) -> None:
    assert cohort.facts == FACTS
    case = cohort.cases[3]
    assert (case.index, case.case, case.role, case.label) == (3, "c3", Role.TUNE, "nodule")
    assert (case.low, case.high, case.spacing, case.attributes) == (0.25, 9.0, (1.5, 1.25), {"sex": "F"})
    assert case.source_side == 40


def test_a_cohort_of_before_does_not_know_the_side_of_its_sources(cohort: Cohort) -> None:
    rows = [{name: text for name, text in row.items() if name != "source_side"} for row in cohort.images.rows]
    change_set(cohort.folder, rows=rows)
    assert {case.source_side for case in load_cohort(cohort.folder).cases} == {0}


@pytest.mark.parametrize("use", list(Use))
def test_no_reader_sees_a_forbidden_role(cohort: Cohort, use: Use) -> None:
    chosen = select(cohort, use)
    assert {case.role for case in chosen.cases} == PERMITTED[use]
    assert chosen.roles == tuple(sorted(role.value for role in PERMITTED[use]))
    assert chosen.planes[:, 0, 0].tolist() == [case.index for case in chosen.cases]
    assert chosen.patients == tuple(case.patient for case in chosen.cases)
    only = select(cohort, use, ["nodule"])
    assert {case.label for case in only.cases} == {"nodule"}
    assert len(only.images) == len(chosen.images) // 2


def test_select_obeys_the_ledger(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    every = {**PERMITTED, Use.GENERATOR: frozenset(Role)}
    monkeypatch.setattr("scansynth.data.tensors.PERMITTED", every)
    with pytest.raises(LedgerError, match="generator may not read"):
        select(cohort, Use.GENERATOR)


def test_select_refuses_an_unknown_label_and_may_be_empty(cohort: Cohort) -> None:
    with pytest.raises(CohortError, match="clear, nodule"):
        select(cohort, Use.GENERATOR, ["nodul"])
    none = select(dataclasses.replace(cohort, cases=cohort.cases[:2]), Use.REALISM)
    assert none.images.shape == (0, 1, 32, 32)
    assert none.patients == none.roles == ()


def test_damaged_cohorts_are_refused(cohort: Cohort) -> None:
    (cohort.folder / "cases.csv").write_text("id,patient\na,b\n")
    with pytest.raises(CohortError, match=r"cases.csv .* was altered"):
        load_cohort(cohort.folder)
    (cohort.folder / "set.json").unlink()
    with pytest.raises(CohortError, match="older version"):
        load_cohort(cohort.folder)
    (cohort.folder / "cohort.json").write_text("{")
    with pytest.raises(CohortError, match="damaged"):
        load_cohort(cohort.folder)
    with pytest.raises(CohortError, match="no cohort yet"):
        load_cohort(cohort.folder / "nothing")


@given(st.integers(0, 65535))
def test_stored_values_survive_the_round_trip(value: int) -> None:
    stored = np.array([value], np.uint16)
    assert to_stored(to_signed(stored)) == stored


def test_scale_ends_and_clipping() -> None:
    assert to_signed(np.array([0, 65535], np.uint16)).tolist() == [-1.0, 1.0]
    assert to_signed(np.array([0], np.uint16)).dtype == np.float32
    assert to_stored(np.array([-7.0, -1.0, 0.0, 1.0, 7.0])).tolist() == [0, 0, 32768, 65535, 65535]


def test_stack_grows_past_any_digit_and_maps(tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    with StackWriter(path, (2, 3), "u1") as stack:
        for index in range(1234):
            stack.append(np.full((2, 3), index % 251, np.uint8))
        with pytest.raises(ValueError, match="shape"):
            stack.append(np.zeros((3, 2), np.uint8))
    mapped = np.load(path, mmap_mode="r")
    assert mapped.shape == (1234, 2, 3)
    assert mapped[:, 0, 0].tolist() == [index % 251 for index in range(1234)]
