"""Pixels: every transfer syntax, inversion, rescale, signs, junk bits and padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

from scansynth.dicom.pixels import decode
from scansynth.dicom.read import ENCAPSULATED, EXPLICIT_BIG, Limits, read_header
from scansynth.dicom.streams import join_fragments, stream_facts
from scansynth.errors import DicomError
from scansynth.seeds import generator

_PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"
Write = Callable[..., Any]


def _read(path: Path) -> np.ndarray:
    return decode(path, read_header(path, Limits()))


def _smooth(high: int, shape: tuple[int, int] = (48, 40)) -> np.ndarray:
    """A ramp with a little noise over [0, high]: what lossy codecs keep closely."""
    rows, columns = np.indices(shape)
    ramp = (rows + columns) / (sum(shape) - 2) * high * 0.9
    return np.clip(ramp + generator(3, "smooth").normal(0, high / 400, shape), 0, high).astype(np.uint16)


def test_stored_values_are_rescaled(write_dicom: Write, tmp_path: Path) -> None:
    image = generator(0, "image").integers(-1024, 2000, (16, 12))
    write_dicom(tmp_path / "a", image, "CT", RescaleSlope="2.5", RescaleIntercept="-1000")
    found = _read(tmp_path / "a")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, image * 2.5 - 1000)


def test_window_is_not_applied(write_dicom: Write, tmp_path: Path) -> None:
    image = np.arange(64).reshape(8, 8)
    write_dicom(tmp_path / "a", image, WindowCenter=10, WindowWidth=2)
    np.testing.assert_array_equal(_read(tmp_path / "a"), image)


@pytest.mark.parametrize("modality", ["MR", "CR", "DX", "MG"])
def test_monochrome1_inverts_values_without_a_unit(write_dicom: Write, tmp_path: Path, modality: str) -> None:
    image = np.arange(64).reshape(8, 8)
    write_dicom(tmp_path / "a", image, modality, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(_read(tmp_path / "a"), 4095 - image)


@pytest.mark.parametrize("modality", ["CT", "PT", "NM"])
@pytest.mark.parametrize("padding", [None, 3])
def test_monochrome1_leaves_measured_values_as_they_are(
    write_dicom: Write, tmp_path: Path, modality: str, padding: int | None
) -> None:
    """Hounsfield units are stored value * slope + intercept, whatever the display does (PS3.3 C.11.1.1.2)."""
    image = generator(0, "hint").integers(0, 3000, (8, 8))
    image[0] = 3 if padding else image[0]
    given = {"PixelPaddingValue": padding} if padding else {}
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        write_dicom(tmp_path / kind, image, modality, PhotometricInterpretation=kind, BitsStored=16, HighBit=15,
                    RescaleSlope="2", RescaleIntercept="-1024", **given)  # fmt: skip
    plain, hinted = _read(tmp_path / "MONOCHROME2"), _read(tmp_path / "MONOCHROME1")
    np.testing.assert_array_equal(hinted, plain)
    np.testing.assert_array_equal(hinted[1:], image[1:] * 2.0 - 1024)


def test_junk_above_the_stored_bits_is_dropped(write_dicom: Write, tmp_path: Path) -> None:
    draw = generator(0, "junk")
    image = draw.integers(0, 4096, (16, 16))
    write_dicom(tmp_path / "a", image | (draw.integers(0, 16, image.shape) << 12))
    np.testing.assert_array_equal(_read(tmp_path / "a"), image)
    signed = image - 2048
    write_dicom(tmp_path / "b", (signed & 0xFFF).astype(np.uint16).astype("<i2"), "CT", RescaleIntercept=0)
    np.testing.assert_array_equal(_read(tmp_path / "b"), signed)


def test_values_in_the_high_bits_are_moved_down(write_dicom: Write, tmp_path: Path) -> None:
    image = generator(0, "high").integers(0, 4096, (16, 16))
    write_dicom(tmp_path / "a", (image << 4).astype(np.uint16), HighBit=15)
    np.testing.assert_array_equal(_read(tmp_path / "a"), image)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", ["5", "4.57", "4.70", "4.80", "4.90"])
def test_values_in_the_high_bits_are_moved_down_when_compressed(
    write_dicom: Write, tmp_path: Path, syntax: str, signed: bool
) -> None:
    """The stream holds whole words of 16 bits; 12 are stored, and the four below hold anything."""
    draw = generator(0, "high", syntax)
    image = draw.integers(0, 4096, (24, 16))
    words = ((image << 4) | draw.integers(0, 16, image.shape)).astype(np.uint16)
    stream = {
        "5": lambda: RLELosslessEncoder.encode(
            words.tobytes(), rows=24, columns=16, samples_per_pixel=1, number_of_frames=1, bits_allocated=16,
            bits_stored=16, pixel_representation=0, photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom",
        ),
        "4.57": lambda: imagecodecs.ljpeg_encode(words, bitspersample=16),
        "4.70": lambda: imagecodecs.ljpeg_encode(words, bitspersample=16),
        "4.80": lambda: imagecodecs.jpegls_encode(words),
        "4.90": lambda: imagecodecs.jpeg2k_encode(words, codecformat="j2k", bitspersample=16, reversible=True),
    }[syntax]()  # fmt: skip
    _write_compressed(write_dicom, tmp_path / "a", image, f"1.2.840.10008.1.2.{syntax}", [bytes(stream)])
    dataset = pydicom.dcmread(tmp_path / "a")
    dataset.HighBit, dataset.PixelRepresentation = 15, int(signed)
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    expected = np.where(image >= 2048, image - 4096, image) if signed else image
    np.testing.assert_array_equal(_read(tmp_path / "a"), expected)


def test_a_stream_of_the_stored_bits_alone_is_not_moved(write_dicom: Write, tmp_path: Path) -> None:
    image = _smooth(4095)
    stream = bytes(imagecodecs.jpeg2k_encode(image, codecformat="j2k", bitspersample=12, reversible=True))
    _write_compressed(write_dicom, tmp_path / "a", image, "1.2.840.10008.1.2.4.90", [stream])
    dataset = pydicom.dcmread(tmp_path / "a")
    dataset.HighBit = 15
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    np.testing.assert_array_equal(_read(tmp_path / "a"), image)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_takes_the_darkest_value_of_the_image(write_dicom: Write, tmp_path: Path, kind: str) -> None:
    image = generator(0, "padding").integers(100, 1000, (16, 16))
    padded = image.copy()
    padded[:4] = -2000
    write_dicom(tmp_path / "a", padded.astype("<i2"), BitsStored=16, HighBit=15, PixelPaddingValue=-2000,
                PhotometricInterpretation=kind, PixelRepresentation=1)  # fmt: skip
    found = _read(tmp_path / "a")
    expected = image if kind == "MONOCHROME2" else -1 - image
    np.testing.assert_array_equal(found[4:], expected[4:])
    assert (found[:4] == found[4:].min()).all()


def test_padding_range_and_padding_above_the_stored_bits(write_dicom: Write, tmp_path: Path) -> None:
    image = np.arange(64).reshape(8, 8) + 50
    image[0] = (0xF000, 0xF005, *image[0, 2:])
    write_dicom(tmp_path / "a", image, PixelPaddingValue=0xF000, PixelPaddingRangeLimit=0xF010)
    found = _read(tmp_path / "a")
    assert (found[0, :2] == 52).all()
    np.testing.assert_array_equal(found[1:], image[1:])


def test_an_image_of_padding_alone_stays_constant(write_dicom: Write, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a", np.full((8, 8), 7), PixelPaddingValue=7)
    assert (_read(tmp_path / "a") == 7).all()


def test_big_endian_and_8_bits(tmp_path: Path) -> None:
    little = _read(_PACKAGED / "MR_small.dcm")
    np.testing.assert_array_equal(_read(_PACKAGED / "MR_small_bigendian.dcm"), little)
    assert read_header(_PACKAGED / "MR_small_bigendian.dcm", Limits()).transfer_syntax_uid == EXPLICIT_BIG


@pytest.mark.parametrize(
    "name", ["implicit", "RLE", "jp2klossless", "jpeg_ls_lossless", "padded", "expb"]
)  # fmt: skip
def test_one_image_in_many_encodings_is_one_image(name: str) -> None:
    np.testing.assert_array_equal(_read(_PACKAGED / f"MR_small_{name}.dcm"), _read(_PACKAGED / "MR_small.dcm"))


@pytest.mark.parametrize("name", ["693_J2KI", "J2K_pixelrep_mismatch", "CT_small", "examples_overlay", "JPEG2000"])
def test_stored_values_agree_with_pydicom(name: str) -> None:
    path = _PACKAGED / f"{name}.dcm"
    header = read_header(path, Limits())
    reference = pydicom.dcmread(path).pixel_array
    kept = np.ones(reference.shape, bool)
    if header.padding is not None:
        kept = (reference < header.padding[0]) | (reference > header.padding[1])
    expected = reference[kept] * header.rescale_slope + header.rescale_intercept
    np.testing.assert_allclose(decode(path, header)[kept], expected)


def _encoders() -> dict[str, tuple[Callable[[np.ndarray], bytes], int, float]]:
    """For each compressed transfer syntax: an encoder, bits stored, and the loss allowed."""

    def jpeg2000(image: np.ndarray, **options: Any) -> bytes:
        return bytes(imagecodecs.jpeg2k_encode(image, codecformat="j2k", bitspersample=12, **options))

    return {
        "4.50": (lambda image: imagecodecs.jpeg8_encode(image.astype(np.uint8), level=98), 8, 4),
        "4.51": (lambda image: imagecodecs.jpeg8_encode(image, level=98, bitspersample=12), 12, 40),
        "4.57": (lambda image: imagecodecs.ljpeg_encode(image, bitspersample=12), 12, 0),
        "4.70": (lambda image: imagecodecs.ljpeg_encode(image, bitspersample=12), 12, 0),
        "4.80": (imagecodecs.jpegls_encode, 12, 0),
        "4.81": (lambda image: imagecodecs.jpegls_encode(image, level=2), 12, 2),
        "4.90": (lambda image: jpeg2000(image, reversible=True), 12, 0),
        "4.91": (lambda image: jpeg2000(image, level=60), 12, 40),
    }


@pytest.mark.parametrize("syntax", sorted(_encoders()))
def test_every_compressed_transfer_syntax(write_dicom: Write, tmp_path: Path, syntax: str) -> None:
    encode, bits, loss = _encoders()[syntax]
    image = _smooth((1 << bits) - 1)
    stream = bytes(encode(image))
    _write_compressed(write_dicom, tmp_path / "a", image, f"1.2.840.10008.1.2.{syntax}", [stream], bits)
    assert np.abs(_read(tmp_path / "a") - image).max() <= loss


def _write_compressed(
    write_dicom: Write, path: Path, image: np.ndarray, syntax: str, fragments: list[bytes], bits: int = 12
) -> None:
    write_dicom(path, image, BitsAllocated=16 if bits > 8 else 8, BitsStored=bits, HighBit=bits - 1)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(fragments, has_bot=False)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)


def test_one_image_in_many_fragments_is_joined(write_dicom: Write, tmp_path: Path) -> None:
    image = _smooth(4095)
    stream = bytes(imagecodecs.jpegls_encode(image))
    pieces = [stream[place : place + 100] for place in range(0, len(stream), 100)]
    _write_compressed(write_dicom, tmp_path / "a", image, "1.2.840.10008.1.2.4.80", pieces)
    np.testing.assert_array_equal(_read(tmp_path / "a"), image)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "b").write_bytes(data[:-120])
    with pytest.raises(DicomError, match="truncated"):
        _read(tmp_path / "b")


@pytest.mark.parametrize("syntax", ["4.51", "4.70", "4.80", "4.90"])
def test_a_stream_of_another_size_than_the_header_is_refused(write_dicom: Write, tmp_path: Path, syntax: str) -> None:
    stream = bytes(_encoders()[syntax][0](_smooth(4095)))
    _write_compressed(write_dicom, tmp_path / "a", _smooth(4095, (24, 80)), f"1.2.840.10008.1.2.{syntax}", [stream])
    with pytest.raises(DicomError, match="cannot be decoded"):
        _read(tmp_path / "a")


@pytest.mark.parametrize("syntax", sorted(_encoders()))
def test_a_stream_tells_its_size_and_a_cut_one_is_refused(syntax: str) -> None:
    encode, bits, _ = _encoders()[syntax]
    stream = bytes(encode(_smooth((1 << bits) - 1, (33, 57))))
    facts = stream_facts(stream)
    assert (facts.rows, facts.columns, facts.components) == (33, 57, 1)
    assert facts.bits == (16 if syntax in {"4.80", "4.81"} else bits)  # that encoder writes whole words
    for cut in range(10):
        with pytest.raises(DicomError):
            stream_facts(stream[:cut])


def test_every_named_transfer_syntax_has_a_decoder() -> None:
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415 - the registry fills on first import

    from scansynth.dicom import pixels  # noqa: PLC0415

    for syntax in ENCAPSULATED - {"1.2.840.10008.1.2.4.51"}:
        assert pixels._PLUGINS[syntax] in get_decoder(syntax).available_plugins


@pytest.mark.parametrize(
    "data", [b"", b"\xfe\xff\x00\xe0", b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0", b"junk" * 9]
)
def test_malformed_fragments_are_refused(data: bytes) -> None:
    with pytest.raises(DicomError):
        join_fragments(data)


def test_junk_in_the_place_of_a_stream_is_refused_in_one_line(write_dicom: Write, tmp_path: Path) -> None:
    for syntax in sorted(ENCAPSULATED):
        junk = generator(0, syntax).bytes(500)
        _write_compressed(write_dicom, tmp_path / "a", _smooth(4095), syntax, [junk])
        with pytest.raises(DicomError) as caught:
            _read(tmp_path / "a")
        assert "\n" not in str(caught.value)
