"""Lesions as points: closed forms for targets, peaks and loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scansynth.metrics.lesions import find_lesions
from scansynth.utility.detector.heatmap import draw_target, find_peaks, map_loss


def test_lesions_are_connected_parts_with_centre_and_radius() -> None:
    mask = np.zeros((40, 40), np.uint8)
    rows, columns = np.mgrid[0:40, 0:40]
    mask[np.hypot(rows - 10, columns - 12) <= 5] = 1
    mask[30:32, 30:33] = 1
    mask[32, 33] = 1  # touches by its corner: the same lesion
    first, second = find_lesions(mask)
    assert (first.row, first.column) == (10.0, 12.0)
    assert first.radius == pytest.approx(5.0, rel=0.05)
    assert second.radius == pytest.approx(np.sqrt(7 / np.pi))
    assert find_lesions(np.zeros((8, 8), np.uint8)) == ()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_target_is_highest_at_the_centre_and_peaks_lead_back(factor: int) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[40:45, 20:25] = 1
    target = draw_target(mask, factor)
    assert target.shape == (64 // factor, 64 // factor)
    assert target.max() == 1.0
    assert (target == 1.0).sum() == 1
    (peaks,) = find_peaks(torch.from_numpy(target)[None] * 8.0 - 4.0, factor)
    assert abs(peaks[0].row - 42.0) <= factor / 2
    assert abs(peaks[0].column - 22.0) <= factor / 2
    assert draw_target(np.zeros((8, 8), np.uint8), 2).max() == 0.0


def test_peaks_are_sorted_apart_and_a_plateau_is_one() -> None:
    places = torch.full((1, 30, 30), -9.0)
    places[0, 5, 5], places[0, 5, 6], places[0, 20, 20], places[0, 20, 21] = 1.0, 0.9, 3.0, 3.0
    (peaks,) = find_peaks(places, 1)
    places_found = [(peak.row, peak.column) for peak in peaks]
    assert places_found[0] == pytest.approx((20.0, 20.5), abs=0.01), "the middle of the plateau"
    assert places_found[1] == pytest.approx((5.0, 5.5), abs=0.1)
    assert len(peaks) == 2
    assert peaks[0].score == pytest.approx(1.0 / (1.0 + np.exp(-3.0)))
    flat = find_peaks(torch.full((2, 30, 30), -20.0), 1)
    assert [len(peaks) for peaks in flat] == [1, 1], "an image without a peak still has its score"


def test_loss_is_least_for_the_right_map_and_skips_what_is_not_known() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[10:15, 10:15] = 1
    target = torch.from_numpy(draw_target(mask, 1))[None]
    known = torch.ones(1, dtype=torch.bool)
    right = torch.where(target > 0.99, 6.0, -6.0)
    wrong = torch.roll(right, 12, dims=2)
    assert map_loss(right, target, known) < 0.01
    assert map_loss(wrong, target, known) > 5.0
    assert map_loss(wrong, target, ~known) == 0.0
    near = torch.roll(right, 1, dims=2)
    assert map_loss(near, target, known) < map_loss(wrong, target, known), "a near miss costs less"


def test_loss_of_one_pixel_is_the_equation() -> None:
    chance, places = 0.3, torch.tensor([[[np.log(0.3 / 0.7)]]], dtype=torch.float32)
    known = torch.ones(1, dtype=torch.bool)
    hit = -((1 - chance) ** 2) * np.log(chance)
    miss = -((1 - 0.2) ** 4) * chance**2 * np.log(1 - chance)
    assert map_loss(places, torch.ones(1, 1, 1), known).item() == pytest.approx(hit, rel=1e-5)
    assert map_loss(places, torch.full((1, 1, 1), 0.2), known).item() == pytest.approx(miss, rel=1e-5)
