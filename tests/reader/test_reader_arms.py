"""Two arms: a published comparison, symmetry, sentences that fit their numbers, and errors as rare as promised."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from scansynth.errors import ReaderError
from scansynth.reader.statistics.arms import Compared, Difference, compare, compare_areas, judge
from scansynth.reader.statistics.mrmc import Figures, areas, mean_of
from scansynth.reader.statistics.roc import quantile
from scansynth.reader.statistics.simulation import World, readings


def test_the_comparison_of_van_dyke_is_as_published() -> None:
    # Van Dyke et al., RSNA 1993: spin echo and cine MRI, 5 readers, 114 patients. AUCs and covariances as printed by
    # MRMCaov and RJafroc (dataset02), with the difference's error, degrees of freedom, p and interval
    first = np.array([0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066])
    second = np.array([0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169])
    error, cov1, cov2, cov3 = 0.0008022883, 0.0003466137, 0.0003440748, 0.0002390284
    covariance = np.full((5, 5), 2 * (cov2 - cov3))
    np.fill_diagonal(covariance, 2 * (error - cov1))
    mean = mean_of(first - second, covariance, 114, 45).general
    arm = mean_of(first, np.full((5, 5), cov2), 114, 45)
    found = Difference(mean.auc, mean.error, mean.freedom, (arm, arm), 5)
    assert found.value == pytest.approx(-0.04380032, abs=1e-7)
    assert found.error == pytest.approx(0.02074862, abs=1e-7)
    assert found.freedom == pytest.approx(15.25967, abs=1e-3)
    assert found.p == pytest.approx(0.05166569, abs=1e-5)
    assert found.interval(0.95).low == pytest.approx(-0.0879594986, abs=1e-6)
    assert found.interval(0.95).high == pytest.approx(0.0003588544, abs=1e-6)


def two_arms(seed: int = 0, readers: int = 5, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of two generators against the same real images: (R, C) of each arm, and the class of each image."""
    rng = np.random.default_rng(seed)
    answers, truth = readings(World(0.6, 0.08), readers, 80, 40, rng)
    scores = answers.astype(np.float64)
    scores[:, :40] = np.clip(scores[:, :40] + (rng.random((readers, 40)) < shift), 1, 6)
    one, other = scores.copy(), scores.copy()
    one[:, 40:80], other[:, :40] = np.nan, np.nan
    return one, other, truth


def test_what_the_arms_share_takes_error_away() -> None:
    one, other, truth = two_arms()
    paired = compare_areas(one, other, truth)
    # the same answers as if each arm had real images of its own
    apart = np.r_[np.arange(80), np.arange(80, 120)]
    wide = np.full((5, 160), np.nan)
    wide[:, :120], second = one, np.full((5, 160), np.nan)
    second[:, :80], second[:, 120:] = other[:, apart[:80]], other[:, 80:]
    alone = compare_areas(wide, second, np.r_[truth, truth[80:]])
    assert paired.value == pytest.approx(alone.value)
    shared = compare(areas(one, truth, np.arange(120)), areas(other, truth, np.arange(120)))
    assert shared.error <= alone.error + 1e-12


def test_exchanging_the_arms_turns_the_sign_and_nothing_else() -> None:
    one, other, truth = two_arms(1)
    found, turned = compare_areas(one, other, truth), compare_areas(other, one, truth)
    assert turned.value == pytest.approx(-found.value)
    assert turned.error == pytest.approx(found.error)
    assert turned.equivalence(0.1) == pytest.approx(found.equivalence(0.1))


def test_an_arm_against_itself_is_no_difference() -> None:
    one, _, truth = two_arms()
    found = compare_areas(one, one, truth)
    assert (found.value, found.error, found.p, found.equivalence(0.05)) == (0.0, 0.0, 1.0, 0.0)
    assert judge(found, 0.05, 0.95).outcome is Compared.EQUIVALENT


def test_the_two_tests_pass_exactly_when_the_interval_lies_within() -> None:
    for seed in range(12):
        found = compare_areas(*two_arms(seed))
        for margin in (0.02, 0.05, 0.1, 0.2):
            narrow = found.interval(0.9)
            assert (found.equivalence(margin) < 0.05) == (-margin < narrow.low and narrow.high < margin)


