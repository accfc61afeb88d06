"""What a generator can be asked for besides the label: learned of enough patients, drawn as asked, else refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_sets import put_cohort
from tiny_training import CPU, RECIPE, SIDE, compact_recipe

from scansynth.config import StudyConfig
from scansynth.console import silent
from scansynth.data import augment
from scansynth.data.sets import MANIFEST
from scansynth.data.tensors import CASE_COLUMNS, CohortFacts, load_cohort
from scansynth.errors import ConfigError, TrainingError
from scansynth.files import read_csv
from scansynth.gan.asked.conditions import LEAST, PLACE, Conditions, Values, from_plain, learn
from scansynth.gan.asked.labels import blank, class_of, conditions_of, shown
from scansynth.gan.asked.measured import lesion, measure, names_of
from scansynth.gan.asked.request import in_words, request_of
from scansynth.gan.generate import generate
from scansynth.gan.models.families import family_of
from scansynth.gan.models.family import Form
from scansynth.gan.onnx_model import apart, onnx_bytes
from scansynth.gan.run import prepare, train_run
from scansynth.gan.sampling import draw, latent_of
from scansynth.gan.training_loop import train
from scansynth.gan.weights import FACTS, load_generator
from scansynth.ledger import Role
from scansynth.stage import StageRecord, hash_outputs, write_record
from scansynth.study import Study

PEOPLE = 120
ROLES = (Role.TRAIN,) * 4 + (Role.CALIBRATE,)


def _blobs() -> tuple[np.ndarray, np.ndarray]:
    """Discs of many sizes and places, and their masks."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    at, radius = random.uniform(8, SIDE - 8, (2, PEOPLE, 1, 1)), random.uniform(2, 6, (PEOPLE, 1, 1))
    masks = (rows - at[0]) ** 2 + (columns - at[1]) ** 2 <= radius**2
    return np.where(masks, 50000, 9000).astype(np.uint16), masks.astype(np.uint8)


