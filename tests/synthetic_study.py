"""A study with a generated set, its DICOM files with lesions, and its audit; no training, made in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from image_sets import put_set

from scansynth.data.sets import write_manifest
from scansynth.data.tensors import CohortFacts
from scansynth.dicom.write import (
    MR_IMAGE_STORAGE,
    SyntheticFacts,
    as_written,
    image_uids,
    storage_class,
    write_synthetic,
)
from scansynth.dicom.write_seg import write_segmentation
from scansynth.files import sha256_bytes, write_csv
from scansynth.stage import StageRecord, hash_outputs, write_record
from scansynth.study import QUARANTINE, WEIGHTS, Study, open_study

FACTS = CohortFacts(
    modality="MR", sop_class_uid=MR_IMAGE_STORAGE, shape=(32, 32), view="chest", labels=("nodule",), positive="nodule",
    unlabelled=False, files_found=1, excluded={}, low=0.0, high=1200.0, spacing=(1.5, 1.5), bits_stored=12,
    signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="00", plane="axial",
)  # fmt: skip


def make_synthetic_study(folder: Path, images: int = 5, quarantine: Sequence[int] = (), plane: str = "axial") -> Study:
    """Writes the study; every second image has a lesion, and `quarantine` names those too close to real ones."""
    folder.mkdir()
    (folder / "study.toml").write_text('name = "Tiny"\n[cohort]\ndicom = "scans"\nlabels = "labels.csv"\nsize = 32\n')
    study = open_study(folder)
    study.run().mkdir(parents=True)
    (study.run() / WEIGHTS).write_bytes(b"weights of the test")
    weights = sha256_bytes(b"weights of the test")
    made = study.synthetic()
    draw = np.random.default_rng(5)
    drawn, masks, rows = [], np.zeros((images, 32, 32), np.uint8), []
    masks[::2, 8:14, 10:15] = 1
    for index in range(images):
        about = SyntheticFacts(
            "MR", storage_class("MR", plane), 0.0, 1200.0, (1.5, 1.5), "nodule", weights, image_uids(weights, 0, index),
            index + 1, plane, "CHEST",
        )  # fmt: skip
        image = as_written(draw.integers(0, 65536, (32, 32)).astype(np.uint16), about)
        drawn.append(image)
        name, lesion = f"dicom/{index:06d}.dcm", f"dicom/{index:06d}-seg.dcm"
        row = {
            "file": name, "id": f"{index:06d}", "index": index, "seed": 0, "sop_instance_uid": about.uids.instance,
            "weights_sha256": weights, "label": "nodule", "mask": "", "mask_sha256": "",
            "sha256": sha256_bytes(write_synthetic(made / name, image, about)),
        }  # fmt: skip
        if masks[index].any():
            row |= {
                "mask": lesion,
                "mask_sha256": sha256_bytes(write_segmentation(made / lesion, image, masks[index], about)),
            }
        rows.append(row)
    put_set(made, FACTS, np.stack(drawn), "nodule", masks)
    write_manifest(made, rows)
    digest = _record(made, "generate", {"weights": weights})
    evidence = study.evidence()
    evidence.mkdir(parents=True)
    kept = [{"image": f"{n:06d}", "nearest": "x", "score": "0.9", "p": "0.001"} for n in quarantine]
    write_csv(evidence / QUARANTINE, ("image", "nearest", "score", "p"), kept)
    _record(evidence, "audit", {"set": digest})
    return study


def _record(folder: Path, stage: str, inputs: dict[str, str]) -> str:
    record = StageRecord(stage, inputs, {}, hash_outputs(folder, [p for p in folder.rglob("*") if p.is_file()]), 0)
    write_record(folder, record)
    return record.digest
