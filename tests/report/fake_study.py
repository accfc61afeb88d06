"""A complete study folder, made up: every artefact that the report reads, without running any stage."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from fake_evidence import distributions, everything
from image_sets import put_cohort, put_set
from PIL import Image

from scansynth.claims.judged import write_claims
from scansynth.config import CohortSettings, EvidenceSettings, StudyConfig
from scansynth.data.tensors import CohortFacts, load_facts
from scansynth.files import write_csv, write_json, write_json_lines
from scansynth.ledger import Role
from scansynth.recipe import load_recipe
from scansynth.stage import StageRecord, hash_outputs, read_record, write_record
from scansynth.study import Study

CT = "1.2.840.10008.5.1.4.1.1.2"
SHARES = ((Role.TRAIN, 0.5), (Role.TUNE, 0.1), (Role.CALIBRATE, 0.1), (Role.RESERVE, 0.1), (Role.TEST, 0.2))


def keyed(*names: object, digits: int) -> str:
    return hashlib.sha256("/".join(map(str, names)).encode()).hexdigest()[:digits]


def derive_uid(*names: object) -> str:
    return f"2.25.{int(keyed(*names, digits=30), 16)}"


def blobs(rng: np.random.Generator, n: int, size: int, rough: float) -> np.ndarray:
    """Something like patches of a lung: noise, vessels, a nodule; uint16 (n, size, size)."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    images = np.empty((n, size, size), np.uint16)
    for index in range(n):
        cy, cx, radius = rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.15), rng.uniform(0.05, 0.2)
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3)
        nodule = 0.62 / (1 + np.exp((np.hypot(y - cy, x - cx) - radius) * 40))
        line = 0.4 * np.exp(-(((np.cos(angle) * x + np.sin(angle) * y - offset) * 22) ** 2))
        value = 0.16 + nodule + line + rng.normal(0, rough, (size, size))
        images[index] = np.clip(value, 0, 1) * 65535
    return images


def make_study(
    folder: Path,
    *,
    name: str = "Lung patches, first look",
    labels: tuple[str, ...] = ("clear", "nodule"),
    size: int = 64,
    patients: int = 60,
    synthetic: int = 80,
    stages: tuple[str, ...] = ("ingest", "train", "generate", "audit"),
    dicom: str = "/data/hospital/secret-scans",
) -> Study:
    """A study whose named stages have ended."""
    config = StudyConfig(
        name=name,
        seed=7,
        cohort=CohortSettings(dicom=dicom, labels="/data/hospital/labels.csv", positive=labels[-1], size=size),
        evidence=EvidenceSettings(pairs=6),
    )
    study = Study(folder, config)
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = [{"time": "2026-11-20T08:00:00+00:00", "stage": "init", "event": "made"}]
    makers = {"ingest": make_cohort, "train": make_run, "generate": make_set, "audit": make_evidence}
    for hour, stage in enumerate(stages):
        makers[stage](study, labels, patients, synthetic)
        lines.append(
            {
                "time": f"2026-11-20T{9 + hour:02}:12:31+00:00",
                "stage": stage,
                "event": "ended",
                "seconds": 41.7 * 9**hour,
            }
        )
    study.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return study


def end(study: Study, folder: Path, stage: str, before: dict[str, Path], roles: tuple[str, ...]) -> None:
    inputs = {}
    for key, place in before.items():
        record = read_record(place)
        if record is not None:
            inputs[key] = record.digest
    people = tuple(keyed("patient", index, digits=16) for index in range(30)) if roles else ()
    versions = {"python": "3.11.9", "scansynth": "0.1.0", "torch": "2.13.0", "numpy": "2.3.1"}
    files = [path for path in folder.rglob("*") if path.is_file()]
    record = StageRecord(stage, inputs, {}, hash_outputs(folder, files), 7, roles, people, 123.4, versions)
    write_record(folder, record)


