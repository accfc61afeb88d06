"""Our storage service: takes the images that an archive sends by C-STORE (PS3.4 annex B), and no others."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pynetdicom import evt
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext, build_context

from scansynth.dicom.archive.identity import MOST_BYTES
from scansynth.dicom.archive.remote import Arrived, Image, Pace
from scansynth.dicom.read import ENCAPSULATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, *sorted(ENCAPSULATED))
"""Transfer syntaxes that are taken; uncompressed ones first, so that no archive compresses for us."""

_MOST_PDU = 1 << 20  # bytes; 16,382 are agreed on
_SUCCESS, _NOT_ASKED, _NO_ROOM = 0x0000, 0x0124, 0xA700  # PS3.7 annex C, PS3.4 B.2.3


def storage_contexts() -> list[PresentationContext]:
    """Presentation contexts for every kind of image, for a service that an archive sends to."""
    return [build_context(str(each.abstract_syntax), list(SYNTAXES)) for each in AllStoragePresentationContexts]


def inbox_name(uid: str) -> str:
    """A name for the file of an image: its UID comes from the archive, so it never is a part of a path."""
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


class Intake:
    """Takes what was asked for, and notes what came.

    The handlers run in threads of pynetdicom; a `deque` needs no lock for what is done with it here.

    Args:
        pace: Lets images pass.
        seconds: Time that a peer has to go on with what it began to send.
    """

    def __init__(self, pace: Pace, seconds: float) -> None:
        self._pace, self._seconds = pace, seconds
        self._asked: dict[str, Image] = {}
        self._inbox = Path()
        self._arrived: deque[Arrived] = deque()
        self.fault: OSError | None = None

    @property
    def handlers(self) -> list[Any]:
        """For an association or a server of pynetdicom."""
        return [
            (evt.EVT_CONN_OPEN, self._guard),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_DATA_RECV, self._count),
            (evt.EVT_DIMSE_RECV, self._reset),
        ]

    def expect(self, images: Sequence[Image], inbox: Path) -> None:
        """Takes these images from now on, and no others."""
        self._asked, self._inbox = {image.instance: image for image in images}, inbox

    def arrived(self) -> Iterator[Arrived]:
        """What came since the last call.

        Raises:
            OSError: An image came that could not be written.
        """
        while self._arrived:
            yield self._arrived.popleft()
        if self.fault is not None:
            raise self.fault

    def _store(self, event: Any) -> int:
        image = self._asked.get(str(event.request.AffectedSOPInstanceUID))
        if image is None:
            return _NOT_ASKED
        self._pace.wait()
        file = self._inbox / inbox_name(image.instance)
        try:
            file.write_bytes(event.encoded_dataset())
        except OSError as fault:
            self.fault = fault
            return _NO_ROOM
        self._arrived.append(Arrived(image, file))
        return _SUCCESS

    def _guard(self, event: Any) -> None:
        """A PDU of any length that a peer claims would be read, and waited for without end: neither here."""
        line = event.assoc.dul.socket
        line.socket.settimeout(self._seconds)
        plain = line.recv

        def bounded(count: int) -> Any:
            if count > _MOST_PDU:
                raise OSError("a PDU that is longer than was agreed")
            return plain(count)

        line.recv = bounded

    @staticmethod
    def _count(event: Any) -> None:
        """Ends an association that sends a message without end: it would be kept in memory."""
        event.assoc.taken = getattr(event.assoc, "taken", 0) + len(event.data)
        if event.assoc.taken > MOST_BYTES + (1 << 20):
            event.assoc.dul.socket.close()  # in the thread that reads: an abort would wait for itself

    @staticmethod
    def _reset(event: Any) -> None:
        """A message is complete."""
        event.assoc.taken = 0
