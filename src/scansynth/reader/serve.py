"""Serves a reader study to browsers: address, certificate, and an end in good order.

Nothing is written about who asks for what. The machine itself is the default address; any other needs TLS, or a word
that something else (a reverse proxy, a tunnel) encrypts.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from scansynth.errors import ReaderError
from scansynth.reader.app import create_app

HOST, PORT = "127.0.0.1", 8765
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_GRACE_SECONDS = 5  # requests under way at the end have so long
_IDLE_SECONDS = 30  # a connection without a request is closed; a page opens another unseen
_MOST_CONNECTIONS = 512


def serve(
    desk: Path,
    *,
    host: str = HOST,
    port: int = PORT,
    database_url: str | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    without_tls: bool = False,
    behind_tls: bool = False,
    names: tuple[str, ...] = (),
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until it is interrupted (Ctrl-C, SIGTERM); requests under way are then finished.

    Args:
        desk: Folder of the desk; nothing else of the study is opened.
        host: Address to listen on.
        port: 0: any free one.
        database_url: PostgreSQL or SQLite; none: `readings.db` in the desk.
        certificate: PEM file of the certificate and its chain; makes the server speak TLS.
        key: PEM file of its private key.
        without_tls: Listen on another address than the machine's own without TLS all the same.
        behind_tls: Browsers come by https through a proxy; cookies are then for https alone.
        names: Host names by which browsers come; none: on the machine's own address its usual names, else any.
        ready: Called with the address of the study once connections are accepted.

    Raises:
        ReaderError: The desk or the certificate cannot be used, the address is taken or not safe, or the database
            cannot be reached.
    """
    tls = _check_tls(certificate, key)
    local = _is_loopback(host)
    if not (local or tls or without_tls):
        raise ReaderError(
            f"{host} can be reached from other machines, and answers would travel unencrypted; "
            "give a certificate and its key, or say that something else encrypts"
        )
    called = names or (_LOOPBACK_NAMES if local and not behind_tls else ())
    app = create_app(desk, database_url, tls=tls or behind_tls, hosts=called)
    try:
        listening = _listen(host, port)
    except ReaderError:
        app.state.service.database.close()
        raise
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever asks could name any address in them
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    name = f"[{host}]" if ":" in host else host
    if ready is not None:
        ready(f"{'https' if tls else 'http'}://{name}:{listening.getsockname()[1]}/")
    with listening, _ended_quietly():
        uvicorn.Server(config).run(sockets=[listening])


@contextlib.contextmanager
def _ended_quietly() -> Iterator[None]:
    """Keeps uvicorn from killing the process with the signal that ended it: an end that was asked for is a good end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_tls(certificate: Path | None, key: Path | None) -> bool:
    """Whether the server speaks TLS; certificate and key are tried now, not at the first connection."""
    if certificate is None and key is None:
        return False
    if certificate is None or key is None:
        raise ReaderError("TLS needs both, the certificate and its key")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):  # an SSLError is an OSError
        raise ReaderError(
            f"{certificate.name} and {key.name} are not a certificate and its key, both PEM, without a password"
        ) from None
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(socket.SOMAXCONN)
    except (OSError, OverflowError) as fault:
        listening.close()
        why = "another program listens there" if getattr(fault, "errno", 0) == errno.EADDRINUSE else str(fault)
        raise ReaderError(f"cannot listen on {host}, port {port}: {why}; name another with --port") from None
    listening.setblocking(False)
    return listening
