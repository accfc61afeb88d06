import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from scansynth.metrics.probe import probe
from scansynth.metrics.roc import auc_and_variance
from scansynth.metrics.telltales import TRACES, as_readers_see, header_features, trace_features

SIDE = 48


def scans(count: int, seed: int) -> np.ndarray:
    """Smooth images with fine grain and no trace: (count, 48, 48) uint16."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 2, 2)) * 2
    values = (smooth + rng.normal(0, 0.03, smooth.shape) + 2.0) / 4.0
    return np.rint(np.clip(values, 0.01, 0.99) * 65535).astype(np.uint16)


def twelve_bits(images: np.ndarray) -> np.ndarray:
    return (images >> 4) << 4


def whole_units(images: np.ndarray) -> np.ndarray:
    """Rounded to 1,400 units, as a file in Hounsfield units is; the step is no whole number."""
    return np.rint(np.rint(images / 65535 * 1400) * (65535 / 1400)).astype(np.uint16)


def in_eight_bits(images: np.ndarray) -> np.ndarray:
    """Without noise: 1,401 units make a comb of 256 levels."""
    return np.rint(images / 257).astype(np.uint16) * 257


def clipped(images: np.ndarray) -> np.ndarray:
    return np.clip((images.astype(np.float64) - 24000) * 4, 0, 65535).astype(np.uint16)


def framed(images: np.ndarray) -> np.ndarray:
    made = images.copy()
    made[:, :3] = 500
    return made


def repeated_edge(images: np.ndarray) -> np.ndarray:
    made = images.copy()
    made[:, :, -1] = made[:, :, -2]
    return made


def jpeg(images: np.ndarray, quality: int = 90) -> np.ndarray:
    """Compressed, read back, and spread over all grey values again, so that no gaps are left."""
    read, rng = [], np.random.default_rng(0)
    for image in images:
        stream = io.BytesIO()
        Image.fromarray((image // 257).astype(np.uint8)).save(stream, format="JPEG", quality=quality)
        read.append(np.asarray(Image.open(stream)).astype(np.float64) * 257 + rng.uniform(-128, 128, image.shape))
    return np.clip(np.rint(read), 0, 65535).astype(np.uint16)


def coarse_cells(images: np.ndarray) -> np.ndarray:
    """Cells of 5 pixels that differ by 2% of the grey range, as of blocks that were made smaller."""
    rng = np.random.default_rng(1)
    cells = rng.normal(0, 1200, (len(images), SIDE // 5 + 1, SIDE // 5 + 1))
    spread = np.kron(cells, np.ones((5, 5)))[:, :SIDE, :SIDE]
    return np.clip(images + spread, 1, 65534).astype(np.uint16)


@pytest.mark.parametrize(
    ("spoil", "trace"),
    [
        (twelve_bits, "common step of all grey values"),
        (twelve_bits, "smallest step between grey values"),
        (twelve_bits, "grey values used of those within reach"),
        (twelve_bits, "share of odd grey values"),
        (twelve_bits, "bits in use"),
        (whole_units, "smallest step between grey values"),
        (whole_units, "grey values used of those within reach"),
        (lambda x: in_eight_bits(whole_units(x)), "grey levels used more than their neighbours"),
        (clipped, "share of black"),
        (clipped, "share of white"),
        (framed, "border of one grey value, top"),
        (framed, "border that repeats its neighbour, top"),
        (repeated_edge, "border that repeats its neighbour, right"),
        (jpeg, "fine detail dropped in blocks of 8 pixels"),
        (lambda x: jpeg(x, 20), "edges along a grid of 8 pixels"),
        (coarse_cells, "edges along any other grid"),
    ],
)
def test_a_planted_trace_is_found_by_its_own_figure(spoil: Callable[[np.ndarray], np.ndarray], trace: str) -> None:
    images = scans(60, 0)
    column = np.concatenate([trace_features(images[:30]), trace_features(spoil(images[30:]))])[:, TRACES.index(trace)]
    auc, _ = auc_and_variance(column, np.arange(60) >= 30, np.arange(60))
    assert max(auc, 1 - auc) > 0.9, auc


def test_figures_of_one_image_in_closed_form() -> None:
    ramp = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 16 + 16
    row = dict(zip(TRACES, trace_features(ramp[None])[0], strict=True))
    assert row["smallest step between grey values"] == row["common step of all grey values"] == 4.0
    assert row["share of odd grey values"] == row["share of black"] == row["share of white"] == 0.0
    assert row["bits in use"] == int(ramp.max()).bit_length() - 4
    assert row["border of one grey value, top"] == 0.0


@pytest.mark.parametrize("value", [0, 1, 300, 65535])
def test_an_image_of_one_grey_value_has_finite_figures(value: int) -> None:
    rows = trace_features(np.full((2, 32, 32), value, np.uint16))
    assert np.isfinite(rows).all()
    assert rows[0, TRACES.index("border of one grey value, left")] == 1.0


def test_an_image_is_described_without_the_others_and_grids_by_their_phase_only() -> None:
    images = scans(12, 3)
    rows, order = trace_features(images), np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(trace_features(images[order]), rows[order])
    np.testing.assert_array_equal(trace_features(images[4:5])[0], rows[4])
    dropped = TRACES.index("fine detail dropped in blocks of 8 pixels")
    compressed = jpeg(scans(12, 4))
    moved = compressed[:, 3:, 3:]
    assert trace_features(moved)[:, dropped].min() > rows[:, dropped].max()


@pytest.mark.parametrize("form", [lambda x: x, whole_units, twelve_bits, in_eight_bits])
def test_readers_see_no_steps_and_the_steps_leave_no_comb(form: Callable[[np.ndarray], np.ndarray]) -> None:
    plain, formed = scans(300, 5), form(scans(300, 6))
    seen = as_readers_see(np.concatenate([plain, formed]), np.random.default_rng(0))
    assert (seen % 257 == 0).all()
    rows, labels = trace_features(seen), np.arange(600) >= 300
    for column, name in zip(rows.T, TRACES, strict=True):
        auc, _ = auc_and_variance(column, labels, np.arange(600))
        assert 0.4 < auc < 0.6, name
    assert probe(rows, labels, np.arange(600), 0, 40).p > 0.05


def test_rounding_alone_would_leave_a_comb_and_jpeg_stays_to_be_seen() -> None:
    plain, labels = scans(200, 7), np.arange(400) >= 200
    rounded = in_eight_bits(np.concatenate([plain, whole_units(scans(200, 8))]))
    assert probe(trace_features(rounded), labels, np.arange(400), 0, 0).auc > 0.7
    compressed = as_readers_see(np.concatenate([plain, jpeg(scans(200, 8))]), np.random.default_rng(1))
    assert probe(trace_features(compressed), labels, np.arange(400), 0, 0).auc > 0.9


def test_what_readers_see_is_right_on_average_and_within_the_noise() -> None:
    for value in (257 * 40, 257 * 40 + 100, 13):
        seen = as_readers_see(np.full((4, 128, 128), value, np.uint16), np.random.default_rng(2)).astype(float)
        assert seen.mean() == pytest.approx(value, abs=4 if value > 257 else 60)  # black is clipped
        if value > 257:
            assert seen.std() == pytest.approx(257 / 2, rel=0.02)  # half a level, whatever the value
    white = as_readers_see(np.full((1, 64, 64), 65535, np.uint16), np.random.default_rng(3))
    assert white.max() == 65535
    assert white.min() >= 65535 - 257


def test_what_is_no_stack_of_stored_images_is_refused() -> None:
    for images in (np.zeros((2, 32, 32)), np.zeros((32, 32), np.uint16), np.zeros((1, 32, 40), np.uint16)):
        with pytest.raises(ValueError, match="16 bits"):
            trace_features(images)
    with pytest.raises(ValueError, match="16 pixels"):
        trace_features(np.zeros((1, 8, 8), np.uint16))


def test_headers_become_columns() -> None:
    rows = [
        {"size": 10, "syntax": "A", "padding": None, "signed": True},
        {"size": 12, "syntax": "B", "padding": -5, "signed": False},
    ]
    columns, names = header_features(rows)
    assert names == ("size", "syntax is A", "syntax is B", "padding missing", "padding", "signed")
    np.testing.assert_array_equal(columns, [[10, 1, 0, 1, 0, 1], [12, 0, 1, 0, -5, 0]])
    nothing = [{"spacing": float("nan")}, {"spacing": 0.5}]
    np.testing.assert_array_equal(header_features(nothing)[0], [[1, 0], [0, 0.5]])
    with pytest.raises(ValueError, match="same keys"):
        header_features([*rows, {"size": 1}])
