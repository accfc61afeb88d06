"""Archives that lie, break off, send too much or never answer: one line, nothing outside the folder, no half image."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from orthanc import free_port
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.dul import DULServiceProvider
from pynetdicom.sop_class import (
    MRImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)
from scans import save_dicom

from scansynth.console import bar
from scansynth.dicom.archive import dimse, identity, remote, storage, web
from scansynth.dicom.archive.address import Login, Node, tls_context
from scansynth.dicom.archive.dimse import DimseArchive
from scansynth.dicom.archive.multipart import pack
from scansynth.dicom.archive.pull import pull
from scansynth.dicom.archive.push import Outgoing, push
from scansynth.dicom.archive.remote import Pace
from scansynth.dicom.archive.retrieval import Retrieval
from scansynth.dicom.archive.wanted import Wanted
from scansynth.dicom.archive.web import WebArchive
from scansynth.errors import ArchiveError
from scansynth.files import sha256_file

STUDY, SERIES = "1.2.3", "1.2.3.4"
BAD_UIDS = ("../../../outside", "1.2/../../3", "1.2.3\n", "1.2..", "١.٢.٣", "1." * 33 + "1", "", "1.2.3\\1.2.4")
"""UIDs that no archive may name: traversal, a line break, digits of another script, 67 letters, two in one."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is waited for before it is tried again, and no proxy stands between."""
    for module in (web, dimse):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda _seconds: None))
    monkeypatch.setenv("NO_PROXY", "*")
    yield
    logging.getLogger("pydicom").setLevel(logging.NOTSET)  # other tests listen to it


def image_bytes(folder: Path, instance: str, seed: int = 0, series: str = SERIES) -> bytes:
    path = folder / f"{seed}-{instance}.dcm"
    pixels = np.random.default_rng(seed).integers(0, 4000, (16, 16))
    save_dicom(path, pixels, SOPInstanceUID=instance, StudyInstanceUID=STUDY, SeriesInstanceUID=series)
    return path.read_bytes()


