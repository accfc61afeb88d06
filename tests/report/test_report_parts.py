"""Words, pictures and figures of the page, one by one."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from fake_evidence import claim
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from scansynth.report.audit.membership import passing
from scansynth.report.audit.spreads import appearance_charts, spread_chart
from scansynth.report.figures.intervals import interval_picture
from scansynth.report.figures.pictures import OUTLINE, Picture, montage, sheet, shrink_factor, single, to_grey
from scansynth.report.figures.words import clean, duration, moment, number, together
from scansynth.report.tables import claim_row
from scansynth.report.training.course import Course
from scansynth.report.training.curves import training_charts
from scansynth.statistics import Direction


def pixels(picture: Picture) -> np.ndarray:
    data = base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"), (float("nan"), "—"), (0.0, "0"), (1.0, "1"), (0.0431, "0.0431"), (0.65, "0.65"),
        (-0.2231, "−0.223"), (12.34, "12.3"), (1234567, "1\u202f234\u202f567"), (1234.5, "1\u202f234"),
        (2e-7, "2.0e−07"), (0.9996, "1"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_figures_together_have_the_same_decimals() -> None:
    assert together((0.0125, 0.0003, 0.0268)) == ["0.0125", "0.0003", "0.0268"]
    assert together((0.94, 0.91, 0.97)) == ["0.94", "0.91", "0.97"]
    assert together((-1000.0, 400.0)) == ["−1\u202f000", "400"]
    assert together((0.0, 0.0)) == ["0", "0"]


@pytest.mark.parametrize(
    "text",
    [
        "/home/ann/scans",
        "see /data/x.dcm now",
        "file:///srv/a",
        r"C:\scans\a",
        r"\\pacs\share",
        "~/scans/a",
        "(/mnt/a)",
    ],
)
def test_paths_are_left_out(text: str) -> None:
    assert "[path left out]" in clean(text)
    assert not {"scans", "data", "srv", "pacs", "mnt"} & set(clean(text).replace("\\", "/").split("/"))


@pytest.mark.parametrize("text", ["a and/or b", "1/8 of the images", "1 / 8", "images/s", "10/50/90%", "</b>"])
def test_slashes_that_are_no_paths_stay(text: str) -> None:
    assert clean(text) == text


def test_times_in_words() -> None:
    assert [duration(value) for value in (0.2, 59.6, 60, 3599, 3600, 86_460)] == [
        "under 1 s", "1 min", "1 min", "59 min 59 s", "1 h", "24 h 1 min",
    ]  # fmt: skip
    assert moment("2026-11-20T13:05:00+01:00") == "20 November 2026, 12:05 UTC"
    assert moment("soon") == "soon"


def test_the_window_is_fixed_and_even() -> None:
    values = np.arange(65536, dtype=np.uint16)
    grey = to_grey(values)
    assert (grey[0], grey[-1]) == (0, 255)
    assert np.all(np.diff(grey.astype(int)) >= 0)
    assert np.abs(grey - values / 257.0).max() <= 0.5
    # A dark image stays dark: nothing is stretched to its own range.
    dark = np.full((1, 64, 64), 2570, np.uint16)
    assert np.all(pixels(montage(dark, 6)) == 10)


def test_a_montage_holds_each_image_in_its_place() -> None:
    images = (np.arange(12, dtype=np.uint16) * 257 * 20)[:, None, None] * np.ones((1, 64, 64), np.uint16)
    picture = pixels(montage(images, 4))
    pitch = (picture.shape[1] + 4) // 4
    centres = picture[pitch // 2 :: pitch, pitch // 2 :: pitch]
    assert centres.tolist() == (np.arange(12) * 20).reshape(3, 4).tolist()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("factor", [1, 2])
def test_a_line_surrounds_a_lesion_and_leaves_it_free(channels: int, factor: int) -> None:
    images = np.full((2, channels * 256, 256), 257 * 40, np.uint16)
    masks = np.zeros((2, 256, 256), np.uint8)
    masks[0, 64:128, 32:64] = 1  # the second image has no lesion
    picture = pixels(montage(images, 2, factor, masks))
    side = picture.shape[0] // channels  # what shrinks under 160 pixels comes back as even squares
    first, second = picture[:, :side], picture[:, -side:]
    line = (first == OUTLINE).all(axis=2)
    for channel in range(channels):
        top = channel * side
        lesion = np.s_[top + side // 4 : top + side // 2, side // 8 : side // 4]
        assert not line[lesion].any()
        assert (first[lesion] == 40).all()
    thick = max(1, side // 128)
    assert line.sum() == channels * 2 * (side * 3 // 8 * thick + thick * (thick - 1))
    assert (second == 40).all()
    assert pixels(montage(images, 2, factor, np.zeros_like(masks))).ndim == 2  # nothing to outline: grey as ever


def test_single_images_mirror_as_told() -> None:
    image = np.zeros((64, 64), np.uint16)
    image[:8, :8] = 65535
    corners = {"": (0, 0), "left-right": (0, -1), "top-bottom": (-1, 0), "both": (-1, -1)}
    for flip, corner in corners.items():
        assert pixels(single(image, flip))[corner] == 255
        assert (pixels(single(image, flip)) == 255).mean() == pytest.approx(1 / 64)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
@pytest.mark.parametrize("grids", [2, 4, 6])
def test_grids_are_shrunk_to_fit(size: int, grids: int) -> None:
    factor = shrink_factor(size, grids, 36)
    assert size % factor == 0
    assert grids * 36 * (size // factor) ** 2 <= 5_000_000


def test_a_sheet_shows_the_corner_and_drops_metadata(tmp_path: Path) -> None:
    tiles = np.zeros((512, 512), np.uint8)
    tiles[:64, :64] = 200
    info = PngInfo()
    info.add_text("Comment", "secret")
    Image.fromarray(tiles).save(tmp_path / "grid.png", pnginfo=info)
    picture = sheet(tmp_path / "grid.png", 64, 4)
    assert b"secret" not in base64.b64decode(picture.uri.split(",")[1])
    assert pixels(picture)[20, 20] == 200
    assert (pixels(picture) == 200).mean() == pytest.approx(1 / 16, rel=0.1)


def test_interval_picture_places_figures_in_order() -> None:
    svg = str(interval_picture(0.5, (0.4, 0.6), 0.9, (0.1, 0.2, 0.3), Direction.AT_MOST))
    left, right = map(float, re.findall(r'x1="([\d.]+)%" x2="([\d.]+)%"[^>]*class="interval"', svg)[0])
    value = float(re.findall(r'cx="([\d.]+)%"', svg)[0])
    width = float(re.findall(r'width="([\d.]+)%"[^>]*class="good"', svg)[0])
    assert left < value < right < width < 100
    assert value == pytest.approx((left + right) / 2)
    assert 'aria-label="Value 0.5, interval 0.4 to 0.6, margin at most 0.9, floor 0.1 to 0.3."' in svg


def test_interval_picture_without_a_value_is_none() -> None:
    assert interval_picture(None, (), 0.5, (), Direction.AT_LEAST) is None


def test_interval_picture_of_equal_figures_stays_inside() -> None:
    svg = str(interval_picture(0.0, (0.0, 0.0), 0.0, (0.0,), Direction.AT_MOST))
    assert "nan" not in svg
    assert 'cx="50.00%"' in svg


def test_charts_follow_the_theme_and_keep_text() -> None:
    log = {"images": np.arange(1, 41) * 2000.0, "loss_d": np.linspace(1, 0.5, 40), "diversity": np.full(40, np.nan)}
    course = Course(log, (), (), "")
    charts = training_charts(course)
    assert [chart.title for chart in charts] == ["Losses"]
    svg = str(charts[0].svg)
    assert "var(--real)" in svg
    assert "<text" in svg
    assert "<style" not in svg
    assert "#0102" not in svg
    assert "font-family" not in svg
    assert str(training_charts(course)[0].svg) == svg


def test_missing_or_empty_figures_give_no_chart() -> None:
    kid = "fidelity.kid"
    assert spread_chart(kid, {}) == []
    assert spread_chart(kid, {"floor": [], "synthetic": None}) == []
    assert spread_chart("telltales.files", {"floor": [1.0]}) == []
    lone = spread_chart(kid, {"floor": [0.1, 0.2, 0.3], "synthetic": [0.4]})
    assert len(lone) == 1
    assert len(lone[0].key) == 2
    assert appearance_charts({}) == []
    assert appearance_charts({"spectrum": {"x": [], "synthetic": [], "low": [], "high": []}}) == []


def test_judges_are_named_where_there_are_several_and_their_charts_do_not_clash() -> None:
    figures = {"floor": [0.1, 0.2, 0.3], "synthetic": [0.4]}
    one, other = (spread_chart("fidelity.kid", figures, judge, named=True)[0] for judge in ("fixed", "learned"))
    assert one.title.endswith("· fixed")
    assert set(re.findall(r'id="([^"]+)"', one.svg)).isdisjoint(re.findall(r'id="([^"]+)"', other.svg))


@pytest.mark.parametrize("values", [["a"], [{}], [[1], [1, 2]], {"a": 1}, "text"])
def test_samples_that_are_no_numbers_are_damage(values: object) -> None:
    with pytest.raises(ValueError, match=r"number|float|sequence"):
        spread_chart("fidelity.kid", {"floor": values})


def test_curves_of_different_length_are_damage() -> None:
    with pytest.raises(ValueError, match="length"):
        appearance_charts({"spectrum": {"x": [1, 2], "synthetic": [1], "low": [1, 2], "high": [1, 2]}})


def test_the_curve_of_who_was_trained_on() -> None:
    others, members = passing(np.array([3.0, 4.0]), np.array([1.0, 2.0]))
    assert np.trapezoid(members, others) == pytest.approx(1.0)  # all told apart
    others, members = passing(np.arange(50.0), np.arange(50.0))
    assert members == pytest.approx(others)
    assert (others[0], others[-1]) == (0.0, 1.0)
    many = np.random.default_rng(1).normal(size=2000)
    others, members = passing(many + 1.0, many)
    assert len(others) <= 202
    assert np.all(np.diff(others) >= 0)
    assert np.trapezoid(members, others) == pytest.approx(0.76, abs=0.02)  # normal, one standard deviation apart


def test_times_and_logarithms_are_written_for_readers() -> None:
    row = claim_row(claim("fairness.share", attribute="sex"))
    assert (row["value"], row["unit"], row["of"]) == ("1.36", "times", "by sex")
    assert "1.25" in row["aim"]
    row = claim_row(claim("fidelity.c2st_pixels"))
    assert (row["value"], row["unit"]) == ("55", "in 100")
