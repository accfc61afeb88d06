"""One synthetic set before the court: exhibits in, claims out.

The rules stand in `docs/evidence.md`. The judge's features are never those that a generator was trained or
stopped on (`features.JUDGE_SEED`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.config import EvidenceSettings
from scansynth.evidence import copies, diversity, fidelity, planted
from scansynth.evidence.claims import CLAIMS, RULE_VERSION, RULES, Claim, Finding, not_assessable, write_claims
from scansynth.evidence.exhibits import LEAST_SYNTHETIC, MOST_IMAGES, Exhibits, Reals, gather
from scansynth.files import new_directory, write_json
from scansynth.metrics.features import JUDGE_SEED, Scale, fit_scale, random_encoder
from scansynth.metrics.ncc import Flip, Nearest, average, nearest, paired, prepare
from scansynth.progress import Progress, silent
from scansynth.seeds import generator
from scansynth.stage import StageRecord, hash_outputs, plain, versions, write_record
from scansynth.statistics import Mask, patient_halves

Floats = NDArray[np.float64]
_STEPS = 4
_MADE = "synthetic images"


def audit_settings(settings: EvidenceSettings) -> dict[str, Any]:
    """What the verdicts depend on beside the images: the settings, and the version of the rules."""
    return plain({**settings.model_dump(), "rule_version": RULE_VERSION})


def judge(
    cohort_folder: Path, set_folder: Path, out: Path, settings: EvidenceSettings, seed: int, progress: Progress = silent
) -> tuple[Claim, ...]:
    """Judges a set and writes claims.json, pairs.json, distributions.json and stage.json.

    Args:
        cohort_folder: An ingested cohort.
        set_folder: A synthetic set with its manifest.
        out: Folder of the evidence; replaced when everything is written.
        settings: Number of draws, level, number of pairs.
        seed: Every draw derives from it.
        progress: Told of the steps done.

    Returns:
        One claim for each of `claims.CLAIMS`, in that order.

    Raises:
        EvidenceError: The set shows a label that the cohort does not have, a value is not a number, or a real image
            holds one grey value only.
        CohortError: The cohort or the set is missing or damaged.
        StorageError: `out` cannot be written.
    """
    start = time.monotonic()
    progress(0, _STEPS, "reading")
    exhibits = gather(cohort_folder, set_folder)
    findings, pairs = weigh(exhibits, settings, seed, progress)
    claims = tuple(replace(finding.claim, inputs=dict(exhibits.inputs)) for finding in findings)
    cases = [case for part in (exhibits.train, exhibits.calibrate, exhibits.test) for case in part.cases]
    distributions = {key: value for finding in findings for key, value in finding.distributions.items()}
    with new_directory(out) as folder:
        write_claims(folder / "claims.json", claims)
        write_json(folder / "pairs.json", pairs)
        write_json(folder / "distributions.json", distributions)
        record = StageRecord(
            stage="audit",
            inputs=exhibits.inputs,
            settings=audit_settings(settings),
            outputs=hash_outputs(folder, folder.glob("*.json")),
            seed=seed,
            roles=tuple(sorted({case.role.value for case in cases})),
            patients=tuple(sorted({case.patient for case in cases})),
            seconds=round(time.monotonic() - start, 1),
            versions=versions(),
        )
        write_record(folder, record)
    progress(_STEPS, _STEPS, "written")
    return claims


def weigh(
    exhibits: Exhibits, settings: EvidenceSettings, seed: int, progress: Progress = silent
) -> tuple[tuple[Finding, ...], list[dict[str, Any]]]:
    """All findings in the order of `CLAIMS`, and the nearest pairs; nothing is written."""
    missing = _missing(exhibits)
    findings: dict[str, Finding] = {
        name: Finding(not_assessable(name, why, _counts(exhibits, name))) for name, why in missing.items()
    }
    if "fidelity.kid" not in missing:
        found = _realism(exhibits, settings, seed, progress)
        findings |= {finding.claim.claim: finding for finding in found}
    pairs: list[dict[str, Any]] = []
    if copies.NAME not in missing:
        progress(3, _STEPS, "copies")
        findings[copies.NAME], pairs = _copies(exhibits, settings, seed)
    flat = exhibits.flat
    return tuple(_with_flat(findings[name], flat) if flat else findings[name] for name in CLAIMS), pairs


def _with_flat(finding: Finding, flat: int) -> Finding:
    """The finding with the number of synthetic images of one grey value, which no figure leaves out."""
    claim = finding.claim
    why = f"{claim.why} Of the synthetic images, {flat} of {claim.n[_MADE]} hold one grey value only and are no scans."
    return replace(finding, claim=replace(claim, why=why, n={**claim.n, "synthetic images of one grey value": flat}))


def _missing(exhibits: Exhibits) -> dict[str, str]:
    """Why a claim cannot be assessed, for those that cannot."""
    if exhibits.unlabelled:
        return dict.fromkeys(CLAIMS, "The cohort has no labels, so real images of the same kind cannot be chosen.")
    made = len(exhibits.synthetic)
    if made < LEAST_SYNTHETIC:
        why = f"The set holds {made} images; fewer than {LEAST_SYNTHETIC} say too little. Generate more."
        return dict.fromkeys(CLAIMS, why)
    missing: dict[str, str] = {}
    if exhibits.train.patient_count < 2:
        missing |= dict.fromkeys(CLAIMS, "There are fewer than two training patients with the labels of the set.")
    if exhibits.test.lack():
        why = f"Too few patients were set aside for the test: {exhibits.test.lack()}."
        missing |= {name: why for name in RULES if name != copies.NAME}
    few = exhibits.calibrate.lack(copies.LEAST_PATIENTS, copies.LEAST_IMAGES)
    if few:
        missing[copies.NAME] = f"Too few patients were kept for setting thresholds: {few}."
    return missing


def _counts(exhibits: Exhibits, name: str) -> Mapping[str, int]:
    counts = {_MADE: len(exhibits.synthetic)}
    parts = {"train": exhibits.train, "calibrate": exhibits.calibrate, "test": exhibits.test}
    words = {"train": "training {}", "calibrate": "{} kept for thresholds", "test": "test {}"}
    for role in RULES[name].roles:
        counts[words[role].format("images")] = len(parts[role].cases)
        counts[words[role].format("patients")] = parts[role].patient_count
    return counts


def _at_most(images: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of at most `count` images, drawn without replacement, in order."""
    chosen: NDArray[np.int64] = np.sort(rng.permutation(len(images))[:count])
    return chosen


