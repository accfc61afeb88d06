"""A browser without a screen for the tests: keeps cookies, knows the token against forged changes, reads images."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI


class Browser:
    """Asks an application inside this process, one request after the other.

    Args:
        app: The application.
        base_url: How the server is called.
    """

    def __init__(self, app: FastAPI, base_url: str = "http://127.0.0.1:8765") -> None:
        self.app, self.base_url = app, base_url
        self.loop = asyncio.new_event_loop()
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url)
        self.csrf = ""

    def close(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.close()

    def request(self, method: str, path: str, **sent: Any) -> httpx.Response:
        return self.loop.run_until_complete(self.client.request(method, path, **sent))

    def get(self, path: str, **sent: Any) -> httpx.Response:
        return self.request("GET", path, **sent)

    def post(self, path: str, **sent: Any) -> httpx.Response:
        return self.request("POST", path, **sent)

    def change(self, method: str, path: str, value: Any) -> httpx.Response:
        """As the page does: JSON, and the token against forged changes."""
        return self.request(method, path, json=value, headers={"x-csrf-token": self.csrf})

    def begin(self, token: str) -> str:
        """Opens an invitation; gives the personal code."""
        answer = self.post(f"/i/{token}")
        assert answer.status_code == 200, answer.text
        self.state()
        return code_in(answer.text)

    def state(self) -> dict[str, Any]:
        answer = self.get("/api/state")
        assert answer.status_code == 200, answer.text
        values: dict[str, Any] = answer.json()
        self.csrf = values["csrf"]
        return values

    def lock(self, item: str, answer: int = 3, **values: Any) -> httpx.Response:
        return self.change("POST", f"/api/lock/{item}", lock_of(answer, **values))

    def read_on(self, count: int | None = None, answer: int = 3) -> dict[str, Any]:
        """Locks the next images, all of them by default; gives the state after."""
        state = self.state()
        while state["item"] and count != 0:
            locked = self.lock(state["item"]["id"], answer)
            assert locked.status_code == 200, locked.text
            state, count = locked.json(), None if count is None else count - 1
        return state


def lock_of(answer: int = 3, **values: Any) -> dict[str, Any]:
    """What the page sends to lock an answer, with a nonce of its own."""
    measured = {"seconds": 2.5, "hidden_seconds": 0.5, "window_changes": 2, "zoomed": False}
    return {"answer": answer, "second": None, "confidence": None, **measured, "nonce": secrets.token_hex(16)} | values


def code_in(page: str) -> str:
    """The personal code on the page that shows it."""
    return page.split('<code id="code">')[1].split("</code>", maxsplit=1)[0]


@contextmanager
def browsers(app: FastAPI, count: int = 1) -> Iterator[list[Browser]]:
    """Browsers that know nothing of each other."""
    opened = [Browser(app) for _ in range(count)]
    try:
        yield opened
    finally:
        for browser in opened:
            browser.close()
        app.state.service.database.close()
