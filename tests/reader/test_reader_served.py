"""A worklist is checked to the last field before it is served, and the server's clock cannot be turned."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worklist_factory import Kit, make_worklist

from scansynth.errors import ReaderError
from scansynth.reader.server import clock
from scansynth.reader.server.served import open_worklist
from scansynth.reader.server.worklist import BUFFERS, CLOSED, WORKLIST


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return make_worklist(tmp_path / "worklist", readers=2, count=3, practice=1, side=8, second_question=True)


def test_a_worklist_is_opened_with_the_order_of_each_reader(kit: Kit) -> None:
    served = open_worklist(kit.folder)
    assert (served.worklist, served.size, served.closed()) == (kit.worklist, 128, False)
    for seat in kit.worklist.readers:
        order = served.orders[seat.reader]
        assert order.places == (*seat.practice, *seat.sequence)
        assert [order.position(place) for place in range(4)] == [1, 1, 2, 3]
        assert [order.index[place.item] for place in order.places] == [0, 1, 2, 3]
        assert {len(served.buffer(place.buffer)) for place in order.places} == {128}
    (kit.folder / CLOSED).write_text("{}")
    assert served.closed()


def seat(values: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = values["readers"][0]
    return first


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a key too many": lambda v: v.update(truth="real"),
    "a key too many in a place": lambda v: seat(v)["sequence"][0].update(label="nodule"),
    "a key missing": lambda v: v.pop("scale"),
    "another version": lambda v: v.update(format=2),
    "a text for a number": lambda v: v["image"].update(rows="8"),
    "half a row": lambda v: v["image"].update(rows=8.5),
    "no number": lambda v: v["image"].update(low=float("nan")),
    "no rows": lambda v: v["image"].update(rows=0),
    "too many rows": lambda v: v["image"].update(rows=1 << 20, columns=1 << 20),
    "no range": lambda v: v["image"].update(high=v["image"]["low"]),
    "one spacing": lambda v: v["image"].update(spacing=[1.0]),
    "a number for a title": lambda v: v.update(title=7),
    "five answers": lambda v: v.update(scale=v["scale"][:5]),
    "no window": lambda v: v.update(presets=[]),
    "a window without width": lambda v: v["presets"][0].update(width=0.0),
    "one option": lambda v: v["second_question"].update(options=["Yes"]),
    "a text for yes": lambda v: v["second_question"].update(confidence="yes"),
    "a break too often": lambda v: v.update(break_every=-1),
    "a hash that is none": lambda v: v.update(administrator_sha256="token"),
    "an invitation twice": lambda v: seat(v).update(invitation_sha256=v["readers"][1]["invitation_sha256"]),
    "the administrator's as an invitation": lambda v: seat(v).update(invitation_sha256=v["administrator_sha256"]),
    "no readers": lambda v: v.update(readers=[]),
    "a reader twice": lambda v: seat(v).update(reader="r02"),
    "a reader without a name": lambda v: seat(v).update(reader=""),
    "a time that is none": lambda v: seat(v).update(expires="soon"),
    "a reader has no images": lambda v: seat(v).update(sequence=[]),
    "an item that is none": lambda v: seat(v)["sequence"][0].update(item="first"),
    "an item twice": lambda v: seat(v)["sequence"][0].update(item=seat(v)["sequence"][1]["item"]),
    "another's item": lambda v: seat(v)["sequence"][0].update(item=v["readers"][1]["sequence"][0]["item"]),
    "a buffer elsewhere": lambda v: seat(v)["sequence"][0].update(buffer="../../sealed"),
    "a buffer that is not there": lambda v: seat(v)["sequence"][0].update(buffer="f" * 32),
    "practice without an answer": lambda v: seat(v)["practice"][0].pop("answer"),
    "an answer of no kind": lambda v: seat(v)["practice"][0].update(answer="both"),
    "an answer in the sequence": lambda v: seat(v)["sequence"][0].update(answer="real"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_worklist_with_a_fault_is_refused_in_one_line(kit: Kit, fault: str) -> None:
    path = kit.folder / WORKLIST
    values = json.loads(path.read_text())
    SPOILT[fault](values)
    path.write_text(json.dumps(values))
    with pytest.raises(ReaderError) as told:
        open_worklist(kit.folder)
    assert "\n" not in str(told.value)
    remedy = "serve it with the scansynth" if fault == "another version" else "copy the worklist again"
    assert remedy in str(told.value)
    assert not any(token in str(told.value) for token in kit.tokens.values())


@pytest.mark.parametrize("damage", [None, b"", b"\0" * 127, b"\0" * 129])
def test_a_buffer_of_another_length_is_refused(kit: Kit, damage: bytes | None) -> None:
    served, place = open_worklist(kit.folder), kit.worklist.readers[0].sequence[1]
    path = kit.folder / BUFFERS / f"{place.buffer}.bin"
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(ReaderError, match="copy the worklist again"):
        open_worklist(kit.folder)
    with pytest.raises(ReaderError, match="copy the worklist again"):
        served.buffer(place.buffer)  # also when it happens while the study is served


def test_a_clock_that_is_turned_back_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counter, wall = 1000.0, datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)

    class Turned(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return wall

    monkeypatch.setattr("scansynth.reader.server.clock.datetime.datetime", Turned)
    monkeypatch.setattr("scansynth.reader.server.clock.time.monotonic", lambda: counter)
    now = clock.steady_clock()
    begin = now()
    counter, wall = 1007.5, wall - datetime.timedelta(days=400)
    assert now() - begin == datetime.timedelta(seconds=7.5)


def test_stamps_sort_as_their_times_do() -> None:
    east = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    first = datetime.datetime(2030, 1, 1, 4, 0, 0, 999, tzinfo=east)
    later = datetime.datetime(2029, 12, 31, 23, 0, tzinfo=datetime.UTC)
    assert first < later
    assert clock.stamp(first) < clock.stamp(later)
    assert clock.moment(clock.stamp(later)) == later
