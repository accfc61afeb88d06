"""The real server in its own process: killed while it saves, refused addresses, files it may not open, logs, TLS."""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psycopg
import pytest
import serving
from browsing import lock_of
from self_signed import self_signed
from serving import running_server, start_server
from worklist_factory import Kit, make_worklist

from scansynth.errors import ReaderError
from scansynth.reader.server.locked import export_readings
from scansynth.reader.server.serve import Address, serve
from scansynth.reader.server.worklist import WORKLIST

KILLS = 3


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return make_worklist(tmp_path / "reader" / "worklist", readers=3, count=40, practice=2, side=8)


class Reader(threading.Thread):
    """Reads one sequence as the page does: what is not confirmed is sent again, with the same nonce."""

    def __init__(self, url: str, token: str, deadline: float) -> None:
        super().__init__()
        self.url, self.token, self.deadline = url, token, deadline
        self.confirmed: dict[str, int] = {}
        self.resent = 0
        self.fault = ""

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=10.0) as client:
            client.post(f"/i/{self.token}").raise_for_status()
            state = client.get("/api/state").json()
            headers = {"x-csrf-token": state["csrf"]}
            draw = random.Random(self.token)
            while state["item"] and not self.fault:
                item, sent = state["item"]["id"], lock_of(draw.randint(1, 6))
                state = self._locked(client, item, sent, headers) or state
                self.confirmed[item] = sent["answer"]

    def _locked(self, client: httpx.Client, item: str, sent: dict[str, object], headers: dict[str, str]) -> dict | None:
        while time.monotonic() < self.deadline:
            try:
                answer = client.post(f"/api/lock/{item}", json=sent, headers=headers)
            except httpx.TransportError:
                self.resent += 1
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                return answer.json()
            self.fault = answer.text
            return None
        self.fault = "too slow"
        return None


def test_a_server_killed_while_it_saves_loses_nothing(kit: Kit, database_url: str | None) -> None:
    """SIGKILL at random moments while three readers lock without a pause; each time it is started again."""
    draw = random.Random(5)
    server = start_server(kit.folder, database_url)
    port = server.port
    readers = [Reader(server.url, token, time.monotonic() + 600) for token in kit.tokens.values()]
    for reader in readers:
        reader.start()
    try:
        for kill in range(KILLS):
            while sum(len(reader.confirmed) for reader in readers) < 25 * (kill + 1) and not readers[0].fault:
                time.sleep(0.002)
            time.sleep(draw.uniform(0.0, 0.03))
            server.kill()
            assert server.process.stdout is not None
            server.process.stdout.close()
            server = start_server(kit.folder, database_url, port=port)
        for reader in readers:
            reader.join(timeout=600)
    finally:
        server.kill()
        for reader in readers:
            reader.deadline = 0.0
    assert [reader.fault for reader in readers] == [""] * 3
    assert sum(reader.resent for reader in readers) >= KILLS  # the kills did cut requests off
    told = {item: answer for reader in readers for item, answer in reader.confirmed.items()}
    export = export_readings(kit.folder, database_url)
    practice = {place.item for seat in kit.worklist.readers for place in seat.practice}
    stored = {row.item: row.answer for row in export.readings}
    assert len(stored) == len(export.readings) == 3 * 40  # nothing doubled
    assert stored == {item: answer for item, answer in told.items() if item not in practice}  # nothing lost or altered
    assert export.end.rows == 3 * 42


def test_the_server_opens_nothing_of_the_study_but_the_worklist(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, seal = kit.folder.parent, tmp_path / "seal.key"
    for path in (study / "sealed.bin", study / "protocol.json", study / "probe.json", seal):
        path.write_bytes(b"truth")
    told = tmp_path / "opened.json"
    monkeypatch.setenv("SCANSYNTH_TEST_OPENED", str(told))
    with running_server(kit.folder) as server:
        with httpx.Client(base_url=server.url) as client:
            client.post(f"/i/{kit.tokens['r01']}").raise_for_status()
            state = client.get("/api/state").json()
            headers = {"x-csrf-token": state["csrf"]}
            while state["item"]:
                item = state["item"]["id"]
                assert client.get(f"/api/buffer/{item}").status_code == 200
                assert client.put(f"/api/draft/{item}", json={"answer": 2}, headers=headers).status_code == 200
                state = client.post(f"/api/lock/{item}", json=lock_of(), headers=headers).json()
            client.post("/admin", data={"token": kit.administrator})
            assert client.get("/api/admin").status_code == 200
            for path in ("/read", "/resume", "/static/base.css", "/sealed.bin", "/static/..%2f..%2fsealed.bin"):
                client.get(path)
        assert server.stop()[0] == 0
    opened = {Path(name).absolute() for name in json.loads(told.read_text())}
    assert kit.folder / WORKLIST in opened  # the hook sees what is opened
    assert kit.folder / "readings.db" in opened
    assert len([path for path in opened if path.suffix == ".bin"]) == 42
    beyond = {path for path in opened if path.is_relative_to(tmp_path) and not path.is_relative_to(kit.folder)}
    assert beyond <= {told}
    assert not any(path.name in {"sealed.bin", "seal.key"} or path == study for path in opened)


def test_nothing_is_logged_and_the_end_is_quiet(kit: Kit) -> None:
    with running_server(kit.folder) as server:
        with httpx.Client(base_url=server.url) as client:
            client.get(f"/i/{kit.tokens['r02']}")
            client.post(f"/i/{kit.tokens['r01']}")
            item = client.get("/api/state").json()["item"]["id"]
            client.get(f"/api/buffer/{item}")
            client.get("/i/" + "x" * 43)
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(b"NONSENSE " + kit.tokens["r02"].encode() + b"\r\n\r\n")
            raw.settimeout(10)
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
        code, printed = server.stop()
    assert code == 0
    assert "Traceback" not in printed
    for secret in (*kit.tokens.values(), item, "r01", "127.0.0.1:5", "/i/"):
        assert secret not in printed


def test_raw_paths_lead_nowhere(kit: Kit) -> None:
    """As sent by a program that does not tidy its paths."""
    (kit.folder.parent / "sealed.bin").write_bytes(b"truth")
    paths = [
        "/static/../../../../worklist/worklist.json",
        "/static/../worklist.json",
        "//etc/passwd",
        "/../sealed.bin",
        "/static/..",
    ]
    paths += ["/i/../../sealed.bin", "/api/buffer/../../worklist.json", "http://127.0.0.1/sealed.bin", "*"]
    with running_server(kit.folder) as server:
        for path in paths:
            with socket.create_connection(("127.0.0.1", server.port)) as raw:
                raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: raw.recv(65536), b""))
            assert answer.split()[1] in {b"404", b"400", b"401"}, path
            assert b"truth" not in answer
            assert b"invitation_sha256" not in answer


