"""Readers come and go: what it does is said before, kept, and follows from the protocol; broken readings set aside."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from study_factory import make_study, small
from worklist_factory import make_worklist

from scansynth.dicom.deidentify import KEY_VARIABLE
from scansynth.errors import ReaderError
from scansynth.files import read_json, read_json_lines
from scansynth.reader.amend import make, set_aside, think
from scansynth.reader.amendments import read_amendments
from scansynth.reader.close import close
from scansynth.reader.conclude import conclude
from scansynth.reader.create import create
from scansynth.reader.design import SPARE_SEATS
from scansynth.reader.server.access import invited, spend_invitation
from scansynth.reader.server.clock import steady_clock
from scansynth.reader.server.database import open_database
from scansynth.reader.server.locked import export_readings, new_code, set_broken_aside
from scansynth.reader.server.refusals import OutOfTurn, Refused
from scansynth.reader.server.served import open_worklist
from scansynth.reader.server.store import Answer, lock_answer, undo_answer
from scansynth.reader.server.worklist import load_worklist
from scansynth.reader.statistics.readings import read_readings
from scansynth.study import AMENDMENTS, ANALYSIS, CLOSING, READINGS, SPARES, Study, open_study

AT = "2026-11-27T12:00:00.000+00:00"
IMAGES = 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study of three readers, of which nobody has read anything."""
    folder = tmp_path_factory.mktemp("amend")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, str(folder / "keys" / "institution.key"))
        made = make_study(folder / "study")
        create(made, small(readers=3, images=IMAGES, practice=2, repeats=0.0))
        yield made.folder


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Study:
    return open_study(Path(shutil.copytree(whole, tmp_path / "study")))


def answer(number: int) -> Answer:
    return Answer(1 + number % 6, None, None, 4.0, 1.0, 2, False, secrets.token_hex(16))


def read(study: Study, most: dict[str, int], answers: Callable[[int], Answer] = answer) -> None:
    """Locks answers of each reader as the server does: the practice, and so many images."""
    folder = study.reader / "worklist"
    served = open_worklist(folder)
    database = open_database(folder, served.worklist)
    for reader, count in most.items():
        order = served.orders[reader]
        for place in order.places[: order.practice + count]:
            lock_answer(database, order, place.item, answers(order.index[place.item]), AT)
    database.close()


