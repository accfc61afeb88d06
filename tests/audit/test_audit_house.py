"""What must stay in-house: scores and encoders that know who was trained on are found out, others are not."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from strangers import SIZE, context_of, strangers

from scansynth.audit.compared import Compared
from scansynth.audit.context import Context, View
from scansynth.audit.encoders import LEARNED, Encoder
from scansynth.audit.questions import house
from scansynth.audit.questions.house import DISCRIMINATOR, ENCODERS, answer
from scansynth.claims.claim import Finding
from scansynth.claims.questions import QUESTIONS, together
from scansynth.console import silent
from scansynth.statistics import Verdict


@pytest.fixture(scope="module")
def honest() -> Compared:
    return strangers()


def found_in(compared: Compared, context: Context | None = None) -> Mapping[str, Finding]:
    return {finding.claim.claim: finding for finding in answer(context or context_of(compared), silent)}


def blocks(images: np.ndarray) -> np.ndarray:
    """Mean grey of 16 blocks: learned from nobody."""
    return np.asarray(images.reshape(len(images), 4, SIZE // 4, 4, SIZE // 4).mean(axis=(2, 4)).reshape(-1, 16))


def with_encoder(compared: Compared, encode: Encoder) -> Context:
    view = View(LEARNED, encode, np.empty((0, 16)), np.empty((0, 16)))
    return replace(context_of(compared), views=(view,))


def test_an_encoder_that_learned_from_nobody_gives_nobody_away(honest: Compared) -> None:
    claim = found_in(honest, with_encoder(honest, blocks))[ENCODERS].claim
    assert claim.verdict in {Verdict.SHOWN, Verdict.NOT_SHOWN}, claim.why
    assert claim.n == {"training images": 120, "training patients": 60, "other images": 120, "other patients": 60}


def test_an_encoder_that_knows_its_images_gives_them_away(honest: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    known = blocks(honest.train.images)
    monkeypatch.setattr(house, "distorted", lambda images, *_: images + 0.01)

    def encode(images: np.ndarray) -> np.ndarray:
        """One direction for each image that it knows and whatever is near it; any other image has its own."""
        apart = np.abs(blocks(images)[:, None] - known[None]).max(axis=2)
        nearest = [
            int(row.argmin()) if row.min() < 0.02 else 1_000_000 + zlib.crc32(image.tobytes())
            for row, image in zip(apart, images, strict=True)
        ]
        return np.stack([np.random.default_rng(seed).normal(size=16) for seed in nearest])

    claim = found_in(honest, with_encoder(honest, encode))[ENCODERS].claim
    assert claim.verdict is Verdict.REFUTED, claim.why
    assert "keep the folder encoders" in claim.why


def test_without_an_encoder_nothing_is_assessed(honest: Compared) -> None:
    assert found_in(honest)[ENCODERS].claim.verdict is Verdict.NOT_ASSESSABLE


def test_what_stays_in_the_house_counts_for_no_question(honest: Compared) -> None:
    scores = {case: value + 2.0 * case.startswith("train") for case, value in honest.scores.items()}
    claims = [finding.claim for finding in answer(context_of(replace(honest, scores=scores)), silent)]
    assert Verdict.REFUTED in {claim.verdict for claim in claims}
    assert not together(claims)
    assert not any(question.holds(claim) for question in QUESTIONS for claim in claims)


def test_without_scores_it_says_what_is_missing(honest: Compared) -> None:
    claim = found_in(replace(honest, scores={}))[DISCRIMINATOR].claim
    assert claim.verdict is Verdict.NOT_ASSESSABLE
    assert "made elsewhere" in claim.why


def test_a_discriminator_that_knows_its_patients_gives_them_away(honest: Compared) -> None:
    scores = {case: value + 2.0 * case.startswith("train") for case, value in honest.scores.items()}
    found = found_in(replace(honest, scores=scores))
    assert found[DISCRIMINATOR].claim.verdict is Verdict.REFUTED


def test_scores_of_one_value_are_not_assessable(honest: Compared) -> None:
    claim = found_in(replace(honest, scores=dict.fromkeys(honest.scores, 1.0)))[DISCRIMINATOR].claim
    assert claim.verdict is Verdict.NOT_ASSESSABLE
    assert "0% found" in claim.why
