"""The pages of a reader: invitation, personal code, going on elsewhere, the reading page; and the files they load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scansynth.reader.server import access
from scansynth.reader.server.clock import moment
from scansynth.reader.server.hints import hints_in
from scansynth.reader.server.refusals import Refused, nothing_here
from scansynth.reader.server.sessions import (
    READER,
    Service,
    Visit,
    against_guessing,
    service_of,
    set_cookie,
    visit_of,
)
from scansynth.reader.server.store import progress

router = APIRouter()

_HERE = Path(__file__).parent
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_FORM = "application/x-www-form-urlencoded"

_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _read_static() -> Mapping[str, tuple[bytes, str]]:
    """Every file that pages load, with its kind, read once: what is not in this table does not exist."""
    paths = [path for path in sorted((_HERE / "static").iterdir()) if path.suffix in _KINDS]
    return MappingProxyType({path.name: (path.read_bytes(), _KINDS[path.suffix]) for path in paths})


STATIC = _read_static()

TELLING = frozenset(name for name, (data, _) in STATIC.items() if hints_in(data.decode("utf-8", "ignore")))
"""Files in which words tell what is compared: for whom was told alone."""


_HEADINGS = {401: "Please sign in", 404: "Not here", 429: "Please wait"}


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page made from a template; everything in `values` is escaped."""
    title = service_of(request).served.worklist.title
    return HTMLResponse(_templates.get_template(template).render(title=title, **values), status)


def notice(request: Request, status: int, sentence: str, resume: bool = False) -> HTMLResponse:
    """A page that says one thing, and where to go from there."""
    link = {"href": "/resume", "text": "Continue with your personal code"} if resume else None
    values = {"heading": _HEADINGS.get(status, "This did not work"), "lines": [sentence], "link": link}
    return page(request, "notice.html", status, **values)


def refusal_of(title: str) -> Callable[[int, str], str]:
    """Makes the page of a refusal by the layer around the application, which has no request to ask.

    Args:
        title: Of the study.
    """
    template = _templates.get_template("notice.html")

    def told(status: int, sentence: str) -> str:
        heading = _HEADINGS.get(status, "This did not work")
        return template.render(title=title, heading=heading, lines=[sentence], link=None)

    return told


async def sent_form(request: Request) -> dict[str, str]:
    """The fields of a form, the first value of each.

    Raises:
        Refused: It is no form.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
        raise Refused(415, "This is not a form.")
    try:
        fields = parse_qs((await request.body()).decode("ascii"), max_num_fields=8, errors="strict")
    except ValueError:
        raise Refused(400, "This is not a form.") from None
    return {name: values[0] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(sent_form)]


@router.get("/")
def entrance() -> Response:
    """Leads to the reading."""
    return RedirectResponse("/read", 303)


@router.get("/i/{token}")
def invitation(token: str, request: Request) -> Response:
    """The invitation; looking at it uses nothing up, so that a mail program's preview does no harm."""
    service = service_of(request)
    if _goes_on(request, token):
        return RedirectResponse("/read", 303)
    with against_guessing(request), service.database.read() as connection:
        reader = access.invited(service.served.worklist, connection, token, service.now())
    order, first = service.served.orders[reader], service.served.worklist.first
    expires = min(moment(order.seat.expires), moment(service.served.worklist.expires))
    return page(
        request,
        "invitation.html",
        total=len(order.seat.sequence),
        practice=order.practice,
        unaware=len(order.seat.unaware),
        question=first.question if first else "",
        minutes=None,
        expires=f"{expires:%d %B %Y, %H:%M} UTC",
        csrf=None,
    )


@router.post("/i/{token}")
def begin(token: str, request: Request) -> Response:
    """Uses up the invitation: session, and the personal code, which is shown this once."""
    service = service_of(request)
    if _goes_on(request, token):  # the page of the code was loaded again
        return RedirectResponse("/read", 303)
    with against_guessing(request):
        entry = access.spend_invitation(service.served.worklist, service.database, token, service.now())
    response = page(request, "code.html", code=entry.code)
    set_cookie(response, service, READER, entry.token)
    return response


def _goes_on(request: Request, token: str) -> bool:
    """Whether this browser's reader came back by the own invitation: there is nothing to begin, and reading goes on."""
    try:
        visit = visit_of(request)
    except Refused:
        return False
    return access.seat_of(service_of(request).served.worklist, token) == visit.order.seat.reader


@router.get("/resume")
def ask_code(request: Request) -> Response:
    """Asks for the personal code."""
    return page(request, "resume.html", error=None, csrf=None)


@router.post("/resume")
def resume(request: Request, form: Form) -> Response:
    """Goes on on this device, and ends the session on the other."""
    service = service_of(request)
    try:
        with against_guessing(request):
            entry = access.resume(service.database, form.get("code", ""), service.now())
    except Refused as refusal:
        return page(request, "resume.html", refusal.status, error=refusal.sentence, csrf=None)
    response = RedirectResponse("/read", 303)
    set_cookie(response, service, READER, entry.token)
    return response


@router.get("/read")
def read(request: Request) -> Response:
    """The reading page; it asks for everything else by itself."""
    service, visit = service_of(request), visit_of(request)
    first = service.served.worklist.first
    return page(request, "read.html", told=_told(service, visit), question=first.question if first else "")


def _told(service: Service, visit: Visit) -> bool:
    """Whether a reader knows what the study compares."""
    if not visit.order.told:
        return True
    with service.database.read() as connection:
        return progress(connection, visit.order).place >= visit.order.told


def _may_know(request: Request) -> bool:
    """Whether files that tell what is compared may go to whoever asks."""
    service = service_of(request)
    if service.served.worklist.first is None:
        return True
    try:
        return _told(service, visit_of(request))
    except Refused:
        return False


@router.get("/static/{name}")
def static(name: str, request: Request) -> Response:
    """A file of the pages; one that tells what is compared, only to a reader who was told."""
    if name not in STATIC or (name in TELLING and not _may_know(request)):
        raise nothing_here()
    data, kind = STATIC[name]
    return Response(data, headers={"content-type": kind})
