"""A study whose set may leave: an untrained generator and its own images, and evidence by the real writers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from image_sets import change_set, put_cohort

from scansynth.claims.claim import Claim, Control, Floor, Measurement, decide
from scansynth.claims.judged import write_claims
from scansynth.claims.rules import RULES
from scansynth.config import GovernanceSettings
from scansynth.console import silent
from scansynth.data.cohort.removed import REMOVED
from scansynth.data.scans.duplicates import pixel_digest
from scansynth.data.sets import MANIFEST, write_manifest
from scansynth.data.tensors import EXCLUDED, CohortFacts
from scansynth.dicom.profile import COLUMNS
from scansynth.dicom.write import MR_IMAGE_STORAGE, SyntheticFacts, image_uids
from scansynth.dicom.write_seg import write_segmentation
from scansynth.files import read_csv, sha256_bytes, write_csv, write_json
from scansynth.gan.generate import generate
from scansynth.gan.models.dcgan import Dcgan, NetworkSettings, build_generator
from scansynth.gan.weights import GeneratorFacts, save_generator
from scansynth.learning.device import Device
from scansynth.ledger import Role
from scansynth.stage import StageRecord, hash_outputs, read_record, write_record
from scansynth.statistics import Direction, Interval, Verdict
from scansynth.study import BEHIND, CLAIMS_FILE, PAIRS, QUARANTINE, Study, open_study

SIDE = 32
SEED = 3
CPU = Device("cpu", "test", "float32", True)
TOML = f"""name = "Tiny"
seed = {SEED}
[cohort]
dicom = "scans"
labels = "labels.csv"
positive = "nodule"
size = {SIDE}
[governance]
""" + "".join(f'{name} = "as written by a person: {name}"\n' for name in GovernanceSettings.model_fields)
FACTS = CohortFacts(
    modality="MR", sop_class_uid=MR_IMAGE_STORAGE, shape=(SIDE, SIDE), view="chest", labels=("nodule",),
    positive="nodule", unlabelled=False, files_found=20, excluded={}, low=0.0, high=1200.0, spacing=(1.5, 1.5),
    bits_stored=12, signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="00", plane="axial",
)  # fmt: skip
CLEAN = ("PatientName", "(0010,0010)", 20, "Z", "removed: skipped unread", "PS3.15 table E.1-1")
UNSEARCHED = ("text in the pixels", "(7FE0,0010)", 20, "", "not searched: Tesseract is not installed", "PS3.15 E.3.1")

KEPT_BACK = (2, 8)
"""Images that a test keeps back."""

_ROLES = (Role.TRAIN, Role.TRAIN, Role.TUNE, Role.CALIBRATE, Role.RESERVE, Role.TEST)


def person(number: int) -> str:
    """Keyed hash of a patient."""
    return f"{number:016x}"


def make_releasable(folder: Path, *, images: int = 20, kept_back: Sequence[int] = (), level: str = "healthy") -> Study:
    """Writes a study against whose release nothing speaks, unless the level of the training does."""
    folder.mkdir()
    (folder / "study.toml").write_text(TOML)
    study = open_study(folder)
    put_real(study)
    put_run(study, level)
    generate(study.run(), study.synthetic(), FACTS, SEED, images, CPU, silent, even_if_collapsed=True)
    put_lesions(study)
    put_evidence(study, kept_back=kept_back)
    return study


def put_real(
    study: Study,
    rows: Callable[[list[dict[str, object]]], object] = lambda rows: None,
    removed: Sequence[tuple[object, ...]] = (CLEAN,),
    images: Callable[[np.ndarray], object] = lambda images: None,
) -> None:
    """A cohort of 20 images of 10 patients; `rows` and `images` may change it before it is written."""
    real = np.random.default_rng(11).integers(20000, 45000, (20, SIDE, SIDE)).astype(np.uint16)
    images(real)
    table: list[dict[str, object]] = [
        {
            "id": f"{place:012x}", "patient": person(place // 2), "role": _ROLES[place // 2 % len(_ROLES)].value,
            "label": "nodule", "low": 0.0, "high": 1200.0, "spacing_row": 1.5, "spacing_col": 1.5, "sop": "",
            "source_sha256": "", "source_side": SIDE, "pixels": pixel_digest(real[place]), "attr_sex": "F",
        }
        for place in range(20)
    ]  # fmt: skip
    rows(table)
    put_cohort(study.cohort, FACTS, table, real)
    write_csv(study.cohort / EXCLUDED, ("key", "reason", "detail"), [])
    write_csv(study.cohort / REMOVED, COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in removed])
    end(study.cohort, "ingest", {}, [str(row["patient"]) for row in table])


def put_run(study: Study, level: str = "healthy", seed: int = 0) -> None:
    """A run whose generator was never trained."""
    settings = NetworkSettings(noise=8, width=4)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = build_generator((SIDE, SIDE), 1, settings)
        generator(torch.randn(16, 8))
        with torch.no_grad():
            for weight in generator.parameters():
                weight.mul_(3.0)  # untrained, it draws a flat grey
    family = Dcgan(network=settings).tables()
    facts = GeneratorFacts("dcgan", "dcgan", family, (SIDE, SIDE), 1, ("nodule",), 96, level)
    study.run().mkdir(parents=True, exist_ok=True)
    save_generator(study.run(), generator, facts)
    cohort = read_record(study.cohort)
    end(study.run(), "train", {"cohort": cohort.digest if cohort else ""}, [person(0), person(1)])


def put_lesions(study: Study) -> None:
    """Gives every eighth image a lesion, as a generator that makes masks does."""
    folder, rows = study.synthetic(), read_csv(study.synthetic() / MANIFEST)
    masks = np.zeros((len(rows), SIDE, SIDE), np.uint8)
    masks[::8, 8:14, 10:15] = 1
    made, weights = change_set(folder, masks=masks), rows[0]["weights_sha256"]
    for place in range(0, len(rows), 8):
        about = SyntheticFacts(
            "MR", MR_IMAGE_STORAGE, 0.0, 1200.0, (1.5, 1.5), "nodule", weights, image_uids(weights, SEED, place),
            place + 1, "axial", "CHEST",
        )  # fmt: skip
        name = f"dicom/{place:06d}-seg.dcm"
        data = write_segmentation(folder / name, made.images[place, 0], masks[place], about)
        rows[place] |= {"mask": name, "mask_sha256": sha256_bytes(data)}
    write_manifest(folder, rows)
    record = read_record(folder)
    assert record is not None
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "stage.json"]
    write_record(folder, replace(record, outputs=hash_outputs(folder, files)))


def put_evidence(
    study: Study,
    verdicts: dict[str, Verdict] | None = None,
    kept_back: Sequence[int] = (),
    claims: Sequence[Claim] = (),
) -> None:
    """An audit in which all is shown, but for `verdicts` of some claims; or with these claims alone."""
    study.evidence().mkdir(parents=True, exist_ok=True)
    rows = tuple(claims) or tuple(
        claim(name, (verdicts or {}).get(name, Verdict.SHOWN), rule.by_attribute) for name, rule in RULES.items()
    )
    write_claims(study.evidence() / CLAIMS_FILE, rows)
    write_json(study.evidence() / PAIRS, [])
    write_json(study.evidence() / BEHIND, [])
    flagged = [{"image": f"{n:06d}", "nearest": "x", "score": "0.9", "p": "0.001"} for n in kept_back]
    write_csv(study.evidence() / QUARANTINE, ("image", "nearest", "score", "p"), flagged)
    records = {"cohort": read_record(study.cohort), "set": read_record(study.synthetic())}
    inputs = {name: record.digest for name, record in records.items() if record is not None}
    end(study.evidence(), "audit", inputs, [person(0), person(5)])


def claim(name: str, verdict: Verdict, by_attribute: bool = False) -> Claim:
    """A claim whose interval lies where the verdict wants it."""
    good = -1.0 if RULES[name].direction is Direction.AT_MOST else 1.0
    value = 0.5 + {Verdict.SHOWN: good, Verdict.REFUTED: -good, Verdict.NOT_SHOWN: 0.0}[verdict] * 0.2
    floor = Floor("real against real", 0.5 + 0.1 * good, 0.5 + 0.15 * good, 0.5 + 0.2 * good, 200)
    measured = Measurement(
        value, Interval(value - 0.1, value + 0.1), 0.95, floor, (Control("planted", 1.0, 0.8),), 0.5, {"images": 20}
    )
    made = decide(name, measured, dict.fromkeys(Verdict, "It is so."))
    assert made.verdict is verdict, name
    return made


def end(folder: Path, stage: str, inputs: dict[str, str], patients: Sequence[str]) -> None:
    """Writes the record of a stage, last."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "stage.json"]
    roles = ("train",)
    write_record(
        folder, StageRecord(stage, inputs, {}, hash_outputs(folder, files), SEED, roles, tuple(sorted(set(patients))))
    )


def write_keys(folder: Path, number: int) -> tuple[Path, Path]:
    """A private and a public key as PEM files, the same for the same number."""
    key = ec.derive_private_key(10**40 + number, ec.SECP256R1())
    private, public = folder / f"{number}.pem", folder / f"{number}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public
