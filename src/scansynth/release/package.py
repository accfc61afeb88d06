"""Writes a release: a new folder, whole or not at all."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scansynth import __version__
from scansynth.claims.rules import RULE_VERSION
from scansynth.console import Progress, silent
from scansynth.data.scans.duplicates import pixel_digest
from scansynth.errors import CohortError, ReleaseError, StudyError
from scansynth.files import (
    new_directory,
    sha256_bytes,
    sha256_file,
    storage_faults,
    write_bytes,
    write_csv,
    write_json,
    write_text,
)
from scansynth.gan.weights import FACTS
from scansynth.release.bill import BILL, bill
from scansynth.release.bundle import write_bundle
from scansynth.release.candidate import Candidate, gather
from scansynth.release.cards import DATA_CARD, MODEL_CARD, data_card, model_card
from scansynth.release.checklists import filled
from scansynth.release.crate import CRATE, crate
from scansynth.release.croissant import CROISSANT, croissant
from scansynth.release.gate import Reason, named, read_by, reasons_against
from scansynth.release.manifest import (
    CHECKLISTS,
    DICOM,
    GENERATOR,
    MANIFEST,
    PNG,
    TABLE,
    Drawing,
    Manifest,
    listing,
    write_manifest,
)
from scansynth.release.policy import Policy, written
from scansynth.release.register import copy_register, write_register
from scansynth.release.signature import SigningKey, sign
from scansynth.report.public import public_page
from scansynth.stage import StageRecord, versions, write_record
from scansynth.study import CLAIMS_FILE, PAGE, WEIGHTS, Study

REPORT = "report"
EVIDENCE = "evidence"

COLUMNS = (
    "id", "file", "mask", "png", "png_mask", "label", "index", "seed", "weights_sha256", "sop_instance_uid", "pixels",
)  # fmt: skip
"""Columns of images.csv; `pixels` is the SHA-256 of size and grey levels, by which an image is known again."""


@dataclass(frozen=True)
class Override:
    """Who releases against the gate, and why."""

    by: str
    reason: str

    def __post_init__(self) -> None:
        if not written(self.by) or not written(self.reason):
            raise ReleaseError("an override needs a reason and a name: --override REASON --by NAME")


@dataclass(frozen=True)
class Wishes:
    """What the user asks of a release.

    Attributes:
        out: The new folder.
        policy: How strict the gate is.
        override: Lifts reasons that rest on what was found; none: no reason is lifted.
        png: Also write PNG files.
        key: Signs the release; none: nobody does.
    """

    out: Path
    policy: Policy = field(default_factory=Policy)
    override: Override | None = None
    png: bool = False
    key: SigningKey | None = None


@dataclass(frozen=True)
class Refused:
    """Nothing was released: the reasons."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Released:
    """What was written, what a person overrode, and the name of the key that signed it."""

    manifest: Manifest
    overridden: tuple[Reason, ...]
    signed_with: str


def release(study: Study, wishes: Wishes, progress: Progress = silent) -> Released | Refused:
    """Examines the study's set and, where the gate finds no reason against it, writes the release.

    The study notes a release before the folder is there: one that it does not know cannot come to be.

    Args:
        study: The study; its lock is held.
        wishes: What the user asks.
        progress: Told of each image.

    Returns:
        The release; or all reasons against it, and nothing was written.

    Raises:
        ReleaseError: The folder exists, or lies within the study.
        CohortError: A file of the set was altered.
        StorageError: The folder cannot be written.
    """
    if wishes.out.exists() or wishes.out.is_symlink():
        raise ReleaseError(f"{wishes.out} exists; choose a new folder with --out")
    if study.folder in (wishes.out.resolve(), *wishes.out.resolve().parents):
        raise ReleaseError("the release would lie within the study; choose a folder elsewhere with --out")
    parts = gather(study)
    reasons = reasons_against(parts, wishes.policy)
    if any(not reason.open for reason in reasons) or (reasons and wishes.override is None):
        study.log("release", "refused", checks=sorted({reason.check for reason in reasons}))
        return Refused(reasons)
    candidate = parts.whole()
    with new_directory(wishes.out) as folder, storage_faults(wishes.out):
        manifest = _write(candidate, wishes, reasons, folder, progress)
        signed_with = sign(folder, wishes.key) if wishes.key else ""
        _remember(candidate, folder, read_by(parts), signed_with)
        override = manifest.override or {}
        study.log(
            "release",
            "written",
            inputs=_inputs(candidate),
            release=sha256_file(folder / MANIFEST),
            images=manifest.images,
            kept_back=manifest.kept_back,
            signed_with=signed_with,
            overridden=sorted({reason.check for reason in reasons}),
            override_by=override.get("by", ""),
            override_reason=override.get("reason", ""),
        )
    return Released(manifest, reasons, signed_with)


