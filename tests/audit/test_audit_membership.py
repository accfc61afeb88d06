"""Membership: exact figures, copies that are found, and honest sets that are not blamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from strangers import SIZE, context_of, reals, scans, strangers

from scansynth.audit.compared import Compared, read_scores
from scansynth.audit.questions import membership
from scansynth.audit.questions.membership import (
    DISTANCE,
    LEAST_PATIENTS,
    MARGIN,
    RESOLVING,
    Suspects,
    Wording,
    answer,
    assess,
    line_up,
    ruled,
)
from scansynth.claims.claim import Claim, Finding
from scansynth.console import silent
from scansynth.errors import EvidenceError
from scansynth.ledger import Role
from scansynth.metrics.membership import auc_interval, closeness, exposed, group_means
from scansynth.metrics.ncc import Flip, nearest, paired, pairwise, prepare
from scansynth.metrics.roc import auc
from scansynth.statistics import Verdict

WORDING = Wording("nearer", "it reveals who was trained on")


# the figures


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.integers(0, 6, 17).astype(float), rng.integers(0, 5, 11).astype(float)
    pairs = members[:, None] - others[None, :]
    assert auc(members, others) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    assert auc(others, members) == pytest.approx(1 - auc(members, others))
    assert auc(3 * members + 1, 3 * others + 1) == auc(members, others)


def test_the_interval_is_delong_s() -> None:
    rng = np.random.default_rng(1)
    members, others = rng.normal(0.5, 1, 40), rng.normal(0, 1, 30)
    wins = (members[:, None] > others[None, :]).astype(float)
    by_hand = wins.mean(axis=1).var(ddof=1) / 40 + wins.mean(axis=0).var(ddof=1) / 30
    value, interval = auc_interval(members, others, 0.95)
    assert value == pytest.approx(wins.mean())
    assert (interval.high - interval.low) / 2 == pytest.approx(2.0452 * np.sqrt(by_hand), rel=1e-3)


def test_the_interval_covers_at_its_level() -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(400):
        _, interval = auc_interval(rng.normal(0.5, 1, 30), rng.normal(0, 1, 30), 0.95)
        hits += interval.low <= 0.6382 <= interval.high  # Phi(0.5 / sqrt 2)
    assert 0.93 <= hits / 400 <= 0.985


def test_exposed_lets_one_in_a_hundred_pass() -> None:
    others = np.arange(200.0)
    found = exposed(np.array([0.0, 197.0, 197.5, 300.0]), others, 0.01, 0.95)
    assert (found.share, found.passing, found.others) == (0.5, 2, 200)
    few = exposed(np.array([19.0, 20.0]), np.arange(20.0), 0.01, 0.95)
    assert (few.share, few.passing) == (0.5, 0)


def test_the_number_of_images_gives_nobody_away() -> None:
    rng, found = np.random.default_rng(3), []
    for _ in range(30):
        many, one = np.repeat(np.arange(60), 9), np.arange(60)
        found.append(auc(group_means(rng.standard_gamma(4, 540), many), group_means(rng.standard_gamma(4, 60), one)))
    # the largest of nine would give 0.9; the mean of what is skewed as real scores are stays near a guess
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_closeness_is_a_ratio_of_distances() -> None:
    np.testing.assert_allclose(closeness(np.array([0.9, 0.5]), np.array([0.5, 0.5])), [np.log(5), 0], atol=1e-12)
    assert np.isfinite(closeness(np.ones(1), np.zeros(1))).all()


# the rule, by simulation


def rule(members: np.ndarray, others: np.ndarray) -> Verdict:
    _, interval = auc_interval(members, others, 0.95)
    return ruled(interval, exposed(members, others, 0.01, 0.95))


@pytest.mark.parametrize("sizes", [(20, 20), (60, 20), (275, 100), (275, 165)])
def test_with_nothing_wrong_nobody_is_blamed(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(sizes)
    verdicts = Counter(rule(rng.normal(size=sizes[0]), rng.normal(size=sizes[1])) for _ in range(200))
    assert verdicts[Verdict.REFUTED] <= 4
    if sizes == (275, 165):
        assert verdicts[Verdict.SHOWN] >= 180


def test_a_few_patients_who_stand_out_are_found_where_an_average_would_hide_them() -> None:
    rng = np.random.default_rng(4)
    members, others = rng.normal(size=300), rng.normal(size=2 * RESOLVING)
    members[:36] += 8.0
    _, interval = auc_interval(members, others, 0.95)
    assert interval.low < MARGIN
    assert rule(members, others) is Verdict.REFUTED
    assert rule(members, others[: RESOLVING - 1]) is not Verdict.REFUTED


# the claims


@pytest.fixture(scope="module")
def honest() -> Compared:
    return strangers()


def found_in(compared: Compared) -> Mapping[str, Finding]:
    return {finding.claim.claim: finding for finding in answer(context_of(compared), silent)}


def test_an_honest_set_gives_nobody_away(honest: Compared) -> None:
    for finding in found_in(honest).values():
        claim = finding.claim
        assert claim.verdict in {Verdict.SHOWN, Verdict.NOT_SHOWN}, claim.why
        assert all(control.passed for control in claim.control)
        assert claim.floor is not None
        assert claim.floor.low < 0.5 < claim.floor.high
        assert claim.n["training patients"] == claim.n["other patients"] == 60
        assert "60 other patients" in claim.why
        assert "cannot resolve 1%" in claim.why


def test_copies_of_training_patients_give_them_away(honest: Compared) -> None:
    rng = np.random.default_rng(0)
    synthetic = honest.synthetic.copy()
    synthetic[:40] = (honest.train.images[:80:2] + rng.normal(0, 0.05, (40, SIZE, SIZE)))[:, :, ::-1]
    found = found_in(replace(honest, synthetic=np.clip(synthetic, -1, 1).astype(np.float32)))
    assert found[DISTANCE].claim.verdict is Verdict.REFUTED, found[DISTANCE].claim.why
    assert found[DISTANCE].figures["exposed"]["share"] > 0.5


def test_copies_of_other_patients_refute_nothing(honest: Compared) -> None:
    synthetic = honest.synthetic.copy()
    synthetic[:40] = honest.test.images[:80:2]
    claim = found_in(replace(honest, synthetic=synthetic))[DISTANCE].claim
    assert claim.value is not None
    assert claim.value < 0.4
    assert claim.verdict is not Verdict.REFUTED


def test_a_measurement_that_misses_copies_is_not_assessable(honest: Compared, monkeypatch: Any) -> None:
    monkeypatch.setattr(membership, "paired", lambda queries, *rest, **more: np.zeros(len(queries)))
    monkeypatch.setattr(membership, "COPIED", 0.05)
    claim = found_in(honest)[DISTANCE].claim
    assert claim.verdict is Verdict.NOT_ASSESSABLE, claim.control


def test_without_patients_it_says_what_is_missing(honest: Compared) -> None:
    few = replace(honest, train=reals(LEAST_PATIENTS - 1, Role.TRAIN, 2))
    for finding in answer(context_of(few), silent):
        assert finding.claim.verdict is Verdict.NOT_ASSESSABLE
        assert "There are 19 training patients and 60 others" in finding.claim.why


def test_training_patients_who_differ_from_the_start_are_told_of(honest: Compared) -> None:
    shifted = np.clip(ndimage.gaussian_filter(honest.train.images, (0, 2.5, 2.5)) * 2, -1, 1).astype(np.float32)
    claim = found_in(replace(honest, train=replace(honest.train, images=shifted)))[DISTANCE].claim
    assert "resemble each other more" in claim.why


def test_no_image_is_compared_with_its_own_patient(honest: Compared) -> None:
    lineup = line_up(honest, np.random.default_rng(0))
    own = lineup.alike[np.arange(len(lineup.patients)), lineup.patients]
    assert (own == -np.inf).all()
    assert np.isfinite(lineup.alike).sum() == lineup.alike.size - len(own)
    assert lineup.members.sum() == 60


def test_all_pairs_are_scored_as_the_search_scores_them() -> None:
    queries, references = prepare(scans(30, 5)), prepare(scans(20, 6))
    scores = pairwise(queries, references, tuple(Flip))
    np.testing.assert_allclose(scores.max(axis=1), nearest(queries, references, tuple(Flip)).score, atol=1e-5)
    np.testing.assert_allclose(np.diag(scores), paired(queries[:20], references, tuple(Flip)), atol=1e-5)


def test_the_same_context_gives_the_same_claims(honest: Compared) -> None:
    def claims() -> list[Claim]:
        return [finding.claim for finding in answer(context_of(honest), silent)]

    assert claims() == claims()


def test_assess_does_not_mind_the_order_of_patients(honest: Compared) -> None:
    rng = np.random.default_rng(5)
    members, others = rng.normal(size=50), rng.normal(size=40)
    context = context_of(honest)
    planted = ("planted", np.ones(5))
    one = assess(DISTANCE, Suspects(members, others), planted, {}, context, WORDING).claim
    other = assess(
        DISTANCE, Suspects(rng.permutation(members), rng.permutation(others)), planted, {}, context, WORDING
    ).claim
    assert (one.value, one.verdict) == (other.value, other.verdict)
    assert one.interval is not None
    assert other.interval is not None
    assert one.interval.low == pytest.approx(other.interval.low)


def test_scores_are_read_back_and_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "main" / "scores.csv"
    path.parent.mkdir()
    path.write_text("case,role,score\na,train,1.5\nb,test,-2e-3\n")
    assert read_scores(path) == {"a": 1.5, "b": -0.002}
    for damage in ("case,role\na,train\n", "case,role,score\na,train,nan\n", "case,role,score\na,train\n"):
        path.write_text(damage)
        with pytest.raises(EvidenceError, match=r"scores\.csv of the run main is damaged"):
            read_scores(path)