def _study(folder: Path, **generator: Any) -> Study:
    """A lesion in each image of the label nodule and none in clear; sexes in halves, and a site of few patients."""
    images, masks = _blobs()
    labels = ["clear" if number % 4 == 0 else "nodule" for number in range(PEOPLE)]
    masks[::4] = 0
    rows = [
        {
            **dict.fromkeys(CASE_COLUMNS, "1"),
            "id": f"case{number}",
            "patient": f"patient{number}",
            "role": ROLES[number % 5].value,
            "label": label,
            "attr_sex": "FM"[number // 2 % 2],
            "attr_site": "rare" if number in (1, 2, 3) else "SNE"[number // 5 % 3],
            "attr_note": f"seen by {number}",
            "attr_age": str(40 + number % 37),
        }
        for number, label in enumerate(labels)
    ]
    facts = CohortFacts(
        modality="CT", sop_class_uid="1.2", shape=(SIDE, SIDE), view="patch", labels=("clear", "nodule"),
        positive="nodule", unlabelled=False, files_found=PEOPLE, excluded={}, low=-1000.0, high=400.0,
        spacing=(1.0, 1.0), bits_stored=16, signed=True, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="k",
        plane="axial",
    )  # fmt: skip
    cohort = folder / "cohort"
    put_cohort(cohort, facts, rows, images, masks)
    outputs = hash_outputs(cohort, [cohort / "images.npy", cohort / "cases.csv"])
    write_record(cohort, StageRecord("ingest", {}, {}, outputs, 3))
    overrides = {
        "network": {"latent": 8, "style": 8, "grain": 2, "width": 4, "most": 8},
        "schedule": {**RECIPE["schedule"], "epochs": 1, "batch": 16},
        "choice": {"on": False},
    }
    values = {
        "seed": 3,
        "cohort": {"dicom": "/nowhere", "labels": "/nowhere/labels.csv", "positive": "nodule", "size": SIDE},
        "generator": {
            "recipe": "compact",
            "classes": ["clear", "nodule"],
            "conditions": ["diameter", "place", "sex", "site"],
            "overrides": overrides,
            **generator,
        },
        "tracking": {"tensorboard": False},
    }
    return Study(folder, StudyConfig.model_validate(values))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One that has trained for a moment."""
    made = _study(tmp_path_factory.mktemp("study"))
    train_run(made, CPU, silent, lambda line: None)
    return made


def _drawn(study: Study, folder: Path, **asked: Any) -> list[dict[str, str]]:
    facts, labels = load_cohort(study.cohort).facts, asked.pop("labels", ("nodule",))
    generate(study.run(), folder, facts, 7, 20, CPU, silent, labels=labels, asked=asked, even_if_collapsed=True)
    assert [row["asked"] for row in read_csv(folder / MANIFEST)] == [
        row["asked"] for row in read_csv(folder / "cases.csv")
    ]
    return read_csv(folder / MANIFEST)


def test_what_is_asked_is_drawn_and_told(study: Study, tmp_path: Path) -> None:
    """Within the range, in its own images, the same again; and other values make other images of the same noise."""
    rows = _drawn(study, tmp_path / "a", diameter="5-8", sex="M", place="0.3-0.7,0.3-0.7")
    assert {row["label"] for row in rows} == {"nodule"}
    told = [dict(part.split("=") for part in row["asked"].split("; ")) for row in rows]
    assert {one["sex"] for one in told} == {"M"}
    assert all(5.0 <= float(one["diameter"]) <= 8.0 for one in told)
    assert all(0.3 <= float(one[name]) <= 0.7 for one in told for name in PLACE)
    assert len({one["diameter"] for one in told}) > 10
    again = _drawn(study, tmp_path / "b", diameter="5-8", sex="M", place="0.3-0.7,0.3-0.7")
    assert [row["sha256"] for row in again] == [row["sha256"] for row in rows]
    assert {row["asked"] for row in _drawn(study, tmp_path / "c")} == {""}
    sampler, facts = load_generator(study.run())
    learned = from_plain(facts.conditions)
    requests = [request_of("r", learned, {"sex": sex}, ("nodule",)) for sex in "FM"]
    both = [np.stack(list(draw(replace(sampler, wanted=(1,), request=request), 7, 4))) for request in requests]
    assert not np.array_equal(*both)


def test_a_range_that_is_drawn_in_part_is_told(study: Study) -> None:
    """What lies beyond the sizes that were learned is not drawn, and the line says which are."""
    learned = from_plain(load_generator(study.run())[1].conditions)
    assert learned is not None
    edges = next(one.edges for one in learned.learned if one.name == "diameter")
    told = [
        request_of("r", learned, {"diameter": text}, ("nodule",)).narrower  # type: ignore[union-attr]  # one is asked
        for text in (f"0-{edges[-1] + 5}", f"{edges[0]}-{edges[-1]}", "5-8", "6")
    ]
    assert [len(lines) for lines in told] == [1, 0, 0, 0]
    assert told[0][0].startswith(f"diameter 0-{edges[-1] + 5} was asked of nodule, and enough train patients have it")
    assert f"between {edges[0]:g} and {edges[-1]:g} alone" in told[0][0]


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"diameter": "40-50"}, r"no images of diameter 40-50: of enough train patients it knows \d"),
        ({"diameter": "8-5"}, "is no range"),
        ({"diameter": "large"}, "is no range"),
        ({"place": "0.5"}, "is not ROWS,COLUMNS"),
        ({"sex": "X"}, "no images of sex X: of the values that at least 10 train patients have it knows F, M"),
        ({"site": "rare"}, "no images of site rare"),
        ({"note": "seen by 1"}, "learned no condition note: it learned diameter, place, sex, site"),
        ({"diameter": "5-8", "labels": ("clear",)}, "has not learned clear and diameter 5-8 together"),
    ],
)
def test_what_training_lacks_is_refused(study: Study, tmp_path: Path, asked: dict[str, Any], wrong: str) -> None:
    with pytest.raises(TrainingError, match=wrong) as fault:
        _drawn(study, tmp_path / "set", **asked)
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "set").exists()


def test_the_weights_tell_of_nobody(study: Study) -> None:
    """No value of few patients, and no patient's own number, stands beside the weights."""
    text = (study.run() / FACTS).read_text()
    assert "rare" not in text
    assert "seen by" not in text
    learned = from_plain(json.loads(text)["conditions"])
    assert learned is not None
    cohort = load_cohort(study.cohort)
    train = [case for case in cohort.cases if case.role is Role.TRAIN]
    own = {f"{values['diameter']:.6g}" for values in measure(cohort, train, ("diameter",)) if values}
    edges = [edge for one in learned.learned for edge in one.edges]
    assert len(edges) > 4
    assert not own & {f"{edge:.6g}" for edge in edges}
    people = {(kind, value): 0 for kind in ("sex", "site") for value in ("F", "M", "S", "N", "E")}
    for case in train:
        for kind in ("sex", "site"):
            people[kind, case.attributes[kind]] = people.get((kind, case.attributes[kind]), 0) + 1
    for one in learned.learned:
        assert all(people[one.name, value] >= LEAST for value in one.values)


def test_a_training_with_conditions_goes_on_to_the_bit(study: Study, tmp_path: Path) -> None:
    """And without them nothing is drawn, built or named otherwise than before."""
    job = prepare(study).job
    job = replace(job, folder=tmp_path / "paused", pause_at=32)
    train(job, CPU, silent, lambda line: None)
    resumed = train(replace(job, pause_at=0), CPU, silent, lambda line: None)
    whole = load_generator(study.run())[0].network.state_dict()
    for name, value in resumed.sampler.state_dict().items():
        assert torch.equal(value, whole[name]), name
    assert job.form.conditions == job.labels.shape[1] - 1 == 4 * 2 - 2 + 2 + 3
    assert {"sex=F", "sex=M"} <= set(job.watched.groups)
    plain = prepare(_study(tmp_path / "plain", conditions=[])).job
    assert plain.conditions is None
    assert plain.labels.dtype == np.int64
    family = family_of(plain.recipe)
    names = [set(family.build(*form).generator.state_dict()) for form in (plain.form, job.form)]
    assert {name.split(".")[0] for name in names[1] - names[0]} == {"conditions"}


def test_the_onnx_file_takes_what_is_asked(study: Study) -> None:
    pytest.importorskip("onnxruntime")
    sampler, facts = load_generator(study.run())
    request = request_of("r", from_plain(facts.conditions), {"sex": "F"}, ("clear", "nodule"))
    asking = replace(sampler, request=request)
    assert latent_of(asking, 7, range(16)).labels.shape == (16, 1 + facts.form.conditions)
    difference = apart(onnx_bytes(sampler), asking, 7, range(16))
    assert difference is not None
    assert difference < 1e-4


@pytest.mark.parametrize(
    ("generator", "wrong"),
    [
        ({"conditions": ["colour"]}, "the cohort has no column colour; it has diameter, place, age, note, sex, site"),
        ({"conditions": ["note"]}, "note has no value that at least 10 train patients have"),
        ({"conditions": ["sex", "sex"]}, "names a condition twice"),
        ({"recipe": "dcgan", "overrides": {}}, "learns no conditions; set generator.recipe to compact"),
    ],
)
def test_conditions_that_cannot_be_learned_are_refused(
    study: Study, generator: dict[str, Any], wrong: str
) -> None:  # fmt: skip
    values = study.config.model_dump()
    changed = {**values, "generator": {**values["generator"], **generator}}
    with pytest.raises(ConfigError, match=wrong) as fault:
        prepare(Study(study.folder, StudyConfig.model_validate(changed)))
    assert "\n" not in str(fault.value)


def _numbers(count: int) -> Conditions:
    values: list[Values] = [{"size": number / 10} for number in range(count)]
    return learn(("size",), values, [str(number) for number in range(count)], ["a"] * count)


def test_a_number_is_kept_as_bins_of_enough_patients() -> None:
    """Its outermost edges leave out single patients, and a value outside of them lies in no bin."""
    learned = _numbers(100)
    (one,) = learned.learned
    assert 0.0 < one.edges[0] < one.edges[-1] < 9.9
    assert one.cell(0.0) == one.cell(9.9) == ""
    assert one.cell(one.edges[-1]) == one.bin(len(one.edges) - 2)
    assert one.cell(one.edges[0]) == one.bin(0)
    for number in range(len(one.edges) - 1):
        assert (one.bin(number), one.bin(number)) in learned.together
    np.testing.assert_allclose(learned.encode({"size": one.mean + one.spread}), [1.0, 1.0], rtol=1e-5)
    assert not learned.encode({}).any()
    assert from_plain(json.loads(json.dumps(learned.plain()))) == learned
    with pytest.raises(ConfigError, match="known of 15 train patients, and at least 20"):
        _numbers(15)


def test_a_lesion_is_measured_by_its_area_and_centre() -> None:
    """The largest of several; a square of 4 by 4 pixels of 2 x 0.5 mm has the area of a circle of 4.51 mm."""
    mask = np.zeros((20, 40), np.uint8)
    mask[4:8, 10:14], mask[15, 30] = 1, 1
    found = lesion(mask, (2.0, 0.5))
    assert found["diameter"] == pytest.approx(2.0 * math.sqrt(16.0 / math.pi))
    assert (found[PLACE[0]], found[PLACE[1]]) == pytest.approx((6.0 / 20, 12.0 / 40))
    assert lesion(np.zeros_like(mask), (1.0, 1.0)) == {}
    assert names_of(("place", "sex")) == (*PLACE, "sex")


def test_a_place_moves_with_its_image() -> None:
    """A dot ends where its point is said to: mirrored both ways, and turned."""
    images = torch.zeros(6, 1, 41, 41)
    points = torch.tensor([[0.3, 0.7]] * 6)
    images[:, :, 12, 28] = 1.0  # pixel 12 is at (12 + 0.5) / 41
    drawn = augment.AugmentationDraw(
        torch.tensor([0, 1, 0, 1, 0, 1]) > 0,
        torch.tensor([0, 0, 1, 1, 0, 1]) > 0,
        torch.tensor([0.0, 0.0, 0.0, 0.0, 0.25, -0.2]),
    )
    turned = augment.apply(images, drawn)
    axis = (torch.arange(41) + 0.5) / 41
    weights = turned[:, 0] / turned[:, 0].sum((1, 2), keepdim=True)
    found = torch.stack([(weights.sum(2) * axis).sum(1), (weights.sum(1) * axis).sum(1)], 1)
    assert torch.allclose(augment.move_points(points, drawn), found, atol=0.02)


def test_half_of_each_condition_is_hidden() -> None:
    """By itself, as a whole, and from the generator of the step alone; the class never is."""
    learned = _numbers(100)
    labels = torch.cat([torch.ones(4000, 1), torch.full((4000, 2), 2.0)], 1)
    seen = [shown(learned, labels, None, 4000, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*seen)
    assert class_of(seen[0]).tolist() == [1] * 4000
    assert set(map(tuple, conditions_of(seen[0]).tolist())) == {(0.0, 0.0), (2.0, 2.0)}
    assert 0.45 < float((conditions_of(seen[0])[:, 0] == 0.0).float().mean()) < 0.55
    assert torch.equal(class_of(blank(3, 2)), blank(3, 0))


def test_words_say_what_was_asked() -> None:
    assert in_words({"sex": "F", "diameter": 5.25}) == "sex=F; diameter=5.25"


def test_the_discriminator_heeds_what_is_asked() -> None:
    """Its logit of the whole image changes with the conditions; that of places does not."""
    family = family_of(compact_recipe())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = family.build(*Form((SIDE, SIDE), 1, 1, 3))
    images, labels = torch.rand(4, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)), blank(4, 3)
    asked = labels + torch.tensor([0.0, 1.0, 0.0, 0.0])
    with torch.no_grad():
        one, other = (networks.discriminator.eval()(images, given) for given in (labels, asked))
    assert not torch.equal(one[:, 0], other[:, 0])
    assert torch.equal(one[:, 1:], other[:, 1:])
