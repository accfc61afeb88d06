"""The application of the reader study: routes, refusals and the layer around them, put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from scansynth.reader.server import admin, api, pages
from scansynth.reader.server.clock import Clock, steady_clock
from scansynth.reader.server.database import open_database
from scansynth.reader.server.guards import Guard
from scansynth.reader.server.refusals import Refused
from scansynth.reader.server.served import open_worklist
from scansynth.reader.server.sessions import Service

_SENTENCES = {404: "Not found.", 405: "Method not allowed."}


def create_app(
    worklist: Path,
    database_url: str | None = None,
    *,
    tls: bool = False,
    clock: Clock | None = None,
    hosts: Iterable[str] = (),
) -> FastAPI:
    """The server of one study, as an ASGI application; nothing outside the worklist and the database is read.

    Args:
        worklist: Folder of the worklist.
        database_url: PostgreSQL or SQLite; none: `readings.db` in the worklist.
        tls: Whether browsers come by https; cookies are then for https alone.
        clock: The server's time; none: a steady clock.
        hosts: Names by which the server may be called; empty: any.

    Raises:
        ReaderError: The worklist is damaged, or the database cannot be used.
    """
    clock = clock or steady_clock()
    served = open_worklist(worklist)
    service = Service(served, open_database(worklist, served.worklist, database_url, clock), clock, tls)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.database.close()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    app.state.service = service
    app.add_middleware(Guard, hosts=tuple(hosts), tls=tls, told=pages.refusal_of(served.worklist.title))
    for router in (api.router, pages.router, admin.router):
        app.include_router(router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_routed)
    return app


def _refused(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, Refused)
    return _told(request, fault.status, fault.sentence)


def _not_routed(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    response = _told(request, fault.status_code, _SENTENCES.get(fault.status_code, "Request not possible."))
    if fault.headers:
        response.headers.update(fault.headers)
    return response


def _told(request: Request, status: int, sentence: str) -> Response:
    """One sentence: as JSON to a program, as a page to a person."""
    path = request.url.path
    if path.startswith(("/api/", "/static/")):
        return JSONResponse({"error": sentence}, status)
    return pages.notice(request, status, sentence, resume=status == 401 or path.startswith("/i/"))
