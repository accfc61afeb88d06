"""Pictures of any origin: grey is taken as grey in whatever form, and colour and transparency are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from scansynth.dicom.raster import RasterHeader, decode_raster, read_raster_header
from scansynth.dicom.read import Limits
from scansynth.errors import DicomError


def smooth(depth: int = 8) -> np.ndarray:
    row, column = np.mgrid[:24, :40]
    return ((row * 5 + column * 2) * (1 if depth == 8 else 257)).astype(np.uint8 if depth == 8 else np.uint16)


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def read(path: Path) -> np.ndarray:
    return decode_raster(path, read_raster_header(path, Limits()))


def palette() -> Image.Image:
    image = Image.frombytes("P", (40, 24), (255 - smooth()).tobytes())
    image.putpalette([255 - level // 3 for level in range(768)])  # the entries run from white to black
    return image


@pytest.mark.parametrize(
    "made",
    [
        lambda: Image.fromarray(smooth()),
        lambda: Image.fromarray(three(smooth())),
        lambda: Image.fromarray(three(smooth())).convert("RGBA"),
        lambda: Image.fromarray(smooth()).convert("LA"),
        palette,
        lambda: Image.fromarray(smooth(16)),
    ],
    ids=["L", "RGB", "RGBA", "LA", "P", "I;16"],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_is_grey_in_any_form(made: Any, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    made().save(path)
    values = read(path)
    assert values.dtype == np.uint16
    assert (values == smooth(16)).all()  # 255 becomes 65535


def test_sixteen_bits_in_three_channels_keep_their_depth(tmp_path: Path) -> None:
    deep = smooth(16) + np.arange(40, dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(three(deep)))
    (tmp_path / "b.tif").write_bytes(imagecodecs.tiff_encode(three(deep)))
    for path in sorted(tmp_path.iterdir()):
        assert read_raster_header(path, Limits()).bits == 16
        assert (read(path) == deep).all(), path.name


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_grey_to_within_its_compression(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpeg"
    Image.fromarray(three(smooth()) if channels == 3 else smooth()).save(path, quality=95)
    assert read_raster_header(path, Limits()) == RasterHeader(24, 40, 8, "JPEG")
    assert np.abs(read(path) / 257 - smooth()).max() < 4


def test_a_tiff_whose_0_is_white_is_turned_over(tmp_path: Path) -> None:
    for depth in (8, 16):
        path = tmp_path / f"{depth}.tif"
        path.write_bytes(imagecodecs.tiff_encode(smooth(depth), photometric="miniswhite"))
        assert (read(path) == 65535 - smooth(16)).all(), depth


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Image.fromarray(np.stack([smooth(), smooth(), smooth() + np.uint8(9)], axis=2)), "colour image"),
        (lambda: Image.fromarray(np.dstack([three(smooth()), smooth()])), "transparent pixels"),
        (lambda: Image.fromarray(smooth() > 99), "unsupported bit depth"),
        (lambda: Image.fromarray(smooth().astype(np.float32)), "unsupported bit depth"),
        (lambda: Image.fromarray(smooth().astype(np.int32)), "unsupported bit depth"),
    ],
    ids=["colour", "clear", "1-bit", "float", "32-bit"],
)
def test_what_is_no_grey_image_is_left_out_with_its_reason(made: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    made().save(path)
    with pytest.raises(DicomError) as caught:
        read(path)
    assert caught.value.reason == words


def test_pages_marks_and_bombs_are_left_out(tmp_path: Path) -> None:
    image = Image.fromarray(smooth())
    image.save(tmp_path / "pages.tif", save_all=True, append_images=[image])
    turned = Image.Exif()
    turned[274] = 6
    image.save(tmp_path / "turned.jpg", exif=turned)
    image.save(tmp_path / "bomb.tif")
    data = (tmp_path / "bomb.tif").read_bytes()
    (tmp_path / "bomb.tif").write_bytes(data.replace((40).to_bytes(4, "little"), (60000).to_bytes(4, "little"), 1))
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "short.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    found = {}
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DicomError) as caught:
            decode_raster(path, read_raster_header(path, Limits(max_pixels=1000)))
        found[path.name] = caught.value.reason
    assert found == {
        "bomb.tif": "too large",
        "pages.tif": "multi-frame",
        "short.jpg": "cannot be decoded",
        "text.png": "not a picture",
        "turned.jpg": "turned for display",
    }
