"""Headers: what is read, what is refused, in which words, and how little it costs."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from scansynth.dicom.header import Header, quarantine, valid_uid
from scansynth.dicom.read import CLOSED_FOLDER, Limits, read_header
from scansynth.dicom.sandbox import Decoded, DecodePool, scan_all
from scansynth.errors import DicomError

_PACKAGED = Path(pydicom.__file__).parent / "data"
_IMAGE = np.arange(64).reshape(8, 8)
Write = Callable[..., Any]


def _refusal(path: Path, limits: Limits | None = None) -> DicomError:
    with pytest.raises(DicomError) as caught:
        read_header(path, limits or Limits())
    assert "\n" not in str(caught.value)
    return caught.value


def test_pydicoms_own_files_are_read_or_refused_with_a_reason() -> None:
    """All 205 files that pydicom 3.0.2 ships with; nothing is downloaded."""
    paths = sorted(
        path for path in _PACKAGED.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}
    )  # fmt: skip
    headers = list(scan_all(paths, Limits()))
    reasons = Counter(found.reason if isinstance(found, DicomError) else "read" for found in headers)
    if len(paths) == 205:
        assert reasons == {
            "no pixel data": 75, "read": 59, "colour image": 26, "ultrasound": 5, "not DICOM": 14, "DICOMDIR": 8,
            "multi-frame": 5,
            "bad UID": 4, "bad header": 3, "unsupported bit depth": 3, "truncated": 2, "deflated transfer syntax": 1,
        }  # fmt: skip
    jobs = [(path, found) for path, found in zip(paths, headers, strict=True) if isinstance(found, Header)]
    with DecodePool(2) as pool:
        images = list(pool.decode_all(jobs))
    failed = [path.name for (path, _), image in zip(jobs, images, strict=True) if isinstance(image, DicomError)]
    assert failed == ["JPEG2000-embedded-sequence-delimiter.dcm"]  # pydicom's decoders refuse its stream, too


@pytest.mark.real
def test_chest_mr_as_an_archive_hands_it_over(shared_data: Path) -> None:
    paths = sorted(path for path in (shared_data / "chest-mr").rglob("*") if path.is_file())
    headers = list(scan_all(paths, Limits()))
    read = [found for found in headers if isinstance(found, Header)]
    assert Counter(found.modality for found in read) == {"MR": 160}
    assert [found.reason for found in headers if isinstance(found, DicomError)] == ["ultrasound"] * 3
    assert {found.bits_stored for found in read} == {12}
    assert {found.magnetic_field_strength for found in read} == {1.5}
    assert len({found.patient_id for found in read}) == 3
    assert all(quarantine(found) is None for found in read)
    with DecodePool(2) as pool:
        jobs = [(path, found) for path, found in zip(paths, headers, strict=True) if isinstance(found, Header)][::16]
        for (path, header), image in zip(jobs, pool.decode_all(jobs), strict=True):
            assert isinstance(image, Decoded)
            assert image.values.shape == (header.rows, header.columns)
            np.testing.assert_array_equal(image.values, pydicom.dcmread(path).pixel_array)


def test_the_whitelist_is_read(write_dicom: Write, tmp_path: Path) -> None:
    written = write_dicom(
        tmp_path / "a", _IMAGE, "CT", PatientAge="018M", InstanceNumber=7, ImagePositionPatient=[1, 2, -3.5],
        SliceLocation="4.25", BodyPartExamined="CHEST", BurnedInAnnotation="NO", ImagerPixelSpacing=[9, 9],
    )  # fmt: skip
    header = read_header(tmp_path / "a", Limits())
    assert (header.rows, header.columns, header.modality, header.sex) == (8, 8, "CT", "F")
    assert (header.sop_instance_uid, header.patient_id) == (written.SOPInstanceUID, "PID-1")
    assert (header.rescale_slope, header.rescale_intercept, header.pixel_representation) == (1.0, -1024.0, 1)
    assert (header.pixel_spacing, header.spacing_source) == ((1.5, 1.5), "PixelSpacing")
    assert (header.position, header.slice_location, header.instance_number) == ((1.0, 2.0, -3.5), 4.25, 7)
    assert (header.age_years, header.body_part, header.image_type) == (1, "CHEST", ("ORIGINAL", "PRIMARY", "AXIAL"))


def test_no_identifier_shows_in_a_headers_text(write_dicom: Write, tmp_path: Path) -> None:
    written = write_dicom(tmp_path / "a", _IMAGE, PatientID="PLANTED-7", Manufacturer="PLANTED-8")
    text = repr(read_header(tmp_path / "a", Limits()))
    assert "PLANTED" not in text
    assert written.SOPInstanceUID not in text
    assert "Person" not in text


def test_header_survives_json(write_dicom: Write, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a", _IMAGE, "CT", ImagePositionPatient=[1, 2, 3], PixelPaddingValue=-2000)
    header = read_header(tmp_path / "a", Limits())
    lists = {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(header).items()}
    assert Header.from_values(lists) == header
    again = Header.from_values(json.loads(json.dumps(lists)))
    assert again.present is Header.from_values(lists).present  # the files of a series share what they say alike
    assert [type(one) for one in again.pixel_spacing or ()] == [float, float]


def test_a_file_without_preamble_is_read(write_dicom: Write, tmp_path: Path) -> None:
    dataset = write_dicom(tmp_path / "a", _IMAGE)
    whole = read_header(tmp_path / "a", Limits())
    for implicit in (True, False):
        bare = tmp_path / f"bare-{implicit}"
        pydicom.Dataset(dataset).save_as(bare, implicit_vr=implicit, little_endian=True)
        header = read_header(bare, Limits())
        assert header.transfer_syntax_uid == (ImplicitVRLittleEndian if implicit else whole.transfer_syntax_uid)
        assert dataclasses.replace(
            header, transfer_syntax_uid=whole.transfer_syntax_uid, pixel_offset=whole.pixel_offset
        ) == whole  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour image"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour image"),
        ({"PhotometricInterpretation": "YBR_FULL"}, "colour image"),
        ({"PhotometricInterpretation": None}, "bad header"),
        ({"PhotometricInterpretation": "UNKNOWN"}, "bad header"),
        ({"NumberOfFrames": 2}, "multi-frame"),
        ({"SharedFunctionalGroupsSequence": []}, "multi-frame"),
        ({"SharedFunctionalGroupsSequence": [], "SOPClassUID": EnhancedMRImageStorage}, "bad header"),
        ({"PixelData": None}, "no pixel data"),
        ({"BitsAllocated": 32}, "unsupported bit depth"),
        ({"BitsStored": 17}, "unsupported bit depth"),
        ({"HighBit": 3}, "bad header"),
        ({"Rows": 0}, "bad header"),
        ({"Rows": None}, "bad header"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "bad header"),
        ({"ModalityLUTSequence": []}, "modality lookup table"),
        ({"SeriesInstanceUID": None}, "bad UID"),
        ({"Rows": 65535, "Columns": 65535}, "too large"),
        ({"Rows": 9}, "truncated"),
    ],
)
def test_what_cannot_be_used_is_refused(
    write_dicom: Write, tmp_path: Path, attributes: dict[str, Any], reason: str
) -> None:
    write_dicom(tmp_path / "a", _IMAGE, **attributes)
    assert _refusal(tmp_path / "a").reason == reason


def test_a_huge_claim_costs_no_memory(write_dicom: Write, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a", _IMAGE, Rows=65535, Columns=65535)
    tracemalloc.start()
    assert _refusal(tmp_path / "a").reason == "too large"
    assert _refusal(tmp_path / "a", Limits(max_pixels=1 << 40)).reason == "truncated"
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_claimed_length_of_four_gigabytes_reads_only_what_is_there(write_dicom: Write, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a", _IMAGE)
    data = (tmp_path / "a").read_bytes()
    place = data.index(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 128))
    long_text = struct.pack("<HH2sHI", 0x0029, 0x1010, b"UT", 0, 0xFFFFFFF0)
    (tmp_path / "b").write_bytes(data[:place] + long_text + data[place:])
    tracemalloc.start()
    assert _refusal(tmp_path / "b").reason == "truncated"
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_deflated_bomb_is_refused_before_it_inflates(write_dicom: Write, tmp_path: Path) -> None:
    """100 MB of zeros in 100 kB: refused by its transfer syntax, with and without the preamble."""
    write_dicom(tmp_path / "a", _IMAGE)
    dataset = pydicom.dcmread(tmp_path / "a")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "b", enforce_file_format=True)
    data = (tmp_path / "b").read_bytes()
    meta = data[: 144 + struct.unpack("<I", data[140:144])[0]]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = meta + packer.compress(bytes(100_000_000)) + packer.flush()
    assert len(bomb) < 200_000
    for name, content in (("bomb", bomb), ("bare", bomb[132:])):
        (tmp_path / name).write_bytes(content)
        began = time.process_time()
        tracemalloc.start()
        assert _refusal(tmp_path / name).reason == "deflated transfer syntax"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()
        assert time.process_time() - began < 1.0


@pytest.mark.parametrize("cut", [1, 50, 131, 133, 200, 400, 600, -100, -1])
def test_a_file_cut_short_is_refused_at_every_place(write_dicom: Write, tmp_path: Path, cut: int) -> None:
    write_dicom(tmp_path / "a", _IMAGE)
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes()[:cut])
    assert _refusal(tmp_path / "b").reason in {"truncated", "not DICOM", "no pixel data", "bad header"}


def test_deep_nesting_is_refused_and_not_fatal(tmp_path: Path, write_dicom: Write) -> None:
    write_dicom(tmp_path / "a", _IMAGE)
    data = (tmp_path / "a").read_bytes()
    place = data.index(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 128))
    level = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    (tmp_path / "b").write_bytes(data[:place] + level * 50_000)
    assert _refusal(tmp_path / "b").reason in {"bad header", "truncated"}


def test_what_is_no_file_with_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("path,label\n" * 100)
    os.mkfifo(tmp_path / "pipe")
    reasons = [_refusal(tmp_path / name).reason for name in ("empty", "text", "pipe", "absent", ".")]
    assert reasons == ["not DICOM", "not DICOM", "not a file", "cannot be read", CLOSED_FOLDER]
    assert _refusal(tmp_path / "text", Limits(max_file_bytes=100)).reason == "too large"


@pytest.mark.parametrize(
    "uid", ["", "1", "1.2.840/../../etc", "1.2.840\n", "1..2", ".1.2", "1.2.", "1.2." + "3" * 61, "1.2.٣"]
)
def test_malformed_uids_are_refused(write_dicom: Write, tmp_path: Path, uid: str) -> None:
    assert not valid_uid(uid)
    write_dicom(tmp_path / "a", _IMAGE)
    header = read_header(tmp_path / "a", Limits())
    for name in ("sop_class_uid", "sop_instance_uid", "series_instance_uid"):
        with pytest.raises(DicomError, match="bad UID"):
            dataclasses.replace(header, **{name: uid})
    assert valid_uid("2.25." + "9" * 39)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in annotation"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "secondary capture"),
        ({"ConversionType": "SD"}, "secondary capture"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screenshot"),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]}, "protocol or dose page"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, None),
        ({"BurnedInAnnotation": "NO"}, None),
    ],
)
def test_pixels_that_may_hold_text_are_set_apart(
    write_dicom: Write, tmp_path: Path, attributes: dict[str, Any], reason: str | None
) -> None:
    write_dicom(tmp_path / "a", _IMAGE, **attributes)
    assert quarantine(read_header(tmp_path / "a", Limits())) == reason


def test_planted_identifiers_never_show_in_a_refusal(
    write_dicom: Write, tmp_path: Path, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each value that decides about reading is replaced by a planted name, in its raw bytes."""
    write_dicom(tmp_path / "a", _IMAGE, InstanceNumber="1", PatientComments="PLANTED^NAME")
    data = (tmp_path / "a").read_bytes()
    refusals = []
    for element in pydicom.dcmread(tmp_path / "a"):
        if element.VR == "OW":
            continue
        place = data.index(struct.pack("<HH", element.tag.group, element.tag.element), 132)
        after = place + 8 + struct.unpack("<H", data[place + 6 : place + 8])[0]
        (tmp_path / "b").write_bytes(data[: place + 6] + struct.pack("<H", 12) + b"PLANTED^NAME" + data[after:])
        try:
            read_header(tmp_path / "b", Limits())
        except DicomError as refusal:
            refusals.append(str(refusal))
    assert len(refusals) > 5
    assert not any("PLANTED" in refusal for refusal in refusals)
    assert not recwarn.list
    assert "PLANTED" not in "".join(capfd.readouterr())
