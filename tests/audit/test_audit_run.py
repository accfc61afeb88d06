import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from image_sets import change_set, put_cohort, put_set
from scipy import ndimage

from scansynth.audit import run as audit_run
from scansynth.audit.compared import Compared, Reals, check_numbers, flat_images, gather
from scansynth.audit.context import Context
from scansynth.audit.encoders import FIXED, Encoders, Judge
from scansynth.audit.questions import diversity
from scansynth.audit.run import judge, measure
from scansynth.claims.claim import Claim, Finding, not_assessable
from scansynth.claims.judged import read_claims, schema
from scansynth.claims.rules import CLAIMS, RULES
from scansynth.config import EngineSettings, EvidenceSettings
from scansynth.data.imageset import open_set
from scansynth.data.tensors import CASE_COLUMNS, Case, CohortFacts, load_facts, to_stored
from scansynth.errors import EvidenceError
from scansynth.files import read_json
from scansynth.ledger import Role
from scansynth.metrics import planted
from scansynth.metrics.features import JUDGE_SEED, fit_scale, random_encoder
from scansynth.stage import hash_outputs, read_record
from scansynth.statistics import Verdict

SIZE = 32
SETTINGS = EvidenceSettings(draws=40, pairs=5)


QUICK = ("realism", "variety", "real files", "copies")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four questions, one judge: the others have tests of their own."""
    monkeypatch.setattr(diversity, "CONTROL_DRAWS", 3)
    monkeypatch.setattr(diversity, "CONTROL_IMAGES", 32)
    monkeypatch.setattr(audit_run, "CLAIM_GROUPS", tuple(m for m in audit_run.CLAIM_GROUPS if m.name in QUICK))
    monkeypatch.setattr(audit_run, "make_encoders", fixed_filters_alone)


def fixed_filters_alone(train: np.ndarray, cache: Path | None, onnx: Path | None) -> Encoders:
    encode = random_encoder(JUDGE_SEED)
    scale = fit_scale(encode(train))
    return Encoders((Judge(FIXED, lambda images: scale(encode(images))),), None)


def scans(count: int, seed: int) -> np.ndarray:
    """Smooth images with fine grain, one patient each: (count, 32, 32) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(count, SIZE, SIZE)), (0, 2.5, 2.5)) * 4
    grain = rng.normal(0, 0.05, (count, SIZE, SIZE))
    return np.clip(coarse * rng.uniform(0.5, 1.0, (count, 1, 1)) + grain, -1, 1).astype(np.float32)


def reals(count: int, role: Role, seed: int) -> Reals:
    cases = tuple(
        Case(i, f"{role}{i}", f"{role}-{i // 2}", role, "nodule", 0.0, 1.0, (1.0, 1.0), {}) for i in range(count)
    )
    return Reals(cases, scans(count, seed) if count else np.empty((0, SIZE, SIZE), np.float32))


@pytest.fixture(scope="module")
def healthy() -> Compared:
    """A set that is as good as new patients."""
    return Compared(
        files=tuple(f"dicom/{i:06d}.dcm" for i in range(120)),
        synthetic=scans(120, 1),
        labels=("nodule",),
        view="chest",
        unlabelled=False,
        train=reals(200, Role.TRAIN, 2),
        calibrate=reals(120, Role.CALIBRATE, 3),
        test=reals(120, Role.TEST, 4),
        inputs={"cohort": "0" * 64, "set": "1" * 64},
    )


def asked() -> tuple[str, ...]:
    """The claims of the questions that are asked here, in order."""
    names = {name for part in audit_run.CLAIM_GROUPS for name in part.claims}
    return tuple(name for name in CLAIMS if name in names)


def verdicts(compared: Compared) -> dict[str, Claim]:
    findings = measure(compared, SETTINGS, seed=7)
    assert [finding.claim.claim for finding in findings] == list(asked())
    return {finding.claim.claim: finding.claim for finding in findings}


def test_every_claim_belongs_to_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert sorted(name for part in audit_run.CLAIM_GROUPS for name in part.claims) == sorted(CLAIMS)


def test_new_patients_pass_for_a_good_set(healthy: Compared) -> None:
    for claim in verdicts(healthy).values():
        assert claim.verdict in {Verdict.SHOWN, Verdict.NOT_SHOWN}, claim.why
        assert all(control.passed for control in claim.control)
        assert claim.judge == (FIXED if RULES[claim.claim].by_judge else "")


def seen_apart(context: Context) -> tuple[Finding, ...]:
    """What reaches the process, in the place of an hour of networks."""
    n = {
        "synthetic images": len(context.synthetic),
        "test images": len(context.real.images),
        "training images": len(context.compared.train.images),
        "process": os.getpid(),
    }
    return (Finding(not_assessable("fidelity.c2st_pixels", "looked at", n)),)


