"""An archive by DIMSE: C-FIND, C-GET, C-MOVE and C-STORE (PS3.4 annexes B and C, PS3.7), with pynetdicom."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when the module is loaded
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from scansynth.dicom.archive.address import Node
from scansynth.dicom.archive.remote import RETRIES, Arrived, Image, Level, Missed, Pace, Series, keep_quiet
from scansynth.dicom.archive.retrieval import Retrieval
from scansynth.dicom.archive.storage import SYNTAXES, Intake, storage_contexts
from scansynth.dicom.read import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from scansynth.errors import ArchiveError

_FIND = StudyRootQueryRetrieveInformationModelFind
_GET = StudyRootQueryRetrieveInformationModelGet
_MOVE = StudyRootQueryRetrieveInformationModelMove
_PENDING = {0xFF00, 0xFF01}
_STORED = {0x0000, 0xB000, 0xB006, 0xB007}  # success, and warnings: stored, some values changed (PS3.4 B.2.3)
_USUAL = tuple(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("4", "2", "4.1", "2.1", "128", "1.1", "7", "66.4"))
"""Storage classes to expect when the archive does not say: MR and CT, old and enhanced, PET, DX, secondary, SEG."""
_MOST_CLASSES = 8  # of 15 syntaxes each: an association has 128 contexts at most (PS3.8 9.3.2.2)


class DimseArchive:
    """A connection to an archive by DIMSE; a context manager.

    Args:
        archive: Where it is.
        own: Our AE title, and where our storage service listens for C-MOVE.
        by: How images come.
        pace: Lets images pass.
        tls: Checks the archive's certificate; none: no TLS.
        seconds: Time that the archive has to answer.
    """

    def __init__(
        self,
        archive: Node,
        own: Node,
        by: Retrieval,
        pace: Pace,
        tls: ssl.SSLContext | None = None,
        seconds: float = 120.0,
    ) -> None:
        keep_quiet("pynetdicom", "pydicom")
        self._archive, self._own, self._by, self._pace, self._tls = archive, own, by, pace, tls
        self._entity = AE(own.title)
        self._entity.connection_timeout, self._entity.acse_timeout = min(15.0, seconds), min(30.0, seconds)
        self._entity.dimse_timeout = self._entity.network_timeout = seconds
        self._intake = Intake(pace, seconds)
        self._server: Any = None
        self._association: Any = None
        self._purpose: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up(abort=fault is not None)
        if self._server is not None:
            self._server.shutdown()

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
        """Answers to a query (C-FIND, PS3.4 C.4.1)."""
        identifier = _identifier(level, keys)
        for left in reversed(range(RETRIES + 1)):
            association = self._associated((_FIND,))
            self._pace.wait()
            answers, status = list[Mapping[str, str]](), None
            for status, answer in association.send_c_find(identifier, _FIND):
                if answer is not None and status.Status in _PENDING:
                    answers.append({name: str(answer.get(name, "") or "") for name in keys})
            if status is not None and "Status" in status:
                if status.Status != 0x0000:
                    raise ArchiveError(f"{self._name} refused the query with status 0x{status.Status:04X}")
                yield from answers
                return
            self._lost(left)

    def fetch(self, series: Series, images: Sequence[Image], inbox: Path) -> Iterator[Arrived | Missed]:
        """Fetches images by C-GET or C-MOVE: the whole series, or one by one what is still missing of it."""
        self._intake.expect(images, inbox)
        where = {"StudyInstanceUID": series.study, "SeriesInstanceUID": series.uid}
        whole = len(images) == len(series.images)
        asked = [(Level.SERIES, where, images)] if whole else [
            (Level.IMAGE, {**where, "SOPInstanceUID": image.instance}, [image]) for image in images
        ]  # fmt: skip
        for level, keys, group in asked:
            got, why = set[str](), ""
            for arrived, why in self._retrieved(_identifier(level, keys), group):  # noqa: B007 - the last one counts
                if arrived is not None:
                    got.add(arrived.image.instance)
                    yield arrived
            yield from (Missed(image, why) for image in group if image.instance not in got)

    def send(self, file: Path, image: Image) -> str:
        """Sends one file by C-STORE; returns why the archive did not accept it, empty when it did."""
        self._pace.wait()
        for left in reversed(range(RETRIES + 1)):
            association = self._associated((image.sop_class,))
            try:
                status = association.send_c_store(dcmread(file))
            except ValueError:  # no presentation context was accepted
                return "the archive accepts no images of this class"
            if "Status" in status:
                return "" if status.Status in _STORED else f"status 0x{status.Status:04X}"
            self._lost(left)
        return ""  # not reached: `_lost` raises

    @property
    def _name(self) -> str:
        return f"{self._archive.title}@{self._archive.host}:{self._archive.port}"

    def _retrieved(self, identifier: Dataset, images: Sequence[Image]) -> Iterator[tuple[Arrived | None, str]]:
        """Images as they come, and with the last answer why some did not."""
        answers = self._get(identifier, images) if self._by is Retrieval.GET else self._move(identifier)
        status: Any = None
        for status, _ in answers:  # noqa: B007 - the last one counts
            yield from ((arrived, "") for arrived in self._intake.arrived())
        yield from ((arrived, "") for arrived in self._intake.arrived())
        if status is None or "Status" not in status:
            self._hang_up()
            yield None, "the connection was lost"
        elif self._by is Retrieval.MOVE and status.Status == 0xA801:
            raise ArchiveError(
                f"{self._name} does not know {self._own.title} as a move destination; register it there with this "
                "machine's address and port, or use --by get"
            )
        else:
            yield None, f"not sent, status 0x{status.Status:04X}"

    def _get(self, identifier: Dataset, images: Sequence[Image]) -> Iterator[tuple[Any, Any]]:
        classes = sorted({image.sop_class for image in images if image.sop_class})[:_MOST_CLASSES] or _USUAL
        association = self._associated((_GET, *classes))
        found: Iterator[tuple[Any, Any]] = association.send_c_get(identifier, _GET)
        return found

    def _move(self, identifier: Dataset) -> Iterator[tuple[Any, Any]]:
        self._listen()
        found: Iterator[tuple[Any, Any]] = self._associated((_MOVE,)).send_c_move(identifier, self._own.title, _MOVE)
        return found

    def _listen(self) -> None:
        """Starts our storage service once."""
        if self._server is not None:
            return
        host, port = self._own.host, self._own.port
        try:
            self._server = self._entity.start_server(
                (host, port), block=False, contexts=storage_contexts(), evt_handlers=self._intake.handlers
            )
        except OSError as fault:
            raise ArchiveError(
                f"cannot listen on {host}:{port} for images: {fault.strerror}; give another address with --listen"
            ) from None

    def _associated(self, purpose: tuple[str, ...]) -> Any:
        """An association for these classes; the one there is when it was made for them."""
        if self._association is not None and self._purpose == purpose and self._association.is_established:
            return self._association
        self._hang_up()
        for left in reversed(range(RETRIES + 1)):
            made, reached = self._associate(purpose)
            if made.is_established:
                self._association, self._purpose = made, purpose
                return made
            if made.is_rejected:
                raise ArchiveError(
                    f"{self._name} rejected {self._own.title}: {_reason(made)}; check both AE titles, and that the "
                    "archive knows ours"
                )
            if reached and made.acceptor.primitive is not None and not made.accepted_contexts:
                raise ArchiveError(f"{self._name} offers none of the services that this needs")
            if not reached and left == RETRIES and not self._resolves():
                break
            time.sleep(0.5 * (RETRIES - left) if left else 0)
        raise ArchiveError(f"cannot reach {self._name}; check address, port, firewall and TLS, then run it again")

    def _associate(self, purpose: tuple[str, ...]) -> tuple[Any, bool]:
        """Tries once; whether anything answered at all."""
        opened = list[bool]()
        storage = [uid for uid in purpose if uid not in {_FIND, _GET, _MOVE}]
        contexts = [build_context(uid, [EXPLICIT_LITTLE, IMPLICIT_LITTLE]) for uid in purpose if uid not in storage]
        roles = []
        for uid in storage if _GET in purpose else ():
            contexts += [build_context(uid, syntax) for syntax in SYNTAXES]
            roles.append(build_role(uid, scp_role=True))
        if _GET not in purpose:
            contexts += [build_context(uid, EXPLICIT_LITTLE) for uid in storage]
        made = self._entity.associate(
            self._archive.host,
            self._archive.port,
            contexts,
            self._archive.title,
            ext_neg=roles,  # type: ignore[arg-type]  # a list of one kind of items of its union
            tls_args=None if self._tls is None else (self._tls, self._archive.host),
            evt_handlers=[*self._intake.handlers, (evt.EVT_CONN_OPEN, lambda _event: opened.append(True))],
        )
        return made, bool(opened)

    def _resolves(self) -> bool:
        """Whether the archive's host name is known; a wrong one is not tried again."""
        with contextlib.suppress(OSError):
            return bool(socket.getaddrinfo(self._archive.host, self._archive.port))
        return False

    def _lost(self, left: int) -> None:
        """The line broke, or the time is up."""
        self._hang_up()
        if not left:
            raise ArchiveError(f"{self._name} stopped answering; what has arrived is kept, run the same command again")

    def _hang_up(self, *, abort: bool = False) -> None:
        """Ends the association; in the middle of an operation it can only be aborted."""
        if self._association is not None and self._association.is_established:
            (self._association.abort if abort else self._association.release)()
        self._association = None


def _identifier(level: Level, keys: Mapping[str, str]) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = level.value
    if not all(value.isascii() for value in keys.values()):
        made.SpecificCharacterSet = "ISO_IR 192"
    for name, value in keys.items():
        setattr(made, name, value)
    return made


def _reason(association: Any) -> str:
    """Why an association was rejected, in the standard's words (PS3.8 9.3.4)."""
    with contextlib.suppress(AttributeError, ValueError):
        return str(association.acceptor.primitive.reason_str)
    return "no reason given"
