"""The cookie of a session, the token against forged changes, and what a request may do with them."""

from __future__ import annotations

import contextlib
import datetime
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastapi import Request, Response

from scansynth.reader.server.access import ADMINISTRATOR, LASTS, NOT_SIGNED_IN, csrf_token, session_reader
from scansynth.reader.server.clock import Clock, stamp
from scansynth.reader.server.database import Database
from scansynth.reader.server.invitations import token_sha256
from scansynth.reader.server.limits import Limit
from scansynth.reader.server.refusals import Refused
from scansynth.reader.server.served import Order, ServedWorklist

READER, ADMIN = "reader", "administrator"
"""Names of the two cookies; under TLS with `__Host-` before (RFC 6265bis, 4.1.3.2), so that no neighbour can set it."""

CSRF_HEADER = "x-csrf-token"
_MOST_TOKEN = 128


@dataclass(frozen=True)
class Service:
    """What all routes share.

    Attributes:
        served: The worklist.
        database: Where readings go.
        clock: The server's time.
        tls: Whether cookies are for encrypted connections only.
        failures: Wrong tokens and codes that one address may send.
        requests: Requests of one session.
    """

    served: ServedWorklist
    database: Database
    clock: Clock
    tls: bool
    failures: Limit = field(default_factory=lambda: Limit(rate=1 / 6, burst=10.0))
    requests: Limit = field(default_factory=lambda: Limit(rate=60.0, burst=600.0))

    def now(self) -> datetime.datetime:
        """The server's time."""
        return self.clock()

    def stamp(self) -> str:
        """The server's time as it is recorded."""
        return stamp(self.clock())


@dataclass(frozen=True)
class Visit:
    """A request of somebody who is signed in.

    Attributes:
        token: Of the cookie.
        order: What this reader is shown.
    """

    token: str
    order: Order


def service_of(request: Request) -> Service:
    """What all routes share."""
    service: Service = request.app.state.service
    return service


def visit_of(request: Request) -> Visit:
    """The reader behind a request.

    Raises:
        Refused: Nobody is signed in, or the session asks too fast.
    """
    service, token = service_of(request), _cookie(request, READER)
    reader = session_reader(service.database, token, service.now())
    order = service.served.orders.get(reader)
    if order is None:
        raise Refused(401, NOT_SIGNED_IN)
    _keep_pace(service, token)
    return Visit(token, order)


def changing_visit_of(request: Request) -> Visit:
    """The reader behind a request that changes something.

    Raises:
        Refused: Nobody is signed in, the session asks too fast, or the token against forged changes is missing.
    """
    visit = visit_of(request)
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), csrf_token(visit.token).encode()):
        raise Refused(403, "This page is out of date; reload it.")
    return visit


def require_administrator(request: Request) -> None:
    """Lets the administrator's requests pass.

    Raises:
        Refused: It is somebody else.
    """
    service, token = service_of(request), _cookie(request, ADMIN)
    if session_reader(service.database, token, service.now()) != ADMINISTRATOR:
        raise Refused(401, NOT_SIGNED_IN)
    _keep_pace(service, token)


@contextlib.contextmanager
def against_guessing(request: Request, what: str = READER) -> Iterator[None]:
    """Counts what is refused in the block against the visitor's address.

    What is right enters always and costs nothing: a ward shares one address, and one who mistypes must not shut the
    others out. A code has 80 bits and a token 256, so the limit need not keep anybody from guessing one.

    Args:
        request: Of the visitor.
        what: What is tried, readers' codes or the administrator's token; each is counted by itself.

    Raises:
        Refused: As in the block, or, when too much was refused of late, that one has to wait.
    """
    visitor = request.client.host if request.client else ""
    try:
        yield
    except Refused as refusal:
        if not service_of(request).failures.take(f"{what} {visitor}"):
            raise Refused(429, "Too many tries; wait a minute.") from refusal
        raise


def set_cookie(response: Response, service: Service, name: str, token: str) -> None:
    """Gives the browser a session: out of reach of scripts, and sent to this server by its own pages only."""
    lasts = int(LASTS.total_seconds()) if name == READER else None  # the administrator's ends with the browser
    response.set_cookie(
        _name(service, name), token, max_age=lasts, path="/", secure=service.tls, httponly=True, samesite="strict"
    )


def clear_cookie(response: Response, service: Service, name: str) -> None:
    """Takes the session away from the browser."""
    response.delete_cookie(_name(service, name), path="/", secure=service.tls, httponly=True, samesite="strict")


def _name(service: Service, name: str) -> str:
    return f"__Host-{name}" if service.tls else name


def _cookie(request: Request, name: str) -> str:
    token = request.cookies.get(_name(service_of(request), name), "")
    if not token or len(token) > _MOST_TOKEN:
        raise Refused(401, NOT_SIGNED_IN)
    return token


def _keep_pace(service: Service, token: str) -> None:
    if not service.requests.take(token_sha256(token)):
        raise Refused(429, "Too many requests; wait a moment.")
