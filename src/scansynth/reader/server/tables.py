"""The tables of a reader study, and the triggers that let rows of readings and events be added and nothing else.

One database holds one study. The same tables serve SQLite and PostgreSQL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Double,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
)

FORMAT = 4
START = "0" * 64
"""What stands as the hash before the first reading."""

metadata = MetaData()

study = Table(
    "study",
    metadata,
    Column("study", Text, primary_key=True),
    Column("format", Integer, nullable=False),
    Column("protocol_sha256", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("closed_at", Text),
)

invitations = Table(  # those that were spent
    "invitations",
    metadata,
    Column("reader", Text, primary_key=True),
    Column("invitation_sha256", Text, nullable=False, unique=True),
    Column("spent_at", Text, nullable=False),
)

codes = Table(  # personal codes, to go on elsewhere; the newest of a reader counts
    "codes",
    metadata,
    Column("code_sha256", Text, primary_key=True),
    Column("reader", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("withdrawn_at", Text),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_sha256", Text, primary_key=True),
    Column("reader", Text, nullable=False, index=True),  # empty: the administrator
    Column("opened_at", Text, nullable=False),
    Column("seen_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("ended_by", Text),
)

drafts = Table(
    "drafts",
    metadata,
    Column("reader", Text, primary_key=True),
    Column("item", Text, nullable=False),
    Column("answer", Integer),
    Column("second", Integer),
    Column("confidence", Integer),
    Column("comment", Text, nullable=False),
    Column("marks", Text, nullable=False),  # see marks.written
    Column("saved_at", Text, nullable=False),
)

readings = Table(
    "readings",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("reader", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("attempt", Integer, nullable=False),  # 2: given again after the first was taken back
    Column("unaware", Boolean, nullable=False),  # before the reader was told, the two questions among them
    Column("practice", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    Column("answer", Integer, nullable=False),
    Column("second", Integer),
    Column("confidence", Integer),
    Column("percent", Integer),  # answers the question how many
    Column("comment", Text, nullable=False),
    Column("marks", Text, nullable=False),  # see marks.written
    Column("seconds", Double, nullable=False),
    Column("hidden_seconds", Double, nullable=False),
    Column("window_changes", Integer, nullable=False),
    Column("zoomed", Boolean, nullable=False),
    Column("nonce", Text, nullable=False, unique=True),
    Column("locked_at", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    UniqueConstraint("reader", "item", "attempt"),
    CheckConstraint("answer BETWEEN 1 AND 6"),
    CheckConstraint("attempt BETWEEN 1 AND 2"),
)

undone = Table(  # answers that were taken back, to be given again; the first stands until the second is locked
    "undone",
    metadata,
    Column("reader", Text, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("at", Text, nullable=False),
)

head = Table(  # the end of the chain: how many rows there are, and the hash of the last
    "chain_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("rows", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    CheckConstraint("id = 1"),
)

withdrawn = Table(  # readers who read no more
    "withdrawn",
    metadata,
    Column("reader", Text, primary_key=True),
    Column("at", Text, nullable=False),
)

set_aside = Table(  # readings that did not fit their hash: the evidence, and who decided to go on without them
    "set_aside",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("found", Text, nullable=False),  # the row as it was found
    Column("name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=True),
    Column("reader", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("seconds", Double),  # as the page reported it
)

_SQLITE = """CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} can only be added to'); END"""

_FUNCTION = """CREATE OR REPLACE FUNCTION scansynth_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%% can only be added to', TG_TABLE_NAME; END $$"""

_POSTGRES = """CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION scansynth_append_only()"""


def _add_triggers(_: MetaData, connection: Connection, **__: Any) -> None:
    names = (readings.name, undone.name, withdrawn.name, set_aside.name, events.name)
    if connection.dialect.name == "postgresql":
        statements = [_FUNCTION, *(_POSTGRES.format(table=name) for name in names)]
    else:
        statements = [_SQLITE.format(table=name, verb=verb) for name in names for verb in ("UPDATE", "DELETE")]
    for statement in statements:
        connection.exec_driver_sql(statement)


event.listen(metadata, "after_create", _add_triggers)