def test_a_body_declared_too_long_is_refused_before_it_is_sent(kit: Kit) -> None:
    with (
        running_server(kit.folder) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
    ):
        raw.sendall(b"POST /api/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413")


def test_tls_is_spoken_and_cookies_are_for_it_alone(kit: Kit, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with running_server(kit.folder, certificate=str(certificate), key=str(key)) as server:
        assert server.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(base_url=f"https://localhost:{server.port}", verify=trusted) as client:
            cookie = client.post(f"/i/{kit.tokens['r01']}").headers["set-cookie"]
            assert cookie.startswith("__Host-reader=")
            assert "Secure" in cookie
            assert client.get("/api/state").status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://localhost:{server.port}/resume")


def _refusal(kit: Kit, address: Address, url: str | None = None) -> str:
    with pytest.raises(ReaderError) as told:
        serve(kit.folder, address, url)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_what_cannot_be_served_is_refused_in_one_line(kit: Kit, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    for host in ("0.0.0.0", "::", "192.0.2.1", "reading.example"):
        assert "unencrypted" in _refusal(kit, Address(host=host))
    assert "needs both" in _refusal(kit, Address(certificate=certificate))
    assert "not a matching PEM certificate and key" in _refusal(kit, Address(certificate=key, key=certificate))
    assert "there is no file" in _refusal(kit, Address(certificate=tmp_path / "none", key=key))
    assert "cannot listen on 192.0.2.1" in _refusal(kit, Address(host="192.0.2.1", without_tls=True))
    assert "cannot listen" in _refusal(kit, Address(port=99999))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "another program listens there" in _refusal(kit, Address(port=taken.getsockname()[1]))
    assert "127.0.0.1:1 cannot be used" in _refusal(kit, Address(port=0), "postgresql://tester@127.0.0.1:1/none")
    (kit.folder / WORKLIST).write_text("{")
    assert "damaged" in _refusal(kit, Address(port=0))


def test_another_address_is_served_when_somebody_else_encrypts(kit: Kit) -> None:
    with running_server(kit.folder, host="0.0.0.0", without_tls=True) as server:
        answer = httpx.get(f"http://127.0.0.1:{server.port}/resume", headers={"host": "reading.example"})
        assert answer.status_code == 200


def test_a_database_that_comes_back_is_used_again(kit: Kit, postgres_server: str) -> None:
    from postgres import new_database  # noqa: PLC0415

    url = new_database(postgres_server)
    name = url.rsplit("/", 1)[1]
    with running_server(kit.folder, url) as server, httpx.Client(base_url=server.url) as client:
        client.post(f"/i/{kit.tokens['r01']}").raise_for_status()
        state = client.get("/api/state").json()
        headers, sent = {"x-csrf-token": state["csrf"]}, lock_of()
        with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as admin:
            end = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'" % name.encode()
            admin.execute(end)
            status = [
                client.post(f"/api/lock/{state['item']['id']}", json=sent, headers=headers).status_code
                for _ in range(3)
            ]
            assert status[1:] == [200, 200]  # at most one request fails, and is sent again
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            admin.execute(end)
            lost = client.post(f"/api/lock/{state['next']['id']}", json=lock_of(), headers=headers)
            assert (lost.status_code, list(lost.json())) == (503, ["error"])
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        assert client.post(f"/api/lock/{state['next']['id']}", json=lock_of(), headers=headers).status_code == 200
        code, printed = server.stop()
    assert code == 0
    assert state["next"]["id"] not in printed
    assert "the database failed" in printed


def test_the_heavy_libraries_stay_out_of_the_server(kit: Kit) -> None:
    """A worklist may be served from a small machine: no torch, no DICOM."""
    heavy = "{'torch', 'monai', 'pydicom', 'scipy'}"
    ask = f"import sys, scansynth.reader.server.serve; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(serving.SOURCE)}
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