def tamper(study: Study, statement: str) -> None:
    """What somebody does who owns the database."""
    with sqlite3.connect(study.reader / "worklist" / "readings.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute(statement)


def test_a_reader_who_is_replaced_counts_by_the_rule_and_the_new_one_reads(study: Study) -> None:
    read(study, {"r01": IMAGES, "r02": 15, "r03": 30})
    change = think(study, reader="r02", add=True)
    assert change.new == "r04"
    assert change.effect.startswith("With 15 answers, fewer than 50% of the 40 images, the reader does not count")
    assert not (study.reader / AMENDMENTS).exists(), "thinking changes nothing"
    token = make(study, change, "on leave")
    worklist = load_worklist(study.reader / "worklist")
    assert [seat.reader for seat in worklist.readers] == ["r01", "r02", "r03", "r04"]
    read(study, {"r04": IMAGES})
    made = think(study, reader="r03")
    assert "counts with them if at least 50%" in made.effect
    assert "2 readers go on, 3 were planned, and with fewer than 3 who count there is no verdict" in made.effect
    make(study, made, "changed hospital")
    closed = close(study)  # nobody who may still read is unfinished
    assert closed.unfinished == {}
    found = conclude(study)
    assert [(row["reader"], row["counts"]) for row in found.readers] == [
        ("r01", True),
        ("r02", False),
        ("r03", True),
        ("r04", True),
    ]
    assert any("r02 was withdrawn and replaced by r04" in note and "on leave" in note for note in found.notes)
    assert any("changed hospital" in note for note in read_json(study.reader / ANALYSIS)["notes"])
    assert len(read_json(study.reader / CLOSING)["amendments"]) == 2
    database = open_database(study.reader / "worklist", worklist)
    with database.read() as connection:
        assert invited(worklist, connection, token, steady_clock()()) == "r04"
    database.close()


def test_answers_that_were_set_aside_with_their_reader_do_not_count(study: Study) -> None:
    read(study, dict.fromkeys(("r01", "r02", "r03"), IMAGES))
    change = think(study, reader="r02", exclude=True)
    assert change.effect.startswith("The 40 answers given so far do not count")
    make(study, change, "saw the truth")
    close(study)
    found = conclude(study)
    assert [row["counts"] for row in found.readers] == [True, False, True]


def test_who_is_withdrawn_reads_no_more_at_once(study: Study) -> None:
    folder = study.reader / "worklist"
    served = open_worklist(folder)
    database = open_database(folder, served.worklist)
    token = make(study, think(study, add=True), "more readers")
    read(study, {"r02": 3})
    for reader in ("r02", "r04"):
        make(study, think(study, reader=reader), "ill")
    order = served.orders["r02"]
    with pytest.raises(OutOfTurn):
        lock_answer(database, order, order.places[5].item, answer(1), AT)
    with pytest.raises(OutOfTurn):
        undo_answer(database, order, order.places[4].item, AT)
    with pytest.raises(Refused):
        spend_invitation(load_worklist(folder), database, token, steady_clock()())
    database.close()
    with pytest.raises(ReaderError, match="r02 was withdrawn"):
        new_code(folder, "r02")
    assert len(export_readings(folder).readings) == 3, "what was locked stays"


def test_a_change_that_was_killed_halfway_is_made_by_the_next(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    read(study, {"r01": 2})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("scansynth.reader.amend.amend", killed)
        with pytest.raises(KeyboardInterrupt):
            make(study, think(study, reader="r02", add=True), "on leave")
    assert not (study.reader / AMENDMENTS).exists()
    change = think(study, reader="r02", add=True)
    assert change.new == "r04"
    make(study, change, "on leave")
    assert [seat.reader for seat in load_worklist(study.reader / "worklist").readers][-1] == "r04"
    assert len(read_json(study.reader / AMENDMENTS)) == 1


def test_amendments_that_were_altered_are_found(study: Study) -> None:
    read(study, dict.fromkeys(("r01", "r02", "r03"), IMAGES))
    for reader in ("r01", "r02"):
        make(study, think(study, reader=reader, exclude=True), f"{reader} saw the truth")
    whole = study.journal.read_text()
    study.journal.write_text(whole.replace("r01 saw the truth", "r01 was too good"))
    with pytest.raises(ReaderError, match="does not follow from the one before"):
        close(study)
    study.journal.write_text(whole.replace("r02 saw the truth", "r02 was too good"))  # the last line alone
    with pytest.raises(ReaderError, match="do not say the same"):
        close(study)
    study.journal.write_text(whole)
    (study.reader / AMENDMENTS).unlink()
    with pytest.raises(ReaderError, match="do not say the same"):
        close(study)


def test_amendments_whose_line_was_taken_out_are_found(study: Study) -> None:
    read(study, {"r01": IMAGES})
    make(study, think(study, add=True), "more readers")
    lines = study.journal.read_text().splitlines(keepends=True)
    study.journal.write_text("".join(lines[:-1]))
    with pytest.raises(ReaderError, match="do not say the same"):
        close(study, early=True)


def test_the_copy_of_the_worklist_that_is_served_gets_the_seat_too(study: Study, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(study.reader / "worklist", tmp_path / "served"))
    make(study, think(study, add=True, worklist_folder=copy), "more readers", worklist_folder=copy)
    assert load_worklist(copy) == load_worklist(study.reader / "worklist")
    assert load_worklist(copy).readers[-1].reader == "r04"
    assert open_worklist(copy).orders["r04"].practice == 2


def test_seats_end_and_refusals_say_what_to_do(study: Study) -> None:
    with pytest.raises(ReaderError, match="no reader r09 to withdraw; those who read are r01, r02, r03"):
        think(study, reader="r09")
    with pytest.raises(ReaderError, match="--reason"):
        make(study, think(study, add=True), "  ")
    for _ in range(SPARE_SEATS):
        make(study, think(study, add=True), "more")
    with pytest.raises(ReaderError, match="all 12 seats"):
        think(study, add=True)
    (study.reader / SPARES).write_text("{}")
    with pytest.raises(ReaderError, match="seats for other readers, is missing or was changed"):
        think(study, add=True)
    read(study, {"r01": 4})
    close(study, early=True)
    with pytest.raises(ReaderError, match="closed; readers can come and go only while it is read"):
        think(study, reader="r01")


def test_seats_that_are_prepared_are_sealed_and_hold_no_truth(study: Study) -> None:
    spares = read_json(study.reader / SPARES)
    assert list(spares) == [f"r{number:02d}" for number in range(4, 4 + SPARE_SEATS)]
    items = [place["item"] for seat in spares.values() for place in seat["sequence"]]
    assert len(set(items)) == SPARE_SEATS * IMAGES
    assert all(set(place) == {"item", "buffer"} for seat in spares.values() for place in seat["sequence"])
    assert "invitation" not in (study.reader / SPARES).read_text()


def test_a_broken_reading_is_set_aside_with_its_evidence(study: Study) -> None:
    read(study, dict.fromkeys(("r01", "r02", "r03"), IMAGES))
    with pytest.raises(ReaderError, match="nothing to set aside"):
        set_aside(study, "A. Head", "none")
    tamper(study, "UPDATE readings SET answer = 7 - answer WHERE n IN (7, 50)")
    with pytest.raises(ReaderError, match=r"reading 7 of r01 was changed.*scansynth reader set-aside STUDY"):
        close(study)
    with pytest.raises(ReaderError, match="--name NAME"):
        set_aside(study, " ", "a disk fault")
    lost = set_aside(study, "A. Head", "a disk fault")
    assert [(one.n, one.reader) for one in lost] == [(7, "r01"), (50, "r02")]
    closed = close(study)  # who answered everything has finished
    assert closed.readings == 3 * IMAGES - 2
    readings = read_readings(study.reader / READINGS)
    assert sorted({one.position for one in readings if one.reader == "r01"}) == [
        place for place in range(1, IMAGES + 1) if place != 5
    ]
    found = conclude(study)
    told = "The answers 7 of r01, 50 of r02 did not fit their hash and do not count. They were set aside by decision"
    assert any(note.startswith(told) and "A. Head, a disk fault" in note for note in found.notes)
    (amendment,) = read_amendments(study, load_worklist(study.reader / "worklist").protocol_sha256)
    assert (amendment.kind, amendment.answers) == ("set aside", 2)
    assert any("disk fault" in str(line) for line in read_json_lines(study.journal))
    with sqlite3.connect(study.reader / "worklist" / "readings.db") as database:
        rows = database.execute("SELECT n, found FROM set_aside ORDER BY n").fetchall()
        (still,) = database.execute("SELECT answer FROM readings WHERE n = 7").fetchone()
    assert f"('answer', {still})" in rows[0][1], "the row as it was found, and the row itself"


def test_a_row_that_is_changed_again_after_it_was_set_aside_is_found(study: Study) -> None:
    read(study, {"r01": 10})
    tamper(study, "UPDATE readings SET answer = 7 - answer WHERE n = 7")
    set_aside(study, "A. Head", "a disk fault")
    tamper(study, "UPDATE readings SET seconds = 9.5 WHERE n = 7")
    with pytest.raises(ReaderError, match="reading 7 of r01 was changed"):
        close(study, early=True)


def test_a_chain_that_is_broken_beyond_a_row_is_not_set_aside(study: Study) -> None:
    read(study, {"r01": 10})
    tamper(study, "UPDATE readings SET answer = 7 - answer WHERE n = 7")
    tamper(study, "DELETE FROM readings WHERE n = 9")
    with pytest.raises(ReaderError, match=r"reading 9 is missing; restore an untouched copy of the database$"):
        set_aside(study, "A. Head", "a disk fault")
    with sqlite3.connect(study.reader / "worklist" / "readings.db") as database:
        assert database.execute("SELECT count(*) FROM set_aside").fetchone() == (0,), "all of it, or nothing"


def test_an_answer_given_again_whose_first_was_broken_does_not_count(study: Study) -> None:
    folder = study.reader / "worklist"
    read(study, {"r01": 6})
    served = open_worklist(folder)
    order, database = served.orders["r01"], open_database(folder, served.worklist)
    undo_answer(database, order, order.places[7].item, AT)
    lock_answer(database, order, order.places[7].item, answer(2), AT)
    lock_answer(database, order, order.places[8].item, answer(3), AT)
    database.close()
    tamper(study, "UPDATE readings SET seconds = 1.5 WHERE n = 8")
    set_aside(study, "A. Head", "a disk fault")
    assert [one.position for one in export_readings(folder).readings] == [1, 2, 3, 4, 5, 7]


def test_broken_rows_are_set_aside_in_every_database(tmp_path: Path, database_url: str | None) -> None:
    kit = make_worklist(tmp_path / "worklist", readers=2, count=6, practice=1, side=16)
    database = open_database(kit.folder, kit.worklist, database_url)
    order = open_worklist(kit.folder).orders["r01"]
    for place in order.places[:5]:
        lock_answer(database, order, place.item, replace(answer(2), comment="at the edge"), AT)
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE readings DISABLE TRIGGER ALL"))
        else:
            connection.execute(text("DROP TRIGGER readings_UPDATE"))
        connection.execute(text("UPDATE readings SET comment = 'elsewhere' WHERE n = 3"))
    database.close()
    with pytest.raises(ReaderError, match="reading 3 of r01 was changed"):
        export_readings(kit.folder, database_url)
    assert [one.n for one in set_broken_aside(kit.folder, "A. Head", "a test", database_url)] == [3]
    found = export_readings(kit.folder, database_url)
    assert [one.position for one in found.readings] == [1, 3, 4]
    assert [(one.n, one.name) for one in found.set_aside] == [(3, "A. Head")]
