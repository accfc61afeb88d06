"""Identifiers planted everywhere in a cohort's sources, and the search for them in everything that is written."""

from __future__ import annotations

import base64
import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag

MARK = "ZQXKEYLE"
"""Start of every planted word; with its number 11 characters, so that it fits a DICOM short string."""

DAY, MOMENT, UID = "19371204", "19371204112233", "1.2.826.0.1.7777777"
"""What is planted where only a date, a time or a UID may stand."""

TEXTS = [
    "PatientName", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "PatientComments", "MedicalRecordLocator", "MilitaryRank",
    "BranchOfService", "EthnicGroup", "Occupation", "AdditionalPatientHistory", "PatientReligiousPreference",
    "ResponsiblePerson", "ResponsibleOrganization", "IssuerOfPatientID", "CountryOfResidence", "RegionOfResidence",
    "CurrentPatientLocation", "AccessionNumber", "StudyID", "StudyDescription", "SeriesDescription",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "ReferringPhysicianName",
    "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers", "PhysiciansOfRecord",
    "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName", "AdmittingDiagnosesDescription",
    "ManufacturerModelName", "Manufacturer", "DeviceSerialNumber", "SoftwareVersions", "ProtocolName",
    "ImageComments", "DerivationDescription", "RequestedProcedureDescription", "PerformedProcedureStepDescription",
    "PerformedProcedureStepID", "RequestingPhysician", "RequestingService", "VisitComments", "AcquisitionComments",
    "ContrastBolusAgent", "DetectorID", "PlateID", "CassetteID", "GantryID", "ClinicalTrialSubjectID",
    "ClinicalTrialSponsorName", "ContentCreatorName", "PersonName", "TextString", "BodyPartExamined",
]  # fmt: skip
"""Attributes of one value in text."""

