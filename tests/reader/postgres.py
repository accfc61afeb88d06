"""A PostgreSQL of our own for the tests: loopback only, its own port, thrown away at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

_OWNER = "postgres"


def programs() -> Path:
    """The folder with initdb and pg_ctl; skips, with the reason, where there is none or no right to use it."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian package: postgresql)")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(_OWNER)
        except KeyError:
            pytest.skip("PostgreSQL refuses the superuser, and there is no user postgres to run it as")
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL refuses the superuser, and setpriv is missing (Debian package: util-linux)")
    return found


def _quietly(command: list[str], folder: str) -> None:
    """Runs a program of PostgreSQL, which refuses root; the server it starts must not hold a pipe of ours."""
    if os.geteuid() == 0:
        command = ["setpriv", f"--reuid={_OWNER}", f"--regid={_OWNER}", "--clear-groups", "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """A server in a temporary folder; gives its address without a database, as `postgresql://user@host:port`."""
    found = programs()
    with tempfile.TemporaryDirectory() as folder:
        data, sockets = Path(folder) / "data", Path(folder)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_OWNER)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        initdb = [str(found / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8"]
        _quietly([*initdb, "--locale=C"], folder)
        port = free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={sockets} -c max_connections=40"
        control = [str(found / "pg_ctl"), "-D", str(data), "-w", "-t", "60"]
        _quietly([*control, "-l", str(sockets / "log"), "-o", options, "start"], folder)
        try:
            yield f"postgresql://tester@127.0.0.1:{port}"
        finally:
            _quietly([*control, "-m", "immediate", "stop"], folder)


def new_database(server: str) -> str:
    """An empty database; gives its URL."""
    name = f"study_{secrets.token_hex(6)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server}/{name}"


def emptied_database(server: str) -> str:
    """The same database each time, with nothing in it: a new one for every test is thousands of files to remove."""
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'study'").fetchone() is None:
            connection.execute("CREATE DATABASE study")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'study'")
    with psycopg.connect(f"{server}/study", autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return f"{server}/study"
