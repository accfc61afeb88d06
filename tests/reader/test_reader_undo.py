"""The last answer can be taken back once, and comments are stored to the last sign; the chain holds both."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsing import Browser, browsers
from sqlalchemy import delete, select
from worklist_factory import Kit, make_worklist

from scansynth.errors import ReaderError
from scansynth.reader.server.app import create_app
from scansynth.reader.server.chain import verify_chain
from scansynth.reader.server.comment import MOST, canonical
from scansynth.reader.server.database import Database, open_database
from scansynth.reader.server.locked import begun, export_readings
from scansynth.reader.server.tables import readings, undone
from scansynth.reader.statistics import strata
from scansynth.reader.statistics.readings import Reading, read_readings, write_readings

COUNT, PRACTICE = 4, 1
TEXTS = [
    "Small nodule, left apex.",
    " two\r\nlines\tand  spaces ",
    "e\u0301 composed",
    "\u202egnorw\u202c and \x00 nothing \x1b[31m",
    "한국어 \U0001f9d0 'quotes', \"commas\", <b>tags</b>",
    "=1+1",
    "half \ud83d of a pair",
    "\u00a0\u2003",
]


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return make_worklist(tmp_path / "worklist", readers=1, count=COUNT, practice=PRACTICE, side=8)


@pytest.fixture
def reader(kit: Kit, database_url: str | None) -> Iterator[Browser]:
    """Somebody who has begun."""
    with browsers(create_app(kit.folder, database_url)) as (browser,):
        browser.begin(kit.tokens["r01"])
        yield browser


def undo(browser: Browser, item: str) -> tuple[int, dict[str, Any]]:
    answer = browser.post(f"/api/undo/{item}", headers={"x-csrf-token": browser.csrf})
    return answer.status_code, answer.json()


def chain(kit: Kit, database_url: str | None) -> Database:
    database = open_database(kit.folder, kit.worklist, database_url)
    with database.snapshot() as connection:
        verify_chain(connection)
    return database


def test_an_answer_taken_back_is_given_again_once(kit: Kit, reader: Browser, database_url: str | None) -> None:
    assert reader.state()["last"] is None
    state = reader.read_on(PRACTICE)
    assert state["last"] is None, "the truth of practice was told"
    first, second = state["item"]["id"], state["next"]["id"]
    assert undo(reader, first)[0] == 409, "not answered yet"
    state = reader.lock(first, 2, comment="at first", seconds=4.0).json()
    assert (state["last"]["id"], state["item"]["id"]) == (first, second)
    for _ in range(2):  # a resend changes nothing
        status, state = undo(reader, first)
        assert (status, state["item"]["id"], state["next"]["id"]) == (200, first, second)
        assert (state["again"], state["last"], state["done"]) == (True, None, 0)
        assert state["draft"] == {"answer": 2, "second": None, "confidence": None, "comment": "at first", "marks": []}
    assert reader.get(f"/api/buffer/{first}").status_code == 200
    assert reader.lock(second, 3).status_code == 409, "the image that was taken back comes first"
    assert begun(kit.folder, "r01", database_url) == PRACTICE + 1, "the first answer stands"
    state = reader.lock(first, 5, comment="on second thoughts", seconds=1.0).json()
    assert (state["item"]["id"], state["last"], state["again"], state["done"]) == (second, None, False, 1)
    assert undo(reader, first)[0] == 409, "once"
    reader.read_on(answer=6)
    assert reader.state()["phase"] == "done"
    chain(kit, database_url).close()
    found = export_readings(kit.folder, database_url).readings
    assert [(one.answer, one.first_answer, one.comment) for one in found] == [
        (5, 2, "on second thoughts"), *[(6, None, "")] * (COUNT - 1)
    ]  # fmt: skip
    assert found[0].seconds == 4.0, "times are those of the first look"
    assert len(found) == COUNT


def test_the_very_last_answer_can_be_taken_back_and_stands_until_it_is_given_again(
    kit: Kit, reader: Browser, database_url: str | None
) -> None:
    state = reader.read_on(answer=4)
    assert (state["phase"], state["item"]) == ("done", None)
    status, state = undo(reader, state["last"]["id"])
    assert (status, state["phase"], state["next"], state["done"]) == (200, "reading", None, COUNT - 1)
    assert [one.answer for one in export_readings(kit.folder, database_url).readings] == [4] * COUNT
    state = reader.lock(state["item"]["id"], 1).json()
    assert (state["phase"], state["last"]) == ("done", None)
    assert [one.answer for one in export_readings(kit.folder, database_url).readings] == [4] * (COUNT - 1) + [1]


def test_nothing_is_taken_back_in_practice_out_of_turn_or_after_the_end(kit: Kit, reader: Browser) -> None:
    state = reader.read_on(PRACTICE + 2)
    (seat,) = kit.worklist.readers
    assert undo(reader, seat.practice[0].item)[0] == 409
    assert undo(reader, seat.sequence[0].item)[0] == 409
    assert undo(reader, seat.sequence[3].item)[0] == 404, "not shown yet"
    assert undo(reader, "0" * 32)[0] == 404
    assert reader.post(f"/api/undo/{state['last']['id']}").status_code == 403
    (kit.folder / "closed.json").write_text("{}")
    assert undo(reader, state["last"]["id"])[0] == 410
    assert reader.state()["last"] is None


def test_a_second_answer_without_the_note_that_the_first_was_taken_back_is_refused(kit: Kit, tmp_path: Path) -> None:
    with browsers(create_app(kit.folder)) as (reader,):
        reader.begin(kit.tokens["r01"])
        last = reader.read_on(PRACTICE + 1)["last"]["id"]
        undo(reader, last)
        reader.lock(last, 1)
    database = open_database(kit.folder, kit.worklist)
    with database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER undone_DELETE")
        connection.execute(delete(undone))
    database.close()
    with pytest.raises(ReaderError, match="do not agree with the worklist"):
        export_readings(kit.folder)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.encode("ascii", "backslashreplace").decode()[:12])
def test_a_comment_has_one_form(text: str) -> None:
    plain = canonical(text)
    assert canonical(plain) == plain == unicodedata.normalize("NFC", plain)
    assert plain == plain.strip()
    assert not {unicodedata.category(sign) for sign in plain} & {"Cc", "Cs", "Zl", "Zp"}
    assert "\u202e" not in plain
    plain.encode()


def test_comments_come_back_as_they_were_hashed(
    tmp_path: Path, kit: Kit, reader: Browser, database_url: str | None
) -> None:
    state = reader.read_on(PRACTICE)
    for text in TEXTS[:COUNT]:
        item = state["item"]["id"]
        draft = {"answer": 2, "second": None, "confidence": None, "comment": text}
        assert reader.change("PUT", f"/api/draft/{item}", draft).status_code == 200
        assert reader.state()["draft"]["comment"] == canonical(text)
        state = reader.lock(item, comment=text, nonce=f"{item[:16]}").json()
        assert reader.lock(item, comment=canonical(text), nonce="another-nonce").status_code == 409
    database = chain(kit, database_url)
    with database.snapshot() as connection:
        kept = list(connection.execute(select(readings.c.comment).order_by(readings.c.n)).scalars())
    database.close()
    assert kept == ["", *map(canonical, TEXTS[:COUNT])]
    assert [one.comment for one in export_readings(kit.folder, database_url).readings] == kept[1:]


def test_a_comment_of_a_resend_is_the_same_lock_and_another_is_not(kit: Kit, reader: Browser) -> None:
    state = reader.read_on(PRACTICE)
    item = state["item"]["id"]
    for comment, status in (("a  b", 200), ("a b", 200), ("c", 409)):
        assert reader.lock(item, comment=comment, nonce="the-same-nonce").status_code == status


def test_a_comment_too_long_or_not_asked_for_is_refused(tmp_path: Path) -> None:
    kit = make_worklist(tmp_path / "none", readers=1, count=1, practice=0, side=8, comments=False)
    with browsers(create_app(kit.folder)) as (reader,):
        reader.begin(kit.tokens["r01"])
        item = reader.state()["item"]["id"]
        assert reader.state()["comments"] is False
        assert reader.lock(item, comment="x").status_code == 422
        assert reader.lock(item, comment="x" * (MOST + 1)).status_code == 422
        assert reader.lock(item).status_code == 200


def test_comments_and_first_answers_pass_through_the_table(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    row = Reading("r01", "i", 1, True, "", "7", "", "", 3, None, None, 1.0, 0.0, 0, "2030-01-01T00:00:00+00:00")
    rows = [
        replace(row, item=f"i{k}", case=f"{k}", position=k, comment=canonical(text), first_answer=k or None)
        for k, text in enumerate(TEXTS)
    ]
    write_readings(path, rows)
    assert list(read_readings(path)) == rows
    written = strata.comments(rows)
    assert [one["comment"] for one in written] == [canonical(text) for text in TEXTS if canonical(text)]
    assert {(one["reader"], one["synthetic"], one["answer"]) for one in written} == {("r01", True, 3)}
    assert strata.changed(rows) == {"answers": len(rows) - 1, "sides": 4}, "3 is on the side of real; 4 to 7 were not"
    assert not any(f",{sign}" in path.read_text(encoding="utf-8") for sign in "=+@"), "no formula for a spreadsheet"
