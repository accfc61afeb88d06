"""Readings can be added and nothing else; a row that was changed all the same is named by the chain."""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Connection, Double, Integer, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from worklist_factory import Kit, make_worklist

from scansynth.errors import ReaderError
from scansynth.reader.marks import NONE
from scansynth.reader.server.api import SentLock, _checked
from scansynth.reader.server.chain import HASHED, row_sha256, verify_chain
from scansynth.reader.server.database import Database, open_database
from scansynth.reader.server.locked import close_database, export_readings, new_code
from scansynth.reader.server.refusals import OutOfTurn, Refused
from scansynth.reader.server.served import Order, open_worklist
from scansynth.reader.server.store import Answer, Draft, lock_answer, note_event, progress, save_draft
from scansynth.reader.server.tables import START, events, head, readings

MOMENT = "2030-03-05T12:00:00.000+00:00"


def answer(number: int, **changes: Any) -> Answer:
    made = Answer(1 + number % 6, None, None, 2.0 + number / 7, 0.1, number, number % 2 == 0, f"nonce-{number:08d}")
    return replace(made, **changes)


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return make_worklist(tmp_path / "worklist", readers=2, count=6, practice=1, side=16)


@pytest.fixture
def orders(kit: Kit) -> list[Order]:
    return list(open_worklist(kit.folder).orders.values())


@pytest.fixture
def database(kit: Kit, database_url: str | None) -> Iterator[Database]:
    opened = open_database(kit.folder, kit.worklist, database_url)
    yield opened
    opened.close()


