"""Images of a release are known again, and others are not."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from command_line import scansynth
from PIL import Image
from scipy.ndimage import gaussian_filter

from scansynth.errors import ReleaseError
from scansynth.files import read_csv, read_json, write_json
from scansynth.metrics.fingerprint import fingerprint, likeness
from scansynth.release.manifest import MANIFEST
from scansynth.release.register import PRINTS, REGISTER, _calibrated, journal_cut_off, registers_of, whose
from scansynth.study import Study, open_study

Change = Callable[[np.ndarray], np.ndarray]
GREY = 257


def scans(count: int, seed: int, side: int = 64) -> np.ndarray:
    """Smooth structure of a scan's kind on one common background, uint16 (n, side, side)."""
    draw = np.random.default_rng(seed)
    common = gaussian_filter(np.random.default_rng(0).normal(size=(side, side)), 8.0)
    own = np.stack([gaussian_filter(draw.normal(size=(side, side)), 1.0) for _ in range(count)])
    values = common / common.std() + own / own.std()
    return np.clip((values + 4.0) * 8000, 0, 65535).astype(np.uint16)


def jpeg(quality: int) -> Change:
    def change(image: np.ndarray) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray((image // GREY).astype(np.uint8)).save(stream, "JPEG", quality=quality)
        return np.asarray(Image.open(stream))

    return change


def resized(rows: int, columns: int) -> Change:
    return lambda image: np.asarray(
        Image.fromarray(image.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
    )


def cropped(top: int, left: int, rows: int, columns: int) -> Change:
    return lambda image: image[top : top + rows, left : left + columns]


CHANGES: dict[str, Change] = {
    "as it is": lambda image: image,
    "other grey levels": lambda image: 0.3 * image + 7.0,
    "JPEG 75": jpeg(75),
    "JPEG 40": jpeg(40),
    "half the size": resized(32, 32),
    "three times the size": resized(192, 192),
    "cropped to 80% in the middle": cropped(6, 6, 52, 52),
    "cropped to 80% at a corner": cropped(0, 12, 52, 52),
    "cropped to 80% in its rows": cropped(4, 0, 52, 64),
    "cropped, resized and compressed": lambda image: jpeg(60)(
        np.clip(resized(90, 90)(cropped(3, 9, 54, 54)(image)), 0, 65535).astype(np.uint16)
    ),
}


@pytest.fixture(scope="module")
def ours() -> tuple[np.ndarray, np.ndarray, float]:
    images = scans(80, 1)
    prints = np.stack([fingerprint(image) for image in images])
    threshold = _calibrated(images, prints, 0).threshold
    assert threshold is not None
    return images, prints, threshold


@pytest.mark.parametrize("name", CHANGES)
def test_every_image_is_known_again_after(name: str, ours: tuple[np.ndarray, np.ndarray, float]) -> None:
    images, prints, threshold = ours
    for place in range(0, 80, 4):
        scores = likeness(CHANGES[name](images[place]), prints, 1.0)
        assert scores.argmax() == place
        assert scores[place] >= max(threshold, 0.95), "between the pixels, too, sets alike as patients are need this"


def test_images_of_another_set_of_the_same_kind_are_not_claimed(ours: tuple[np.ndarray, np.ndarray, float]) -> None:
    _, prints, threshold = ours
    others = scans(60, 2)
    claimed = [
        likeness(change(image), prints, 1.0).max() >= threshold
        for image in others
        for change in (CHANGES["as it is"], CHANGES["cropped to 80% in the middle"], CHANGES["JPEG 40"])
    ]
    assert sum(claimed) == 0


def test_images_that_are_all_alike_are_not_told_apart() -> None:
    one = scans(1, 3)[0].astype(np.float64)
    images = np.stack([one + np.random.default_rng(seed).normal(0, 20, one.shape) for seed in range(8)]).astype(
        np.uint16
    )
    made = _calibrated(images, np.stack([fingerprint(image) for image in images]), 0)
    assert made.threshold is None
    assert made.alike > 0.95


def test_a_flat_image_is_like_nothing(ours: tuple[np.ndarray, np.ndarray, float]) -> None:
    _, prints, threshold = ours
    assert likeness(np.full((64, 64), 7), prints, 1.0).max() < threshold


def test_a_likeness_is_one_for_the_image_itself_in_any_shape() -> None:
    image = scans(1, 4, 96)[0][:60]
    assert likeness(image, fingerprint(image)[None], 60 / 96)[0] > 0.99


def test_a_released_image_is_known_by_uid_pixels_and_likeness(
    released: Path, whole_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = read_csv(released / "images.csv")[3]
    assert read_json(released / REGISTER)["threshold"] is not None
    places = registers_of(whole_study)
    for where in (places, (released,)):
        for name in ("file", "png"):
            known = whose(released / row[name], where)
            assert known is not None
            assert (known.image, known.ours) == (row["id"], True)
    copy = pydicom.dcmread(released / row["file"])
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = "2.25.42"
    copy.save_as(tmp_path / "renamed.dcm")
    known = whose(tmp_path / "renamed.dcm", places)
    assert known is not None
    assert (known.image, known.by) == (row["id"], "its pixels")
    picture = np.asarray(Image.open(released / row["png"]))
    Image.fromarray((picture // GREY).astype(np.uint8)).resize((80, 80), Image.Resampling.BICUBIC).save(
        tmp_path / "x.jpg"
    )
    known = whose(tmp_path / "x.jpg", places)
    assert known is not None
    assert (known.image, known.by, known.ours) == (row["id"], "its likeness", True)
    assert scansynth("whose", tmp_path / "x.jpg", whole_study.folder) == 0
    assert f"x.jpg is the synthetic image {row['id']}" in capsys.readouterr().out


def test_our_uid_on_other_pixels_is_told(released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = read_csv(released / "images.csv")[5]
    altered = pydicom.dcmread(released / row["file"])
    rows, columns = altered.Rows, altered.Columns
    altered.PixelData = (scans(1, 9, max(rows, columns))[0][:rows, :columns] >> 4).astype("<u2").tobytes()
    altered.save_as(tmp_path / "altered.dcm")
    known = whose(tmp_path / "altered.dcm", (released,))
    assert known is not None
    assert (known.image, known.by, known.ours) == (row["id"], "its UID", False)
    assert scansynth("whose", tmp_path / "altered.dcm", released) == 0
    assert "its pixels are not that image's" in " ".join(capsys.readouterr().out.split())


def test_a_real_image_is_not_claimed(
    released: Path, whole_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = np.load(whole_study.cohort / "images.npy")[0, 0]
    Image.fromarray(real).save(tmp_path / "real.png")
    assert whose(tmp_path / "real.png", (released,)) is None
    assert scansynth("whose", tmp_path / "real.png", released) == 0
    assert "not known" in capsys.readouterr().out


def test_a_release_knows_the_journal_before_it(whole_study: Study, released: Path, tmp_path: Path) -> None:
    shutil.copytree(whole_study.folder, tmp_path / "study")
    study = open_study(tmp_path / "study")
    study.log("audit", "written")
    study.releases[0].joinpath(MANIFEST).write_text(
        json.dumps({**read_json(released / MANIFEST), "journal": study.journal_head()})
    )
    study.log("release", "written")
    assert journal_cut_off(study) == ""
    lines = study.journal.read_bytes().splitlines(keepends=True)
    study.journal.write_bytes(b"".join(lines[:-1]))
    assert "journal.end.json names" in journal_cut_off(study)
    study.journal_end.unlink()
    assert "that file is gone" in journal_cut_off(study)
    study.journal.write_bytes(b"".join(lines[:-2]))
    write_json(study.journal_end, {"sha256": study.journal_head()})
    assert journal_cut_off(study).startswith("before the release ")


def test_what_is_no_image_or_no_register_is_refused(released: Path, tmp_path: Path, whole_study: Study) -> None:
    (tmp_path / "x.txt").write_text("no image")
    with pytest.raises(ReleaseError, match=r"x\.txt cannot be read"):
        whose(tmp_path / "x.txt", (released,))
    with pytest.raises(ReleaseError, match="missing or damaged"):
        whose(released / "png" / "000003.png", (tmp_path,))
    (tmp_path / "study").mkdir()
    with pytest.raises(ReleaseError, match="has released nothing"):
        registers_of(Study(tmp_path / "study", whole_study.config))
    assert (released / PRINTS).is_file()
