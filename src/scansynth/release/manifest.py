"""The manifest of a release: every file with its hash, what drew the images, and who answers for what."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter

from scansynth.errors import ReleaseError
from scansynth.files import read_json, sha256_file, write_json

FORMAT = 1
MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "model.sig", "signing.pub.pem"
"""The files that the manifest does not list; `model.sig` is the name that model-signing gives a signature."""

TABLE, DICOM, PNG, GENERATOR, BUNDLE = "images.csv", "dicom", "png", "generator", "bundle"
"""The table of images, and folders."""

CHECKLISTS = "CHECKLISTS.md"

ONNX = f"{BUNDLE}/models/model.onnx"
"""The generator as ONNX."""

ALWAYS = frozenset({
    TABLE, CHECKLISTS, ONNX, "DATA_CARD.md", "MODEL_CARD.md", "croissant.json", "ro-crate-metadata.json",
    "sbom.cdx.json", "register.json", "fingerprints.npy", "report/index.html", "evidence/claims.json",
    f"{GENERATOR}/generator.safetensors", f"{GENERATOR}/generator.json", f"{BUNDLE}/LICENSE",
    f"{BUNDLE}/docs/README.md", f"{BUNDLE}/configs/metadata.json", f"{BUNDLE}/configs/inference.json",
})  # fmt: skip
"""Every file that a release lists beside those of its images; a test holds it to what is written."""


@dataclass(frozen=True)
class Drawing:
    """What it takes to draw the images again.

    Attributes:
        seed: Of the set.
        drawn: Images of the whole set, those kept back among them.
        modality: DICOM Modality.
        low: Source units that stand for -1.
        high: Source units that stand for 1.
    """

    seed: int
    drawn: int
    modality: str
    low: float
    high: float


@dataclass(frozen=True)
class Manifest:
    """What a release says of itself.

    Attributes:
        study: Title of the study.
        made: When it was made, ISO 8601 in UTC.
        scansynth: Version that made it.
        images: That are in it.
        kept_back: Images of the set that are not in it, as they are too close to real ones.
        weights_sha256: Of the generator.
        set_digest: One hash over the synthetic set of the study.
        evidence_digest: One hash over its evidence.
        rule_version: Under which it was judged.
        journal: Hash of the last line of the study's journal before the release.
        drawing: What it takes to draw the images again.
        onnx_apart: By how much the generator as ONNX draws other images, at most, in any pixel of [-1, 1]; none: it
            was not compared, as onnxruntime was not installed.
        override: Who released it against the gate, why, and against which reasons; none: nobody had to.
        refuted: Refuted claims that a policy let pass.
        decided_by: Who decided on that policy; empty: there was none.
        files: SHA-256 of each file, by its path in the release.
    """

    study: str
    made: str
    scansynth: str
    images: int
    kept_back: int
    weights_sha256: str
    set_digest: str
    evidence_digest: str
    rule_version: int
    journal: str
    drawing: Drawing
    onnx_apart: float | None
    override: Mapping[str, Any] | None
    refuted: tuple[str, ...]
    decided_by: str
    files: Mapping[str, str]


_TYPES = TypeAdapter(Manifest)
"""Holds that each value is of its type."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest into a release."""
    write_json(folder / MANIFEST, {"format": FORMAT, **asdict(manifest)})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a release.

    Raises:
        ReleaseError: There is none, it is damaged or of another version, or names a path outside the release.
    """
    try:
        values = read_json(folder / MANIFEST)
        if values.pop("format") != FORMAT:
            raise ReleaseError(f"{MANIFEST} is of another version of scansynth; verify it with that version")
        drawing = Drawing(**values.pop("drawing"))
        manifest = Manifest(**{**values, "refuted": tuple(values["refuted"])}, drawing=drawing)
        _TYPES.validate_json(json.dumps(asdict(manifest)), strict=True)
        if not manifest.drawing.low < manifest.drawing.high or manifest.drawing.drawn < 1:
            raise ValueError("nothing can be drawn")
        outside = [name for name in manifest.files if not _inside(name)]
    except FileNotFoundError:
        raise ReleaseError(f"{folder} is not a release: it has no {MANIFEST}") from None
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as fault:
        raise ReleaseError(f"{MANIFEST} is damaged: get the release again") from fault
    if outside:
        raise ReleaseError(f"{MANIFEST} names a file outside of the release: do not use it")
    return manifest


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and "\\" not in name and not path.is_absolute() and ".." not in path.parts


def listing(folder: Path) -> dict[str, Path]:
    """Every file that a manifest lists, by its path in the release; links and empty folders too, none behind a link."""
    found = {}
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*names, *links):
            path = Path(place) / name
            found[path.relative_to(folder).as_posix()] = path
        if not (folders or names) and Path(place) != folder:
            found[f"{Path(place).relative_to(folder).as_posix()}/"] = Path(place)
    return {name: path for name, path in found.items() if name not in {MANIFEST, SIGNATURE, PUBLIC_KEY}}


def differences(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Files that are changed, missing or extra against their hashes, a line each; nothing: all are as they were."""
    there = listing(folder)
    faults = [f"missing file: {name}" for name in sorted(files.keys() - there.keys())]
    faults += [f"extra file: {name}" for name in sorted(there.keys() - files.keys())]
    for name in sorted(files.keys() & there.keys()):
        if there[name].is_symlink() or not there[name].is_file():
            faults.append(f"not a plain file: {name}")
        elif sha256_file(there[name]) != files[name]:
            faults.append(f"changed file: {name}")
    return faults
