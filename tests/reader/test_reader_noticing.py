"""The statistics of the first part: known counts, known answers, planted differences, and what cannot be said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_readings import rows
from scipy import stats

from scansynth.errors import ReaderError
from scansynth.reader.statistics.mrmc import areas
from scansynth.reader.statistics.noticing import noticing, shares
from scansynth.reader.statistics.noticing_plan import expected_ends, lines, plan_noticing
from scansynth.reader.statistics.readings import Reading
from scansynth.reader.statistics.said import Said, read_said, write_said
from scansynth.statistics import clopper_pearson

AT = "2026-11-27T12:00:00+00:00"


def said(noticed: list[bool], controls: list[bool] | None = None) -> list[Said]:
    own = [Said(f"r{n + 1:02d}", False, yes, True, 10 * n, "", AT) for n, yes in enumerate(noticed)]
    more = [Said(f"x{n + 1:02d}", True, yes, False, 0, "grainy", AT) for n, yes in enumerate(controls or [])]
    return own + more


def first_readings(up_real: float, up_made: float, readers: int = 6, images: int = 80, seed: int = 0) -> list[Reading]:
    """Half synthetic, half of either with the finding, which raises the answers by `up`."""
    rng = np.random.default_rng([seed, readers, images])
    truth, finding = np.arange(images) % 2 == 1, np.arange(images) % 4 < 2
    up = np.where(truth, up_made, up_real) * finding + rng.normal(0, 0.5, images)
    answers = np.clip(np.rint(rng.normal(2.8 + up, 1.0, (readers, images))), 1, 6).astype(int)
    found = rows(answers, truth)
    return [replace(one, label="nodule" if finding[int(one.case[4:])] else "none") for one in found]


def test_shares_are_counts_with_the_exact_interval_over_readers() -> None:
    found = noticing([], said([True, True, False, False, False], [True, False]), "nodule", 20, 0.95)
    noticed = found["readers"]["noticed"]
    assert (noticed["count"], noticed["of"], noticed["value"]) == (2, 5, 0.4)
    assert noticed["interval"] == pytest.approx([0.0527, 0.8534], abs=1e-4)  # Clopper and Pearson's table
    assert found["controls"]["noticed"]["count"] == 1
    assert found["difference"]["noticed"]["value"] == pytest.approx(0.4 - 0.5)
    low, high = found["difference"]["noticed"]["interval"]
    assert low < -0.1 < high
    assert found["difference"]["suspected"]["p"] == pytest.approx(stats.fisher_exact([[5, 0], [0, 2]]).pvalue)
    assert found["readers"]["percent"] == {"median": 20.0, "least": 0, "most": 40}
    assert [one["reader"] for one in found["words"]] == ["x01", "x02"]


def test_without_controls_nothing_is_said_of_them_and_readers_left_out_do_not_count() -> None:
    found = noticing([], said([True, False]), "nodule", 20, 0.95, excluded=("r01",))
    assert found["controls"] is None
    assert found["difference"] == {"noticed": None, "suspected": None}
    assert (found["readers"]["noticed"]["count"], found["readers"]["noticed"]["of"]) == (0, 1)
    nobody = noticing([], [], "nodule", 20, 0.95)
    assert nobody["readers"]["noticed"] is None
    assert nobody["true_percent"] is None
    assert "0 of at least 3 readers" in nobody["figures"]["auc"]["why"]


def test_a_planted_difference_is_found_and_none_where_there_is_none() -> None:
    """The finding is seen on real images and not on synthetic ones; then on both alike."""
    people = said([False] * 6)
    planted = noticing(first_readings(2.0, 0.2), people, "nodule", 80, 0.95)["figures"]
    for name in ("auc", "sensitivity"):
        assert planted[name]["interval"][0] > 0.1
        assert planted[name]["p"] < 0.05
    same = noticing(first_readings(1.5, 1.5), people, "nodule", 80, 0.95)["figures"]
    for name in ("auc", "sensitivity", "specificity"):
        low, high = same[name]["interval"]
        assert low < 0.0 < high
        assert same[name]["difference"] == pytest.approx(same[name]["real"] - same[name]["synthetic"])


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of 200 studies without a difference, the 95% interval of the sensitivities excludes 0 in 2% to 9%."""
    wrong = 0
    for seed in range(200):
        row = noticing(first_readings(1.2, 1.2, 5, 48, seed), said([False] * 5), "nodule", 48, 0.95)
        low, high = row["figures"]["sensitivity"]["interval"]
        wrong += not low <= 0.0 <= high
    assert 4 <= wrong <= 18


