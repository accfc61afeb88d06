"""A stage's record: written last, stale when what it read has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scansynth.errors import StudyError
from scansynth.files import write_text
from scansynth.stage import (
    RECORD,
    StageRecord,
    hash_outputs,
    outdated,
    plain,
    read_record,
    stale,
    versions,
    write_record,
)


@pytest.fixture
def record(tmp_path: Path) -> StageRecord:
    write_text(tmp_path / "deep" / "a.txt", "a")
    write_text(tmp_path / "b.txt", "b")
    return StageRecord(
        stage="train",
        inputs={"cohort": "1" * 64},
        settings=plain({"classes": ("a", "b"), "epochs": 3}),
        outputs=hash_outputs(tmp_path, [tmp_path / "b.txt", tmp_path / "deep" / "a.txt"]),
        seed=7,
        roles=("train",),
        patients=("p1", "p2"),
        seconds=1.5,
        versions=versions(),
    )


def test_a_record_comes_back_as_it_was(tmp_path: Path, record: StageRecord) -> None:
    assert read_record(tmp_path) is None
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert set(record.outputs) == {"b.txt", "deep/a.txt"}


def test_only_what_changed_is_named(record: StageRecord) -> None:
    inputs, settings = dict(record.inputs), {"classes": ("a", "b"), "epochs": 3}
    assert record.differs(inputs, settings) == []
    assert record.differs(inputs, {**settings, "epochs": 4}) == ["setting epochs"]
    assert record.differs({"cohort": "2" * 64}, settings) == ["cohort"]
    assert record.differs({}, {**settings, "new": None, "newer": 1}) == ["cohort", "setting newer"]


def test_work_is_up_to_date_while_nothing_it_was_made_of_changed(tmp_path: Path, record: StageRecord) -> None:
    inputs, settings = dict(record.inputs), {"classes": ("a", "b"), "epochs": 3}
    assert stale(tmp_path, inputs, settings, 7) == ["stage.json is gone"]
    write_record(tmp_path, record)
    assert stale(tmp_path, inputs, settings, 7) == []
    assert stale(tmp_path, {"cohort": "2" * 64}, {**settings, "epochs": 4}, 8) == ["cohort", "setting epochs", "seed"]
    assert stale(tmp_path, inputs) == []
    write_text(tmp_path / "b.txt", "changed")
    assert stale(tmp_path, inputs, settings, 7, exact={"deep/a.txt"}) == []
    assert stale(tmp_path, inputs, settings, 7, exact={"b.txt"}) == ["b.txt is altered"]
    (tmp_path / "b.txt").unlink()
    assert stale(tmp_path, inputs, settings, 8) == ["seed", "b.txt is gone"]


def test_an_input_is_outdated_when_its_source_holds_something_else(record: StageRecord) -> None:
    whole, part, other = record.digest, record.outputs["b.txt"], "3" * 64
    assert outdated({"set": whole, "weights": part}, {"set": record, "weights": record}) == []
    assert outdated({"set": other, "weights": part}, {"set": record, "weights": record}) == ["set"]
    assert outdated({"set": other}, {"set": None}) == []
    assert outdated({}, {"set": record}) == []


def test_the_digest_follows_the_outputs_alone(tmp_path: Path, record: StageRecord) -> None:
    before = record.digest
    write_text(tmp_path / "b.txt", "changed")
    after = StageRecord(**{**vars(record), "outputs": hash_outputs(tmp_path, [tmp_path / "b.txt"])})
    assert after.digest != before
    assert StageRecord(**{**vars(record), "seconds": 9.0, "seed": 8}).digest == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stage": "train"}', "{"])
def test_a_damaged_record_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(StudyError, match="damaged") as fault:
        read_record(tmp_path)
    assert "\n" not in str(fault.value)
