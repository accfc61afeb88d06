"""Folders of pictures and of synthetic DICOM are brought to one scale as they were meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scansynth.data.elsewhere.foreign import PICTURES, Scaling, read, survey
from scansynth.dicom.sandbox import DecodePool
from scansynth.dicom.write import MR_IMAGE_STORAGE, SyntheticFacts, image_uids, write_synthetic
from scansynth.errors import CohortError

SCALING = Scaling((-1000.0, 400.0), (0.0, 100.0))


def grey(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (32, 32)).astype(np.uint8)


def test_pictures_with_three_equal_channels_are_a_grey_set(tmp_path: Path) -> None:
    for number, ending in enumerate(("png", "png", "tif")):
        Image.fromarray(np.repeat(grey(number)[..., None], 3, axis=2)).save(tmp_path / f"{number}.{ending}")
    colour = np.stack([grey(3), grey(4), grey(5)], axis=2)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(colour).save(tmp_path / "colour.jpg")
    with DecodePool(1) as pool:
        found = survey(tmp_path, "DIR", pool, "MR", True)
        made = read(found, (32, 32), SCALING, pool, True)
    assert found.modality == PICTURES
    assert [source.relative for source in made.sources] == ["0.png", "1.png", "2.tif"]
    for number, image in enumerate(made.images):
        assert (image.reshape(32, 32) == grey(number).astype(np.uint16) * 257).all()
    assert made.reasons == {"colour image": 2}


def test_synthetic_images_alone_in_their_series_share_one_window(tmp_path: Path) -> None:
    dark, bright = np.full((2, 32, 32), 0, np.uint16)
    dark[4:8, 4:8], bright[4:8, 4:8] = 20000, 65535
    for index, image in enumerate((dark, bright)):
        facts = SyntheticFacts("MR", MR_IMAGE_STORAGE, 0.0, 1000.0, (1, 1), "nodule", "ab" * 32,
                               image_uids("ab" * 32, 0, index), index + 1, "axial")  # fmt: skip
        write_synthetic(tmp_path / f"{index}.dcm", image, facts)
    with DecodePool(1) as pool:
        made = read(survey(tmp_path, "DIR", pool, "MR", True), (32, 32), SCALING, pool, True)
    assert abs(int(made.images[0].max()) - 20000) < 100, "percentiles of the dark image alone would make it as bright"
    assert made.images[1].max() == 65535


def test_an_image_set_without_files_is_named_with_what_to_do(tmp_path: Path) -> None:
    for name in ("set.json", "images.npy", "cases.csv"):
        (tmp_path / name).write_bytes(b"x")
    with (
        DecodePool(1, 1 << 30, 30.0) as pool,
        pytest.raises(
            CohortError, match=r"--real is an image set without DICOM or picture files; .* scansynth add-set"
        ),
    ):
        survey(tmp_path, "--real", pool, None, False)
