"""TLS to an archive: a certificate that nobody vouches for, or of another host, gets nothing, no login either."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from scansynth.dicom.archive import dimse, web
from scansynth.dicom.archive.address import Login, Node, tls_context
from scansynth.dicom.archive.dimse import DimseArchive
from scansynth.dicom.archive.remote import Pace, list_series
from scansynth.dicom.archive.retrieval import Retrieval
from scansynth.dicom.archive.wanted import Wanted
from scansynth.dicom.archive.web import WebArchive
from scansynth.errors import ArchiveError

WANTED = Wanted("MR")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "time", SimpleNamespace(sleep=lambda _seconds: None))
    monkeypatch.setattr(dimse, "RETRIES", 0)
    monkeypatch.setenv("NO_PROXY", "*")


def certificate(folder: Path, name: str) -> Path:
    """A certificate and its key in one file, signed by itself: for 127.0.0.1, or for another address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture(params=["127.0.0.1", "10.1.2.3"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, int, int, list[str], bool]]:
    """Its certificate, ports of DICOMweb and DIMSE, what was asked, and whether the certificate is of this host."""
    path = certificate(tmp_path, request.param)
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(str(self.headers.get("Authorization")))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that breaks off is what is tested

    pages = Quiet(("127.0.0.1", 0), Handler)
    pages.socket = server_context(path).wrap_socket(pages.socket, server_side=True)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    entity = AE("PEER")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    answer = [(evt.EVT_C_FIND, lambda _event: [(0x0000, None)])]
    peer = entity.start_server(("127.0.0.1", 0), block=False, ssl_context=server_context(path), evt_handlers=answer)
    yield path, pages.server_address[1], peer.socket.getsockname()[1], asked, request.param == "127.0.0.1"
    pages.shutdown()
    pages.server_close()
    peer.shutdown()


def test_dicomweb_trusts_whom_it_is_told_to_and_checks_the_host(
    served: tuple[Path, int, int, list[str], bool],
) -> None:
    path, port, _, asked, of_this_host = served
    url = f"https://127.0.0.1:{port}"
    unknown = WebArchive(url, Login(token="t"), Pace(0), tls_context(None))
    with unknown as archive, pytest.raises(ArchiveError, match="verified; give the certificate of its authority"):
        list_series(archive, WANTED)
    with WebArchive(url, Login(token="t"), Pace(0), tls_context(path)) as archive:
        if of_this_host:
            assert not list_series(archive, WANTED).series
        else:
            with pytest.raises(ArchiveError, match="cannot be verified"):
                list_series(archive, WANTED)
    assert asked == (["Bearer t"] if of_this_host else [])


def test_dimse_trusts_whom_it_is_told_to_and_checks_the_host(served: tuple[Path, int, int, list[str], bool]) -> None:
    path, _, port, _, of_this_host = served
    peer, own = Node("PEER", "127.0.0.1", port), Node("SCANSYNTH", "127.0.0.1", 0)
    for context, fine in ((tls_context(None), False), (tls_context(path), of_this_host), (None, False)):
        with DimseArchive(peer, own, Retrieval.GET, Pace(0), context, 3.0) as archive:
            if fine:
                assert not list_series(archive, WANTED).series
            else:
                with pytest.raises(ArchiveError, match="check address, port, firewall and TLS"):
                    list_series(archive, WANTED)