def make_cohort(study: Study, labels: tuple[str, ...], patients: int, synthetic: int) -> None:
    rng = np.random.default_rng(1)
    size, rows = study.config.cohort.size, []
    bounds = np.cumsum([share for _, share in SHARES]) * patients
    for patient in range(patients):
        role = SHARES[int(np.searchsorted(bounds, patient, side="right"))][0]
        rows += [
            {
                "id": keyed("case", patient, image, digits=12),
                "patient": keyed("patient", patient, digits=16),
                "role": role.value,
                "label": labels[int(rng.integers(len(labels)))],
                "low": -1000.0,
                "high": 400.0,
                "spacing_row": 0.7,
                "spacing_col": 0.7,
                "sop": derive_uid("case", patient, image),
                "source_sha256": keyed("source", patient, image, digits=64),
                "attr_sex": "F",
            }
            for image in range(int(rng.integers(1, 4)))
        ]
    excluded = {"not an image": 3, "ultrasound, not CT": 12, "no row in labels.csv": 5, "damaged": 1}
    facts = CohortFacts(
        modality="CT", sop_class_uid=CT, shape=(size, size), view="patch", labels=tuple(sorted(labels)),
        positive=labels[-1], unlabelled=False, files_found=len(rows) + sum(excluded.values()),
        excluded=excluded, low=-1000.0, high=400.0, spacing=(0.7, 0.7), bits_stored=12,
        signed=True, rescale_slope=1.0, rescale_intercept=-1024.0, key_fingerprint="abc123",
    )  # fmt: skip
    put_cohort(study.cohort, facts, rows, blobs(rng, len(rows), size, 0.03))
    write_csv(study.cohort / "excluded.csv", ["key", "reason", "detail"], [])
    end(study, study.cohort, "ingest", {}, tuple(role.value for role, _ in SHARES))


LIMIT = "of that of real images, below 0.50"
ALARMS: list[dict[str, Any]] = [
    {"event": "alarm", "level": "warning", "reasons": ["losses: the generator's is 6.10 times the discriminator's, "
     "after 1.90 times before"], "images": 26_000, "attempt": 1},
    {"event": "alarm", "level": "critical", "reasons": [f"generator: distance to the nearest other image 0.31 {LIMIT}",
     f"generator: number of distinct images (Vendi) 0.42 {LIMIT}"], "images": 30_000, "attempt": 1},
    {"event": "roll-back", "change": "rate", "left_at": 30_000, "images": 20_000, "attempt": 2},
    {"event": "alarm", "level": "warning", "reasons": ["average: directions of variation (effective rank) 0.71 of that "
     "of real images, below the 0.74 that chance allows, and twice running"], "images": 62_000, "attempt": 2},
    {"event": "over", "level": "healthy", "reasons": [], "images": 66_000, "attempt": 2},
]  # fmt: skip
"""What happened to the run: a collapse at 30,000 images, from which it went back to 20,000."""


SHARES_OF = {"median_pair": 1.0, "nearest": 0.95, "vendi": 0.8}