def _write(
    candidate: Candidate, wishes: Wishes, reasons: Sequence[Reason], folder: Path, progress: Progress
) -> Manifest:
    rows = _images(candidate, folder, png=wishes.png, progress=progress)
    write_csv(folder / TABLE, COLUMNS, rows)
    _others(candidate, folder)
    difference = write_bundle(folder, candidate)
    places = [int(row["index"]) for row in rows]
    write_register(folder, candidate.made.images.images[places], candidate.made.record.seed)
    about = _about(candidate, wishes, reasons)
    manifest = Manifest(**about, onnx_apart=difference, images=len(rows), files=_hashes(folder))
    _describe(candidate, folder, manifest)
    manifest = replace(manifest, files=_hashes(folder))
    write_manifest(folder, manifest)
    return manifest


def _describe(candidate: Candidate, folder: Path, manifest: Manifest) -> None:
    """Cards, and what machines read of a data set: Croissant, bill of materials, and RO-Crate over all of them."""
    write_text(folder / DATA_CARD, data_card(candidate, manifest))
    write_text(folder / MODEL_CARD, model_card(candidate, manifest))
    write_text(folder / CHECKLISTS, filled(candidate, manifest))
    write_json(folder / CROISSANT, croissant(candidate, manifest))
    write_json(folder / BILL, bill(manifest.weights_sha256, manifest.made))
    write_json(folder / CRATE, crate(candidate, replace(manifest, files=_hashes(folder))))


def _hashes(folder: Path) -> dict[str, str]:
    return {name: sha256_file(path) for name, path in listing(folder).items()}


def _images(candidate: Candidate, folder: Path, *, png: bool, progress: Progress) -> list[dict[str, Any]]:
    """DICOM and SEG as they were made, PNG where asked; the row of each image.

    Raises:
        CohortError: A file was altered since it was made.
    """
    source, made = candidate.study.synthetic(), candidate.made.images
    place = {name: index for index, name in enumerate(made.ids)}
    rows = []
    for done, row in enumerate(candidate.leaving, start=1):
        index = place[row["id"]]
        new = {"id": row["id"], "file": f"{DICOM}/{row['id']}.dcm", "mask": "", "png": "", "png_mask": ""}
        _copy(source / row["file"], row["sha256"], folder / new["file"])
        if row["mask"]:
            new["mask"] = f"{DICOM}/{row['id']}-seg.dcm"
            _copy(source / row["mask"], row["mask_sha256"], folder / new["mask"])
        if png:
            new |= _pictures(folder, row["id"], made.images[index], None if made.masks is None else made.masks[index])
        kept = {name: row[name] for name in ("label", "index", "seed", "weights_sha256", "sop_instance_uid")}
        rows.append({**new, **kept, "pixels": pixel_digest(made.images[index, 0])})
        progress(done, len(candidate.leaving))
    return rows


