"""Whom does a set leave out? A planted skew is found, an even set passes, and too few patients are never judged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.context import Context, open_context
from scansynth.audit.encoders import Encoders, Judge
from scansynth.audit.fairness import flags, lesion_size, reach, shares, subgroups
from scansynth.audit.fairness.groups import OTHERS, lesion_sizes, read_attributes
from scansynth.claims.claim import Claim, Finding
from scansynth.config import EvidenceSettings
from scansynth.console import silent
from scansynth.data.tensors import Case
from scansynth.data.transforms import series_window, to_window
from scansynth.ledger import Role
from scansynth.metrics.attributes import learn_groups
from scansynth.metrics.features import JUDGE_SEED, fit_scale, random_encoder
from scansynth.phantom import anatomy
from scansynth.phantom.anatomy import draw_anatomy
from scansynth.phantom.cohort import PhantomPatient, draw_patient
from scansynth.phantom.scanner import acquire, draw_scanner
from scansynth.phantom.shapes import Grid
from scansynth.phantom.slices import draw_slice
from scansynth.seeds import generator
from scansynth.statistics import Verdict

D, SIDE = 16, 32
BASIS = np.linalg.qr(np.random.default_rng(0).normal(size=(SIDE * SIDE, D)))[0]
SHARE, REACH, LIKENESS, FLAGS, SIZE = subgroups.CLAIMS

Chosen = Callable[[list[dict[str, str]], np.ndarray], np.ndarray]


def encode(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float64) @ BASIS


def case(place: int, patient: str, role: Role, attributes: dict[str, str]) -> Case:
    return Case(place, f"c{place}", patient, role, "nodule", 0.0, 1.0, (1.0, 1.0), attributes)


def drawn(rng: np.random.Generator, people: int, each: int) -> tuple[np.ndarray, list[dict[str, str]], np.ndarray]:
    """Made-up images (n, 32, 32) that show their patient's sex and the lesion's size, and carry grain of their own."""
    man, names = rng.random(people) < 0.5, np.repeat(np.arange(people), each)
    size = np.exp(2.2 + 0.4 * rng.normal(size=people)[names] + 0.15 * rng.normal(size=len(names)))
    z = 0.8 * rng.normal(size=(people, D))[names] + 0.6 * rng.normal(size=(len(names), D))
    z[:, 0] += 3.0 * man[names]
    z[:, 1] += 2.5 * (np.log(size) - 2.2) / 0.43
    grain = rng.normal(size=(len(names), SIDE * SIDE))
    images = (z @ BASIS.T + 0.1 * (grain - grain @ BASIS @ BASIS.T)).reshape(-1, SIDE, SIDE).astype(np.float32)
    rows = [{"sex": "FM"[int(man[p])], "diameter_mm": f"{mm:.1f}"} for p, mm in zip(names, size, strict=True)]
    return images, rows, names


def reals(rng: np.random.Generator, people: int, each: int, role: Role) -> Reals:
    images, rows, names = drawn(rng, people, each)
    cases = (case(place, f"{role}{p}", role, row) for place, (p, row) in enumerate(zip(names, rows, strict=True)))
    return Reals(tuple(cases), images)


def context(seed: int, chosen: Chosen | None = None, draws: int = 20, **changed: Any) -> Context:
    rng = np.random.default_rng(seed)
    parts = [reals(rng, 130, 3, Role.TRAIN), reals(rng, 40, 2, Role.CALIBRATE), reals(rng, 90, 2, Role.TEST)]
    images, rows, _ = drawn(rng, 1200, 1)
    made = images if chosen is None else images[chosen(rows, images)]
    compared = Compared(
        files=tuple(str(place) for place in range(400)),
        synthetic=made[:400],
        labels=("nodule",),
        view="chest",
        unlabelled=False,
        train=parts[0],
        calibrate=parts[1],
        test=parts[2],
        inputs={},
    )
    compared = replace(compared, **changed)
    return open_context(compared, Encoders((Judge("fixed", encode),), None), EvidenceSettings(draws=draws), seed)


def claims(found: tuple[Finding, ...]) -> dict[tuple[str, str], Claim]:
    return {(finding.claim.claim, finding.claim.attribute): finding.claim for finding in found}


def three_to_one(rows: list[dict[str, str]], images: np.ndarray) -> np.ndarray:
    """Three men to a woman."""
    man = np.array([row["sex"] == "M" for row in rows])
    return np.concatenate([np.flatnonzero(man)[:300], np.flatnonzero(~man)[:100]])


def test_real_patients_are_not_called_unfair_and_a_skew_is() -> None:
    refuted, shown = [], []
    for seed in range(2):
        even = claims(subgroups.answer(context(seed), silent))
        refuted += [key for key, claim in even.items() if claim.verdict is Verdict.REFUTED]
        shown += [key for key, claim in even.items() if claim.verdict is Verdict.SHOWN]
        assert set(even) == {(name, a) for name in subgroups.BY_GROUP for a in ("sex", "diameter mm")} | {(SIZE, "")}
    assert not refuted
    assert shown
    skewed = claims(subgroups.answer(context(9, three_to_one), silent))
    assert skewed[SHARE, "sex"].verdict is Verdict.REFUTED
    assert "group F" in skewed[SHARE, "sex"].why


def test_missing_small_lesions_are_found() -> None:
    def large(rows: list[dict[str, str]], images: np.ndarray) -> np.ndarray:
        return np.flatnonzero([float(row["diameter_mm"]) > 8.0 for row in rows])[:400]

    found = subgroups.answer(context(3, large), silent)
    sizes = next(finding for finding in found if finding.claim.claim == SIZE)
    assert sizes.claim.verdict is Verdict.REFUTED
    small, big = sizes.figures["tails"]
    assert small["set"] < 0.15
    assert big["set"] > 0.4
    assert sizes.figures["quantiles"]["synthetic"][0] > sizes.figures["quantiles"]["training"][0]


def test_copies_of_one_group_are_found() -> None:
    room = context(4)
    train = room.compared.train
    women = np.flatnonzero([c.attributes["sex"] == "F" for c in train.cases])[:100]
    made = room.compared.synthetic.copy()
    made[:100] = train.images[women]
    found = claims(subgroups.answer(context(4, synthetic=made), silent))
    assert found[FLAGS, "sex"].verdict is Verdict.REFUTED


def test_few_patients_are_not_assessable() -> None:
    room = context(5)

    def relabelled(part: Reals) -> Reals:
        rare = {name: place < 12 for place, name in enumerate(sorted(set(part.patients)))}
        cases = (replace(c, attributes={"site": "south" if rare[c.patient] else "north"}) for c in part.cases)
        return Reals(tuple(cases), part.images)

    found = subgroups.answer(
        context(5, train=relabelled(room.compared.train), test=relabelled(room.compared.test)), silent
    )
    by_site = [finding for finding in found if finding.claim.attribute == "site"]
    assert len(by_site) == 4
    for finding in by_site:
        assert finding.claim.verdict is Verdict.NOT_ASSESSABLE
        rows = {row["group"]: row for row in finding.figures["groups"]}
        assert rows["south"]["patients"] == 12
        assert all(row["verdict"] == "not assessable" for row in rows.values())


def test_a_group_that_no_image_shows_is_not_assessable() -> None:
    room, rng = context(6), np.random.default_rng(0)

    def random_blood(part: Reals) -> Reals:
        group = {name: str(rng.choice(["A", "B"])) for name in sorted(set(part.patients))}
        return Reals(tuple(replace(c, attributes={"blood": group[c.patient]}) for c in part.cases), part.images)

    found = subgroups.answer(
        context(6, train=random_blood(room.compared.train), test=random_blood(room.compared.test)), silent
    )
    assert all(finding.claim.verdict is Verdict.NOT_ASSESSABLE for finding in found)
    assert "cannot be predicted" in claims(found)[SHARE, "blood"].why


def test_a_cohort_that_knows_nothing() -> None:
    room = context(7)

    def blank(part: Reals) -> Reals:
        return Reals(tuple(replace(c, attributes={}) for c in part.cases), part.images)

    found = subgroups.answer(context(7, train=blank(room.compared.train), test=blank(room.compared.test)), silent)
    assert [(f.claim.claim, f.claim.attribute, f.claim.verdict) for f in found] == [
        (name, "", Verdict.NOT_ASSESSABLE) for name in subgroups.CLAIMS
    ]


def told(values: list[str], name: str = "x", each: int = 1) -> list[Case]:
    return [case(k, f"p{k // each}", Role.TRAIN, {name: v}) for k, v in enumerate(values)]


def test_ages_are_cut_by_twenty_years() -> None:
    ages = ["30-39"] * 30 + ["60-69"] * 40 + ["70-79"] * 10 + ["90+"] * 6
    (one,), left = read_attributes(told(ages, "age_band"), told(ages, "age_band"))
    assert one.name == "age band"
    assert one.groups == ("20 to 39", "60 to 79")
    assert one.judged == 2
    assert [small.group for small in one.small] == ["80 and over"]
    assert not left


def test_numbers_are_cut_at_the_thirds_of_the_training_role() -> None:
    values = [str(k) for k in range(99)]
    (one,), _ = read_attributes(told(values), told(["0", "50", "1000"]))
    assert one.judged == 3
    assert np.bincount(one.train).tolist() == [33, 33, 33]
    assert one.test.tolist() == [0, 1, 2]
    (two,), _ = read_attributes(told(values), told([]), thirds=False)
    assert two.judged == 2


def test_rare_values_are_neither_judged_nor_named() -> None:
    values = ["a"] * 40 + ["b"] * 35 + ["c"] * 12 + ["my name"]
    (one,), _ = read_attributes(told(values), told(values))
    assert one.groups == ("a", "b", OTHERS)
    assert one.judged == 2
    assert all("name" not in small.group for small in one.small)


def test_what_makes_no_groups_is_left_out() -> None:
    values = [f"note {k}" for k in range(60)]
    assert read_attributes(told(values), told(values)) == ((), {"x": "it has more than 12 values"})
    assert read_attributes(told(["a"] * 60), told([])) == ((), {"x": "it has one value only"})


def test_sizes_are_found_by_their_column() -> None:
    values = [str(k + 1) for k in range(40)]
    found = lesion_sizes(told(values, "diameter_mm"), told(["", "3"], "diameter_mm"))
    assert found is not None
    assert np.isnan(found[2][0])
    assert found[2][1] == 3.0
    assert lesion_sizes(told(values, "bmi"), []) is None


def test_the_skewed_shares_have_the_odds() -> None:
    real = np.array([0.5, 0.3, 0.2])
    target = shares.skewed(real, 1, 3.0)
    assert target.sum() == pytest.approx(1.0)
    assert target[1] / (1 - target[1]) == pytest.approx(3.0 * 0.3 / 0.7)
    assert target[0] / target[2] == pytest.approx(2.5)


def test_reach_is_the_chance_of_a_random_choice() -> None:
    assert reach.reached(np.array([0.0, 10.0, 3.0]), 10, 4) == pytest.approx([0.0, 1.0, 1 - 35 / 210])
    assert reach.reached(np.array([8.0]), 10, 4) == pytest.approx([1.0])


def test_differences_of_flags() -> None:
    raised, taken = np.zeros(200, dtype=np.bool_), np.repeat([0, 1], 100)
    value, spans = flags.differences(flags.Flagged(raised, taken), 2, 0.95)
    assert value.tolist() == [0.0, 0.0]
    assert spans[0].low < 0 < spans[0].high < 0.05
    raised[:30] = True
    value, spans = flags.differences(flags.Flagged(raised, taken), 2, 0.95)
    assert value == pytest.approx([0.3, -0.3])
    assert spans[0].low == pytest.approx(-spans[1].high)
    assert spans[0].low > 0.15


def test_a_size_that_no_image_shows_is_not_assessable() -> None:
    rng = np.random.default_rng(0)
    x, names = rng.normal(size=(300, 6)), np.repeat(np.arange(100), 3)
    size = np.exp(rng.normal(size=300))
    sizes = lesion_size.learn(x, size, names, 0)
    said = lesion_size.say(sizes, rng.normal(size=(200, 6)))
    halves = rng.random((20, 200)) < 0.5
    found = lesion_size.assess(sizes, said, said, np.exp(rng.normal(size=200)), halves, 0.95, rng)
    assert found.claim.verdict is Verdict.NOT_ASSESSABLE


# The phantom knows the truth: sex and scanner show in its images.


def phantom_image(patient: PhantomPatient, side: int = 48) -> np.ndarray:
    """One slice of the chest through the breasts, drawn small."""
    rng, own = (generator(0, name, patient.number) for name in ("body", "slice"))
    chest = draw_anatomy(rng, patient.sex, patient.age)
    scanner = draw_scanner(rng, patient.manufacturer, patient.field_strength)
    grid = Grid.make(side, 365.0)
    piece = draw_slice(chest, float(rng.uniform(0.0, 20.0)), 6.0, scanner.contrast, grid, own)
    pixels = acquire(piece.signal, piece.moving, grid.pixel, scanner, own).astype(np.float32)
    return to_window(pixels, *series_window([pixels], (0.5, 99.5)))


def test_the_phantom_knows_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anatomy, "_BRANCHING", 5)  # fewer twigs in the lungs, which take most of the time
    patients = [draw_patient(number, 0) for number in range(1, 321)]
    images = np.stack([phantom_image(patient) for patient in patients])
    cases = [
        case(k, f"p{k}", Role.TRAIN, {"sex": p.sex, "field_strength": str(p.field_strength)})
        for k, p in enumerate(patients)
    ]
    encoder = random_encoder(JUDGE_SEED)
    train, test, made = np.arange(110), np.arange(110, 170), np.arange(170, 320)
    scale = fit_scale(encoder(images[train]))
    features = scale(encoder(images))
    (sex, strength), _ = read_attributes([cases[k] for k in train], [cases[k] for k in test])
    halves = np.random.default_rng(0).random((20, len(test))) < 0.5

    def share(attribute: Any, of_set: np.ndarray) -> Claim:
        predictor = learn_groups(features[train], attribute.train, np.array([f"p{k}" for k in train]), 0)
        names = np.array([f"p{k}" for k in test])
        said, rng = predictor(features), np.random.default_rng(1)
        return shares.assess(attribute, predictor, said[of_set], said[test], names, halves, 0.95, 2, rng)[0]

    for attribute, chosen in ((sex, "M"), (strength, "1.5")):
        own = np.array([chosen in {patients[k].sex, str(patients[k].field_strength)} for k in made])
        # three times the odds: all of the commoner group, and a third of the other
        skewed = np.concatenate([made[own], made[~own][::3]])
        even, odd = share(attribute, made), share(attribute, skewed)
        assert even.control[0].passed
        assert even.verdict is not Verdict.REFUTED
        assert odd.verdict is Verdict.REFUTED
        assert odd.value is not None
        assert even.value is not None
        assert even.value < shares.MARGIN < odd.value
