"""An archive of our own for the tests: Orthanc, with its DICOMweb plugin, thrown away at the end."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

USER, PASSWORD = "tester", "well kept 1"
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_NEW_NETWORK = 0x40000000
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def own_network() -> Iterator[bool]:
    """A network of this thread's own, with nothing but loopback, where the system lets us; else the machine's.

    Orthanc listens on every address, which is nobody's business while tests run.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open(f"/proc/self/task/{os.getpid()}/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_NEW_NETWORK) != 0:
            yield False
            return
        with socket.socket() as any_socket:
            asked = struct.pack("16sh", b"lo", 0)
            flags = struct.unpack("16sh", fcntl.ioctl(any_socket, _GET_FLAGS, asked))[1]
            fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _UP))
        try:
            yield True
        finally:
            assert libc.setns(before, _NEW_NETWORK) == 0
    finally:
        os.close(before)


@dataclass(frozen=True)
class Orthanc:
    """A running archive."""

    dimse_port: int
    http_port: int
    move_port: int

    @property
    def pacs(self) -> str:
        return f"ORTHANC@127.0.0.1:{self.dimse_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def client(self) -> httpx.Client:
        """For Orthanc's own interface."""
        return httpx.Client(base_url=self.url, auth=(USER, PASSWORD), trust_env=False, timeout=30)

    def fill(self, files: list[Path]) -> None:
        """Puts files into the archive, past all that is tested."""
        with self.client() as client:
            for file in files:
                client.post("/instances", content=file.read_bytes()).raise_for_status()

    def empty(self) -> None:
        with self.client() as client:
            for patient in client.get("/patients").json():
                client.delete(f"/patients/{patient}").raise_for_status()

    def instances(self) -> dict[str, bytes]:
        """Every file in the archive by its SOP Instance UID, as it was stored."""
        with self.client() as client:
            found = {}
            for key in client.get("/instances").json():
                uid = client.get(f"/instances/{key}/simplified-tags").json()["SOPInstanceUID"]
                found[uid] = client.get(f"/instances/{key}/file").content
            return found


def _settings(folder: Path, archive: Orthanc) -> dict[str, object]:
    return {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(_PLUGIN)],
        "HttpPort": archive.http_port,
        "DicomPort": archive.dimse_port,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomModalities": {"us": ["SCANSYNTH", "127.0.0.1", archive.move_port]},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "StableAge": 1,
        "ConcurrentJobs": 1,
        "HttpThreadsCount": 4,
    }


@contextlib.contextmanager
def running_orthanc() -> Iterator[Orthanc]:
    """A server in a temporary folder, once it answers."""
    program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not _PLUGIN.exists():
        pytest.skip("Orthanc is not installed (Debian packages: orthanc, orthanc-dicomweb)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = Orthanc(free_port(), free_port(), free_port())
        (folder / "orthanc.json").write_text(json.dumps(_settings(folder, archive)))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log, cwd=folder)
            try:
                _wait_for(archive, process, folder / "log")
                yield archive
            finally:
                process.terminate()
                process.wait(30)


def _wait_for(archive: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    with archive.client() as client:
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/system").status_code == 200:
                    return
            time.sleep(0.1)
    pytest.fail(f"Orthanc does not start: {log.read_text(errors='replace')[-2000:]}")
