"""Marks: one form before they are hashed, in every database; and whatever is no mark is refused in one line."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Browser, browsers, lock_of
from sqlalchemy import select
from worklist_factory import Kit, make_worklist

from scansynth.errors import ReaderError
from scansynth.reader.marks import NONE, Mark, canonical, read, written
from scansynth.reader.protocol import CERTAINTY
from scansynth.reader.server.app import create_app
from scansynth.reader.server.chain import verify_chain
from scansynth.reader.server.database import open_database
from scansynth.reader.server.locked import export_readings
from scansynth.reader.server.marking import LEAST_RADIUS, MOST
from scansynth.reader.server.served import open_worklist
from scansynth.reader.server.tables import drafts, readings
from scansynth.reader.server.worklist import Display, Marking
from scansynth.reader.statistics.readings import Reading, read_readings, write_readings

ROWS, COLUMNS = 48, 64
MARKING = Marking("nodule", CERTAINTY)
DISPLAY = Display(ROWS, COLUMNS, 0.0, 1500.0, "", (1.5, 1.5))

_DRAW = random.Random(71)
_EDGES = [-0.5, -0.0, 0, 0.0, 5e-324, -5e-324, -0.004, 0.005, 0.015, 1 / 3, 0.1 + 0.2, 7, 46.995, 47.5]
PLACES = [*_EDGES, *(_DRAW.uniform(-0.5, ROWS - 0.5) for _ in range(46))]
"""Rows and columns that lie in every image of these tests."""


def made(folder: Path, count: int = 4, **changes: Any) -> Kit:
    images = noise(1 + count)
    return make_worklist(
        folder, images=images, readers=1, practice=1, **{"marking": MARKING, "image": DISPLAY} | changes
    )


def noise(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 65535, (count, ROWS, COLUMNS)).astype(np.uint16)


def a_mark(**changes: Any) -> dict[str, Any]:
    return {"row": 10.0, "column": 20.5, "radius": 4.0, "confidence": 3} | changes


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return made(tmp_path / "worklist")


@pytest.fixture
def reader(kit: Kit, database_url: str | None) -> Iterator[Browser]:
    """Somebody who is past the practice."""
    with browsers(create_app(kit.folder, database_url)) as (browser,):
        browser.begin(kit.tokens["r01"])
        browser.read_on(1)
        yield browser


@pytest.fixture
def at_once(kit: Kit) -> Iterator[Browser]:
    """The same, with readings in SQLite."""
    with browsers(create_app(kit.folder, None)) as (browser,):
        browser.begin(kit.tokens["r01"])
        browser.read_on(1)
        yield browser


def test_the_form_is_one_and_keeps_every_value_to_a_hundredth_of_a_pixel() -> None:
    for row in PLACES:
        for confidence in (None, 1, 5):
            mark = Mark(row, -row if row < 0 else row / 2, 1 + row * row, confidence)
            text = written([mark, mark])
            assert canonical(text) == text
            (first, second) = read(text)
            assert first == second
            assert (first.row, first.column, first.radius) == pytest.approx(
                (mark.row, mark.column, mark.radius), abs=0.00501
            )
            assert all(math.copysign(1.0, one) > 0 for one in (first.row, first.column) if one == 0.0)
    assert written([]) == NONE
    assert canonical(NONE) == NONE


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[[1,2,3]]", '[["a",2,3,4]]', "[[1,2,3,4]] ", "[[1.001,2,3,4]]"])
def test_what_is_no_list_of_marks_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="no list of marks"):
        read(text)


def test_whatever_marks_a_page_may_send_fit_their_hash_in_every_database(
    tmp_path: Path, database_url: str | None
) -> None:
    count = len(PLACES)
    kit = made(tmp_path / "many", count=count)
    sent = [
        [
            a_mark(row=PLACES[(number + shift) % count], column=PLACES[-1 - number], radius=radius, confidence=level)
            for shift, (radius, level) in enumerate(zip((1, 1.0, 31.999, 32), (1, 2, 4, 5), strict=True))
        ][: number % 5]
        for number in range(count)
    ]
    with browsers(create_app(kit.folder, database_url)) as (browser,):
        browser.begin(kit.tokens["r01"])
        browser.read_on(1)
        state = browser.state()
        for marks in sent:
            value = lock_of(2, marks=marks)
            for _ in range(2):  # a resend is the same lock
                answer = browser.change("POST", f"/api/lock/{state['item']['id']}", value)
                assert answer.status_code == 200, answer.text
            state = answer.json()
    database = open_database(kit.folder, kit.worklist, database_url)
    with database.snapshot() as connection:
        assert verify_chain(connection).rows == count + 1
    database.close()
    found = export_readings(kit.folder, database_url).readings
    assert [one.marks for one in found] == [written(Mark(**mark) for mark in marks) for marks in sent]
    for one, marks in zip(found, sent, strict=True):
        for stored, mark in zip(read(one.marks), marks, strict=True):
            assert stored.row == pytest.approx(mark["row"], abs=0.00501)
            assert stored.confidence == mark["confidence"]


BAD: list[tuple[Any, str]] = [
    ([a_mark(row=-0.51)], "Mark 1 lies outside of the image."),
    ([a_mark(), a_mark(row=ROWS - 0.49)], "Mark 2 lies outside of the image."),
    ([a_mark(column=COLUMNS - 0.49)], "Mark 1 lies outside of the image."),
    ([a_mark(column=-1e5)], "Mark 1 lies outside of the image."),
    ([a_mark(radius=LEAST_RADIUS - 0.01)], "Mark 1 needs a radius from 1 to 32 pixels."),
    ([a_mark(radius=COLUMNS / 2 + 0.01)], "Mark 1 needs a radius from 1 to 32 pixels."),
    ([a_mark(confidence=6)], "Mark 1 has a confidence that is not offered."),
    ([a_mark(confidence=None)], "Mark 1 lacks its confidence."),
    ([{name: value for name, value in a_mark().items() if name != "confidence"}], "Mark 1 lacks its confidence."),
    ([a_mark()] * (MOST + 1), f"There are {MOST + 1} marks, and {MOST} are the most; remove some."),
    ([a_mark(confidence=0)], "marks.0.confidence"),
    ([a_mark(confidence=2.5)], "marks.0.confidence"),
    ([a_mark(confidence=True)], "marks.0.confidence"),
    ([a_mark(radius=0)], "marks.0.radius"),
    ([a_mark(radius=-3.0)], "marks.0.radius"),
    ([a_mark(row="10")], "marks.0.row"),
    ([a_mark(row=None)], "marks.0.row"),
    ([a_mark(row=1e9)], "marks.0.row"),
    ([a_mark(column=[1])], "marks.0.column"),
    ([a_mark(more=1)], "marks.0.more"),
    ([{}], "marks.0.row"),
    ([7], "marks.0"),
    ("[]", "marks"),
    (None, "marks"),
    ({"0": a_mark()}, "marks"),
]


@pytest.mark.parametrize(("marks", "said"), BAD)
def test_a_bad_mark_is_one_line_and_nothing_is_stored(kit: Kit, at_once: Browser, marks: Any, said: str) -> None:
    item = at_once.state()["item"]["id"]
    answers = [at_once.change("POST", f"/api/lock/{item}", lock_of(2, marks=marks))]
    if "lacks" not in said:  # a draft may lack it
        answers.append(at_once.change("PUT", f"/api/draft/{item}", {"answer": 2, "marks": marks}))
    for answer in answers:
        assert answer.status_code == 422
        told = answer.json()["error"]
        assert said in told
        assert "\n" not in told
    served = open_worklist(kit.folder)
    database = open_database(kit.folder, served.worklist, None)
    with database.read() as connection:
        assert len(connection.execute(select(readings)).all()) == 1, "the practice"
        assert not connection.execute(select(drafts)).all()
    database.close()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(at_once: Browser, number: str) -> None:
    item = at_once.state()["item"]["id"]
    body = json.dumps(lock_of(2, marks=[a_mark(row="HERE")])).replace('"HERE"', number)
    headers = {"x-csrf-token": at_once.csrf, "content-type": "application/json"}
    answer = at_once.request("POST", f"/api/lock/{item}", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert at_once.state()["item"]["id"] == item


def test_a_study_without_marks_takes_none(tmp_path: Path) -> None:
    kit = made(tmp_path / "plain", marking=None)
    with browsers(create_app(kit.folder)) as (browser,):
        browser.begin(kit.tokens["r01"])
        state = browser.state()
        assert state["marking"] is None
        item = state["item"]["id"]
        for path, value in (("lock", lock_of(2, marks=[a_mark()])), ("draft", {"marks": [a_mark()]})):
            answer = browser.change("POST" if path == "lock" else "PUT", f"/api/{path}/{item}", value)
            assert (answer.status_code, answer.json()["error"]) == (
                422,
                "The answer is not valid: this study takes no marks.",
            )
        assert browser.lock(item, marks=[]).status_code == 200


def test_nothing_is_marked_before_readers_are_told_and_everything_after(tmp_path: Path) -> None:
    """The first part asks for the finding in the image as a whole, and says nothing of marks."""
    kit = made(tmp_path / "first", unaware=2)
    with browsers(create_app(kit.folder)) as (browser,):
        browser.begin(kit.tokens["r01"])
        state = browser.state()
        assert (state["phase"], state["marking"]) == ("unaware", None)
        item = state["item"]["id"]
        for method, path, value in (
            ("POST", "lock", lock_of(2, marks=[a_mark()])),
            ("PUT", "draft", {"marks": [a_mark()]}),
            ("PUT", "draft", {"marks": [a_mark(confidence=None)]}),
        ):
            answer = browser.change(method, f"/api/{path}/{item}", value)
            assert (answer.status_code, answer.json()["error"]) == (
                422,
                "The answer is not valid: nothing is to be marked here.",
            )
        assert browser.change("PUT", f"/api/draft/{item}", {"answer": 2, "marks": []}).status_code == 200
        for _ in range(2):
            assert browser.lock(browser.state()["item"]["id"], 3, marks=[]).status_code == 200
        for question, more in ((browser.state()["item"]["id"], {}), (None, {"percent": 5})):
            asked = question or browser.state()["item"]["id"]
            assert browser.lock(asked, 1, marks=[a_mark()], **more).status_code == 422
            assert browser.lock(asked, 1, **more).status_code == 200
        assert browser.state()["marking"]["finding"] == "nodule"
        assert browser.lock(browser.state()["item"]["id"], 5, marks=[a_mark()]).status_code == 200


def test_the_page_is_told_what_to_mark_and_within_which_limits(at_once: Browser) -> None:
    assert at_once.state()["marking"] == {
        "finding": "nodule",
        "levels": list(CERTAINTY),
        "most": MOST,
        "least_radius": LEAST_RADIUS,
        "largest_radius": 32.0,
    }


def test_a_draft_keeps_marks_and_undoing_gives_them_back(kit: Kit, reader: Browser, database_url: str | None) -> None:
    item = reader.state()["item"]["id"]
    open_mark = a_mark(confidence=None)
    assert reader.change("PUT", f"/api/draft/{item}", {"marks": [open_mark, a_mark()]}).status_code == 200
    assert reader.state()["draft"]["marks"] == [open_mark, a_mark()]
    assert reader.lock(item, 5, marks=[a_mark(), a_mark(row=3.25)]).status_code == 200
    undone = reader.post(f"/api/undo/{item}", headers={"x-csrf-token": reader.csrf}).json()
    assert undone["again"]
    assert undone["draft"]["marks"] == [a_mark(), a_mark(row=3.25)]
    assert reader.lock(item, 5, marks=[a_mark(row=3.25, confidence=1)]).status_code == 200
    (first,) = export_readings(kit.folder, database_url).readings
    assert read(first.marks) == (Mark(3.25, 20.5, 4.0, 1),)


def test_the_practice_gives_back_its_marks_for_the_second_look(kit: Kit) -> None:
    with browsers(create_app(kit.folder)) as (browser,):
        browser.begin(kit.tokens["r01"])
        browser.lock(browser.state()["item"]["id"], 5, marks=[a_mark()])
        (look,) = browser.state()["review"]
        assert (look["answer"], look["marks"]) == (5, [a_mark()])


def test_a_worklist_whose_marks_have_no_name_is_damaged(tmp_path: Path) -> None:
    for number, marking in enumerate((Marking("", CERTAINTY), Marking("nodule", ("sure",)))):
        kit = made(tmp_path / str(number), marking=marking)
        with pytest.raises(ReaderError, match="marks need a name"):
            open_worklist(kit.folder)


def test_readings_csv_gives_back_every_mark(tmp_path: Path) -> None:
    one = Reading("r01", "i", 1, False, "nodule", "c", "p", "", 3, None, None, 2.0, 0.0, 0, "2030-03-05T12:00:00+00:00")
    marks = written([Mark(1.25, -0.5, 3.0, 5), Mark(0.0, 47.5, 12.5, 1)])
    path = tmp_path / "readings.csv"
    write_readings(path, [replace(one, marks=marks)])
    assert read_readings(path)[0].marks == marks
    path.write_text(path.read_text().replace("1.25", "1,25"))
    with pytest.raises(ReaderError, match="no list of marks"):
        read_readings(path)
