"""Anonymity: planted copies are refuted, a set that knows nobody is not, and the words say what was counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from strangers import context_of, reals, strangers

from scansynth.audit.compared import Compared
from scansynth.audit.questions import anonymity
from scansynth.claims.claim import Finding
from scansynth.claims.questions import QUESTIONS
from scansynth.console import silent
from scansynth.ledger import Role
from scansynth.statistics import Verdict


def asked(compared: Compared) -> dict[str, Finding]:
    return {found.claim.claim: found for found in anonymity.answer(context_of(compared), silent)}


def with_copies(share: float) -> Compared:
    compared = strangers()
    count = round(share * compared.train.patient_count)
    rng = np.random.default_rng(3)
    images = compared.synthetic.copy()
    images[:count] = compared.train.images[::2][:count]
    noisy = np.clip(images[:count] + rng.normal(0, 0.05, images[:count].shape), -1, 1)
    images[:count] = noisy.astype(np.float32)
    # one image a patient, so that the image held is the image copied
    train = replace(compared.train, cases=compared.train.cases[::2], images=compared.train.images[::2])
    return replace(compared, synthetic=images, train=train)


def test_a_set_that_knows_nobody_is_not_blamed_and_every_planted_copy_is_noticed() -> None:
    for finding in asked(strangers()).values():
        assert finding.claim.verdict in (Verdict.SHOWN, Verdict.NOT_SHOWN)
        assert [control.found for control in finding.claim.control] == [1.0]
        assert abs(finding.claim.floor.mean) < 0.02  # type: ignore[union-attr]


def test_copies_of_half_of_the_patients_are_refuted_by_every_attack() -> None:
    found = asked(with_copies(0.5))
    assert {name: finding.claim.verdict for name, finding in found.items()} == dict.fromkeys(
        anonymity.CLAIMS, Verdict.REFUTED
    )
    for finding in found.values():
        assert finding.claim.value == pytest.approx(0.5, abs=0.08)


def test_more_copies_never_look_better() -> None:
    values = [[finding.claim.value for finding in asked(with_copies(share)).values()] for share in (0.0, 0.2, 0.5)]
    assert (np.diff(np.array(values), axis=0) > 0).all()


def test_the_planted_set_is_judged_as_a_set_with_such_copies() -> None:
    scene = anonymity.look(context_of(with_copies(0.0)), silent)
    copied = np.flatnonzero(scene.members)[:30]
    plain, spoilt = scene.attack(copied[:0]), scene.attack(copied)
    for name in anonymity.CLAIMS:
        assert spoilt[name][copied].mean() > 0.9
        assert spoilt[name][~scene.members].sum() <= plain[name][~scene.members].sum() + 2


def test_too_few_people_are_not_assessable_and_say_how_many_are_needed() -> None:
    few = replace(strangers(), calibrate=reals(5, Role.CALIBRATE, 3), test=reals(10, Role.TEST, 4))
    for finding in asked(few).values():
        assert finding.claim.verdict is Verdict.NOT_ASSESSABLE
        assert "at least 20" in finding.claim.why


def test_it_answers_whether_they_were_copied() -> None:
    (copies,) = (question for question in QUESTIONS if question.name == "copies")
    assert all(copies.holds(finding.claim) for finding in asked(strangers()).values())


@pytest.mark.parametrize("side", [16, 20])
def test_small_images_are_searched_with_smaller_shifts(side: int) -> None:
    compared = strangers()

    def small(images: np.ndarray) -> np.ndarray:
        return images[:, :side, :side]

    parts = {
        name: replace(getattr(compared, name), images=small(getattr(compared, name).images))
        for name in ("train", "calibrate", "test")
    }
    found = asked(replace(compared, synthetic=small(compared.synthetic), **parts))
    assert all(finding.claim.value is not None for finding in found.values())
