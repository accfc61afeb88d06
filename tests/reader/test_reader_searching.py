"""Simulated studies with marks: their areas are those of the analysis, and come out as they were asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scansynth.metrics.marks import Candidates, Lesions
from scansynth.reader.statistics.arms import Compared
from scansynth.reader.statistics.planning import Asked, plan_marks, sentences_of_marks
from scansynth.reader.statistics.searching import Search, areas, power, study
from scansynth.reader.statistics.where import free_response


def test_the_areas_are_those_of_the_analysis_with_and_without_each_image() -> None:
    lesion, highest = Search().ratings(3, 30, np.random.default_rng(2))
    found = areas(lesion[0], highest[0])
    lesions = Lesions(np.arange(30), np.full(30, 10.0), np.full(30, 10.0), np.full(30, 3.0))
    readers = []
    for own, false in zip(lesion[0], highest[0], strict=True):
        hit, wrong = np.flatnonzero(own > 0), np.flatnonzero(false > 0)
        rows = np.r_[np.full(len(hit), 10.0), np.full(len(wrong), 50.0)]
        readers.append(Candidates(np.r_[hit, wrong], rows, np.full(len(rows), 10.0), np.r_[own[hit], false[wrong]]))
    expected = free_response(readers, lesions, np.arange(30), everywhere=True)
    assert found[:, 0] == pytest.approx(expected.values)
    assert found[:, 1:] == pytest.approx(expected.left_out)


@pytest.mark.parametrize("difference", [0.0, 0.1, 0.2])
def test_the_mean_area_and_its_difference_are_what_was_asked_for(difference: float) -> None:
    world = Search(difference=difference, reader_sd=0.05, apart_sd=0.0)
    rng = np.random.default_rng(3)
    drawn = [study(world, 4, 200, rng) for _ in range(60)]
    assert np.mean([one.value for one in drawn]) == pytest.approx(difference, abs=0.012)
    assert np.mean([one.arms[0].general.auc for one in drawn]) == pytest.approx(world.area, abs=0.012)


def test_more_readers_and_images_show_more_and_the_margin_is_kept() -> None:
    none = Search(reader_sd=0.05)
    small, large = (power(none, readers, images, 0.1, 0.95, 60, 1) for readers, images in ((3, 60), (8, 300)))
    shown = [one[Compared.EQUIVALENT] + one[Compared.WITHIN] for one in (small, large)]
    assert shown[0] < 0.5
    assert shown[1] > 0.8
    at_margin = power(Search(difference=0.1, reader_sd=0.05), 6, 200, 0.1, 0.95, 100, 2)
    assert at_margin[Compared.EQUIVALENT] + at_margin[Compared.WITHIN] <= 0.12  # 5% nominal; 100 given draws


def test_the_plan_says_what_marks_can_show() -> None:
    made = plan_marks(Asked(0.1, 0.95, 0.1, (2, 6), (60, 240), 50))
    assert [(cell.readers, cell.images) for cell in made.cells] == [(2, 60), (2, 240), (6, 60), (6, 240)]
    assert made.cells[0].equivalent == 0.0, "two readers get no verdict"
    assert made.cells[3].found > 0.9
    *others, last = made.cells
    enough, short = (replace(made, cells=(*others, replace(last, equivalent=share))) for share in (0.99, 0.5))
    assert sentences_of_marks(enough)[0].startswith("6 readers of 240 images each")
    first, *rest = sentences_of_marks(short)
    assert first.startswith("No design of this table")
    assert any("false marks" in line for line in rest)