def test_the_classifiers_of_pixels_work_apart_and_get_no_training_image(
    healthy: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    apart = audit_run.CLAIM_GROUPS[-1]
    assert apart.name == "classifiers of pixels"
    monkeypatch.setattr(audit_run, "make_encoders", fixed_filters_alone)
    monkeypatch.setattr(audit_run, "CLAIM_GROUPS", (apart,))
    monkeypatch.setattr(audit_run, "_answer_apart", seen_apart)
    monkeypatch.setattr(audit_run, "WORTHWHILE", 240)
    native = {"fidelity.c2st_native": "not asked"}
    two = EngineSettings(workers=2)
    (claim,) = (
        finding.claim
        for finding in measure(replace(healthy, withheld=native), SETTINGS, 7, engine=two)
        if finding.claim.claim not in native
    )
    process = claim.n["process"]
    assert claim.n == {"synthetic images": 120, "test images": 120, "training images": 0, "process": process}
    assert process != os.getpid()


@pytest.mark.parametrize(
    ("spoil", "refuted"),
    [
        (lambda x: planted.blur(x, 1.5), "fidelity.kid"),
        (lambda x: planted.few_images(x, 4, len(x), np.random.default_rng(0)), "diversity.near_pairs"),
        (planted.halfway_to_mean, "diversity.pair_distance"),
    ],
)
def test_planted_faults_are_found(healthy: Compared, spoil: Callable[[np.ndarray], np.ndarray], refuted: str) -> None:
    claims = verdicts(replace(healthy, synthetic=spoil(healthy.synthetic)))
    assert claims[refuted].verdict is Verdict.REFUTED, claims[refuted].why


def test_planted_copies_are_refuted_and_named(healthy: Compared) -> None:
    rng = np.random.default_rng(0)
    synthetic = healthy.synthetic.copy()
    source = rng.permutation(200)[:24]
    synthetic[:24] = planted.noise(healthy.train.images[source][:, :, ::-1], 0.025, rng)
    findings = {f.claim.claim: f for f in measure(replace(healthy, synthetic=synthetic), SETTINGS, seed=7)}
    copies = findings["copies.flag_rate"]
    assert copies.claim.verdict is Verdict.REFUTED, copies.claim.why
    assert findings["copies.real_files"].claim.verdict is Verdict.SHOWN
    assert {row["image"] for row in copies.flagged} >= set(healthy.files[:24])
    pairs = copies.pairs
    assert len(pairs) == SETTINGS.pairs
    assert all(pair["flip"] == "left-right" and pair["case_index"] == source[pair["index"]] for pair in pairs)
    assert [pair["p"] for pair in pairs] == sorted(pair["p"] for pair in pairs)
    ways = {"aligned correlation", "plain correlation", "learned similarity", "nearness to one patient alone"}
    assert {pair["by"] for pair in pairs} <= ways


@pytest.mark.parametrize(
    ("change", "judged"),
    [
        ({"unlabelled": True}, set()),
        ({"synthetic": scans(49, 1), "files": ("x",) * 49}, {"copies.real_files"}),
        ({"train": reals(0, Role.TRAIN, 2)}, {"copies.real_files"}),
        ({"calibrate": reals(38, Role.CALIBRATE, 3)}, set(CLAIMS) - {"copies.flag_rate"}),
        ({"test": reals(0, Role.TEST, 4)}, {"copies.flag_rate", "copies.real_files"}),
    ],
)
def test_missing_data_read_not_assessable_and_never_fail(
    healthy: Compared, change: dict[str, object], judged: set[str]
) -> None:
    claims = verdicts(replace(healthy, **change))
    lacking = set(asked()) - judged
    for name in lacking:
        assert claims[name].verdict is Verdict.NOT_ASSESSABLE
        assert claims[name].value is None
        assert claims[name].why.endswith(".")
    assert {name for name, claim in claims.items() if claim.value is None} == lacking


@pytest.mark.parametrize(
    ("values", "typical"),
    # black and white images lie far apart: the typical distance alone cannot refute them
    [([0.0], Verdict.REFUTED), ([-1.0, 1.0], Verdict.SHOWN), (list(np.linspace(-1, 1, 120)), Verdict.REFUTED)],
)
def test_a_set_of_flat_images_is_refuted(healthy: Compared, values: list[float], typical: Verdict) -> None:
    greys = np.resize(np.array(values, np.float32), 120)
    flat = replace(healthy, synthetic=np.ones_like(healthy.synthetic) * greys[:, None, None])
    assert flat.flat == 120
    findings = measure(flat, SETTINGS, seed=7)
    pairs = [pair for finding in findings for pair in finding.pairs]
    claims = {finding.claim.claim: finding.claim for finding in findings}
    for name in ("fidelity.kid", "diversity.near_pairs"):
        assert claims[name].verdict is Verdict.REFUTED, claims[name].why
    assert claims["diversity.pair_distance"].verdict is typical
    assert claims["copies.flag_rate"].value == 0
    assert {pair["score"] for pair in pairs} == {0.0}
    for claim in claims.values():
        assert claim.n["constant synthetic images"] == 120
        assert "120 of 120 are constant" in claim.why


def test_some_flat_images_are_counted_and_change_the_figures(healthy: Compared) -> None:
    synthetic = healthy.synthetic.copy()
    synthetic[:30] = 0.25
    claims, before = verdicts(replace(healthy, synthetic=synthetic)), verdicts(healthy)
    for name, claim in claims.items():
        assert claim.n == {**before[name].n, "constant synthetic images": 30}
    assert claims["fidelity.kid"].value > before["fidelity.kid"].value
    assert claims["fidelity.kid"].verdict is Verdict.REFUTED
    assert claims["diversity.near_pairs"].verdict is Verdict.REFUTED


def test_what_is_no_number_is_refused_and_flat_images_are_counted() -> None:
    images = scans(3, 0)
    assert flat_images(images) == 0
    images[1] = 0.3
    check_numbers(images, "the set")
    assert flat_images(images) == 1
    images[1, 0, 0] = np.nan
    with pytest.raises(EvidenceError, match="NaN or infinite"):
        check_numbers(images, "the set")


def test_a_real_image_of_one_grey_value_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = reals(4, Role.TRAIN, 2)
    train.images[0] = 0.25
    write_cohort(tmp_path / "cohort", (train,))
    put_set(tmp_path / "set", load_facts(tmp_path / "cohort"), to_stored(scans(1, 1)), "nodule")
    with pytest.raises(EvidenceError, match="1 of 4 images of the cohort's role train are constant"):
        gather(tmp_path / "cohort", tmp_path / "set")


def write_cohort(folder: Path, parts: Iterable[Reals]) -> CohortFacts:
    rows, images = [], []
    for part in parts:
        for case, image in zip(part.cases, part.images, strict=True):
            values = (case.case, case.patient, case.role, case.label, 0, 1, 1, 1, "2.25.1", "0", case.source_side)
            rows.append(dict(zip(CASE_COLUMNS, (*values, ""), strict=True)))
            images.append(to_stored(image))
    facts = CohortFacts(
        modality="CT", sop_class_uid="1.2", shape=(SIZE, SIZE), view="chest", labels=("nodule",), positive="nodule",
        unlabelled=False, files_found=len(rows), excluded={}, low=0.0, high=1.0, spacing=(1.0, 1.0),
        bits_stored=12, signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="k",
    )  # fmt: skip
    put_cohort(folder, facts, rows, np.stack(images))
    return facts


def test_judge_writes_what_it_states(healthy: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cohort(tmp_path / "cohort", (healthy.train, healthy.calibrate, healthy.test))
    made = tmp_path / "set"
    put_set(made, load_facts(tmp_path / "cohort"), to_stored(healthy.synthetic), "nodule")

    steps: list[tuple[int, int]] = []
    out = tmp_path / "evidence" / "main"
    claims = judge(
        tmp_path / "cohort", made, out, SETTINGS, 7, lambda done, total, note="": steps.append((done, total))
    )
    assert read_claims(out / "claims.json") == claims
    jsonschema.validate(read_json(out / "claims.json"), schema())
    assert steps[-1][0] == steps[-1][1]
    record = read_record(out)
    assert record is not None
    assert record.roles == ("calibrate", "test", "train")
    assert record.outputs == hash_outputs(out, [out / name for name in record.outputs])
    assert set(record.outputs) == {"claims.json", "pairs.json", "distributions.json", "quarantine.csv"}
    shown = {(row["claim"], row["judge"]): row["figures"] for row in read_json(out / "distributions.json")}
    assert {"synthetic", "held_out", "threshold"} <= set(shown["copies.flag_rate", ""])
    assert {"synthetic", "real"} == set(shown["diversity.pair_distance", FIXED])
    assert {"floor", "synthetic", "blurred", "noisy"} == set(shown["fidelity.kid", FIXED])

    again = judge(tmp_path / "cohort", made, tmp_path / "again", SETTINGS, 7)
    assert again == claims
    assert read_json(tmp_path / "again" / "pairs.json") == read_json(out / "pairs.json")

    change_set(made, rows=[{**row, "label": "fracture"} for row in open_set(made).rows])
    with pytest.raises(EvidenceError, match="fracture"):
        judge(tmp_path / "cohort", made, out, SETTINGS, 7)