def _copy(source: Path, digest: str, target: Path) -> None:
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        raise CohortError(f"{source.name} of the set is missing; generate the set again") from None
    if sha256_bytes(data) != digest:
        raise CohortError(f"{source.name} of the set was altered after it was made; generate the set again")
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)


def _pictures(folder: Path, name: str, image: Any, mask: Any | None) -> dict[str, str]:
    """16-bit grey PNG, 0 the low and 65535 the high source value, and its mask of 0 and 255."""
    if image.shape[0] > 1:
        raise StudyError(f"a PNG holds one grey channel and the set has {image.shape[0]}; release without --png")
    (folder / PNG).mkdir(exist_ok=True)
    files = {"png": f"{PNG}/{name}.png", "png_mask": "" if mask is None else f"{PNG}/{name}-mask.png"}
    Image.fromarray(np.array(image[0])).save(folder / files["png"])
    if mask is not None:
        Image.fromarray(np.array(mask) * np.uint8(255)).save(folder / files["png_mask"])
    return files


def _others(candidate: Candidate, folder: Path) -> None:
    """The generator, the report without any real image, and the claims."""
    run, study = candidate.source.folder, candidate.study
    for name in (WEIGHTS, FACTS):
        write_bytes(folder / GENERATOR / name, (run / name).read_bytes())
    leaving = {row["id"] for row in candidate.leaving}
    write_text(folder / REPORT / PAGE, public_page(study, candidate.made.images, leaving))
    write_bytes(folder / EVIDENCE / CLAIMS_FILE, (study.evidence() / CLAIMS_FILE).read_bytes())


def _about(candidate: Candidate, wishes: Wishes, reasons: Sequence[Reason]) -> dict[str, Any]:
    """What the manifest says beside the files."""
    facts, evidence = candidate.cohort.facts, candidate.evidence
    passed = tuple(sorted({claim.claim for claim in named(evidence, wishes.policy)}))
    return {
        "study": candidate.study.config.name,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "scansynth": __version__,
        "kept_back": len(candidate.made.files) - len(candidate.leaving),
        "weights_sha256": candidate.source.facts.weights_sha256,
        "set_digest": candidate.made.record.digest,
        "evidence_digest": evidence.record.digest,
        "rule_version": RULE_VERSION,
        "journal": candidate.study.journal_head(),
        "drawing": Drawing(
            seed=candidate.made.record.seed,
            drawn=len(candidate.made.files),
            modality=facts.modality,
            low=facts.low,
            high=facts.high,
        ),
        "override": overridden(wishes.override, reasons),
        "refuted": passed,
        "decided_by": wishes.policy.decided_by,
    }


def overridden(override: Override | None, reasons: Sequence[Reason]) -> Mapping[str, Any] | None:
    """What every card says of an override; none where no reason stood."""
    if override is None or not reasons:
        return None
    return {"by": override.by, "reason": override.reason, "against": [reason.text for reason in reasons]}


def _inputs(candidate: Candidate) -> dict[str, str]:
    """Digests of what is released."""
    return {
        "set": candidate.made.record.digest,
        "weights": candidate.source.facts.weights_sha256,
        "evidence": candidate.evidence.record.digest,
    }


def _remember(candidate: Candidate, release: Path, patients: tuple[str, ...], signed_with: str) -> None:
    """Writes into the study what is released: the manifest, and who was read for it."""
    data = (release / MANIFEST).read_bytes()
    record = StageRecord(
        stage="release",
        inputs=_inputs(candidate),
        settings={"signed_with": signed_with},
        outputs={MANIFEST: sha256_bytes(data)},
        seed=candidate.study.config.seed,
        roles=tuple(sorted({*candidate.source.record.roles, *candidate.evidence.record.roles})),
        patients=patients,
        versions=versions(),
    )
    with new_directory(candidate.study.release(sha256_bytes(data)[:12])) as folder:
        write_bytes(folder / MANIFEST, data)
        copy_register(release, folder)
        write_record(folder, record)
