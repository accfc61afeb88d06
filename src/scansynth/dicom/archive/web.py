"""An archive by DICOMweb: QIDO-RS, WADO-RS and STOW-RS (PS3.18 10.4 to 10.6), with httpx."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from scansynth import __version__
from scansynth.dicom.archive.address import Login, check_url
from scansynth.dicom.archive.identity import MOST_BYTES
from scansynth.dicom.archive.multipart import DICOM, boundary_of, pack, unpack
from scansynth.dicom.archive.remote import RETRIES, Arrived, Image, Level, Missed, Pace, Series, keep_quiet
from scansynth.dicom.archive.storage import inbox_name
from scansynth.errors import ArchiveError, DicomError

_PAGE = 500  # answers asked for at a time
_MOST_JSON = 1 << 26  # bytes of one answer to a query
_BUSY = {429, 502, 503, 504}
_LONGEST_WAIT = 60.0
_FAILED_SOP_SEQUENCE = "00081198"


class WebArchive:
    """A connection to an archive by DICOMweb; a context manager.

    Args:
        url: Of the service, for example https://archive.example/dicom-web.
        login: Sent with each request.
        pace: Lets images and queries pass.
        tls: Checks the archive's certificate.
        seconds: Time that the archive has for each answer.

    Raises:
        ArchiveError: The address is wrong; see `check_url`.
    """

    def __init__(self, url: str, login: Login, pace: Pace, tls: ssl.SSLContext, seconds: float = 60.0) -> None:
        keep_quiet("httpx", "httpcore")
        self._url, self._login, self._pace = check_url(url, login), login, pace
        headers = {"User-Agent": f"scansynth/{__version__}", "Accept-Encoding": "identity"}
        if login.token:
            headers["Authorization"] = f"Bearer {login.token}"
        auth = httpx.BasicAuth(login.user, login.password) if login.user else None
        timeout = httpx.Timeout(seconds, connect=min(15.0, seconds))
        # redirects are not followed: the login goes to the address that was named, and to no other
        self._client = httpx.Client(verify=tls, headers=headers, auth=auth, timeout=timeout, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
        """Answers to a query (QIDO-RS), page by page."""
        path = _path(level, keys)
        asked = {name: _without_escapes(value) for name, value in keys.items() if value and name not in path}
        extra = [f"{tag_for_keyword(name) or 0:08X}" for name in keys]
        seen = set[tuple[tuple[str, str], ...]]()
        while True:
            page = {"limit": str(_PAGE), "offset": str(len(seen)), "includefield": ",".join(extra)}
            answers = self._json("/".join(path.values()), {**asked, **page})
            # an archive that passes over the offset sends the same page again
            fresh = {tuple(sorted(answer.items())): answer for answer in answers}
            fresh = {mark: answer for mark, answer in fresh.items() if mark not in seen}
            seen |= fresh.keys()
            yield from fresh.values()
            if not fresh or len(answers) < _PAGE:
                return

    def fetch(self, series: Series, images: Sequence[Image], inbox: Path) -> Iterator[Arrived | Missed]:
        """Fetches images one by one (WADO-RS)."""
        for image in images:
            self._pace.wait()
            try:
                yield Arrived(image, self._fetched(image, inbox))
            except DicomError as fault:
                yield Missed(image, fault.reason)

    def send(self, file: Path, image: Image) -> str:
        """Sends one file (STOW-RS); returns why the archive did not accept it, empty when it did."""
        self._pace.wait()
        kind, body = pack(file.read_bytes())
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        with self._asked("POST", "studies", headers=headers, content=body) as answer:
            text = _read(answer, _MOST_JSON)
        if answer.status_code not in {200, 202, 409}:
            return f"HTTP status {answer.status_code}"
        with contextlib.suppress(ValueError, AttributeError, IndexError, KeyError, TypeError):
            failed = json.loads(text).get(_FAILED_SOP_SEQUENCE, {}).get("Value", [])
            if failed:
                return f"failure reason 0x{int(failed[0]['00081197']['Value'][0]):04X}"
        return "" if answer.status_code == 200 else f"HTTP status {answer.status_code}"

    def _fetched(self, image: Image, inbox: Path) -> Path:
        """The file of one image.

        Raises:
            DicomError: It did not come, or not whole.
            ArchiveError: The archive does not answer, or refuses the login.
        """
        path = f"studies/{image.study}/series/{image.series}/instances/{image.instance}"
        headers = {"Accept": f'multipart/related; type="{DICOM}"; transfer-syntax=*'}
        file = inbox / inbox_name(image.instance)
        for left in reversed(range(RETRIES + 1)):
            try:
                with self._asked("GET", path, headers=headers) as answer:
                    if answer.status_code != 200:
                        raise DicomError(f"HTTP status {answer.status_code}")
                    boundary = boundary_of(answer.headers.get("Content-Type", ""))
                    body = file if boundary is None else file.with_suffix(".body")
                    _save(answer, body)
                if boundary is not None:
                    unpack(body, boundary, file)
                    body.unlink()
                return file
            except httpx.TransportError:  # the line broke within the body
                if not left:
                    raise DicomError("truncated", "the connection broke within the image") from None
                time.sleep(0.5 * (RETRIES - left))
        raise DicomError("truncated")  # not reached

    def _json(self, path: str, query: Mapping[str, str]) -> list[dict[str, str]]:
        """The answers to a query, by keyword; of a value that has several, the first."""
        self._pace.wait()
        path += "?" + "&".join(f"{name}={value}" for name, value in query.items())
        with self._asked("GET", path, headers={"Accept": "application/dicom+json"}) as answer:
            if answer.status_code in {204, 404}:  # nothing matches
                return []
            if answer.status_code not in {200, 206}:
                raise ArchiveError(f"the archive refused the query with HTTP status {answer.status_code}")
            text = _read(answer, _MOST_JSON)
        try:
            return [_values(item) for item in json.loads(text)]
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise ArchiveError("the archive answered a query with something other than DICOM JSON") from None

    @contextlib.contextmanager
    def _asked(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """One request; tried again while the archive is busy or does not answer."""
        asked = self._client.build_request(method, f"{self._url}/{path}", **request)
        for left in reversed(range(RETRIES + 1)):
            try:
                answer = self._client.send(asked, stream=True)
            except httpx.TransportError as fault:
                if not left or isinstance(fault.__cause__, ssl.SSLError) or "CERTIFICATE" in str(fault):
                    raise self._unreachable(fault) from None
                time.sleep(0.5 * (RETRIES - left))
                continue
            if answer.status_code in _BUSY and left:
                answer.close()
                time.sleep(_wait(answer.headers.get("Retry-After", ""), 0.5 * 2 ** (RETRIES - left)))
                continue
            break
        with contextlib.closing(answer):
            self._check(answer)
            yield answer

    def _check(self, answer: httpx.Response) -> None:
        """Refuses what no retry mends: a wrong login, another address."""
        if answer.status_code in {401, 403}:
            told = "refused the login" if self._login else "wants a login"
            raise ArchiveError(
                f"the archive {told} (HTTP status {answer.status_code}); set SCANSYNTH_ARCHIVE_TOKEN, or "
                "SCANSYNTH_ARCHIVE_USER and SCANSYNTH_ARCHIVE_PASSWORD, or give a file with --login"
            )
        if answer.is_redirect:
            raise ArchiveError(
                "the archive redirects to another address; give that address, because a login follows no redirect"
            )

    def _unreachable(self, fault: httpx.TransportError) -> ArchiveError:
        if "CERTIFICATE" in str(fault).upper():
            return ArchiveError(
                f"the certificate of {self._url} cannot be verified; give the certificate of its authority with --ca"
            )
        kind = "did not answer in time" if isinstance(fault, httpx.TimeoutException) else "cannot be reached"
        return ArchiveError(f"{self._url} {kind}; check the address and the network, then run the same command again")


def _path(level: Level, keys: Mapping[str, str]) -> dict[str, str]:
    """The parts of the address of a query; UIDs in it were checked before."""
    if level is Level.STUDY:
        return {"": "studies"}
    study = {"": "studies", "StudyInstanceUID": keys["StudyInstanceUID"]}
    if level is Level.SERIES:
        return {**study, "series": "series"}
    return {**study, "series": "series", "SeriesInstanceUID": keys["SeriesInstanceUID"], "instances": "instances"}


def _without_escapes(value: str) -> str:
    """A value of a query without what must be escaped in an address: some archives (Orthanc) do not undo that.

    `?` stands for any letter (PS3.4 C.2.2.2.4); what matches too much is told by the answer, see `Wanted.admits`.
    """
    return re.sub(r"[^A-Za-z0-9.*_:,-]", "?", value)


def _values(item: Mapping[str, Any]) -> dict[str, str]:
    """A DICOM JSON object (PS3.18 annex F) by keyword."""
    found = {}
    for tag, element in item.items():
        name = keyword_for_tag(int(tag, 16)) if len(tag) == 8 else ""
        values = element.get("Value") or [""]
        if name and isinstance(values[0], str | int):
            found[name] = str(values[0]).strip(" \0")
    return found


def _read(answer: httpx.Response, most: int) -> bytes:
    """A body in memory, up to a bound.

    Raises:
        ArchiveError: It is longer, or the line broke.
    """
    parts, size = [], 0
    try:
        for part in answer.iter_bytes():
            size += len(part)
            if size > most:
                raise ArchiveError("the archive answered a query with more than can be held; narrow the query")
            parts.append(part)
    except (httpx.TransportError, httpx.DecodingError):
        raise ArchiveError("the connection broke during an answer; run the same command again") from None
    return b"".join(parts)


def _save(answer: httpx.Response, file: Path) -> None:
    """A body in a file, up to a bound.

    Raises:
        DicomError: It is longer.
        httpx.TransportError: The line broke.
    """
    size = 0
    try:
        with file.open("wb") as stream:
            for part in answer.iter_bytes():
                size += len(part)
                if size > MOST_BYTES + (1 << 16):
                    raise DicomError("too large", f"more than {MOST_BYTES} bytes")
                stream.write(part)
    except httpx.DecodingError:
        raise DicomError("bad answer", "a content encoding that cannot be undone") from None


def _wait(told: str, otherwise: float) -> float:
    """Seconds to wait, as the archive asks (Retry-After), within reason."""
    return min(float(told), _LONGEST_WAIT) if told.isdigit() and len(told) < 9 else otherwise