def _realism(exhibits: Exhibits, settings: EvidenceSettings, seed: int, progress: Progress) -> tuple[Finding, ...]:
    """The claims that rest on features of test patients."""
    encode = random_encoder(JUDGE_SEED)
    progress(1, _STEPS, "features")
    reference = _at_most(exhibits.train.images, MOST_IMAGES, generator(seed, "evidence", "scale"))
    scale = fit_scale(encode(exhibits.train.images[reference]))
    made = exhibits.synthetic[_at_most(exhibits.synthetic, MOST_IMAGES, generator(seed, "evidence", "set"))]
    kept = _at_most(exhibits.test.images, MOST_IMAGES, generator(seed, "evidence", "test"))
    images, patients = exhibits.test.images[kept], exhibits.test.patients[kept]
    synthetic, real = scale(encode(made)), scale(encode(images))

    rng = generator(seed, "evidence", "faults")
    spoiled = {"blur": planted.blur(images), "noise": planted.noise(images, 0.025, rng)}
    halves = patient_halves(patients, settings.draws, generator(seed, "evidence", "halves"))
    progress(2, _STEPS, "realism and variety")
    found = fidelity.assess(
        synthetic,
        real,
        patients,
        halves,
        {fault: scale(encode(changed)) for fault, changed in spoiled.items()},
        settings.level,
        generator(seed, "evidence", "subsets"),
    )
    poor = _poor_sets(images, patients, halves, scale, generator(seed, "evidence", "few"))
    return (found, *diversity.assess(synthetic, real, patients, halves, poor, settings.level))


def _poor_sets(
    images: NDArray[np.float32], patients: NDArray[Any], halves: Mask, scale: Scale, rng: np.random.Generator
) -> Mapping[str, Mapping[str, Sequence[Floats]]]:
    """Features of sets without variety, made of the second half of each of the first draws."""
    encode = random_encoder(JUDGE_SEED)
    one: list[Floats] = []
    eight: list[Floats] = []
    calm: list[Floats] = []
    for half in halves[: diversity.CONTROL_DRAWS]:
        places = rng.permutation(np.flatnonzero(~half))
        # one image of each patient
        places = places[np.unique(patients[places], return_index=True)[1]]
        chosen = images[rng.permutation(places)[: diversity.CONTROL_IMAGES]]
        count = diversity.CONTROL_IMAGES
        one.append(scale(encode(planted.few_images(chosen, 1, count, rng))))
        eight.append(scale(encode(planted.few_images(chosen, 8, count, rng))))
        calm.append(scale(encode(planted.halfway_to_mean(chosen))))
    return {
        "diversity.pair_distance": {"one image": one, "half the variation": calm},
        "diversity.near_pairs": {"eight images": eight},
    }


def _copies(exhibits: Exhibits, settings: EvidenceSettings, seed: int) -> tuple[Finding, list[dict[str, Any]]]:
    """The claim on copies, and the nearest pairs."""
    train = prepare(exhibits.train.images)
    chest = exhibits.view == "chest"
    flips = (Flip.NONE, Flip.LEFT_RIGHT) if chest else tuple(Flip)
    of_set = nearest(prepare(exhibits.synthetic), train, flips)
    of_calibrate = nearest(prepare(exhibits.calibrate.images), train, flips).score

    places = _at_most(train, copies.CONTROL_IMAGES, generator(seed, "evidence", "copies"))
    rng = generator(seed, "evidence", "copy faults")
    hidden = planted.copies(average(exhibits.train.images[places]), not chest, rng)
    found = copies.assess(
        of_set.score,
        of_calibrate,
        exhibits.calibrate.patients,
        {kind: paired(prepare(made), train[places], flips) for kind, made in hidden.items()},
        {"training images": len(train), "training patients": exhibits.train.patient_count},
        settings.level,
        generator(seed, "evidence", "thresholds"),
    )
    rarity = copies.tail(of_set.score, of_calibrate)
    order = np.argsort(-of_set.score, kind="stable")[: settings.pairs]
    return found, [_pair(exhibits, exhibits.train, of_set, rarity, int(place)) for place in order]


def _pair(exhibits: Exhibits, train: Reals, found: Nearest, rarity: Floats, place: int) -> dict[str, Any]:
    """One row of pairs.json."""
    case = train.cases[int(found.index[place])]
    return {
        "synthetic": exhibits.files[place],
        "index": place,
        "case": case.case,
        "case_index": case.index,
        "score": round(float(found.score[place]), 5),
        "flip": "" if found.flip[place] is Flip.NONE else found.flip[place].value,
        "p": round(float(rarity[place]), 5),
    }
