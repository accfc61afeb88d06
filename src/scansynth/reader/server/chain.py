"""The hash chain of the readings: each row holds the hash of the row before, so none can be changed unseen.

As of linked timestamps (Haber and Stornetta 1991, section 5.1): the hash of a row covers its values and the hash of
the row before, whoever read it. The end of the chain is kept apart, so that rows cut off at the end are missed too.
Somebody who may write to the database, and knows this file, can make a whole new chain; keep `chain_end` elsewhere
(the protocol of the closing does) to see that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from scansynth.errors import ReaderError
from scansynth.files import sha256_json
from scansynth.reader.server.tables import START, head, readings, set_aside

HASHED = tuple(column.name for column in readings.columns if column.name != "sha256")
"""Every column of a reading but the hash itself."""


@dataclass(frozen=True)
class ChainEnd:
    """How many readings there are, and the hash of the last."""

    rows: int
    sha256: str


def row_sha256(row: Mapping[str, Any]) -> str:
    """SHA-256 of a row's canonical JSON, the hash of the row before included."""
    return sha256_json({name: row[name] for name in HASHED})


def as_found(row: Mapping[str, Any]) -> str:
    """A row's values, whatever their kinds are by now, as the evidence of a broken one holds them."""
    return repr(sorted(row.items()))


def broken_rows(connection: Connection) -> tuple[Mapping[str, Any], ...]:
    """Rows whose values do not fit their hash, in order, those that were set aside among them."""
    rows = (row._asdict() for row in connection.execute(select(readings).order_by(readings.c.n)))
    return tuple(row for row in rows if not _fits(row))


def verify_chain(connection: Connection) -> ChainEnd:
    """Recomputes the chain from its first row to its last.

    A row that does not fit its hash passes when it was set aside just as it is now; the rows after it are linked to
    its hash, and are checked as ever.

    Returns:
        Its end.

    Raises:
        ReaderError: A row was changed, removed, exchanged or added; names the first that does not fit.
    """
    previous, count = START, 0
    aside = {row.n: row.found for row in connection.execute(select(set_aside))}
    for found in connection.execute(select(readings).order_by(readings.c.n)):
        row = found._asdict()
        count += 1
        if row["n"] != count:
            raise _broken(f"reading {count} is missing")
        if row["previous"] != previous:
            raise _broken(f"reading {count} of {row['reader']} does not follow the one before; one was replaced")
        if not _fits(row) and aside.get(count) != as_found(row):
            raise _broken(
                f"reading {count} of {row['reader']} was changed after it was locked",
                ", or set that reading aside, with its evidence: scansynth reader set-aside STUDY",
            )
        previous = row["sha256"]
    end = connection.execute(select(head.c.rows, head.c.sha256)).one_or_none()
    if end is None:
        raise _broken("the end of the chain is missing")
    if end.rows != count:
        raise _broken(f"{end.rows} readings were locked, but {count} exist; reading {count + 1} is missing")
    if end.sha256 != previous:
        raise _broken(f"the last reading, {count}, is not the one that was locked")
    return ChainEnd(count, previous)


def _fits(row: Mapping[str, Any]) -> bool:
    try:
        return row_sha256(row) == str(row["sha256"])
    except TypeError:  # SQLite lets a number be exchanged for raw bytes, which have no JSON
        return False


def _broken(what: str, otherwise: str = "") -> ReaderError:
    return ReaderError(f"the readings were tampered with: {what}; restore an untouched copy of the database{otherwise}")
