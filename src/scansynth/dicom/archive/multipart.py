"""Multipart bodies of DICOMweb (PS3.18 8.6.1.2, RFC 2046): one DICOM file in, one out."""

from __future__ import annotations

import email.message
import mmap
import re
import secrets
from pathlib import Path

from scansynth.errors import DicomError

DICOM = "application/dicom"
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")
_MOST_HEADER = 1 << 14


def boundary_of(content_type: str) -> str | None:
    """The boundary that a multipart body names; none for a body that is one file.

    Raises:
        DicomError: It is neither.
    """
    message = email.message.Message()
    message["Content-Type"] = content_type
    if message.get_content_type() == DICOM:
        return None
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise DicomError("not DICOM", "the archive answered with something else")
    if not _BOUNDARY.fullmatch(boundary):
        raise DicomError("bad answer", "the boundary of a multipart body is malformed")
    return boundary


def unpack(body: Path, boundary: str, target: Path) -> None:
    """Writes the one part of a multipart body to a file.

    Raises:
        DicomError: The body ends before its closing boundary, or does not hold exactly one part.
    """
    if body.stat().st_size == 0:
        raise DicomError("truncated", "the body is empty")
    mark = b"--" + boundary.encode("ascii")
    with body.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(mark, 0, _MOST_HEADER)
        header_end = data.find(b"\r\n\r\n", start, start + _MOST_HEADER)
        if start < 0 or header_end < 0:
            raise DicomError("bad answer", "a multipart body without a part")
        end = data.find(b"\r\n" + mark, header_end + 2)
        if end < 0:
            raise DicomError("truncated", "the body ends before its closing boundary")
        after = data[end + 2 + len(mark) : end + 4 + len(mark)]
        if after != b"--":
            raise DicomError("bad answer" if len(after) == 2 else "truncated", "not one file")
        with target.open("wb") as out:
            out.write(memoryview(data)[header_end + 4 : end])


def pack(data: bytes) -> tuple[str, bytes]:
    """A multipart body of one DICOM file, and its content type."""
    boundary = secrets.token_hex(16)
    mark = boundary.encode("ascii")
    body = b"".join(
        (b"--", mark, b"\r\nContent-Type: ", DICOM.encode("ascii"), b"\r\n\r\n", data, b"\r\n--", mark, b"--\r\n")
    )
    return f'multipart/related; type="{DICOM}"; boundary={boundary}', body
