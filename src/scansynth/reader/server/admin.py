"""The administrator's page: who has read how much, never what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import Connection, func, select

from scansynth.reader.server import access
from scansynth.reader.server.pages import Form, page
from scansynth.reader.server.refusals import Refused
from scansynth.reader.server.screening import Screening, screenings
from scansynth.reader.server.served import Order
from scansynth.reader.server.sessions import ADMIN, against_guessing, require_administrator, service_of, set_cookie
from scansynth.reader.server.store import is_closed
from scansynth.reader.server.tables import invitations, readings, sessions

router = APIRouter()


@router.get("/admin")
def overview(request: Request) -> Response:
    """The page, or the question for the token."""
    try:
        require_administrator(request)
    except Refused as refusal:
        if refusal.status != 401:
            raise
        return page(request, "admin_login.html", 401, error=None, csrf=None)
    return page(request, "admin.html")


@router.post("/admin")
def sign_in(request: Request, form: Form) -> Response:
    """Takes the administrator's token."""
    service = service_of(request)
    try:
        with against_guessing(request, ADMIN):
            entry = access.let_administrator_in(
                service.served.worklist, service.database, form.get("token", ""), service.now()
            )
    except Refused as refusal:
        return page(request, "admin_login.html", refusal.status, error=refusal.sentence, csrf=None)
    response = RedirectResponse("/admin", 303)
    set_cookie(response, service, ADMIN, entry.token)
    return response


@router.get("/api/admin")
def numbers(request: Request) -> Response:
    """How far each reader is."""
    require_administrator(request)
    service = service_of(request)
    with service.database.snapshot() as connection:
        screens = {one.reader: one for one in screenings(connection)}
        rows = [_row(connection, order, screens) for order in service.served.orders.values()]
        closed = is_closed(connection) or service.served.closed()
    return JSONResponse({"title": service.served.worklist.title, "closed": closed, "readers": rows})


def _row(connection: Connection, order: Order, screens: Mapping[str, Screening]) -> dict[str, Any]:
    """One reader; the columns of answers are not even read."""
    reader = order.seat.reader
    mine = (readings.c.reader == reader) & (readings.c.attempt == 1)
    locked = connection.execute(select(func.count()).where(mine)).scalar_one()
    opened = select(invitations.c.spent_at).where(invitations.c.reader == reader)
    seen = select(func.max(sessions.c.seen_at)).where(sessions.c.reader == reader)
    return {
        "reader": reader,
        "invited": True,
        "opened": connection.execute(opened).scalar_one_or_none(),
        "last_seen": connection.execute(seen).scalar_one(),
        "first_done": min(locked, order.told),
        "first_total": order.told,
        "practice_done": min(max(0, locked - order.told), order.practice),
        "practice_total": order.practice,
        "done": max(0, locked - order.told - order.practice),
        "total": len(order.places) - order.told - order.practice,
        "finished": locked == len(order.places),
        "screen": screens[reader].told if reader in screens else None,
    }
