"""One job of a trial: trains one detector and writes its scores. It needs the study's files and nothing else."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.data.augment import AugmentationPlan, plan_augmentation
from scansynth.data.fractions import train_part
from scansynth.data.permission import permission
from scansynth.data.tensors import Case, Cohort, Selection, cases_for, load_cohort
from scansynth.files import new_directory, sha256_json, write_csv, write_json
from scansynth.learning.device import Device, pick_device
from scansynth.ledger import Use
from scansynth.recipe import AugmentationSettings
from scansynth.seeds import derive_seed
from scansynth.stage import StageRecord, hash_outputs, plain, stale, versions, write_record
from scansynth.study import CANDIDATES, COHORT, FIT, JOBS, SCORES, TRIAL
from scansynth.utility.arms import phases_of
from scansynth.utility.detector.detector import (
    FACTS,
    WEIGHTS,
    DetectorFacts,
    Scored,
    save_detector,
    score_images,
    threshold_at,
)
from scansynth.utility.detector.fit import FitSettings, Fitted, fit
from scansynth.utility.detector.material import Phase
from scansynth.utility.pools import Division, Pools, divide, gather, positives
from scansynth.utility.statistics.calibration import fit_temperature

STAGE = "trial job"
SCORE_COLUMNS = ("case", "patient", "role", "positive", "score")
CANDIDATE_COLUMNS = ("case", "row", "column", "score")
_JUDGED = frozenset({SCORES, CANDIDATES})  # what the analysis reads
ROTATION = 15.0
"""Degrees that basic augmentation asks for; the table of permitted augmentation may allow less."""

_MEBI = 1024  # ru_maxrss counts KiB on Linux


@dataclass(frozen=True)
class JobSpec:
    """What one job is, in plain values that any process understands.

    Attributes:
        name: Of the job and its folder.
        study: Folder of the study.
        arm: A name of `arms.ARM_PLANS`.
        fraction: Share of the train patients.
        ratio: Synthetic images for each real positive one; 0 where the arm has none.
        pair: Number of the pair of generator and detectors, from 0.
        seed: Of the pair.
        sets: Folders of the synthetic sets that it reads.
        fit: `fit.FitSettings` as JSON.
        false_alarm_rate: At which the threshold of `detect` is set.
        inputs: Digests of what it reads, by name, as JSON.
        left_out: Column and value of patients who are tried on and not learned from; both empty: none.
    """

    name: str
    study: str
    arm: str
    fraction: float
    ratio: float
    pair: int
    seed: int
    sets: tuple[str, ...]
    fit: str
    false_alarm_rate: float
    inputs: str
    left_out: tuple[str, str] = ("", "")

    @property
    def folder(self) -> Path:
        """Where the job writes."""
        return Path(self.study) / TRIAL / JOBS / self.name

    @property
    def settings(self) -> dict[str, Any]:
        """What decides about its results, besides its inputs and its seed."""
        return plain(
            {
                "arm": self.arm,
                "fraction": self.fraction,
                "ratio": self.ratio,
                "fit": json.loads(self.fit),
                "false_alarm_rate": self.false_alarm_rate,
                "rotation": ROTATION,
                "left_out": list(self.left_out),
            }
        )

    @property
    def digests(self) -> dict[str, str]:
        """Digests of what it reads, by name."""
        values: dict[str, str] = json.loads(self.inputs)
        return values

    @property
    def identity(self) -> str:
        """One hash of all that decides about its results."""
        return sha256_json({"inputs": self.digests, "settings": self.settings, "seed": self.seed})


def pair_seed(seed: int, pair: int) -> int:
    """The seed of a pair: its generator, its detectors and its part of the patients derive from it.

    The first pair has the study's own, so that the study's generator serves the trial too.

    Args:
        seed: The study's.
        pair: Number of the pair, from 0.
    """
    return seed if pair == 0 else derive_seed(seed, "pair", pair)


def is_done(spec: JobSpec) -> bool:
    """Whether the job has ended under the same inputs, settings and seed, and its files are there.

    What the analysis reads must be as the job wrote it; a job whose scores were altered runs again.

    Raises:
        StudyError: Its record is damaged.
    """
    return not stale(spec.folder, spec.digests, spec.settings, spec.seed, exact=_JUDGED)


def run_job(spec: JobSpec) -> None:
    """Trains a detector, scores the real images, and writes both; all or nothing.

    Raises:
        CohortError: A class or a set is missing.
        LedgerError: A patient stands in two roles.
        TrainingError: The loss became NaN or infinite.
        StorageError: The disk is full.
    """
    began = time.monotonic()
    cohort = load_cohort(Path(spec.study) / COHORT)
    settings = FitSettings(**json.loads(spec.fit))
    subset = train_part(cohort, spec.fraction, spec.seed)
    division = divide(cohort, subset, spec.left_out if spec.left_out[0] else None)
    sets = [Path(folder) for folder in spec.sets]
    seed = derive_seed(spec.seed, "arm")
    pools = gather(cohort, division, spec.arm, spec.ratio, sets, settings.network, settings.lesions, seed)
    phases = phases_of(spec.arm, pools.sources, spec.ratio, seed)
    asked = AugmentationSettings(rotation_degrees=ROTATION)
    plan = plan_augmentation(asked, permission(cohort.facts.modality, cohort.facts.view))
    device = pick_device()
    fitted = fit(pools.material, phases, settings, plan, derive_seed(spec.seed, "detector"), device)
    parts = {"train": division.train, "calibrate": division.calibrate, "test": division.test}
    scored = {role: score_images(fitted.network, part.planes, device) for role, part in parts.items()}
    facts = _facts(cohort, division, settings, spec, scored["calibrate"])
    with new_directory(spec.folder) as out:
        write_scores(out / SCORES, cohort, {role: (parts[role], scored[role]) for role in parts})
        if settings.lesions:
            write_candidates(out / CANDIDATES, {role: (parts[role], scored[role]) for role in ("calibrate", "test")})
        save_detector(out, fitted.network, facts)
        told = _told(spec, division, pools, phases, plan) | _outcome(fitted, facts, device)
        write_json(out / FIT, {**told, "job_seconds": round(time.monotonic() - began, 2)})
        _record(out, spec, cohort, division, time.monotonic() - began)


def _facts(
    cohort: Cohort, division: Division, settings: FitSettings, spec: JobSpec, calibrate: Scored
) -> DetectorFacts:
    """What the detector is, with the temperature and threshold that calibrate images give."""
    positive = positives(cohort, division.calibrate.cases)
    return DetectorFacts(
        network=settings.network,
        lesions=settings.lesions,
        shape=cohort.facts.shape,
        modality=cohort.facts.modality,
        spacing=cohort.facts.spacing,
        low=cohort.facts.low,
        high=cohort.facts.high,
        arm=spec.arm,
        temperature=fit_temperature(calibrate.scores, positive),
        threshold=threshold_at(calibrate.scores[~positive], spec.false_alarm_rate),
        false_alarm_rate=spec.false_alarm_rate,
    )


def write_scores(path: Path, cohort: Cohort, parts: Mapping[str, tuple[Selection, Scored]]) -> None:
    """Writes the uncalibrated probability of each image, with all its digits: equal scores would be ties."""
    rows = [
        row
        for role, (part, scored) in parts.items()
        for row in score_rows(part.cases, role, positives(cohort, part.cases), scored)
    ]
    write_csv(path, SCORE_COLUMNS, rows)


def score_rows(
    cases: Iterable[Case], role: str, positive: NDArray[np.bool_], scored: Scored
) -> list[dict[str, object]]:
    """One row of `scores.csv` for each case."""
    return [
        {
            "case": case.case,
            "patient": case.patient,
            "role": role,
            "positive": int(shows),
            "score": repr(float(score)),
        }
        for case, shows, score in zip(cases, positive, scored.scores, strict=True)
    ]


def write_candidates(path: Path, parts: Mapping[str, tuple[Selection, Scored]]) -> None:
    """Writes the places that may be a lesion, in pixels of the ingested image."""
    rows = [
        {
            "case": case.case,
            "row": f"{candidate.row:.2f}",
            "column": f"{candidate.column:.2f}",
            "score": repr(candidate.score),
        }
        for part, scored in parts.values()
        for case, candidates in zip(part.cases, scored.candidates or (), strict=True)
        for candidate in candidates
    ]
    write_csv(path, CANDIDATE_COLUMNS, rows)


def _told(
    spec: JobSpec, division: Division, pools: Pools, phases: tuple[Phase, ...], plan: AugmentationPlan
) -> dict[str, Any]:
    """What the detector learned from, for the report: no path and no name."""
    augmented = phases[-1].augmented
    return {
        "job": spec.name,
        "arm": spec.arm,
        "fraction": spec.fraction,
        "ratio": spec.ratio,
        "pair": spec.pair,
        "seed": spec.seed,
        "left_out": list(spec.left_out),
        "identity": spec.identity,
        "settings": json.loads(spec.fit),
        "train_patients": len(set(division.train.patients)),
        "train_positive": len(pools.sources.real[0]),
        "train_negative": len(pools.sources.real[1]),
        "extra_positive": len(pools.sources.extra[0]),
        "extra_negative": len(pools.sources.extra[1]),
        "phases": [
            {
                "share": phase.share,
                "positives": len(phase.positives),
                "negatives": len(phase.negatives),
                "augmented": phase.augmented,
            }
            for phase in phases
        ],
        "augmentation": {
            "applied": list(plan.applied) if augmented else [],
            "refused": list(plan.refused) if augmented else [],
        },
        "notes": list(pools.notes),
    }


def _outcome(fitted: Fitted, facts: DetectorFacts, device: Device) -> dict[str, Any]:
    """How the training went."""
    return {
        "temperature": facts.temperature,
        "threshold": facts.threshold,
        "false_alarm_rate": facts.false_alarm_rate,
        "weights": fitted.weights,
        "losses": [round(loss, 5) for loss in fitted.losses],
        "fit_seconds": round(fitted.seconds, 2),
        "fit_processor_seconds": round(fitted.processor_seconds, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBI, 1),
        "device": device.kind,
        "precision": device.precision,
    }


def _record(out: Path, spec: JobSpec, cohort: Cohort, division: Division, seconds: float) -> None:
    """Writes the record last: a folder that has one is whole."""
    read = [division.train, division.calibrate, division.test]
    read += [division.reserve] if spec.arm == "reserve" else []
    names = [path for path in (out / name for name in (SCORES, CANDIDATES, FIT, WEIGHTS, FACTS)) if path.is_file()]
    cases = [case for part in read for case in part.cases]
    cases += cases_for(cohort, Use.SET_FILTER) if spec.arm == "filtered" else ()
    record = StageRecord(
        stage=STAGE,
        inputs=spec.digests,
        settings=spec.settings,
        outputs=hash_outputs(out, names),
        seed=spec.seed,
        roles=tuple(sorted({case.role.value for case in cases})),
        patients=tuple(sorted({case.patient for case in cases})),
        seconds=round(seconds, 2),
        versions=versions(),
    )
    write_record(out, record)


def spec_values(spec: JobSpec) -> dict[str, Any]:
    """The job as it stands in the plan: no path of the machine."""
    values = asdict(spec)
    del values["study"]
    values["fit"], values["inputs"] = json.loads(spec.fit), spec.digests
    values["sets"] = [Path(folder).name for folder in spec.sets]
    return {**values, "left_out": list(spec.left_out), "identity": spec.identity}
