"""The probe finds what a pipeline leaves behind in the buffers, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from study_factory import audit_claim, textured

from scansynth.data.tensors import to_signed, to_stored
from scansynth.errors import ReaderError
from scansynth.metrics import planted
from scansynth.metrics.telltales import as_readers_see
from scansynth.reader.probe import CONTROL, Override, Probed, probe, require
from scansynth.statistics import Verdict

SHOWN = (audit_claim(),)


def probed(made: np.ndarray, count: int = 30, seed: int = 0, claims: tuple = SHOWN) -> Probed:
    reals = textured(count, 100 + seed)
    rng = np.random.default_rng(seed)
    return probe((as_readers_see(reals, rng), as_readers_see(made, rng)), reals, claims, 0.95, seed)


def test_reals_against_reals_pass() -> None:
    found = [probed(textured(30, 200 + seed), seed=seed) for seed in range(3)]
    assert [one.refusal for one in found] == [""] * 3
    aucs = [one.finding.claim.value for one in found]
    assert abs(np.mean(aucs) - 0.5) < 0.12
    for one in found:
        assert one.as_json(None)["control"][CONTROL][0] > 0.9
        require(one, None)


def test_a_planted_jpeg_leak_is_found_and_refused() -> None:
    made = to_stored(planted.jpeg(to_signed(textured(30, 7)), quality=75))
    found = probed(made)
    assert found.finding.claim.verdict is Verdict.REFUTED
    assert found.finding.claim.value > 0.9
    with pytest.raises(ReaderError, match=r"No reader study was created; .*--override-name"):
        require(found, None)


@pytest.mark.parametrize("step", [16, 64, 257])
def test_coarser_grey_values_of_one_kind_vanish_on_the_common_way(step: int) -> None:
    made = (np.rint(textured(30, 8) / step) * step).clip(0, 65535).astype(np.uint16)
    assert probed(made).refusal == ""


def test_a_clipped_kind_is_found() -> None:
    made = np.minimum(textured(30, 9).astype(np.int64) * 2, 65535).astype(np.uint16)
    assert probed(made).finding.claim.verdict is Verdict.REFUTED


def test_what_the_audit_holds_back_is_refused_although_the_probe_finds_nothing() -> None:
    for claims, words in (
        ((audit_claim(Verdict.REFUTED),), "It is refuted"),
        ((), "run audit first"),
        ((audit_claim(Verdict.NOT_SHOWN),), ""),
    ):
        found = probed(textured(30, 200), claims=claims)
        assert words in found.refusal
        assert bool(words) == bool(found.refusal)


def test_an_override_is_told_with_name_and_reason_and_only_where_it_was_needed() -> None:
    override = Override("A. Person", "demonstration")
    held = probed(textured(30, 200), claims=())
    require(held, override)
    told = {"name": "A. Person", "reason": "demonstration", "refused": held.refusal}
    assert held.as_json(override)["override"] == told
    assert held.refusal
    assert held.as_json(override)["refused"] == held.refusal != ""
    free = probed(textured(30, 200))
    require(free, override)
    assert free.as_json(override)["override"] is None
    for name, reason in (("", "why"), ("who", " ")):
        with pytest.raises(ReaderError, match="needs a name and a reason"):
            Override(name, reason)


def test_too_few_or_too_small_images_cannot_be_probed() -> None:
    reals = textured(9, 1)
    with pytest.raises(ReaderError, match="the probe needs at least 10 images"):
        probe((reals, reals), reals, SHOWN, 0.95, 0)
    small = textured(20, 1, side=15)
    with pytest.raises(ReaderError, match="16 pixels a side"):
        probe((small, small), small, SHOWN, 0.95, 0)


def test_what_is_written_holds_shares_alone_and_no_count() -> None:
    values = probed(textured(33, 200), count=31).as_json(None)
    assert all(0.0 <= number <= 1.0 and number == round(number, 3) for number in numbers(values))
    assert "images" not in values["why"].replace("two images", "")
    assert "real patients" not in values["why"]


def numbers(value: object) -> list[float]:
    if isinstance(value, dict | list):
        return [number for inner in (value.values() if isinstance(value, dict) else value) for number in numbers(inner)]
    return [float(value)] if isinstance(value, int | float) else []
