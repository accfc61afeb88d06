"""The worklist is read back as it was written, and its buffers tell nothing by name, length or time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from worklist_factory import make_worklist

from scansynth.errors import ReaderError
from scansynth.reader.server.worklist import BUFFERS, WORKLIST, load_worklist, write_worklist


def test_a_worklist_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    kit = make_worklist(tmp_path / "worklist", second_question=True, break_every=5)
    assert load_worklist(kit.folder) == kit.worklist
    assert load_worklist(kit.folder).break_every == 5


def test_buffers_are_alike_in_length_and_time(tmp_path: Path) -> None:
    kit = make_worklist(tmp_path / "worklist", readers=3, side=32)
    files = list((kit.folder / BUFFERS).iterdir())
    assert {path.stat().st_size for path in files} == {32 * 32 * 2}
    assert len({path.stat().st_mtime_ns for path in files}) == 1
    assert len({path.read_bytes() for path in files}) == len(files) == 15


def test_only_practice_cases_carry_an_answer(tmp_path: Path) -> None:
    values = json.loads((make_worklist(tmp_path / "worklist").folder / WORKLIST).read_text())
    for seat in values["readers"]:
        assert {place["answer"] for place in seat["practice"]} <= {"real", "synthetic"}
        assert all(place.keys() == {"item", "buffer"} for place in seat["sequence"])


@pytest.mark.parametrize("spoil", ["{", '{"format": 1}', '{"format": 2}', "[]"])
def test_a_damaged_worklist_is_refused(tmp_path: Path, spoil: str) -> None:
    folder = make_worklist(tmp_path / "worklist").folder
    (folder / WORKLIST).write_text(spoil)
    with pytest.raises(ReaderError, match=r"damaged|another version"):
        load_worklist(folder)
    with pytest.raises(ReaderError, match="reader create"):
        load_worklist(tmp_path)


def test_buffers_that_are_missing_or_too_short_are_refused(tmp_path: Path) -> None:
    worklist = make_worklist(tmp_path / "worklist").worklist
    with pytest.raises(ReaderError, match="do not agree"):
        write_worklist(tmp_path / "none", worklist, {})
    names = {place.buffer for seat in worklist.readers for place in (*seat.practice, *seat.sequence)}
    with pytest.raises(ReaderError, match="do not agree"):
        write_worklist(tmp_path / "short", worklist, dict.fromkeys(names, b"\0"))