def test_controls_and_readers_who_read_little_are_in_no_figure_of_the_finding() -> None:
    readings = first_readings(1.0, 1.0, 4)
    people = said([False, False, False, False])
    people[3] = replace(people[3], control=True)
    few = [one for one in readings if one.reader != "r01" or one.position <= 30]
    found = noticing(few, people, "nodule", 80, 0.95)["figures"]["auc"]
    assert found["readers"] == 2
    assert found["difference"] is None


@pytest.mark.parametrize(("label", "name"), [("cyst", "sensitivity"), ("", "sensitivity"), ("nodule", "specificity")])
def test_where_no_image_has_or_lacks_the_finding_it_is_said(label: str, name: str) -> None:
    readings = [replace(one, label="nodule") for one in first_readings(1.0, 1.0)]
    found = noticing(readings, said([True] * 6), label, 80, 0.95)["figures"]
    assert found[name]["difference"] is None
    assert "it needs 5 images of each kind" in found[name]["why"]


def test_shares_left_out_one_by_one_are_those_computed_again() -> None:
    rng = np.random.default_rng(1)
    right = np.where(rng.random((3, 12)) < 0.2, np.nan, rng.integers(0, 2, (3, 12)).astype(float))
    found = shares(right)
    for reader, own in enumerate(right):
        assert found.values[reader] == pytest.approx(np.nanmean(own))
        for image in range(12):
            assert found.left_out[reader, image] == pytest.approx(np.nanmean(np.delete(own, image)))
    assert areas  # the other figure of the same kind is tested with `mrmc`


def test_what_was_said_is_read_as_it_was_written_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "said.csv"
    given = [
        Said("r01", False, True, None, None, '=HYPERLINK(1), "odd", ü', AT),
        Said("r02", True, False, True, 0, "", AT),
    ]
    write_said(path, given)
    assert read_said(path) == tuple(given)
    assert '" =HYPERLINK' in path.read_text()
    for wrong in ("r01,2,1,,,,x", "r01,0,,,,,x", "r01,0,1,,101,,x", ",0,1,,,,x", "r01,0,1,,,,x\nr01,0,1,,,,x", "r01,0"):
        path.write_text(f"reader,control,noticed,suspected,percent,words,locked_at\n{wrong}\n")
        with pytest.raises(ReaderError, match=r"said\.csv"):
            read_said(path)


def test_a_plan_says_what_readers_and_images_can_show() -> None:
    made = plan_noticing((2, 5, 17), (20, 80))
    widths = [ends[1][1] - ends[1][0] for ends in made.ends.values()]
    assert widths[0] > widths[1] > widths[2] > 0.3
    assert made.none[17] == pytest.approx(1 - 0.025 ** (1 / 17))  # exact
    assert made.seen[20] == pytest.approx([1 - 0.98**10, 1 - 0.95**10, 1 - 0.9**10])
    assert expected_ends(1, 0.5, 0.95) == pytest.approx((0.0125, 0.9875))
    one = clopper_pearson(7, 17, 0.95)
    assert (round(one.low, 2), round(one.high, 2)) == (0.18, 0.67)  # of 41%, as the page says
    assert all(len(line) < 250 for line in lines(made))
    for readers, images, level in (((0,), (20,), 0.95), ((5,), (0,), 0.95), ((5,), (20,), 1.0)):
        with pytest.raises(ReaderError, match="at least one reader"):
            plan_noticing(readers, images, level)
