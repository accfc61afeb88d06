"""A study made of arrays: a bright blob is a lesion. Small enough that a detector learns it in a second."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from image_sets import put_cohort, put_set

from scansynth.config import CohortSettings, StudyConfig
from scansynth.data import tensors
from scansynth.data.tensors import CohortFacts
from scansynth.files import sha256_bytes, write_bytes, write_json
from scansynth.ledger import Role
from scansynth.stage import StageRecord, hash_outputs, read_record, write_record
from scansynth.study import Study
from scansynth.utility.job import pair_seed

SIDE = 32
PATIENTS = {Role.TRAIN: 24, Role.TUNE: 20, Role.CALIBRATE: 12, Role.RESERVE: 8, Role.TEST: 16}
FAST: dict[str, Any] = {
    "arms": ["basic", "basic-synthetic"], "pairs": 1, "steps": 60, "batch": 16, "network": "small", "lesions": "off",
}  # fmt: skip


def keyed(*names: object, digits: int = 16) -> str:
    return hashlib.sha256("/".join(map(str, names)).encode()).hexdigest()[:digits]


def draw_image(rng: np.random.Generator, lesion: bool, contrast: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """One image, uint16 (SIDE, SIDE), and the mask of its bright blob; without a lesion the blob is dark."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    row, column = rng.uniform(8, SIDE - 8, 2)
    distance = np.hypot(rows - row, columns - column)
    value = (
        0.4
        + rng.normal(0.0, 0.06, (SIDE, SIDE))
        + (contrast if lesion else -contrast) * np.exp(-((distance / 3.0) ** 2))
    )
    mask = (distance <= 2.5) if lesion else np.zeros((SIDE, SIDE), bool)
    return (np.clip(value, 0.0, 1.0) * 65535.0).astype(np.uint16), mask.astype(np.uint8)


def make_study(folder: Path, name: str = "tiny", masks: bool = False, contrast: float = 0.3, **utility: Any) -> Study:
    """A study with an ingested cohort: each patient has a clear image and one with a lesion."""
    config = StudyConfig.model_validate(
        {
            "name": name,
            "seed": 3,
            "cohort": CohortSettings(dicom="none", labels="labels.csv", positive="nodule", size=SIDE).model_dump(),
            "utility": FAST | utility,
        }
    )
    study = Study(folder, config)
    study.cohort.mkdir(parents=True)
    make_cohort(study.cohort, name, masks, contrast)
    return study


def make_cohort(folder: Path, name: str, masks: bool, contrast: float) -> None:
    rng = np.random.default_rng(int(keyed(name, digits=8), 16))
    rows, images, drawn = [], [], []
    for role, count in PATIENTS.items():
        for patient in range(count):
            for label in ("clear", "nodule"):
                image, mask = draw_image(rng, label == "nodule", contrast)
                images.append(image)
                drawn.append(mask)
                rows.append(
                    {
                        "id": keyed(name, role, patient, label, digits=12),
                        "patient": keyed(name, role, patient),
                        "role": role.value,
                        "label": label,
                        "low": -1000.0,
                        "high": 400.0,
                        "spacing_row": 0.7,
                        "spacing_col": 0.7,
                        "sop": f"2.25.{len(rows) + 1}",
                        "source_sha256": keyed("source", name, len(rows), digits=64),
                        "attr_site": "north" if patient % 2 else "south",
                    }
                )
    put_cohort(folder, facts_of(), rows, np.stack(images), np.stack(drawn) if masks else None)
    record = StageRecord("ingest", {}, {}, hash_outputs(folder, folder.glob("*")), 3)
    write_record(folder, record)


def facts_of(**changes: Any) -> CohortFacts:
    return replace(
        CohortFacts(
            modality="CT", sop_class_uid="1.2.840.10008.5.1.4.1.1.2", shape=(SIDE, SIDE), view="any",
            labels=("clear", "nodule"), positive="nodule", unlabelled=False, files_found=160, excluded={},
            low=-1000.0, high=400.0, spacing=(0.7, 0.7), bits_stored=12, signed=True, rescale_slope=1.0,
            rescale_intercept=-1024.0, key_fingerprint=changes.pop("key", "key-1"),
        ),
        **changes,
    )  # fmt: skip


def write_facts(folder: Path, **changes: Any) -> None:
    tensors.write_facts(folder, facts_of(**changes))


def make_set(
    study: Study,
    name: str,
    images: np.ndarray,
    label: str = "nodule",
    fraction: float = 1.0,
    pair: int = 0,
    leave_out: tuple[str, ...] = (),
) -> Path:
    """A set of the study's own generator, whose run is made up."""
    weights = f"weights of {name}".encode()
    run, folder = study.folder / "gan" / name, study.synthetic(name)
    run.mkdir(parents=True)
    write_bytes(run / "generator.safetensors", weights)
    write_json(run / "run.json", {"roles_in_training": ["train", "calibrate"]})
    cohort = read_record(study.cohort)
    assert cohort is not None
    settings = ({"fraction": fraction} if fraction < 1.0 else {}) | ({"leave_out": leave_out} if leave_out else {})
    outputs = hash_outputs(run, [run / "generator.safetensors"])
    seed = pair_seed(study.config.seed, pair)
    write_record(run, StageRecord("train", {"cohort": cohort.digest}, settings, outputs, seed, ("train",)))
    put_images(folder, images, label, sha256_bytes(weights))
    files = [path for path in folder.rglob("*") if path.is_file()]
    made = StageRecord("generate", {"weights": sha256_bytes(weights)}, {}, hash_outputs(folder, files), seed)
    write_record(folder, made)
    return folder


def put_images(folder: Path, images: np.ndarray, label: str, weights: str) -> None:
    put_set(folder, facts_of(), images, label, weights_sha256=[weights] * len(images))


def synthetic_images(count: int, lesion: bool = True, seed: int = 9, contrast: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([draw_image(rng, lesion, contrast)[0] for _ in range(count)])


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """Share of pairs in which the positive one scores higher; ties count half."""
    above = scores[positive][:, None] - scores[~positive][None]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))