def log_lines(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Two attempts: the first collapses at 30,000 images, the second goes on from 20,000 to the end."""
    lines = []
    for attempt, first, last in ((1, 1, 15), (2, 11, 40)):
        for step in range(first, last + 1):
            t, fall = step / 40, max(0.0, (step - 11) / 6) if attempt == 1 else 0.0
            varied = max(0.0, 1 - 0.8 * np.exp(-9 * t) - fall + rng.normal(0, 0.02))
            lines.append(
                {
                    "images": step * 2000,
                    "attempt": attempt,
                    "level": "critical" if fall > 0.6 else "warning" if step in {31, 32} else "healthy",
                    "epoch": step * 2.0,
                    "seconds": step * 9.1,
                    "images_per_second": 220 + rng.normal(0, 6),
                    "loss_d": 1.1 - 0.3 * t - 0.8 * fall + rng.normal(0, 0.05),
                    "loss_g": 1.0 + 0.9 * t + 4 * fall + rng.normal(0, 0.1),
                    "d_real": 0.72 + rng.normal(0, 0.03),
                    "d_fake": 0.3 - 0.05 * t + rng.normal(0, 0.03),
                    "diversity": varied,
                    "balance": 2.0,
                    **{f"average_{name}": share * varied for name, share in SHARES_OF.items()},
                    **{f"generator_{name}": 0.9 * share * varied for name, share in SHARES_OF.items()},
                }
            )
    return lines


def make_run(study: Study, labels: tuple[str, ...], patients: int, synthetic: int) -> None:
    rng = np.random.default_rng(2)
    folder, size = study.run(), study.config.cohort.size
    (folder / "grids").mkdir(parents=True)
    recipe = load_recipe("dcgan").model_dump(mode="json")
    run = {
        "recipe": recipe, "seed": 7, "images_total": 80_000, "device": "cpu", "precision": "float32",
        "classes": [labels[-1]], "train_images": 32, "train_patients": 25,
        "parameters": {"generator": 3_576_704, "discriminator": 2_765_568},
        "augmentation": {
            "applied": ["up-down flips", "rotations up to 5 degrees"],
            "refused": ["left-right flips: the heart would change sides", "stretches: they change a lesion's size"],
        },
        "variety_against": "patients of calibrate", "images_seen": 80_000, "changes": ["rate"], "level": "healthy",
    }  # fmt: skip
    write_json(folder / "run.json", run)
    write_json_lines(folder / "log.jsonl", log_lines(rng))
    write_json_lines(folder / "alarms.jsonl", ALARMS)
    columns = max(4, min(8, 512 // size))
    for attempt, step in [(1, 1), (1, 2), (1, 3), *((2, step) for step in range(3, 9))]:
        tiles = blobs(np.random.default_rng(5), columns**2, size, 0.4 / step)
        if (attempt, step) == (1, 3):
            tiles[:] = tiles[0]  # the collapse
        write_grid(folder / "grids" / f"{attempt:02d}-{step * 10000:010d}.png", tiles, columns)
    write_grid(folder / "real.png", blobs(np.random.default_rng(6), columns**2, size, 0.03), columns)
    (folder / "generator.safetensors").write_bytes(b"weights")
    end(study, folder, "train", {"cohort": study.cohort}, ("train",))


def write_grid(path: Path, tiles: np.ndarray, columns: int) -> None:
    size = tiles.shape[1]
    sheet = tiles.reshape(-1, columns, size, size).transpose(0, 2, 1, 3).reshape(-1, columns * size)
    Image.fromarray((sheet >> 8).astype(np.uint8)).save(path)


def make_set(study: Study, labels: tuple[str, ...], patients: int, synthetic: int) -> None:
    folder, size = study.synthetic(), study.config.cohort.size
    images = blobs(np.random.default_rng(3), synthetic, size, 0.05)
    weights = keyed("weights", digits=64)
    put_set(
        folder, load_facts(study.cohort), images, labels[-1], seed=[7] * synthetic, weights_sha256=[weights] * synthetic
    )
    end(study, folder, "generate", {"weights": study.run()}, ())


def make_evidence(study: Study, labels: tuple[str, ...], patients: int, synthetic: int) -> None:
    rng = np.random.default_rng(4)
    folder = study.evidence()
    folder.mkdir(parents=True)
    digests = {"cohort": read_record(study.cohort).digest, "set": read_record(study.synthetic()).digest}
    write_claims(folder / "claims.json", everything(digests))
    train = [row for row in (study.cohort / "cases.csv").read_text().splitlines()[1:] if ",train," in row]
    pairs = [
        {
            "synthetic": f"dicom/{3 * i % synthetic:06d}.dcm",
            "index": 3 * i % synthetic,
            "case": train[2 * i].split(",")[0],
            "case_index": 2 * i,
            "score": 0.93 - 0.011 * i,
            "flip": {2: "left-right", 4: "both"}.get(i, ""),
            "p": 0.004 + 0.006 * i,
            "by": ("aligned correlation", "learned similarity", "plain correlation")[i % 3],
        }
        for i in range(6)
    ]
    write_json(folder / "pairs.json", pairs)
    write_json(folder / "distributions.json", distributions(rng, synthetic))
    end(study, folder, "audit", {"cohort": study.cohort, "set": study.synthetic()}, ("calibrate", "test", "train"))
