"""A study with a cohort, a set and its audit, from drawn pictures, without a training: made in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from image_sets import put_cohort, put_set
from worklist_factory import pictures

from scansynth.claims.claim import Claim, Control, Measurement, decide, floor_of
from scansynth.claims.judged import write_claims
from scansynth.claims.traces import PIXELS
from scansynth.config import ReaderSettings
from scansynth.data.tensors import CohortFacts, load_facts
from scansynth.files import write_csv
from scansynth.ledger import Role
from scansynth.stage import StageRecord, hash_outputs, write_record
from scansynth.statistics import Interval, Verdict
from scansynth.study import QUARANTINE, Study, open_study

LABELS = ("nodule", "mass")

Change = Callable[[np.ndarray], np.ndarray]


def small(**changes: Any) -> ReaderSettings:
    """Settings of a reading study that is made in a second."""
    return ReaderSettings(**{"readers": 3, "images": 50, "practice": 6, **changes})


def textured(count: int, seed: int, side: int = 48) -> np.ndarray:
    """Pictures in fine steps, with noise as a scanner has it, uint16 (count, side, side)."""
    rng = np.random.default_rng([seed, 1])
    images = pictures(count, side, seed) + rng.normal(0.0, 1500.0, (count, side, side))
    return np.clip(np.rint(images), 1, 65534).astype(np.uint16)


def audit_claim(verdict: Verdict = Verdict.SHOWN) -> Claim:
    """What the audit may say of traces in pixels."""
    control = Control("planted", 1.0, 0.9)
    measured = Measurement(0.5, Interval(0.42, 0.58), 0.95, floor_of("halves", np.full(9, 0.5)), (control,), 0.6, {})
    return decide(PIXELS, measured, {one: f"It is {one}." for one in Verdict}, verdict)


def make_study(
    folder: Path,
    *,
    patients: int = 40,
    images: int = 2,
    synthetic: int = 60,
    labels: Sequence[str] = LABELS,
    side: int = 48,
    change: Change = lambda made: made,
    quarantine: Sequence[int] = (),
    audit: Verdict = Verdict.SHOWN,
    seed: int = 0,
    masks: bool = False,
    set_masks: bool = False,
) -> Study:
    """Writes a study whose synthetic images are drawn as its real ones are.

    Args:
        folder: A new folder.
        patients: Of the test role; half as many of the train role.
        images: Of each patient.
        synthetic: Images of the set.
        labels: Patients and synthetic images have them in turn.
        side: Of the images in pixels.
        change: Done to the synthetic images, such as a planted leak.
        quarantine: Numbers of synthetic images that the audit wants kept back.
        audit: Verdict of the audit on traces in pixels.
        seed: Of the pictures.
        masks: Images of the first label have a mask, and others an empty one (`disc_at`).
        set_masks: The same of the synthetic images.
    """
    folder.mkdir()
    cohort = f'[cohort]\ndicom = "scans"\nlabels = "labels.csv"\npositive = "{labels[0]}"\nsize = 64\n'
    classes = ", ".join(f'"{label}"' for label in labels)
    (folder / "study.toml").write_text(f'name = "Tiny"\nseed = 3\n{cohort}[generator]\nclasses = [{classes}]\n')
    study = open_study(folder)
    _write_cohort(study.cohort, patients, images, labels, side, seed, masks)
    made = [discs(synthetic, labels, 1, side)] if set_masks else []
    _write_set(study.synthetic(), load_facts(study.cohort), change(textured(synthetic, seed + 7, side)), labels, *made)
    digest = _record(study.synthetic(), "add-set", {})
    evidence = study.evidence()
    evidence.mkdir(parents=True)
    write_claims(evidence / "claims.json", (audit_claim(audit),))
    rows = [{"image": f"{n:06d}", "nearest": "x", "score": "0.9", "p": "0.001"} for n in quarantine]
    write_csv(evidence / QUARANTINE, ("image", "nearest", "score", "p"), rows)
    _record(evidence, "audit", {"set": digest})
    return study


def _record(folder: Path, stage: str, inputs: dict[str, str]) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    record = StageRecord(stage, inputs, {}, hash_outputs(folder, files), 0)
    write_record(folder, record)
    return record.digest


def disc_at(number: int, side: int = 48) -> tuple[int, int]:
    """Middle of the lesion of the image of a number, when it has one; its radius is 4."""
    return 10 + number * 7 % (side - 20), 10 + number * 11 % (side - 20)


def discs(count: int, labels: Sequence[str], each: int, side: int) -> np.ndarray:
    """A disc in the images of the first label, labels being dealt out by turns to `each` images."""
    rows, columns = np.mgrid[:side, :side]
    masks = np.zeros((count, side, side), np.uint8)
    for number in range(count):
        if number // each % len(labels) == 0:
            row, column = disc_at(number, side)
            masks[number] = np.hypot(rows - row, columns - column) <= 4
    return masks


def _write_cohort(
    folder: Path, patients: int, images: int, labels: Sequence[str], side: int, seed: int, masks: bool
) -> None:
    roles = [Role.TEST] * patients + [Role.TRAIN] * (patients // 2)
    rows = [
        {
            "id": f"{number:04x}ca5e{image:04x}",
            "patient": f"{number:04x}beefbeefbeef",
            "role": role.value,
            "label": labels[number % len(labels)],
            "low": 0,
            "high": 1500,
            "spacing_row": 1.5,
            "spacing_col": 1.5,
            "sop": "2.25.1",
            "source_side": side,
        }
        for number, role in enumerate(roles)
        for image in range(images)
    ]
    facts = CohortFacts(
        modality="MR", sop_class_uid="1.2", shape=(side, side), view="chest",
        labels=tuple(sorted(labels)), positive=labels[0],
        unlabelled=False, files_found=len(rows), excluded={}, low=0.0, high=1500.0, spacing=(1.5, 1.5),
        bits_stored=12, signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="k",
    )  # fmt: skip
    marked = discs(len(rows), labels, images, side) if masks else None
    put_cohort(folder, facts, rows, textured(len(rows), seed, side), marked)


def _write_set(
    folder: Path, facts: CohortFacts, images: np.ndarray, labels: Sequence[str], masks: np.ndarray | None = None
) -> None:
    put_set(folder, facts, images, labels, masks)