@pytest.mark.parametrize(
    ("names", "figure"),
    [(("one", "other"), "AUC"), (("real images", "synthetic images"), "area under the free-response curve")],
)
@pytest.mark.parametrize("margin", [0.05, 0.1, 0.125])
def test_sentences_of_a_grid_of_differences_fit_their_numbers(
    names: tuple[str, str], figure: str, margin: float
) -> None:
    """Of sets, modalities and marks; differences that lie within a rounding of a limit are among them."""
    arm = compare_areas(*two_arms()).arms
    number = r"(-?\d+(?:\.\d+)?(?:e-\d+)?)"
    for error in (0.0, 0.001, 0.01, 0.049, 0.2):
        edges = [quantile(0.95, 7.3) * error - margin, quantile(0.975, 7.3) * error, 0.0, margin]
        near = [side * edge + tiny for side in (-1, 1) for edge in edges for tiny in (-1e-3, -1e-6, 0.0, 1e-6, 1e-3)]
        for value in [*np.linspace(-0.3, 0.3, 13).tolist(), *near]:
            found = Difference(value, error, 7.3, arm, 5)
            told = judge(found, margin, 0.95, names, figure)
            opening = re.match(rf"The {figure} of {names[0]} is {number} (above|below) that of {names[1]}", told.why)
            assert opening, told.why
            assert (float(opening[1]) > 0) == (value != 0), told.why
            assert (opening[2] == "above") == (value > 0)
            assert ("which is no difference" in told.why) == (value == 0)
            wide, narrow = found.interval(0.95), found.interval(0.9)
            holds, inside = wide.low <= 0 <= wide.high, narrow.low >= -margin and narrow.high <= margin
            expected = (
                (Compared.EQUIVALENT if holds else Compared.WITHIN)
                if inside
                else (Compared.INCONCLUSIVE if holds else Compared.DIFFERENT)
            )
            assert told.outcome is expected
            deciding = re.search(rf"90% interval, {number} to {number}, (lies|does not lie) within -\S+ to", told.why)
            assert (deciding is None) == (told.outcome is Compared.DIFFERENT)
            if deciding:
                low, high = float(deciding[1]), float(deciding[2])
                assert (low >= -margin and high <= margin) == inside == (deciding[3] == "lies"), told.why
            across = re.search(rf"95% interval of the difference {number} to {number}", told.why)
            assert (across is None) == (told.outcome is Compared.EQUIVALENT)
            if across:
                assert (float(across[1]) <= 0 <= float(across[2])) == holds == ("includes 0" in told.why), told.why


def test_two_readers_give_no_verdict() -> None:
    one, other, truth = two_arms(readers=2)
    assert judge(compare_areas(one, other, truth), 0.1, 0.95).outcome is Compared.NOT_ASSESSABLE


def test_a_planted_difference_is_found_and_none_is_found_as_rarely_as_promised() -> None:
    false, found = 0, 0
    for seed in range(120):
        none, planted = compare_areas(*two_arms(seed)), compare_areas(*two_arms(seed, shift=1.0))
        false += judge(none, 0.1, 0.95).outcome in {Compared.DIFFERENT, Compared.WITHIN}
        found += judge(planted, 0.1, 0.95).outcome is Compared.DIFFERENT
    # 5% of 120 is 6; more than 13 are seen once in 500 such tests
    assert false <= stats.binom.ppf(0.998, 120, 0.05)
    assert found >= 0.8 * 120


def test_what_cannot_be_compared_is_refused() -> None:
    one, other, truth = two_arms(readers=1)
    with pytest.raises(ReaderError, match="needs two readers"):
        compare_areas(one, other, truth)
    figures = Figures(np.zeros(3), np.zeros((3, 9)), 4)
    with pytest.raises(ValueError, match="same readers"):
        compare(figures, Figures(np.zeros(2), np.zeros((2, 9)), 4))
    with pytest.raises(ValueError, match="a margin lies between"):
        judge(compare_areas(*two_arms()), 0.6, 0.95)


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reader_statistics.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(example, {})
    assert "The AUC of first is" in capsys.readouterr().out
