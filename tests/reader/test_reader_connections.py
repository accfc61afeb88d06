"""Connections that say nothing, half of something, or are too many: each ends, and readers go on reading."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from self_signed import self_signed
from worklist_factory import Kit, make_worklist

from scansynth.reader.server import connections
from scansynth.reader.server.app import create_app
from scansynth.reader.server.serve import Address, server_config

HALF = b"GET /resume HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
WHOLE = b"GET /resume HTTP/1.1\r\nHost: localhost\r\n\r\n"
LONG = 40.0  # seconds: far beyond what a test waits for, so that only a missing limit meets it


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return make_worklist(tmp_path / "worklist", readers=1, count=3, practice=1, side=8)


@contextmanager
def served(kit: Kit, address: Address) -> Iterator[int]:
    """A server in a thread; its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        server = uvicorn.Server(server_config(create_app(kit.folder), address))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def port(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server in a thread whose patience is short."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with served(kit, Address()) as found:
        yield found


Open = Callable[..., socket.socket]


@pytest.fixture
def opened(port: int) -> Iterator[Open]:
    """Opens sockets to the server, from any address of this machine."""
    made: list[socket.socket] = []

    def connect(source: str = "127.0.0.1") -> socket.socket:
        made.append(socket.create_connection(("127.0.0.1", port), timeout=LONG, source_address=(source, 0)))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def is_ended(one: socket.socket) -> bool:
    """Waits for the server to end a connection; a timeout fails the test."""
    try:
        while one.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def answered(one: socket.socket) -> bool:
    """Whether a whole request is answered."""
    try:
        one.sendall(WHOLE)
        return one.recv(65536).startswith(b"HTTP/1.1 200")
    except (ConnectionResetError, BrokenPipeError):
        return False


def test_silence_and_half_a_head_end(opened: Open) -> None:
    silent, half = opened(), opened()
    half.sendall(HALF)
    assert is_ended(silent)
    assert is_ended(half)


def test_a_handshake_that_does_not_begin_ends(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    certificate, key = self_signed(tmp_path)
    with (
        served(kit, Address(certificate=certificate, key=key)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=LONG) as silent,
    ):
        assert is_ended(silent), "asyncio alone waits for a minute"
        trusted = ssl.create_default_context(cafile=str(certificate))
        answer = httpx.get(f"https://localhost:{port}/resume", verify=trusted)
        assert answer.status_code == 200


def test_half_of_a_second_request_ends_too(opened: Open) -> None:
    kept = opened()
    assert answered(kept)
    kept.sendall(HALF)
    assert is_ended(kept)


@pytest.mark.parametrize("patience", [0.3, LONG])
def test_who_asks_and_takes_no_answer_ends(
    port: int, opened: Open, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """So many answers that they do not fit into what the two ends keep; with no limit the place stays taken."""
    monkeypatch.setattr(connections, "TAKING_SECONDS", patience)
    monkeypatch.setattr(connections, "HEADER_SECONDS", LONG)
    monkeypatch.setattr(connections, "SHARE", 1)
    with closing(socket.socket()) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /static/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1500)  # 20 MB of answers
        if patience == LONG:
            time.sleep(1.0)
            assert not answered(opened())
            return
        for _ in range(400):
            if answered(opened()):
                return  # its place is free
            time.sleep(0.05)
        raise AssertionError("the connection stays")


def test_one_address_holds_its_share_and_no_more(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", LONG)
    monkeypatch.setattr(connections, "SHARE", 3)
    first = [opened() for _ in range(3)]
    assert all(answered(one) for one in first)
    assert not answered(opened())
    assert answered(opened("127.0.0.2")), "another address has a share of its own"
    first[0].close()
    while not answered(opened()):  # the server learns of the end when it comes to it
        pass


def test_a_request_with_two_lengths_is_refused(opened: Open) -> None:
    both = opened()
    both.sendall(
        b"POST /resume HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    assert both.recv(65536).startswith(b"HTTP/1.1 400")
    assert is_ended(both)


def test_a_forwarded_address_counts_only_from_a_named_proxy(kit: Kit) -> None:
    def seen(proxies: tuple[str, ...]) -> str:
        """The address that the application sees of one who names another."""
        found: list[str] = []

        async def app(scope, receive, send) -> None:  # noqa: ANN001 (ASGI)
            found.append(scope["client"][0])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        config = server_config(app, Address(proxies=proxies))
        config.lifespan = "off"
        with closing(socket.create_server(("127.0.0.1", 0))) as listening:
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            httpx.get(url, headers={"x-forwarded-for": "203.0.113.9"}, timeout=LONG)
            server.should_exit = True
            thread.join()
        return found[0]

    assert seen(()) == "127.0.0.1"
    assert seen(("192.0.2.1",)) == "127.0.0.1"
    assert seen(("127.0.0.1",)) == "203.0.113.9"
