"""Access: single-use invitations, personal codes, sessions. Only hashes are stored."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from scansynth.reader.server.clock import moment, stamp
from scansynth.reader.server.database import Database
from scansynth.reader.server.invitations import expired, new_token, opens, token_sha256
from scansynth.reader.server.refusals import Refused
from scansynth.reader.server.store import note_event
from scansynth.reader.server.tables import codes, head, invitations, sessions, withdrawn
from scansynth.reader.server.worklist import Seat, Worklist

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U to be mistaken
_CODE_LENGTH = 16  # 80 bits: too many to try, even without the limit on tries
_ALIKE = str.maketrans("ILO", "110")

LASTS = datetime.timedelta(days=14)
"""A session that is not used for so long has ended; the personal code opens another."""

ADMINISTRATOR_LASTS = datetime.timedelta(hours=12)
"""The same for the administrator, who has the token at hand."""

_NOTE_AFTER = 60.0  # seconds: when a session was last seen is written no more often

ADMINISTRATOR = ""
"""Stands for the administrator where a reader's name stands otherwise; no reader can have it."""

ELSEWHERE, LEFT, OVER, WITHDRAWN = "elsewhere", "left", "over", "withdrawn"

WHY = {
    ELSEWHERE: "This study was opened on another device and is closed here. To continue here, use your personal code.",
    LEFT: "You signed out. To continue, use your personal code.",
    OVER: "Your session expired. To continue, use your personal code.",
    WITHDRAWN: "You no longer take part in this study. Your answers are kept. Ask the study team if this is a mistake.",
}
NOT_SIGNED_IN = "You are not signed in. Open your invitation, or use your personal code."
INVITATION_REFUSED = (
    "This invitation cannot be used: it does not exist, was already used, or has expired. If you have already begun, "
    "continue with your personal code."
)
CODE_REFUSED = "This code is not known. Check it, or ask the study team."


@dataclass(frozen=True)
class Entry:
    """What somebody gets who was let in: shown or set once, and kept nowhere.

    Attributes:
        reader: Whose session it is.
        token: For the cookie.
        code: The personal code, where a new one was made.
    """

    reader: str
    token: str
    code: str = ""


def csrf_token(token: str) -> str:
    """What a page must send along with each change: made from the cookie, which no other site can read."""
    return hmac.new(token.encode(), b"scansynth reader csrf", hashlib.sha256).hexdigest()


def invited(worklist: Worklist, connection: Connection, token: str, now: datetime.datetime) -> str:
    """The reader whose invitation this is, when it can still be used.

    Raises:
        Refused: Unknown, spent and expired invitations get one and the same answer.
    """
    seats = [seat for seat in worklist.readers if opens(token, seat.invitation_sha256)]  # all are compared, always
    spent = select(invitations).where(invitations.c.invitation_sha256 == token_sha256(token))
    used = connection.execute(spent).first() is not None
    if not seats or used or expired(seats[0].expires, now) or expired(worklist.expires, now):
        raise Refused(404, INVITATION_REFUSED)
    return seats[0].reader


def seat_of(worklist: Worklist, token: str) -> str:
    """The reader to whom an invitation was sent, whether it can still be used or not; empty: it is nobody's."""
    return next((seat.reader for seat in worklist.readers if opens(token, seat.invitation_sha256)), "")


def spend_invitation(worklist: Worklist, database: Database, token: str, now: datetime.datetime) -> Entry:
    """Uses up an invitation: a session, and a personal code for other devices.

    Raises:
        Refused: The invitation cannot be used.
    """
    with database.write() as connection:
        _take_turns(connection)
        reader = invited(worklist, connection, token, now)
        row = {"reader": reader, "invitation_sha256": token_sha256(token), "spent_at": stamp(now)}
        connection.execute(insert(invitations).values(row))
        code = _new_code(connection, reader, stamp(now))
        return Entry(reader, _new_session(connection, reader, stamp(now), "opened"), code)


def resume(database: Database, code: str, now: datetime.datetime) -> Entry:
    """A new session for whoever has the personal code; the older one ends.

    Raises:
        Refused: The code is not known.
    """
    known = select(codes.c.reader).where(codes.c.code_sha256 == _code_sha256(code), codes.c.withdrawn_at.is_(None))
    with database.write() as connection:
        _take_turns(connection)
        reader = connection.execute(known).scalar_one_or_none()
        if reader is None:
            raise Refused(403, CODE_REFUSED)
        return Entry(reader, _new_session(connection, reader, stamp(now), "resumed"))


def renew_code(worklist: Worklist, database: Database, reader: str, now: datetime.datetime) -> str:
    """A new personal code for a reader who lost the old one, or whose invitation went astray; both end.

    Raises:
        Refused: There is no such reader.
    """
    seat = _seat(worklist, reader)
    with database.write() as connection:
        _take_turns(connection)
        if _is_withdrawn(connection, reader):
            raise Refused(404, f"{reader} was withdrawn and reads no more.")
        _spend(connection, seat, now)
        _end_sessions(connection, reader, stamp(now), ELSEWHERE)
        return _new_code(connection, reader, stamp(now))


