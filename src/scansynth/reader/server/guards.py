"""What every request passes before anything else sees it, and what every answer carries.

One plain ASGI layer around the application, so that no route can be forgotten. In order: host, visitor's rate, origin,
length of the body; then the application; then the same headers on whatever comes back, refusals and faults included.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scansynth.reader.server.database import UNREACHABLE
from scansynth.reader.server.limits import Limit

MOST_BYTES = 16 * 1024
"""Longest body of a request; an answer needs 300 bytes."""

_BODY_SECONDS = 10.0  # a body that dribbles in is cut off
_SAFE = {"GET", "HEAD", "OPTIONS"}

HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""On every answer, always the same. No outside request is possible from a page (CSP), nothing is kept or sniffed."""

HSTS = ("strict-transport-security", "max-age=2592000")
"""Beside them under TLS (RFC 6797): for 30 days, the browser comes back by https alone."""

Told = Callable[[int, str], str]
"""Makes a page of a status and a sentence, for people."""

_NEVER = ("etag", "last-modified", "server")

_log = logging.getLogger("scansynth.reader")


class TooLarge(Exception):
    """The body of a request is longer than `MOST_BYTES`."""


class Guard:
    """The layer around the application.

    Args:
        app: The application.
        hosts: Names by which the server may be called; empty: any. Against rebinding of names to a loopback server.
        visitors: Requests that one address may make.
        tls: Whether browsers come by https.
        told: Makes the page of a refusal that a person asked for; none: all refusals are JSON.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str] = (),
        visitors: Limit | None = None,
        *,
        tls: bool = False,
        told: Told | None = None,
    ) -> None:
        self._app, self._told = app, told
        self._headers = (*HEADERS.items(), HSTS) if tls else tuple(HEADERS.items())
        self._hosts = frozenset(hosts)
        self._visitors = visitors or Limit(rate=200.0, burst=2000.0)  # a ward may share one address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _set_headers(MutableHeaders(scope=message), self._headers)
            await send(message)

        try:
            status, sentence = self._verdict(scope)
            if not status:
                await self._app(scope, await _whole_body(scope, receive), guarded)
                return
        except TooLarge:
            status, sentence = 413, "The request is too long; nothing was stored."
        except TimeoutError:
            status, sentence = 408, "The request did not arrive completely; send it again."
        except UNREACHABLE as fault:
            status, sentence = 503, "The readings cannot be stored at the moment; nothing is lost, send it again."
            _log.error("the database failed: %s", _named(fault))
        except Exception as fault:
            status, sentence = 500, "Something went wrong on the server; nothing is lost, send it again."
            _log.error("a request failed: %s at %s", type(fault).__name__, _place(fault))
        if not started:
            page = self._told if not scope["path"].startswith(("/api/", "/static/")) else None
            await _answer(guarded, status, sentence, page)

    def _verdict(self, scope: Scope) -> tuple[int, str]:
        """Status and sentence of a refusal; 0 when the request may go on."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if "transfer-encoding" in headers and "content-length" in headers:
            return 400, "The request has two lengths."  # two servers may read it as two requests (RFC 9112, 6.3)
        if self._hosts and _name(host) not in self._hosts:
            return 400, "The server does not accept this host name."
        client = scope.get("client")
        if not self._visitors.take(client[0] if client else ""):
            return 429, "Too many requests; wait a minute."
        if scope["method"] not in _SAFE and not _same_origin(headers, scope["scheme"], host):
            return 403, "The request came from another site."
        return 0, ""


def _same_origin(headers: Headers, scheme: str, host: str) -> bool:
    """Whether a change was asked for by a page of this server, or by no page at all.

    The browser says so (Fetch Metadata, W3C 2021); an old one says at least the origin (RFC 6454). Neither can be set
    by a script. Programs send neither: for them the token of `access.csrf_token` decides.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or origin == f"{scheme}://{host}"


def _name(host: str) -> str:
    """The host without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _whole_body(scope: Scope, receive: Receive) -> Receive:
    """Takes in the whole body, counting, and hands it on as one piece.

    Raises:
        TooLarge: It is declared, or turns out, longer than `MOST_BYTES`.
        TimeoutError: It does not come in time.
    """
    declared = Headers(scope=scope).get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()) or len(declared) > 9 or int(declared) > MOST_BYTES:
        raise TooLarge
    body, more = b"", True
    async with asyncio.timeout(_BODY_SECONDS):
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise TimeoutError
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MOST_BYTES:
                raise TooLarge
    pieces: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pieces.pop() if pieces else await receive()

    return replay


def _set_headers(headers: MutableHeaders, wanted: Iterable[tuple[str, str]]) -> None:
    for name in _NEVER:
        if name in headers:
            del headers[name]
    for name, value in wanted:
        headers[name] = value


def _named(fault: BaseException) -> str:
    """A fault of the database by the name that the database gives it, such as SQLITE_FULL or DiskFull (of a full disk).

    The message is left out: it may hold values of a request.
    """
    cause = getattr(fault, "orig", None) or fault
    return getattr(cause, "sqlite_errorname", "") or type(cause).__name__


async def _answer(send: Send, status: int, sentence: str, page: Told | None) -> None:
    body = (page(status, sentence) if page else json.dumps({"error": sentence})).encode()
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    headers: list[Any] = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status in {400, 408, 413}:
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for
    if status in {429, 503}:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _place(fault: BaseException) -> str:
    """File and line of a fault: enough to find it, and no value of a request."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown place"
