"""The administrator's page: who has read how much, never what."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from scansynth.reader.server import access
from scansynth.reader.server.overview import overview as overview_of
from scansynth.reader.server.pages import Form, page
from scansynth.reader.server.refusals import Refused
from scansynth.reader.server.sessions import ADMIN, against_guessing, require_administrator, service_of, set_cookie
from scansynth.reader.server.store import is_closed

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
        rows = [{**asdict(row), "state": row.state} for row in overview_of(connection, service.served.orders.values())]
        closed = is_closed(connection) or service.served.closed()
    return JSONResponse({"title": service.served.worklist.title, "closed": closed, "readers": rows})
