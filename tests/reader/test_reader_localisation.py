"""What marks show: known answers, a worked example of the literature, and the utility trial's own code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_marks import ROWS, lesion_of, outlines, reading, study

from scansynth.claims.claim import Claim
from scansynth.errors import ReaderError
from scansynth.metrics.marks import Candidates, Lesions, mark
from scansynth.reader.marks import Mark, written
from scansynth.reader.protocol import CERTAINTY
from scansynth.reader.statistics.localisation import froc_points, gather, localisation, lroc_points
from scansynth.reader.statistics.located import located, plant
from scansynth.reader.statistics.mrmc import areas, mean_of
from scansynth.reader.statistics.outlined import read_lesions, write_lesions
from scansynth.reader.statistics.readings import Reading
from scansynth.reader.statistics.where import columns as where_columns
from scansynth.reader.statistics.where import free_response, lesions_found, localised
from scansynth.seeds import generator
from scansynth.statistics import Verdict
from scansynth.utility.statistics.froc import sensitivities
from scansynth.utility.statistics.resampling import once

ASKED = {"finding": "nodule", "levels": list(CERTAINTY)}
NAMES = ("compact", "other")


def published() -> tuple[Candidates, Lesions]:
    """Chakraborty, The FROC paradigm (RJafrocFrocBook), chapter on the meanings of figures of merit: 4 + 4 cases.

    Ratings of non-lesion and lesion localisations of one simulated reader, of four images without lesions and four with
    1, 1, 2 and 2 of them.
    """
    false = [(1, 0.4874291), (2, 0.7383247), (2, 0.5757814), (3, -0.3053884), (4, 1.5117812)]
    true = [(4, 0, 0.8523430), (5, 0, -0.2146999), (6, 0, 1.5884892), (7, 0, 2.9438362), (7, 1, 1.98381)]
    image = np.array([case for case, _ in false] + [case for case, _, _ in true])
    column = np.array([90.0] * len(false) + [20.0 * lesion for _, lesion, _ in true])
    score = np.array([rating for *_, rating in (*false, *true)])
    lesions = Lesions(
        np.array([4, 5, 6, 6, 7, 7]), np.zeros(6), np.array([0.0, 0.0, 0.0, 20.0, 0.0, 20.0]), np.full(6, 5.0)
    )
    return Candidates(image, np.zeros(len(image)), column, score), lesions


def test_the_area_is_that_which_rjafroc_publishes() -> None:
    """RJafroc prints an area under the AFROC of 0.7708333 for these ratings (UtilFigureOfMerit, FOM = "AFROC")."""
    own, lesions = published()
    assert free_response([own], lesions, np.arange(8)).values[0] == pytest.approx(0.7708333, abs=5e-8)


def test_with_false_marks_of_all_images_it_is_the_first_kind_of_the_area() -> None:
    """FOM = "AFROC1": each lesion against the most confident false mark of each of all eight images, by hand."""
    own, lesions = published()
    highest = [-np.inf, 0.4874291, 0.7383247, -0.3053884, 1.5117812, -np.inf, -np.inf, -np.inf]
    found = [0.8523430, -0.2146999, 1.5884892, -np.inf, 2.9438362, 1.98381]
    won = [float(one > other) + (one == other) / 2 for one in found for other in highest]
    assert free_response([own], lesions, np.arange(8), everywhere=True).values[0] == pytest.approx(np.mean(won))


def told(readings: list[Reading], known: dict[tuple[bool, str], Any], level: float = 0.95) -> dict[str, Any]:
    kept = {one.reader for one in readings}
    return localisation(readings, kept, known, ASKED, ROWS, NAMES, 0.1, level)


def test_readers_who_always_hit_and_never_err_have_areas_of_one() -> None:
    found = told(study(4, {False: 1.0, True: 1.0}, alarms=0.0), outlines())
    for kind in found["kinds"]:
        assert [kind["figures"][name]["value"] for name in ("free_response", "localised", "found")] == [1.0] * 3
        assert (kind["images"], kind["with_lesions"], kind["lesions"], kind["unknown"]) == (40, 20, 20, 0)
        assert kind["false_per_image"] == 0.0
        assert kind["marks_per_image"] == 0.5
        assert kind["froc"][-1][1:] == [0.0, 1.0]
        assert kind["lroc"][-1][1:] == [0.0, 1.0]
        assert kind["radius_ratio"] == pytest.approx([1.5, 1.5, 1.5])
    assert found["difference"]["value"] == 0.0
    assert found["difference"]["outcome"] == "equivalent within the margin"


def test_readers_who_mark_nothing_are_at_chance_and_find_nothing() -> None:
    found = told(study(3, {False: 0.0, True: 0.0}, alarms=0.0), outlines())
    (real, _) = found["kinds"]
    assert real["figures"]["free_response"]["value"] == 0.5  # all lesions and all images are alike: unmarked
    assert real["figures"]["localised"]["value"] == 0.0
    assert real["figures"]["found"]["value"] == 0.0
    assert real["froc"] == []
    assert real["radius_ratio"] is None


def test_the_figures_are_those_of_each_kind_alone() -> None:
    """An independent way: the same readers and images of one kind given by themselves."""
    readings, known = study(4, {False: 0.9, True: 0.5}, seed=3), outlines()
    found = told(readings, known)
    for place, synthetic in enumerate((False, True)):
        own = [one for one in readings if one.synthetic is synthetic]
        marked = gather(own, {one.reader for one in own}, known, ROWS)
        alone = free_response(marked.marks, marked.lesions, marked.patients)
        mean = mean_of(alone.values, alone.covariance, alone.left_out.shape[1], alone.fewest).general
        shown = found["kinds"][place]["figures"]["free_response"]
        assert shown["readers"] == pytest.approx(alone.values.tolist())
        # in the whole study the other kind's patients change nothing when they are left out, but are counted
        assert shown["interval"] == pytest.approx([mean.interval(0.95).low, mean.interval(0.95).high], abs=0.01)
        share = lesions_found(marked.marks, marked.lesions, marked.patients)
        assert found["kinds"][place]["figures"]["found"]["readers"] == pytest.approx(share.values.tolist())
        assert localised(marked.marks, marked.lesions, marked.patients).values == pytest.approx(
            found["kinds"][place]["figures"]["localised"]["readers"]
        )


def test_a_difference_is_found_and_none_is_not() -> None:
    worse = told(study(6, {False: 0.95, True: 0.4}, seed=1), outlines())["difference"]
    assert worse["outcome"] == "different"
    assert worse["value"] > 0.15
    assert "area under the free-response curve of real images" in worse["why"]
    same = [told(study(5, {False: 0.8, True: 0.8}, seed=seed), outlines())["difference"] for seed in range(40)]
    held = np.mean([one["interval"][0] <= 0.0 <= one["interval"][1] for one in same])
    assert held >= 0.85  # 95% nominal; 40 given draws


def test_the_curve_is_the_trials_at_every_threshold() -> None:
    """`utility.statistics.froc.sensitivities` on the same marks, at the false alarms of each point."""
    readings, known = study(1, {False: 0.7, True: 0.6}, alarms=0.8, seed=5), outlines()
    marked = gather(readings, {"r01"}, known, ROWS)
    for arm in (0, 1):
        own = [one for one in readings if int(one.synthetic) == arm]
        alone = gather(own, {"r01"}, known, ROWS)
        scored = mark(alone.marks[0], alone.lesions, len(alone.arms))
        points = froc_points(marked, arm)
        assert len(points) >= 4
        for _, false, share in points:
            assert sensitivities(scored, once(scored.images), [false])[0, 0] == pytest.approx(share)


def test_the_area_under_the_lroc_points_is_the_figure() -> None:
    """By trapezoids, with the last point joined to all images without a lesion and the same share localised."""
    readings, known = study(1, {False: 0.7, True: 0.7}, alarms=0.5, seed=2), outlines()
    marked = gather(readings, {"r01"}, known, ROWS)
    points = np.array([[0.0, 0.0], *(row[1:] for row in lroc_points(marked, 0)), [1.0, np.nan]])
    points[-1, 1] = points[-2, 1]
    value = localised(marked.marks, marked.lesions, marked.patients, marked.of(0)).values[0]
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(value)


def test_where_all_images_have_lesions_false_marks_of_all_count() -> None:
    found = told(study(4, {False: 0.9, True: 0.9}, every=1), outlines(every=1))
    assert found["everywhere"]
    for kind in found["kinds"]:
        assert kind["figures"]["localised"] is None
        assert kind["lroc"] == []
        assert 0.5 < kind["figures"]["free_response"]["value"] < 1.0
    assert found["difference"]["outcome"] in {"equivalent within the margin", "inconclusive"}


def test_a_set_without_masks_is_said_to_be_left_out() -> None:
    found = told(study(4, {False: 0.9, True: 0.9}), outlines(synthetic=False))
    real, synthetic = found["kinds"]
    assert real["figures"]["free_response"]["value"] > 0.7
    assert (synthetic["unknown"], synthetic["images"]) == (40, 0)
    assert set(synthetic["figures"].values()) == {None}
    assert found["difference"] == {
        "outcome": "not assessable",
        "why": "It is not known where the synthetic images have lesions: the set has no masks.",
    }


def test_few_readers_and_few_lesions_are_not_assessable() -> None:
    two = told(study(2, {False: 0.9, True: 0.9}), outlines())["difference"]
    assert two["outcome"] == "not assessable"
    one = told(study(1, {False: 0.9, True: 0.9}), outlines())
    assert one["difference"]["outcome"] == "not assessable"
    assert len(one["kinds"][0]["froc"]) > 0
    few = told(study(4, {False: 0.9, True: 0.9}, every=5), outlines(every=5))
    assert few["difference"]["outcome"] == "not assessable"
    assert "10 images" in few["difference"]["why"]


def test_a_mark_in_any_of_several_channels_is_a_mark_at_that_place() -> None:
    below = [
        reading("r01", 0, False, 1, [Mark(lesion_of(0)[0] + ROWS, lesion_of(0)[1], 4.0, 5)]),
        reading("r01", 2, False, 2, [Mark(ROWS - 0.5, 3.0, 4.0, 2)]),
    ]
    marked = gather(below, {"r01"}, outlines(), ROWS)
    assert marked.marks[0].row.tolist() == [lesion_of(0)[0], -0.5]
    assert np.isfinite(mark(marked.marks[0], marked.lesions, 2).found).tolist() == [True, False]


def test_repeats_and_readers_who_do_not_count_are_left_out() -> None:
    readings = study(3, {False: 0.9, True: 0.9})
    again = [replace(readings[0], item="again", position=900, repeat_of=readings[0].item, marks=written([]))]
    known, kept = outlines(), {"r01", "r02"}
    whole = gather([*readings, *again], kept, known, ROWS)
    assert whole.readers == ("r01", "r02")
    assert len(whole.marks[0].score) == len(gather(readings, kept, known, ROWS).marks[0].score)


def claim_of(readings: list[Reading], known: dict[tuple[bool, str], Any]) -> Claim:
    kept = {one.reader for one in readings}
    return located(
        told(readings, known), gather(readings, kept, known, ROWS), 0.95, {"x": "y"}, generator(1, "located")
    )


def test_the_claim_says_what_the_comparison_says() -> None:
    same = claim_of(study(6, {False: 0.95, True: 0.95}, alarms=0.2), outlines())
    assert same.verdict is Verdict.SHOWN
    assert same.floor is not None
    assert same.floor.high < 0.1
    (planted,) = same.control
    assert planted.passed, "lesions missed are found in these readers' own marks"
    assert same.interval is not None
    assert same.interval.high < 0.1
    assert (same.level, same.margin, same.inputs) == (pytest.approx(0.9), 0.1, {"x": "y"})
    worse = claim_of(study(6, {False: 0.95, True: 0.4}, seed=1), outlines())
    assert worse.verdict is Verdict.REFUTED
    missing = claim_of(study(4, {False: 0.9, True: 0.9}), outlines(synthetic=False))
    assert missing.verdict is Verdict.NOT_ASSESSABLE
    assert "the set has no masks" in missing.why


def test_readers_who_mark_nothing_prove_nothing() -> None:
    """They are alike on both kinds, and would be whatever the images show: the control takes the verdict away."""
    nobody = claim_of(study(5, {False: 0.0, True: 0.0}, alarms=0.0), outlines())
    assert nobody.verdict is Verdict.NOT_ASSESSABLE
    assert "might not have detected" in nobody.why


def test_what_is_planted_lowers_the_area_by_as_much() -> None:
    readings, known = study(1, {False: 0.9, True: 0.9}, count=400, every=2), outlines(400)
    marked = gather(readings, {"r01"}, known, ROWS)
    columns = where_columns(marked.marks, marked.lesions, len(marked.arms), everywhere=False)
    synthetic = marked.arms[columns.image] == 1
    rng = np.random.default_rng(8)
    patients = marked.patients[columns.image]
    before, after = (
        areas(np.where(synthetic, row, np.nan)[None], columns.lesion, patients).values[0]
        for row in (columns.scores[0], plant(columns.scores[0], columns, synthetic, 0.2, rng))
    )
    assert before - after == pytest.approx(0.2, abs=0.04)


def test_lesions_csv_gives_back_what_was_written(tmp_path: Path) -> None:
    known = {
        (False, "a"): ((1.25, 2.5, 3.0), (10.0, 11.0, 2.0)),
        (False, "b"): (),
        (True, "000001"): ((0.0, 0.5, 1.0),),
    }
    path = tmp_path / "lesions.csv"
    write_lesions(path, known)
    assert read_lesions(path) == known
    for bad in ("0,a,nan,1,1", "0,a,1,1,0", "2,a,1,1,1", "0,,1,1,1", "0,a,1"):
        path.write_text(f"truth,case,row,column,radius\n{bad}\n")
        with pytest.raises(ReaderError):
            read_lesions(path)
    with pytest.raises(ReaderError, match="there is no"):
        read_lesions(tmp_path / "lesions no.csv")
