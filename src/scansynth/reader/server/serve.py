"""Serves a reader study to browsers: address, certificate, and a clean shutdown.

Nothing is written about who asks for what. The machine itself is the default address; any other needs TLS, or a word
that something else (a reverse proxy, a tunnel) encrypts.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from scansynth.errors import ReaderError
from scansynth.reader.server.app import create_app
from scansynth.reader.server.connections import PatientConnection

HOST, PORT = "127.0.0.1", 8765
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_GRACE_SECONDS = 5  # requests under way at the end have so long
_IDLE_SECONDS = 30  # a connection without a request is closed; a page opens another unseen
_MOST_CONNECTIONS = 512
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]+\]?")


@dataclass(frozen=True)
class Address:
    """Where the server listens, and who encrypts.

    Attributes:
        host: Address to listen on.
        port: 0: any free one.
        certificate: PEM file of the certificate and its chain; makes the server speak TLS.
        key: PEM file of its private key.
        without_tls: Listen on another address than the machine's own without TLS anyway.
        behind_tls: Browsers come by https through a proxy; cookies are then for https alone.
        proxies: Addresses of the proxies whose word counts for who asks (X-Forwarded-For).
        names: Host names by which browsers come; none: on the machine's own address its usual names, else any.
    """

    host: str = HOST
    port: int = PORT
    certificate: Path | None = None
    key: Path | None = None
    without_tls: bool = False
    behind_tls: bool = False
    proxies: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def serve(
    worklist: Path,
    address: Address = Address(),
    database_url: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until it is interrupted (Ctrl-C, SIGTERM); requests under way are then finished.

    Args:
        worklist: Folder of the worklist; nothing else of the study is opened.
        address: Where to listen.
        database_url: PostgreSQL or SQLite; none: `readings.db` in the worklist.
        ready: Called with the address of the study once connections are accepted.

    Raises:
        ReaderError: The worklist or the certificate cannot be used, the address is taken or not safe, or the database
            cannot be reached.
    """
    _check_names(address)
    tls, local = _check_tls(address.certificate, address.key), _is_loopback(address.host)
    if not (local or tls or address.without_tls):
        raise ReaderError(
            f"{address.host} can be reached from other machines, and answers would be unencrypted; give --tls-cert and "
            f"--tls-key, or --behind-tls if a proxy encrypts, or --without-tls"
        )
    names = address.names or (_LOOPBACK_NAMES if local and not address.behind_tls else ())
    with _listening(address) as listening:
        app = create_app(worklist, database_url, tls=tls or address.behind_tls, hosts=names)
        if ready is not None:
            host = f"[{address.host}]" if ":" in address.host else address.host
            ready(f"{'https' if tls else 'http'}://{host}:{listening.getsockname()[1]}/")
        with _ended_quietly():
            uvicorn.Server(server_config(app, address)).run(sockets=[listening])


def server_config(app: ASGIApp, address: Address) -> uvicorn.Config:
    """How uvicorn serves the application: nothing logged of requests, no header of its own but the date."""
    return uvicorn.Config(
        app,
        http=PatientConnection,
        ws="none",
        loop="scansynth.reader.server.connections:PatientLoop",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(address.proxies),  # whoever else asks could name any address in them
        forwarded_allow_ips=list(address.proxies),
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
    )


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


def _check_names(address: Address) -> None:
    """Passes when proxies and host names can be what they are called; others would match nothing, in silence.

    Raises:
        ReaderError: One cannot.
    """
    for proxy in address.proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise ReaderError(
                f"--proxy {proxy} is no address; give that of the proxy, such as 10.0.0.5 or 10.0.0.0/24"
            ) from None
    for name in address.names:
        if not _HOST_NAME.fullmatch(name):
            raise ReaderError(f"--name {name} is no host name; give it alone, such as reading.example.org")


def _check_tls(certificate: Path | None, key: Path | None) -> bool:
    """Whether the server speaks TLS; certificate and key are tried now, not at the first connection."""
    if certificate is None and key is None:
        return False
    if certificate is None or key is None:
        raise ReaderError("TLS needs both the certificate and its key")
    absent = [path for path in (certificate, key) if not path.is_file()]
    if absent:
        raise ReaderError(f"there is no file {absent[0]}; give the certificate and its key as PEM files")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):  # an SSLError is an OSError
        raise ReaderError(
            f"{certificate.name} and {key.name} are not a matching PEM certificate and key without a password"
        ) from None
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _listening(address: Address) -> Iterator[socket.socket]:
    """An open socket; connections wait in it until the server takes them."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # named TCP: only then does asyncio send small answers at once (TCP_NODELAY), 40 ms sooner
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address.host, address.port))
            listening.listen(socket.SOMAXCONN)
        except (OSError, OverflowError) as fault:
            taken = getattr(fault, "errno", 0) == errno.EADDRINUSE
            why = "another program listens there; choose another port" if taken else f"{fault}; choose another address"
            raise ReaderError(f"cannot listen on {address.host}, port {address.port}: {why}") from None
        listening.setblocking(False)
        yield listening
