"""Enhanced multi-frame files: each frame is an image, with its own rescale, plane and spacing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from scans import compress, save_enhanced

from scansynth.dicom.pixels import decode
from scansynth.dicom.read import Limits, read_header
from scansynth.dicom.sandbox import Decoded, DecodePool
from scansynth.dicom.streams import join_fragments
from scansynth.errors import DicomError
from scansynth.files import sha256_file
from scansynth.seeds import generator

_PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"


def test_each_frame_has_what_its_groups_say(tmp_path: Path) -> None:
    images = generator(0, "frames").integers(0, 4096, (5, 12, 10))
    save_enhanced(tmp_path / "a", images, PixelRepresentation=0)
    whole = read_header(tmp_path / "a", Limits())
    headers = whole.images
    assert (whole.frames, len(headers)) == (5, 5)
    assert len({header.image_uid for header in headers}) == 5
    assert {header.pixel_spacing for header in headers} == {(0.5, 0.7)}
    assert [header.position for header in headers] == [(0.0, 0.0, float(k)) for k in range(5)]
    for k, header in enumerate(headers):
        assert header.orientation is not None
        assert (header.orientation[0], header.rescale_stated, header.rescale_type) == ((1, -1)[k % 2], True, "HU")
        np.testing.assert_array_equal(decode(tmp_path / "a", header), images[k] - 1024.0 - k)
    with DecodePool(2) as pool:
        jobs = [(tmp_path / "a", header) for header in headers]
        found = list(pool.decode_all(jobs))
    assert all(isinstance(result, Decoded) and result.file_sha256 == sha256_file(tmp_path / "a") for result in found)
    for k, result in enumerate(found):
        assert isinstance(result, Decoded)
        np.testing.assert_array_equal(result.values, images[k] - 1024.0 - k)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, ExplicitVRBigEndian])
def test_frames_are_the_same_in_every_encoding(tmp_path: Path, syntax: str, signed: int) -> None:
    images = generator(3, "encodings").integers(0, 4096, (4, 24, 20)).astype(np.uint16)
    dataset = save_enhanced(tmp_path / "a", images, PixelRepresentation=signed)
    if syntax == ExplicitVRBigEndian:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = images.astype(">u2").tobytes()
        pydicom.dcmwrite(tmp_path / "a", dataset, enforce_file_format=True)
    else:
        compress(tmp_path / "a", images, syntax)
    for k, header in enumerate(read_header(tmp_path / "a", Limits()).images):
        stored = np.where(images[k] >= 2048, images[k].astype(int) - 4096, images[k]) if signed else images[k]
        np.testing.assert_array_equal(decode(tmp_path / "a", header), stored - 1024.0 - k)


def test_long_groups_of_known_length_are_read(tmp_path: Path) -> None:
    """Item and sequence lengths are written here, and the groups are longer than any whitelisted value."""
    images = generator(1, "many").integers(0, 4096, (400, 8, 8))
    save_enhanced(tmp_path / "a", images)
    dataset = pydicom.dcmread(tmp_path / "a")
    assert not dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length
    headers = read_header(tmp_path / "a", Limits()).images
    assert len(headers) == 400
    assert headers[399].rescale_intercept == -1423.0


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("pieces", [1, 3])
def test_fragments_are_shared_out_among_frames(table: bool, pieces: int) -> None:
    streams = [bytes([k]) * 60 for k in range(4)]
    data = encapsulate(streams, fragments_per_frame=pieces, has_bot=table)
    if pieces > 1 and not table:
        with pytest.raises(DicomError, match="which fragments"):
            join_fragments(data, 4, 0)
        return
    assert [join_fragments(data, 4, frame) for frame in range(4)] == streams


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xf7", b"\xff\x4f\xff\x51"])
def test_fragments_without_a_table_are_told_by_where_a_stream_starts(start: bytes) -> None:
    streams = [start + bytes([k]) * (60 + 40 * k) for k in range(3)]
    pieces = [[stream[at : at + 40] for at in range(0, len(stream), 40)] for stream in streams]
    data = encapsulate([piece for frame in pieces for piece in frame], has_bot=False)
    assert [join_fragments(data, 3, frame) for frame in range(3)] == streams
    with pytest.raises(DicomError, match="which fragments"):
        join_fragments(data, 4, 0)


def test_what_the_groups_leave_out_is_taken_from_the_whole_file(tmp_path: Path) -> None:
    images = generator(4, "whole").integers(0, 4096, (2, 12, 10))
    groups = [Dataset(), Dataset()]
    groups[1].PixelValueTransformationSequence = [Dataset()]
    item = groups[1].PixelValueTransformationSequence[0]
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = 2, -5, "HU"
    save_enhanced(
        tmp_path / "a", images, PerFrameFunctionalGroupsSequence=groups, SharedFunctionalGroupsSequence=[Dataset()],
        PixelSpacing=[0.25, 0.75], RescaleSlope=1, RescaleIntercept=-1000, ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )  # fmt: skip
    headers = read_header(tmp_path / "a", Limits()).images
    assert [header.pixel_spacing for header in headers] == [(0.25, 0.75)] * 2
    assert [(header.rescale_slope, header.rescale_intercept) for header in headers] == [(1, -1000), (2, -5)]
    assert all(header.rescale_stated and header.orientation and header.position is None for header in headers)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"NumberOfFrames": 4}, "bad header"),
        ({"PerFrameFunctionalGroupsSequence": []}, "bad header"),
        ({"NumberOfFrames": 6}, "truncated"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "multi-frame"),
        ({"NumberOfFrames": 100_000}, "multi-frame"),
    ],
)
def test_groups_and_frames_that_do_not_agree_are_refused(
    tmp_path: Path, attributes: dict[str, Any], reason: str
) -> None:
    save_enhanced(tmp_path / "a", np.zeros((5, 8, 8), int), **attributes)
    with pytest.raises(DicomError) as caught:
        read_header(tmp_path / "a", Limits())
    assert caught.value.reason == reason


def test_a_damaged_enhanced_file_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    """Bytes overwritten, cut out or doubled, anywhere before the pixels: 200 files."""
    save_enhanced(tmp_path / "a", np.zeros((3, 8, 8), int))
    data = (tmp_path / "a").read_bytes()
    draw = generator(5, "damage")
    refusals = []
    for number in range(200):
        place, length = int(draw.integers(400, len(data) - 400)), int(draw.integers(1, 30))
        filling = (draw.bytes(length), b"", data[place : place + 2 * length])[number % 3]
        (tmp_path / "b").write_bytes(data[:place] + filling + data[place + length :])
        try:
            assert len(read_header(tmp_path / "b", Limits()).images) <= 3
        except DicomError as fault:
            refusals.append(str(fault))
    assert 50 < len(refusals) < 200
    assert all(0 < len(refusal) < 200 and "\n" not in refusal for refusal in refusals)