@dataclass
class Answer:
    """What a web server says: `length` other than the body's breaks off, `close` ends without one."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/dicom+json"
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


def tagged(**values: str) -> dict[str, Any]:
    """DICOM JSON of a few attributes."""
    return {
        f"{pydicom.datadict.tag_for_keyword(name):08X}": {"vr": "UI", "Value": [value]}
        for name, value in values.items()
    }


class Web:
    """A web server of DICOMweb with two images, whose answers a test may change."""

    def __init__(self, folder: Path) -> None:
        self.images = {uid: image_bytes(folder, uid) for uid in ("1.2.3.4.1", "1.2.3.4.2")}
        self.changed: dict[str, Callable[[Answer], Answer]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.listed = list(self.images)

    def usual(self, path: str) -> Answer:
        parts = path.split("?", maxsplit=1)[0].strip("/").split("/")
        if "includefield" in path and "offset=0" not in path:
            return Answer(b"[]")
        if len(parts) == 1:
            return Answer(json.dumps([tagged(StudyInstanceUID=STUDY)]).encode())
        if parts[-1] == "series":
            return Answer(json.dumps([tagged(SeriesInstanceUID=SERIES, Modality="MR")]).encode())
        if parts[-1] == "instances":
            return Answer(json.dumps([tagged(SOPInstanceUID=uid) for uid in self.listed]).encode())
        if parts[-1] in self.images:
            kind, body = pack(self.images[parts[-1]])
            return Answer(body, kind=kind)
        return Answer(status=404)

    def answer(self, path: str) -> Answer:
        made = self.usual(path)
        last = path.split("?", maxsplit=1)[0].rstrip("/").rsplit("/", 1)[-1]
        return self.changed[last](made) if last in self.changed else made


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Web, str]]:
    made = Web(tmp_path)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers.get("Authorization")))
            found = made.answer(self.path)
            self.send_response(found.status)
            self.send_header("Content-Type", found.kind)
            self.send_header("Content-Length", str(len(found.body) if found.length is None else found.length))
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.body)
            self.close_connection = found.length is not None

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def pulled_by_web(url: str, root: Path, seconds: float = 20.0) -> int:
    with WebArchive(url, Login(token="secret-token"), Pace(0), tls_context(None), seconds) as archive:
        return pull(archive, url, Wanted("MR"), root, bar).images


def outside(tmp_path: Path) -> set[str]:
    """What lies where nothing of a pull belongs."""
    return {path.name for path in tmp_path.iterdir() if path.name != "in" and path.suffix != ".dcm"}


def test_a_plain_archive_serves_both_images(served: tuple[Web, str], tmp_path: Path) -> None:
    assert pulled_by_web(served[1], tmp_path / "in") == 2


def in_another(data: bytes) -> Callable[[Answer], Answer]:
    kind, body = pack(data)
    return lambda _: Answer(body, kind=kind)


CUT = {
    "connection": lambda made: Answer(made.body[:-300], kind=made.kind, length=len(made.body)),
    "closing boundary": lambda made: Answer(made.body[:-40], kind=made.kind),
    "first header": lambda made: Answer(made.body[:20], kind=made.kind),
    "nothing": lambda made: Answer(b"", kind=made.kind),
    "file in a whole body": lambda made: in_another(made.body.split(b"\r\n\r\n", 1)[1][:-400])(made),
    "not DICOM": in_another(b"x" * 500),
    "a page": lambda _: Answer(b"<html>", kind="text/html"),
    "status": lambda _: Answer(b"", 500),
}  # fmt: skip


@pytest.mark.parametrize("fault", CUT)
def test_an_image_that_is_not_whole_is_not_kept(served: tuple[Web, str], tmp_path: Path, fault: str) -> None:
    made, url = served
    made.changed["1.2.3.4.2"] = CUT[fault]
    with pytest.raises(ArchiveError, match="1 of 2 images came") as told:
        pulled_by_web(url, tmp_path / "in")
    assert "1.2.3.4.2" not in str(told.value)
    assert not (tmp_path / "in" / "dicom").exists()
    assert len(list((tmp_path / "in" / ".dicom").rglob("*.dcm"))) == 1
    made.changed.clear()
    before = len(made.asked)
    assert pulled_by_web(url, tmp_path / "in") == 2
    assert not any("1.2.3.4.1" in path for path, _ in made.asked[before:])
    assert len(list((tmp_path / "in" / "dicom").rglob("*.dcm"))) == 2


def test_what_cannot_be_had_may_be_left(served: tuple[Web, str], tmp_path: Path) -> None:
    made, url = served
    made.changed["1.2.3.4.2"] = lambda _: Answer(b"", 404)
    with WebArchive(url, Login(), Pace(0), tls_context(None)) as archive:
        found = pull(archive, url, Wanted("MR"), tmp_path / "in", bar, accept_missing=True)
        assert (found.images, dict(found.missed)) == (1, {"HTTP status 404": 1})
        assert len(list((tmp_path / "in" / "dicom").rglob("*.dcm"))) == 1
        assert json.loads((tmp_path / "in" / "pull.json").read_text())["missed"] == {"HTTP status 404": 1}
        made.changed.clear()
        assert pull(archive, url, Wanted("MR"), tmp_path / "in", bar).fetched == 1  # it has come back
        made.changed["1.2.3.4.1"] = made.changed["1.2.3.4.2"] = lambda _: Answer(b"", 404)
        with pytest.raises(ArchiveError, match="0 of 2 images came"):  # nothing at all is no folder of scans
            pull(archive, url, Wanted("MR"), tmp_path / "none", bar, accept_missing=True)


def test_every_cut_of_an_image_is_noticed(tmp_path: Path) -> None:
    whole = image_bytes(tmp_path, "1.2.3.4.1")
    file = tmp_path / "cut"
    file.write_bytes(whole)
    assert identity.identify(file).instance == "1.2.3.4.1"
    for length in range(132, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(identity.DicomError):
            identity.identify(file)


@pytest.mark.parametrize("wrong", ["instance", "series"])
def test_another_image_than_was_asked_for_is_not_kept(served: tuple[Web, str], tmp_path: Path, wrong: str) -> None:
    made, url = served
    other = ("1.2.3.4.9", SERIES) if wrong == "instance" else ("1.2.3.4.2", "1.2.9")
    made.changed["1.2.3.4.2"] = in_another(image_bytes(tmp_path, other[0], 1, other[1]))
    with pytest.raises(ArchiveError, match="1 x not the image that was asked for"):
        pulled_by_web(url, tmp_path / "in")


@pytest.mark.parametrize("level", ["studies", "series", "instances"])
def test_a_malformed_uid_is_never_asked_for_nor_a_path(served: tuple[Web, str], tmp_path: Path, level: str) -> None:
    made, url = served
    name = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}[level]

    def worse(answer: Answer) -> Answer:
        found = json.loads(answer.body)
        return Answer(json.dumps([*found, *({**found[0], **tagged(**{name: uid})} for uid in BAD_UIDS)]).encode())

    made.changed[level] = lambda answer: worse(answer) if answer.body != b"[]" else answer
    with WebArchive(url, Login(), Pace(0), tls_context(None)) as archive:
        found = pull(archive, url, Wanted("MR"), tmp_path / "in", bar)
    assert (found.images, found.malformed) == (2, len(BAD_UIDS))
    assert not outside(tmp_path)
    assert all(set(path.split("?")[0]) <= set("/studiernca.0123456789") for path, _ in made.asked)


def test_a_malformed_uid_within_a_file_is_refused(served: tuple[Web, str], tmp_path: Path) -> None:
    made, url = served
    good = image_bytes(tmp_path, "1.2.3.4.2")
    made.changed["1.2.3.4.2"] = in_another(good.replace(b"1.2.3.4.2", b"../../../"))
    with pytest.raises(ArchiveError, match="1 of 2 images came"):
        pulled_by_web(url, tmp_path / "in")
    assert not outside(tmp_path)


def test_an_endless_image_is_cut_off(served: tuple[Web, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, url = served
    monkeypatch.setattr(web, "MOST_BYTES", 1 << 16)
    made.changed["1.2.3.4.2"] = lambda answer: Answer(b"x" * (1 << 18), kind=answer.kind)
    with pytest.raises(ArchiveError, match="1 x too large"):
        pulled_by_web(url, tmp_path / "in")
    assert sum(path.stat().st_size for path in (tmp_path / "in").rglob("*")) < 1 << 18


@pytest.mark.parametrize("body", [b"{", b"7", b'["x"]', b"[" * 100_000, b'[{"0020000D": 5}]', b"\xff\xfe"])
def test_an_answer_that_is_no_dicom_json(served: tuple[Web, str], tmp_path: Path, body: bytes) -> None:
    made, url = served
    made.changed["studies"] = lambda _: Answer(body)
    with pytest.raises(ArchiveError, match="other than DICOM JSON"):
        pulled_by_web(url, tmp_path / "in")


def test_a_redirect_takes_no_login_elsewhere(served: tuple[Web, str], tmp_path: Path) -> None:
    made, url = served
    made.changed["studies"] = lambda _: Answer(status=302, headers={"Location": f"{url}/elsewhere"})
    with pytest.raises(ArchiveError, match="another address"):
        pulled_by_web(url, tmp_path / "in")
    assert [path.split("?")[0] for path, _ in made.asked] == ["/studies"]


def test_a_busy_archive_is_asked_again(served: tuple[Web, str], tmp_path: Path) -> None:
    made, url = served
    left = [503, 429, 502]

    def busy(answer: Answer) -> Answer:
        return Answer(status=left.pop(), headers={"Retry-After": "1"}) if left else answer

    made.changed["1.2.3.4.1"] = busy
    assert pulled_by_web(url, tmp_path / "in") == 2
    assert all(login == "Bearer secret-token" for _, login in made.asked)


def test_an_archive_that_passes_over_offsets_ends(served: tuple[Web, str], tmp_path: Path, monkeypatch: Any) -> None:
    made, url = served
    monkeypatch.setattr(web, "_PAGE", 2)
    made.usual = lambda path, usual=made.usual: usual(path.replace("offset=2", "offset=0"))  # type: ignore[method-assign]
    assert pulled_by_web(url, tmp_path / "in") == 2


def test_who_wants_a_login_and_who_is_silent(served: tuple[Web, str], tmp_path: Path) -> None:
    made, url = served
    gate = threading.Event()
    made.changed["studies"] = lambda answer: (gate.wait(20), answer)[1]
    with pytest.raises(ArchiveError, match="did not answer in time"):
        pulled_by_web(url, tmp_path / "in", seconds=0.3)
    gate.set()
    made.changed["studies"] = lambda _: Answer(status=401)
    with pytest.raises(ArchiveError, match="refused the login") as told:
        pulled_by_web(url, tmp_path / "in")
    assert "secret-token" not in str(told.value)


def test_a_push_says_what_was_not_taken(served: tuple[Web, str], tmp_path: Path) -> None:
    made, url = served
    file = tmp_path / "image.dcm"
    dataset = save_dicom(file, np.ones((8, 8), int))
    dataset.add_new(0x0008001C, "CS", "YES")
    dataset.save_as(file, enforce_file_format=True)
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
    made.changed["studies"] = lambda _: Answer(json.dumps(failed).encode(), 202)
    sent = tmp_path / "sent.jsonl"
    with WebArchive(url, Login(), Pace(0), tls_context(None)) as archive:
        with pytest.raises(ArchiveError, match=r"did not accept 1 of 1 files \(1 x failure reason 0xA700\)"):
            push(archive, [Outgoing(file, sha256_file(file))], sent, bar)
        with pytest.raises(ArchiveError, match="has changed since"):
            push(archive, [Outgoing(file, "00")], sent, bar)
    assert not sent.exists()


# DIMSE


@dataclass
class Peer:
    """What an application entity answers: to C-FIND by level, to C-GET, and what it was told of each image."""

    found: dict[str, list[Dataset]]
    sends: list[Dataset] = field(default_factory=list)
    wait: threading.Event | None = None
    hangs_up: bool = False
    statuses: list[int] = field(default_factory=list)
    port: int = 0

    def answer(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        return self.find(event)

    def find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        if self.wait is not None:
            self.wait.wait(20)
        for answer in self.found[event.identifier.QueryRetrieveLevel]:
            yield 0xFF00, answer
        yield 0x0000, None

    def get(self, event: Any) -> Iterator[Any]:
        yield len(self.sends)
        for place, dataset in enumerate(self.sends):
            if self.hangs_up and place:
                event.assoc.abort()
                return
            yield 0xFF00, dataset

    def took(self, event: Any) -> None:
        """Notes the status of each C-STORE that it asked for."""
        status = getattr(event.message.command_set, "Status", None)
        if event.message.__class__.__name__ == "C_STORE_RSP":
            self.statuses.append(int(status))


def answer_of(**values: str) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    warnings.simplefilter("ignore")
    image_bytes(tmp_path, "1.2.3.4.1")
    image_bytes(tmp_path, "1.2.3.4.2")
    made = Peer(
        {
            "STUDY": [answer_of(StudyInstanceUID=STUDY)],
            "SERIES": [answer_of(SeriesInstanceUID=SERIES, Modality="MR")],
            "IMAGE": [answer_of(SOPInstanceUID=f"1.2.3.4.{n}", SOPClassUID=MRImageStorage) for n in (1, 2)],
        },
        [pydicom.dcmread(tmp_path / f"0-1.2.3.4.{n}.dcm") for n in (1, 2)],
    )
    entity = AE("PEER")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_supported_context(MRImageStorage, scu_role=True, scp_role=True)
    handlers = [
        (evt.EVT_C_FIND, made.answer),
        (evt.EVT_C_GET, made.get),
        (evt.EVT_DIMSE_RECV, made.took),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    made.port = server.socket.getsockname()[1]
    yield made
    server.shutdown()


def pulled_by_dimse(port: int, root: Path, seconds: float = 20.0) -> Any:
    own = Node("SCANSYNTH", "127.0.0.1", 0)
    with DimseArchive(Node("PEER", "127.0.0.1", port), own, Retrieval.GET, Pace(0), None, seconds) as archive:
        return pull(archive, "peer", Wanted("MR"), root, bar)


def test_a_plain_peer_sends_both_images(peer: Peer, tmp_path: Path) -> None:
    assert pulled_by_dimse(peer.port, tmp_path / "in").images == 2
    assert peer.statuses == [0, 0]


def test_a_peer_names_malformed_uids(peer: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for level, name in (("STUDY", "StudyInstanceUID"), ("SERIES", "SeriesInstanceUID"), ("IMAGE", "SOPInstanceUID")):
        peer.found[level] += [
            answer_of(**{name: uid}) for uid in BAD_UIDS if uid.isascii() and not set("\\\n") & set(uid)
        ]
    caplog.clear()  # of what pydicom says of the answers made here
    with caplog.at_level(logging.DEBUG):
        found = pulled_by_dimse(peer.port, tmp_path / "in")
    assert found.images == 2
    assert found.malformed == 3 * 5
    assert not outside(tmp_path)
    assert "outside" not in caplog.text


def test_a_peer_sends_what_nobody_asked_for(peer: Peer, tmp_path: Path) -> None:
    image_bytes(tmp_path, "1.2.3.4.9")
    peer.sends.append(pydicom.dcmread(tmp_path / "0-1.2.3.4.9.dcm"))
    assert pulled_by_dimse(peer.port, tmp_path / "in").images == 2
    assert peer.statuses == [0, 0, 0x0124]


def test_a_peer_sends_another_image_under_the_uid(peer: Peer, tmp_path: Path) -> None:
    peer.sends[1].SeriesInstanceUID = "1.2.9"
    with pytest.raises(ArchiveError, match="1 x not the image that was asked for"):
        pulled_by_dimse(peer.port, tmp_path / "in")


def test_a_peer_sends_half_an_image(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evt.Event, "encoded_dataset", lambda self, usual=evt.Event.encoded_dataset: usual(self)[:-100])
    with pytest.raises(ArchiveError, match=r"0 of 2 images came \(2 x truncated\)"):
        pulled_by_dimse(peer.port, tmp_path / "in")


def test_a_peer_that_hangs_up_is_gone_on_with(peer: Peer, tmp_path: Path) -> None:
    peer.hangs_up = True
    with pytest.raises(ArchiveError, match="1 of 2 images came"):
        pulled_by_dimse(peer.port, tmp_path / "in")
    peer.hangs_up = False
    assert pulled_by_dimse(peer.port, tmp_path / "in").fetched == 1


def test_an_endless_image_ends_the_association(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MOST_BYTES", 1 << 16)
    pixels = np.zeros((2048, 1024), int)
    save_dicom(
        tmp_path / "big.dcm", pixels, SOPInstanceUID="1.2.3.4.2", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES
    )
    peer.sends[1] = pydicom.dcmread(tmp_path / "big.dcm")
    with pytest.raises(ArchiveError, match="1 of 2 images came"):
        pulled_by_dimse(peer.port, tmp_path / "in")


@pytest.mark.parametrize("length", [0x7FFFFFFF, 5000], ids=["endless", "stalled"])
def test_a_peer_claims_a_long_pdu(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(dimse, "RETRIES", 0)
    gate = threading.Event()

    def claim(event: Any) -> Iterator[tuple[int, None]]:
        raw = event.assoc.dul.socket.socket
        raw.sendall(b"\x04\x00" + length.to_bytes(4, "big") + bytes(1000))
        gate.wait(600)
        yield 0x0000, None

    peer.find = claim  # type: ignore[method-assign]
    began = time.monotonic()
    with pytest.raises(ArchiveError, match="stopped answering"):
        pulled_by_dimse(peer.port, tmp_path / "in", seconds=2.0)
    gate.set()
    assert time.monotonic() - began < 300, "it would wait for the rest for 600 s"
    until = time.monotonic() + 300  # and a thread that waits keeps the program from ending
    while any(isinstance(one, DULServiceProvider) and one.assoc.is_requestor for one in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_silent_peer_and_nobody_there(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "RETRIES", 0)
    monkeypatch.setattr(dimse, "RETRIES", 0)
    peer.wait = threading.Event()
    with pytest.raises(ArchiveError, match="stopped answering"):
        pulled_by_dimse(peer.port, tmp_path / "in", seconds=1.0)
    peer.wait.set()
    with pytest.raises(ArchiveError, match="cannot reach PEER@"):
        pulled_by_dimse(free_port(), tmp_path / "other")