@pytest.fixture
def filled(database: Database, orders: list[Order]) -> Database:
    """Ten readings, two readers by turns."""
    for number in range(10):
        order = orders[number % 2]
        lock_answer(database, order, order.places[number // 2].item, answer(number), MOMENT)
    return database


def without_triggers(connection: Connection) -> None:
    """What somebody does who owns the database."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE readings DISABLE TRIGGER ALL"))
        return
    for verb in ("UPDATE", "DELETE"):
        connection.execute(text(f"DROP TRIGGER readings_{verb}"))


def tamper(database: Database, change: Callable[[Connection], Any]) -> str:
    """What the chain says after a change."""
    with database.write() as connection:
        without_triggers(connection)
        change(connection)
    with database.read() as connection, pytest.raises(ReaderError) as told:
        verify_chain(connection)
    return str(told.value)


def test_an_untouched_chain_holds(filled: Database) -> None:
    with filled.read() as connection:
        end = verify_chain(connection)
        last = connection.execute(select(readings.c.sha256).where(readings.c.n == 10)).scalar_one()
        first = connection.execute(select(readings.c.previous).where(readings.c.n == 1)).scalar_one()
    assert (end.rows, end.sha256, first) == (10, last, START)


_DRAW = random.Random(20301)
_EDGES = [-0.0, 0, 0.0, 5e-324, 1e-9, 0.0005, 1 / 3, 0.1 + 0.2, 7, 1e6 + 1e-9, 2_678_399.999_999_9, 2_678_400.0]
_TIMES = [*_EDGES, *(_DRAW.uniform(0.0, 10.0 ** _DRAW.randint(-6, 6)) for _ in range(28))]


def test_whatever_a_page_may_send_fits_its_hash_in_every_database(tmp_path: Path, database_url: str | None) -> None:
    """SQLite stores -0.0 as 0.0: what is hashed must be what is stored, to the last bit, and come back as that."""
    kit = make_worklist(tmp_path / "many", readers=1, count=len(_TIMES), practice=1, side=8)
    (order,) = open_worklist(kit.folder).orders.values()
    database = open_database(kit.folder, kit.worklist, database_url)
    for number, (place, seconds) in enumerate(zip(order.places, _TIMES, strict=False)):
        hidden = _TIMES[-1 - number]
        sent = {"answer": 1 + number % 6, "seconds": seconds, "hidden_seconds": hidden, "nonce": f"{number:08d}"}
        extreme = {"window_changes": (0, 1, 1_000_000)[number % 3], "zoomed": bool(number % 2)}
        taken = _checked(SentLock, json.dumps(sent | extreme).encode())
        checked = Answer(**{**taken.model_dump(), "marks": NONE})
        for _ in range(2):  # a resend is the same lock
            lock_answer(database, order, place.item, checked, MOMENT)
    with database.snapshot() as connection:
        assert verify_chain(connection).rows == len(_TIMES)
    database.close()
    found = export_readings(kit.folder, database_url)
    assert [one.seconds for one in found.readings] == [round(value, 3) for value in _TIMES[1:]]
    assert all(math.copysign(1.0, one.seconds) > 0 for one in found.readings)


@pytest.mark.parametrize("statement", ["UPDATE {} SET reader = reader", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["readings", "events"])
def test_rows_can_only_be_added(filled: Database, statement: str, table: str) -> None:
    if "TRUNCATE" in statement and filled.engine.dialect.name == "sqlite":
        statement = "DELETE FROM {} WHERE n >= 0"  # SQLite has no TRUNCATE
    with filled.write() as connection:
        note_event(connection, "r01", "paused", MOMENT, 1.0)
    with pytest.raises(DBAPIError, match=f"{table} can only be added to"), filled.write() as connection:
        connection.execute(text(statement.format(table)))
    with filled.read() as connection:
        assert verify_chain(connection).rows == 10
        assert len(connection.execute(select(events)).all()) == 1


@pytest.mark.parametrize("column", [name for name in HASHED if name not in {"n", "previous"}])
def test_the_chain_names_a_row_that_was_changed(filled: Database, column: str) -> None:
    kind = readings.c[column].type
    with filled.read() as connection:
        old = connection.execute(select(readings.c[column]).where(readings.c.n == 4)).scalar_one()
    if isinstance(kind, Boolean):
        new: Any = not old
    elif isinstance(kind, Integer | Double):
        new = (old or 0) % 6 + 1
    else:
        new = "r01" if column == "reader" else old[:-1] + "~"
    told = tamper(filled, lambda c: c.execute(update(readings).where(readings.c.n == 4).values({column: new})))
    assert "reading 4 of" in told
    assert "was changed" in told


def test_the_chain_sees_a_change_in_the_last_digit_of_a_number(filled: Database) -> None:
    def nudge(connection: Connection) -> None:
        seconds = connection.execute(select(readings.c.seconds).where(readings.c.n == 3)).scalar_one()
        connection.execute(update(readings).where(readings.c.n == 3).values(seconds=seconds + 4.5e-16 * seconds))

    assert "reading 3 of r01 was changed" in tamper(filled, nudge)


def test_bytes_in_the_place_of_a_number_are_found(kit: Kit, orders: list[Order]) -> None:
    database = open_database(kit.folder, kit.worklist)
    lock_answer(database, orders[0], orders[0].places[0].item, answer(0), MOMENT)
    told = tamper(database, lambda connection: connection.execute(text("UPDATE readings SET seconds = x'00ff'")))
    database.close()
    assert "reading 1 of r01 was changed" in told


def test_the_chain_names_a_row_that_was_changed_and_hashed_anew(filled: Database) -> None:
    def forge(connection: Connection) -> None:
        row = dict(connection.execute(select(readings).where(readings.c.n == 4)).one()._mapping) | {"answer": 6}
        row["sha256"] = row_sha256(row)
        connection.execute(update(readings).where(readings.c.n == 4).values(row))

    assert "reading 5 of r01 does not follow" in tamper(filled, forge)


@pytest.mark.parametrize(("gone", "named"), [(1, 1), (4, 4), (10, 10)])
def test_the_chain_names_a_row_that_is_missing(filled: Database, gone: int, named: int) -> None:
    told = tamper(filled, lambda connection: connection.execute(delete(readings).where(readings.c.n == gone)))
    assert f"reading {named} is missing" in told


def test_a_gap_that_was_closed_up_is_found(filled: Database) -> None:
    def close_up(connection: Connection) -> None:
        connection.execute(delete(readings).where(readings.c.n == 4))
        for number in range(5, 11):
            connection.execute(update(readings).where(readings.c.n == number).values(n=number - 1))
        connection.execute(update(head).values(rows=9))

    assert "reading 4 of r01 does not follow" in tamper(filled, close_up)


def test_answers_that_were_exchanged_are_found(filled: Database) -> None:
    def exchange(connection: Connection) -> None:
        for old, new in ((3, 99), (6, 3), (99, 6)):
            connection.execute(update(readings).where(readings.c.n == old).values(n=new))

    assert "reading 3 of r02 does not follow" in tamper(filled, exchange)


def test_a_row_that_was_slipped_in_is_found(filled: Database) -> None:
    def slip_in(connection: Connection) -> None:
        row = dict(connection.execute(select(readings).where(readings.c.n == 10)).one()._mapping)
        row |= {"n": 11, "previous": row["sha256"], "item": "f" * 32, "nonce": "slipped-in"}
        connection.execute(insert(readings).values(row | {"sha256": row_sha256(row)}))

    assert "10 readings were locked, but 11 exist" in tamper(filled, slip_in)


def test_a_wrong_end_is_found(filled: Database) -> None:
    assert "the last reading, 10," in tamper(filled, lambda c: c.execute(update(head).values(sha256="0" * 64)))
    assert "the end of the chain is missing" in tamper_again(filled, lambda c: c.execute(delete(head)))


def tamper_again(database: Database, change: Callable[[Connection], Any]) -> str:
    with database.write() as connection:
        change(connection)
    with database.read() as connection, pytest.raises(ReaderError) as told:
        verify_chain(connection)
    return str(told.value)


def test_tampered_readings_are_not_exported(kit: Kit, filled: Database, database_url: str | None) -> None:
    assert len(export_readings(kit.folder, database_url).readings) == 8
    tamper(filled, lambda connection: connection.execute(update(readings).where(readings.c.n == 7).values(answer=6)))
    for take in (export_readings, close_database):
        with pytest.raises(ReaderError, match="reading 7 of r01 was changed"):
            take(kit.folder, database_url)


def test_a_new_chain_with_other_items_is_not_exported(kit: Kit, database: Database, orders: list[Order]) -> None:
    """Who can make a whole new chain can still not name images that the worklist does not have at that place."""
    other = replace(orders[0], places=orders[0].places[::-1])
    other = replace(other, index={place.item: number for number, place in enumerate(other.places)})
    lock_answer(database, other, other.places[0].item, answer(0), MOMENT)
    with database.read() as connection:
        verify_chain(connection)
    url = database.engine.url.render_as_string(hide_password=False)
    with pytest.raises(ReaderError, match="do not agree with the worklist"):
        export_readings(kit.folder, url)


def test_locks_at_the_same_moment_keep_the_chain(
    kit: Kit, database: Database, orders: list[Order], database_url: str | None
) -> None:
    """Two servers on one database, two readers, each answer sent by two tabs: every image is locked once."""
    other = open_database(kit.folder, kit.worklist, database_url)
    locked: list[str] = []

    def read(server: Database, order: Order, tab: int) -> None:
        for number, place in enumerate(order.places):
            while True:
                sent = answer(number, nonce=f"{order.seat.reader}-{tab}-{number:06d}")
                try:
                    lock_answer(server, order, place.item, sent, MOMENT)
                    locked.append(place.item)
                except (OutOfTurn, Refused) as refusal:
                    if refusal.status == 404 or "comes first" in refusal.sentence:
                        continue  # the other tab has not come so far
                break

    tabs = [
        threading.Thread(target=read, args=(server, order, tab))
        for order in orders
        for tab, server in enumerate((database, other))
    ]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join(timeout=60)
    other.close()
    with database.read() as connection:
        assert verify_chain(connection).rows == sum(len(order.places) for order in orders)
        assert {progress(connection, order).locked for order in orders} == {7}
    assert sorted(locked) == sorted(place.item for order in orders for place in order.places)


def test_a_lock_that_fails_in_its_midst_leaves_nothing(
    database: Database, orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = orders[0]
    save_draft(database, order, order.places[0].item, Draft(2, None, None), MOMENT)
    monkeypatch.setattr("scansynth.reader.server.store.update", lambda table: text("UPDATE no_such_table SET x = 1"))
    with pytest.raises((DBAPIError, AttributeError)):
        lock_answer(database, order, order.places[0].item, answer(1), MOMENT)
    monkeypatch.undo()
    with database.read() as connection:
        assert verify_chain(connection).rows == 0
        found = progress(connection, order)
    assert (found.locked, found.draft) == (0, Draft(2, None, None))
    lock_answer(database, order, order.places[0].item, answer(1), MOMENT)


def test_a_database_of_another_study_is_refused(
    kit: Kit, database: Database, tmp_path: Path, database_url: str | None
) -> None:
    other = make_worklist(tmp_path / "other", count=2, practice=0, side=16)
    url = database_url or f"sqlite:///{kit.folder / 'readings.db'}"
    with pytest.raises(ReaderError, match="holds another study"):
        open_database(other.folder, other.worklist, url)
    open_database(kit.folder, kit.worklist, url).close()


def test_the_database_is_opened_by_two_servers_at_once(kit: Kit, database_url: str | None) -> None:
    faults: list[BaseException] = []

    def open_it() -> None:
        try:
            open_database(kit.folder, kit.worklist, database_url).close()
        except BaseException as fault:
            faults.append(fault)

    servers = [threading.Thread(target=open_it) for _ in range(4)]
    for server in servers:
        server.start()
    for server in servers:
        server.join()
    assert not faults
    assert export_readings(kit.folder, database_url).end.rows == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://tester@127.0.0.1:1/none", "none at 127.0.0.1:1 cannot be used"),
        ("postgresql://tester:topsecret@127.0.0.1:1/none", "cannot be used"),
        ("mysql://localhost/x", "PostgreSQL or an SQLite file"),
        ("sqlite://", "PostgreSQL or an SQLite file"),
        ("nonsense", "address is not valid"),
        ("sqlite:////nowhere/at/all.db", "unable to open"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(kit: Kit, url: str, said: str) -> None:
    with pytest.raises(ReaderError, match=said) as told:
        open_database(kit.folder, kit.worklist, url)
    assert "\n" not in str(told.value)
    assert "topsecret" not in str(told.value)


def test_a_damaged_file_is_one_line(kit: Kit) -> None:
    (kit.folder / "readings.db").write_bytes(random.Random(0).randbytes(4096))
    with pytest.raises(ReaderError, match="not a database"):
        open_database(kit.folder, kit.worklist)


def test_a_code_needs_a_reader(kit: Kit) -> None:
    with pytest.raises(ReaderError, match="no reader r09"):
        new_code(kit.folder, "r09")


def test_what_is_locked_is_synced(database: Database) -> None:
    """Each lock reaches the disk before the reader is told; a draft, which the browser keeps too, need not."""
    postgres = database.engine.dialect.name == "postgresql"
    ask, full, lazy = ("SHOW synchronous_commit", "on", "off") if postgres else ("PRAGMA synchronous", 2, 1)
    for synced in (True, False, True):
        with database.write(synced) as connection:
            assert connection.exec_driver_sql(ask).scalar() == (full if synced else lazy)
    if not postgres:
        with database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_nobody_else_on_the_machine_reads_the_answers(kit: Kit) -> None:
    database = open_database(kit.folder, kit.worklist)
    with database.write() as connection:
        note_event(connection, "r01", "opened", MOMENT)
        files = [path for path in kit.folder.iterdir() if path.name.startswith("readings.db")]
        assert len(files) == 3  # the log and its index beside the database
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    database.close()
