"""A connection of the reading page's server: how long it may stay silent, and how many one address may hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
"""In which the head of a request must be there, from the opening of the connection or its first byte."""

TAKING_SECONDS = 30.0
"""In which some of an answer that waits must have been taken; a slow line takes some of it in any such time."""

SHARE = 256
"""Connections of one address: half of what the server takes. A ward of 40 readers behind one address has 240."""

_held: Counter[str] = Counter()


class PatientConnection(H11Protocol):
    """One connection: uvicorn's, and closed when it is silent or its address holds too many.

    uvicorn waits without end for the rest of a head (a 'slowloris'), and for somebody who asks and does not take the
    answers, and counts those connections against the limit that is for readers.
    """

    _deadline: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None
    _from = ""

    def connection_made(self, transport: Any) -> None:
        """A browser, or somebody else, is there."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._from = str(peer[0]) if peer else ""
        _held[self._from] += 1
        if _held[self._from] > SHARE:
            transport.abort()
            return
        self._wait()
        self._watch(0)

    def data_received(self, data: bytes) -> None:
        """Bytes came: a whole head ends the waiting, part of one begins it."""
        super().data_received(data)
        if self._answering():
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_waiting()
        if self._look is not None:
            self._look.cancel()
        _held[self._from] -= 1
        if _held[self._from] <= 0:
            del _held[self._from]
        super().connection_lost(exc)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._end)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch(self, waiting: int) -> None:
        """Looks now and then whether something of what waits was taken, also when the connection is to be closed."""
        left = self.transport.get_write_buffer_size()
        if waiting and left == waiting:
            self.transport.abort()
            return
        self._look = self.loop.call_later(TAKING_SECONDS, self._watch, left)

    def _end(self) -> None:
        """The head did not come in time."""
        self._deadline = None
        if not self._answering():
            self.transport.abort()


class PatientLoop(asyncio.SelectorEventLoop):
    """An event loop whose servers give a TLS handshake as long as a head of a request, not a minute."""

    async def create_server(self, *places: Any, **settings: Any) -> asyncio.Server:
        """As asyncio's; see there."""
        if settings.get("ssl") is not None:
            settings["ssl_handshake_timeout"] = HEADER_SECONDS
        return await super().create_server(*places, **settings)