def withdraw(worklist: Worklist, database: Database, reader: str, now: datetime.datetime) -> None:
    """Ends a reader's part: sessions, codes and invitation open nothing any more, and no answer is taken.

    What was locked stays. Done again, nothing changes.

    Raises:
        Refused: There is no such reader.
    """
    seat = _seat(worklist, reader)
    with database.write() as connection:
        _take_turns(connection)
        if _is_withdrawn(connection, reader):
            return
        connection.execute(insert(withdrawn).values(reader=reader, at=stamp(now)))
        _spend(connection, seat, now)
        _end_sessions(connection, reader, stamp(now), WITHDRAWN)
        old = (codes.c.reader == reader) & codes.c.withdrawn_at.is_(None)
        connection.execute(update(codes).where(old).values(withdrawn_at=stamp(now)))


def _seat(worklist: Worklist, reader: str) -> Seat:
    """The seat of a reader.

    Raises:
        Refused: There is no such reader.
    """
    for seat in worklist.readers:
        if seat.reader == reader:
            return seat
    raise Refused(404, f"There is no reader {reader}.")


def _is_withdrawn(connection: Connection, reader: str) -> bool:
    return connection.execute(select(withdrawn).where(withdrawn.c.reader == reader)).first() is not None


def _spend(connection: Connection, seat: Seat, now: datetime.datetime) -> None:
    """Uses up a reader's invitation, where it was not."""
    if connection.execute(select(invitations).where(invitations.c.reader == seat.reader)).first() is None:
        row = {"reader": seat.reader, "invitation_sha256": seat.invitation_sha256, "spent_at": stamp(now)}
        connection.execute(insert(invitations).values(row))


def let_administrator_in(worklist: Worklist, database: Database, token: str, now: datetime.datetime) -> Entry:
    """A session for the administrator.

    Raises:
        Refused: It is not the administrator's token.
    """
    if not opens(token, worklist.administrator_sha256):
        raise Refused(403, "This is not the administrator's token.")
    with database.write() as connection:
        return Entry(ADMINISTRATOR, _new_session(connection, ADMINISTRATOR, stamp(now), ""))


def session_reader(database: Database, token: str, now: datetime.datetime) -> str:
    """Whose session a cookie opens; notes, once a minute, that it was seen.

    Raises:
        Refused: There is no such session, or it has ended; says why it ended.
    """
    mine = sessions.c.session_sha256 == token_sha256(token)
    with database.read() as connection:
        row = connection.execute(select(sessions).where(mine)).one_or_none()
    if row is None:
        raise Refused(401, NOT_SIGNED_IN)
    if row.ended_at is not None:
        raise Refused(401, WHY.get(row.ended_by, NOT_SIGNED_IN))
    idle = now - moment(row.seen_at)
    if idle > (LASTS if row.reader != ADMINISTRATOR else ADMINISTRATOR_LASTS):
        raise Refused(401, WHY[OVER])
    if abs(idle.total_seconds()) > _NOTE_AFTER:  # also when the clock was set back
        with database.write() as connection:
            connection.execute(update(sessions).where(mine).values(seen_at=stamp(now)))
    reader: str = row.reader
    return reader


def end_session(database: Database, token: str, now: datetime.datetime) -> None:
    """Signs out."""
    mine = (sessions.c.session_sha256 == token_sha256(token)) & sessions.c.ended_at.is_(None)
    with database.write() as connection:
        reader = connection.execute(select(sessions.c.reader).where(mine)).scalar_one_or_none()
        connection.execute(update(sessions).where(mine).values(ended_at=stamp(now), ended_by=LEFT))
        if reader:
            note_event(connection, reader, "left", stamp(now))


def _take_turns(connection: Connection) -> None:
    """Two tabs that spend the same invitation come one after the other."""
    connection.execute(select(head).with_for_update()).one()


def _new_session(connection: Connection, reader: str, now: str, kind: str) -> str:
    if reader != ADMINISTRATOR:
        _end_sessions(connection, reader, now, ELSEWHERE)
        note_event(connection, reader, kind, now)
    token = new_token()
    row = {"session_sha256": token_sha256(token), "reader": reader, "opened_at": now, "seen_at": now}
    connection.execute(insert(sessions).values(row))
    return token


def _end_sessions(connection: Connection, reader: str, now: str, why: str) -> None:
    open_ones = (sessions.c.reader == reader) & sessions.c.ended_at.is_(None)
    connection.execute(update(sessions).where(open_ones).values(ended_at=now, ended_by=why))


def _new_code(connection: Connection, reader: str, now: str) -> str:
    old = (codes.c.reader == reader) & codes.c.withdrawn_at.is_(None)
    connection.execute(update(codes).where(old).values(withdrawn_at=now))
    code = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))
    connection.execute(insert(codes).values(code_sha256=_code_sha256(code), reader=reader, made_at=now))
    return "-".join(code[start : start + 4] for start in range(0, _CODE_LENGTH, 4))


def _code_sha256(code: str) -> str:
    """Of a code as somebody types it: small or full-width letters, spaces, any dashes and O for 0 do no harm."""
    plain = unicodedata.normalize("NFKC", code).upper().translate(_ALIKE)
    return token_sha256("".join(sign for sign in plain if unicodedata.category(sign)[0] in "LN"))
