"""The database of a reader study: SQLite in the worklist, or PostgreSQL by URL; what is committed is on the disk.

SQLite: write-ahead log, synchronous = FULL, so a commit survives a kill and a power cut
(https://www.sqlite.org/pragma.html#pragma_synchronous). PostgreSQL: synchronous_commit on.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from scansynth.errors import ReaderError
from scansynth.files import storage_faults
from scansynth.reader.server.clock import Clock, stamp, steady_clock
from scansynth.reader.server.tables import FORMAT, START, head, metadata, study
from scansynth.reader.server.worklist import Worklist

FILE = "readings.db"
_WAIT_SECONDS = 10
_POOL = 12
_MAKING_TABLES = 7_304_251  # any number that nobody else locks on
_READS = {"reads": True}
_POSTGRES = {
    "connect_timeout": 5,
    "options": f"-c synchronous_commit=on -c statement_timeout={_WAIT_SECONDS}s -c timezone=UTC",
}

UNREACHABLE = (SQLAlchemyError, PoolTimeout)
"""What is raised when the database is gone, busy for too long, or out of disk."""


@dataclass(frozen=True)
class Database:
    """An open database.

    Attributes:
        engine: Of SQLAlchemy.
        turn: SQLite writes one by one; waiting here is fair, waiting in SQLite is not.
    """

    engine: Engine
    turn: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def write(self, synced: bool = True) -> Iterator[Connection]:
        """One transaction: all of it is kept when the block ends, or nothing.

        Args:
            synced: Wait until it is on the disk; without, a power cut may take the last moments, and nothing else.
        """
        one_by_one = contextlib.nullcontext() if self._is_postgres() else self.turn
        with one_by_one, self.engine.connect().execution_options(synced=synced) as connection, connection.begin():
            if self._is_postgres() and not synced:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """For reading; each statement has its own view of the data, and costs one turn to the database."""
        level = {"isolation_level": "AUTOCOMMIT"} if self._is_postgres() else {}
        with self.engine.connect().execution_options(**_READS, **level) as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For reading much: all statements see the data as they are now, whatever is locked meanwhile."""
        level = {"isolation_level": "REPEATABLE READ"} if self._is_postgres() else {}
        with self.engine.connect().execution_options(**_READS, **level) as connection:
            yield connection

    def _is_postgres(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    def close(self) -> None:
        """Ends all connections."""
        self.engine.dispose()


def open_database(folder: Path, worklist: Worklist, url: str | None = None, clock: Clock | None = None) -> Database:
    """Opens the database of a study and makes what is missing in it.

    Args:
        folder: The worklist; `readings.db` in it is used when there is no URL.
        worklist: Whose readings they are; a database of another study is refused.
        url: `postgresql://user@host/name` or `sqlite:///path`.
        clock: For the time at which the tables were made.

    Raises:
        ReaderError: It cannot be reached or written, or holds another study.
    """
    if url is None:
        _make_private(folder / FILE)
    database = Database(_engine(_address(folder, url)))
    where = _said(database.engine.url)
    try:
        _prepare(database, worklist, stamp((clock or steady_clock())()))
    except ReaderError:
        database.close()
        raise
    except UNREACHABLE as fault:
        database.close()
        raise ReaderError(f"the database {where} cannot be used: {_short(fault)}; check it, or give another") from None
    return database


def _make_private(path: Path) -> None:
    """Answers are for nobody's eyes before the end; SQLite gives its other files the same rights."""
    with storage_faults(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _address(folder: Path, url: str | None) -> URL:
    if url is None:
        return URL.create("sqlite", database=str(folder.resolve() / FILE))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ReaderError("the database address is not valid; give postgresql://user@host/name") from None
    kind = parsed.drivername.split("+")[0]
    if kind in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        return parsed.set(drivername="sqlite")
    raise ReaderError("readings need PostgreSQL or an SQLite file; give postgresql://user@host/name")


def _engine(url: URL) -> Engine:
    postgres = url.get_backend_name() == "postgresql"
    try:
        engine = create_engine(
            url,
            hide_parameters=True,  # an error may be logged: never with an answer or a hash in it
            pool_size=_POOL,
            max_overflow=0,
            pool_timeout=_WAIT_SECONDS,
            # no ping before each use: when the database was away, one request fails and is sent again by the page,
            # and all connections are made again
            connect_args=_POSTGRES if postgres else {"timeout": _WAIT_SECONDS},
        )
    except (ModuleNotFoundError, NoSuchModuleError):
        raise ReaderError('PostgreSQL needs a driver; install it with: pip install "scansynth[postgres]"') from None
    if not postgres:
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={_WAIT_SECONDS * 1000}",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("reads"):
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options.get('synced', True) else 'NORMAL'}")
    # a transaction that begins as a reader and then writes can fail at once; one that begins as a writer waits
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare(database: Database, worklist: Worklist, now: str) -> None:
    with database.write() as connection:
        if connection.dialect.name == "postgresql":  # two servers that begin together; SQLite lets only one write
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MAKING_TABLES})")
        metadata.create_all(connection)
        if connection.execute(select(study)).first() is None:
            row = {
                "study": worklist.study,
                "format": FORMAT,
                "protocol_sha256": worklist.protocol_sha256,
                "made_at": now,
            }
            connection.execute(insert(study).values(row))
            connection.execute(insert(head).values(id=1, rows=0, sha256=START))
    with database.read() as connection:
        rows = connection.execute(select(study)).all()
    if [(row.study, row.protocol_sha256) for row in rows] != [(worklist.study, worklist.protocol_sha256)]:
        raise ReaderError(f"the database {_said(database.engine.url)} holds another study; give another database")
    if rows[0].format != FORMAT:
        raise ReaderError(
            "the database was made by another version; serve the study with the scansynth version that created it"
        )


def _said(url: URL) -> str:
    """Where it is, without user and password."""
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").name
    return f"{url.database} at {url.host or 'this machine'}:{url.port or 5432}"


def _short(fault: Exception) -> str:
    """The first line of what the database said."""
    origin = fault.orig if isinstance(fault, DBAPIError) else fault
    return (str(origin).strip().splitlines() or [type(origin).__name__])[0].rstrip(".")