DAYS = ["PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "LastMenstrualDate"]
UIDS = [
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "SynchronizationFrameOfReferenceUID",
    "DeviceUID",
]


class Planter:
    """Gives out words, and remembers where each was put."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def word(self, place: str) -> str:
        """The word of a place, the same each time."""
        return self.places.setdefault(place, f"{MARK}{len(self.places):03d}")


def plant(path: Path, planter: Planter, number: int) -> None:
    """Puts a word, a date or a UID into every place of a DICOM file that can hold one."""
    dataset = pydicom.dcmread(path)
    for keyword in TEXTS:
        setattr(dataset, keyword, planter.word(keyword))
    for keyword in DAYS:
        setattr(dataset, keyword, DAY)
    dataset.AcquisitionDateTime = MOMENT
    for keyword in UIDS:
        setattr(
            dataset, keyword, f"{UID}.{len(keyword)}" if keyword != "SeriesInstanceUID" else f"{UID}.{number // 4}.5"
        )
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{UID}.9.{number}"
    dataset.ImageType = [*dataset.ImageType[:3], planter.word("ImageType")]
    _nested(dataset, planter)
    _odd(dataset, planter)
    meta = dataset.file_meta
    meta.SourceApplicationEntityTitle = planter.word("SourceApplicationEntityTitle")
    meta.SendingApplicationEntityTitle = planter.word("SendingApplicationEntityTitle")
    meta.PrivateInformationCreatorUID = f"{UID}.8"
    meta.PrivateInformation = planter.word("PrivateInformation").encode() + b" "
    dataset.preamble = planter.word("preamble").encode().ljust(128, b"\0")
    dataset.PixelData = dataset.PixelData + planter.word("after the pixels").encode() + b" "
    dataset.save_as(path, enforce_file_format=True)
    with path.open("ab") as stream:
        stream.write(planter.word("after the end of the file").encode())


def _nested(dataset: Dataset, planter: Planter) -> None:
    """Sequences, up to five deep."""
    request, code, inner = Dataset(), Dataset(), Dataset()
    code.CodeMeaning, code.CodeValue = planter.word("CodeMeaning"), "1"
    request.ScheduledProcedureStepDescription = planter.word("ScheduledProcedureStepDescription")
    request.RequestedProcedureID = planter.word("RequestedProcedureID")
    request.ScheduledProtocolCodeSequence = Items([code])
    dataset.RequestAttributesSequence = Items([request])
    inner.PatientName = planter.word("PatientName five sequences deep")
    inner.ReferencedSOPInstanceUID = f"{UID}.6"
    for _ in range(5):
        outer = Dataset()
        outer.ModifiedAttributesSequence = Items([inner])
        inner = outer
    dataset.OriginalAttributesSequence = Items([inner])
    other = Dataset()
    other.PatientID = planter.word("OtherPatientIDsSequence")
    dataset.OtherPatientIDsSequence = Items([other])


def _odd(dataset: Dataset, planter: Planter) -> None:
    """Private elements, overlays, curves, retired comments, group lengths and padding."""
    block = dataset.private_block(0x0009, planter.word("private creator"), create=True)
    block.add_new(0x01, "LO", planter.word("private text"))
    block.add_new(0x02, "OB", planter.word("private bytes").encode("utf-16-le"))
    block.add_new(0x03, "UN", planter.word("private, of unknown representation").encode() + b" ")
    dataset.add_new(0x60000022, "LO", planter.word("OverlayDescription"))
    dataset.add_new(0x60001500, "LO", planter.word("OverlayLabel"))
    dataset.add_new(0x60003000, "OW", planter.word("OverlayData").encode() + b" ")
    dataset.add_new(0x50000022, "LO", planter.word("CurveDescription"))
    dataset.add_new(0x50003000, "OW", planter.word("CurveData").encode() + b" ")
    dataset.add_new(0x40000010, "LT", planter.word("Arbitrary"))
    dataset.add_new(0x40004000, "LT", planter.word("TextComments"))
    dataset.add_new(0x00200000, "UL", struct.unpack("<I", planter.word("group length").encode()[:4])[0])
    dataset.add_new(0xFFFCFFFC, "OB", planter.word("DataSetTrailingPadding").encode() + b" ")


def spoiled(path: Path, target: Path, planter: Planter) -> list[Path]:
    """Copies of a file that are refused, each with a word in what is wrong with it."""
    made = []
    for keyword, form in (
        ("Modality", "{}"), ("PhotometricInterpretation", "{}"), ("SOPClassUID", "{}"), ("RescaleType", "{}"),
        ("PixelSpacing", "{}\\1"), ("RescaleSlope", "{}"), ("Rows", "{}"), ("BitsStored", "{}"),
        ("ImageOrientationPatient", "{}\\0\\0"), ("NumberOfFrames", "{}"),
    ):  # fmt: skip
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = f"{UID}.7.{len(made)}"
        if keyword in dataset:
            del dataset[keyword]
        # as text, whatever the attribute is: no library would write it, and an old one did
        dataset.add_new(Tag(keyword), "LO", form.format(planter.word(f"a {keyword} that is none")))
        made.append(target / f"{planter.word('name of a refused file')}-{len(made)}")
        dataset.save_as(made[-1], enforce_file_format=True)
    syntax = b"1.2.840.10008.1.2.1\0"
    word = planter.word("a TransferSyntaxUID that is none").encode()
    made.append(target / f"{planter.word('name of a refused file')}-syntax")
    made[-1].write_bytes(path.read_bytes().replace(syntax, word.ljust(len(syntax)), 1))
    return made


def traces(data: bytes, deep: int = 3) -> set[str]:
    """Planted words within bytes: plain, as UTF-16, in base64, and the same within packed parts."""
    found = {match.decode() for match in _PLAIN.findall(data)} | {match.decode() for match in _NUMBERS.findall(data)}
    for encoding in ("utf-16-le", "utf-16-be"):
        found |= {f"{MARK} in {encoding}"} if MARK.encode(encoding) in data else set()
    found |= {f"{MARK} in base64"} if any(form in data for form in _BASE64) else set()
    for part in _parts(data) if deep else ():
        found |= traces(part, deep - 1)
    return found


def _in_base64(text: bytes) -> tuple[bytes, ...]:
    """What is sure to stand in base64 of any text around it, for each of the three ways in which it can lie."""
    forms = []
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + text)
        forms.append(coded[(0, 2, 3)[shift] : len(coded) - 4])
    return tuple(forms)


_PLAIN = re.compile(MARK.encode() + rb"\d{0,3}")
_NUMBERS = re.compile(rb"(?<![0-9.])" + DAY.encode() + rb"(?:112233)?(?![0-9])|" + re.escape(UID.encode()))
_BASE64 = _in_base64(MARK.encode())
_CODED = re.compile(rb"[A-Za-z0-9+/]{64,}={0,2}")


def _parts(data: bytes) -> Iterator[bytes]:
    """Members of archives, unpacked streams and decoded base64."""
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png_texts(data)
    for match in _CODED.finditer(data):
        if len(match[0]) % 4 == 0:
            yield base64.b64decode(match[0])


def _png_texts(data: bytes) -> Iterator[bytes]:
    """Compressed texts of a PNG; its pixels are pixels."""
    place = 8
    while place + 8 <= len(data):
        (length,), kind = struct.unpack(">I", data[place : place + 4]), data[place + 4 : place + 8]
        if kind in {b"zTXt", b"iTXt", b"iCCP"}:
            packed = data[place + 8 : place + 8 + length]
            start = packed.find(b"\x78")
            if start >= 0:
                unpacked = zlib.decompressobj()
                yield unpacked.decompress(packed[start:])
        place += 12 + length


def traces_below(folder: Path, *, but: frozenset[str] = frozenset()) -> dict[str, set[str]]:
    """Planted words by the files in whose bytes or names they stand; not below the names in `but`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] in but:
            continue
        words = traces(str(relative).encode("utf-8", "surrogateescape"))
        if path.is_file() and not path.is_symlink():
            words |= traces(path.read_bytes())
        if path.is_symlink():
            words |= traces(str(path.readlink()).encode())
        if words:
            found[str(relative)] = words
    return found


def npz_of(text: str) -> bytes:
    """A packed array file that holds a text."""
    stream = io.BytesIO()
    np.savez_compressed(stream, np.frombuffer(text.encode(), np.uint8))
    return stream.getvalue()
