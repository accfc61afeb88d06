"""The desk is read back as it was written, and its buffers tell nothing by name, length or time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from desk_factory import make_desk

from scansynth.errors import ReaderError
from scansynth.reader.server.desk import BUFFERS, DESK, load_desk, write_desk


def test_a_desk_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    kit = make_desk(tmp_path / "desk", second_question=True, break_every=5)
    assert load_desk(kit.folder) == kit.desk
    assert load_desk(kit.folder).break_every == 5


def test_buffers_are_alike_in_length_and_time(tmp_path: Path) -> None:
    kit = make_desk(tmp_path / "desk", readers=3, side=32)
    files = list((kit.folder / BUFFERS).iterdir())
    assert {path.stat().st_size for path in files} == {32 * 32 * 2}
    assert len({path.stat().st_mtime_ns for path in files}) == 1
    assert len({path.read_bytes() for path in files}) == len(files) == 15


def test_only_practice_cases_carry_an_answer(tmp_path: Path) -> None:
    values = json.loads((make_desk(tmp_path / "desk").folder / DESK).read_text())
    for seat in values["readers"]:
        assert {place["answer"] for place in seat["practice"]} <= {"real", "synthetic"}
        assert all(place.keys() == {"item", "buffer"} for place in seat["sequence"])


@pytest.mark.parametrize("spoil", ["{", '{"format": 1}', '{"format": 2}', "[]"])
def test_a_damaged_desk_is_refused(tmp_path: Path, spoil: str) -> None:
    folder = make_desk(tmp_path / "desk").folder
    (folder / DESK).write_text(spoil)
    with pytest.raises(ReaderError, match=r"damaged|another version"):
        load_desk(folder)
    with pytest.raises(ReaderError, match="reader create"):
        load_desk(tmp_path)


def test_buffers_that_are_missing_or_too_short_are_refused(tmp_path: Path) -> None:
    desk = make_desk(tmp_path / "desk").desk
    with pytest.raises(ReaderError, match="do not agree"):
        write_desk(tmp_path / "none", desk, {})
    names = {place.buffer for seat in desk.readers for place in (*seat.practice, *seat.sequence)}
    with pytest.raises(ReaderError, match="do not agree"):
        write_desk(tmp_path / "short", desk, dict.fromkeys(names, b"\0"))
