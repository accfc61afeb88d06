import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansynth.data.sets import load_set, write_manifest
from scansynth.data.stack import StackWriter
from scansynth.data.tensors import (
    CASE_COLUMNS,
    Cohort,
    CohortFacts,
    load_cohort,
    select,
    to_signed,
    to_stored,
    write_facts,
)
from scansynth.dicom.write import SyntheticFacts, Uids, write_synthetic
from scansynth.errors import CohortError, LedgerError
from scansynth.files import read_csv, write_csv
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
    with StackWriter(tmp_path / "images.npy", (32, 32), "<u2") as stack:
        for index in range(len(roles)):
            stack.append(np.full((32, 32), index, np.uint16))
    rows = [
        {"case": f"c{i}", "patient": f"p{i}", "role": role.value, "label": FACTS.labels[i % 2], "low": 0.25, "high": 9,
         "spacing_row": 1.5, "spacing_col": 1.25, "sop": "2.25.1", "source_sha256": "s", "source_side": 40,
         "attr_sex": "F"}
        for i, role in enumerate(roles)
    ]  # fmt: skip
    write_csv(tmp_path / "cases.csv", (*CASE_COLUMNS, "attr_sex"), rows)
    write_facts(tmp_path, FACTS)
    return load_cohort(tmp_path)


def test_load_gives_back_what_was_written(cohort: Cohort) -> None:
    assert cohort.facts == FACTS
    case = cohort.cases[3]
    assert (case.index, case.case, case.role, case.label) == (3, "c3", Role.TUNE, "nodule")
    assert (case.low, case.high, case.spacing, case.attributes) == (0.25, 9.0, (1.5, 1.25), {"sex": "F"})
    assert case.source_side == 40


def test_a_cohort_of_before_does_not_know_the_side_of_its_sources(cohort: Cohort) -> None:
    rows = read_csv(cohort.folder / "cases.csv")
    columns = [column for column in rows[0] if column != "source_side"]
    write_csv(cohort.folder / "cases.csv", columns, [{name: row[name] for name in columns} for row in rows])
    assert {case.source_side for case in load_cohort(cohort.folder).cases} == {0}


@pytest.mark.parametrize("use", list(Use))
def test_no_reader_sees_a_forbidden_role(cohort: Cohort, use: Use) -> None:
    chosen = select(cohort, use)
    assert {case.role for case in chosen.cases} == PERMITTED[use]
    assert chosen.roles == tuple(sorted(role.value for role in PERMITTED[use]))
    assert chosen.images[:, 0, 0].tolist() == [case.index for case in chosen.cases]
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
    assert none.images.shape == (0, 32, 32)
    assert none.patients == none.roles == ()


def test_damaged_cohorts_are_refused(cohort: Cohort) -> None:
    (cohort.folder / "cases.csv").write_text("case,patient\na,b\n")
    with pytest.raises(CohortError, match="damaged"):
        load_cohort(cohort.folder)
    (cohort.folder / "cohort.json").write_text("{")
    with pytest.raises(CohortError, match="damaged"):
        load_cohort(cohort.folder)
    with pytest.raises(CohortError, match="no cohort yet"):
        load_cohort(cohort.folder / "nothing")


def test_images_and_cases_must_agree(cohort: Cohort) -> None:
    np.save(cohort.folder / "images.npy", np.zeros((3, 32, 32), np.uint16))
    with pytest.raises(CohortError, match="do not agree"):
        load_cohort(cohort.folder)


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


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A synthetic set of three images, written as DICOM."""
    images = np.random.default_rng(0).integers(0, 65536, (3, 32, 32)).astype(np.uint16)
    rows = []
    for index, image in enumerate(images):
        file = f"dicom/{index:06d}.dcm"
        facts = SyntheticFacts(
            modality="MR", sop_class_uid=FACTS.sop_class_uid, low=FACTS.low, high=FACTS.high, spacing=FACTS.spacing,
            label="nodule", weights_sha256="a" * 64,
            uids=Uids("2.25.1", "2.25.2", f"2.25.{index + 3}", "2.25.99"), number=index + 1,
        )  # fmt: skip
        (tmp_path / "set" / "dicom").mkdir(parents=True, exist_ok=True)
        write_synthetic(tmp_path / "set" / file, image, facts)
        rows.append({"file": file, "index": index, "seed": 0, "sop_instance_uid": facts.uids.instance,
                     "weights_sha256": "a" * 64, "label": "nodule"})  # fmt: skip
    write_manifest(tmp_path / "set", rows)
    return tmp_path / "set", images


def test_a_set_reads_back_on_the_cohorts_scale(made: tuple[Path, np.ndarray]) -> None:
    folder, images = made
    back = load_set(folder, FACTS)
    step = 0.51 * 65535 / (FACTS.high - FACTS.low)  # the files hold whole source units, as scanners do
    assert np.abs(back.images.astype(float) - images).max() <= step
    assert [row["index"] for row in back.rows] == ["0", "1", "2"]
    wider = load_set(folder, dataclasses.replace(FACTS, high=1800.0))
    assert np.abs(wider.images * 2.0 - images).max() <= 2 * step


def test_altered_and_missing_files_are_refused(made: tuple[Path, np.ndarray]) -> None:
    folder, _ = made
    with pytest.raises(CohortError, match=r"000000.dcm of the set set is not 64 x 64"):
        load_set(folder, dataclasses.replace(FACTS, shape=(64, 64)))
    target = folder / "dicom" / "000001.dcm"
    data = bytearray(target.read_bytes())
    data[-1] ^= 1
    target.write_bytes(data)
    with pytest.raises(CohortError, match=r"000001.dcm of the set set was altered"):
        load_set(folder, FACTS)
    target.unlink()
    with pytest.raises(CohortError, match=r"000001.dcm of the set set is missing"):
        load_set(folder, FACTS)
    manifest = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(manifest.replace("dicom/000000.dcm", "../../secret"))
    with pytest.raises(CohortError, match="row 2"):
        load_set(folder, FACTS)
    (folder / "manifest.csv").unlink()
    with pytest.raises(CohortError, match="no manifest"):
        load_set(folder, FACTS)
