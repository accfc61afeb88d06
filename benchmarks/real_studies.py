"""The three real studies, from DICOM to the report, and their figures as one JSON.

    python benchmarks/real_studies.py --data DATA --work FOLDER --out docs/results/real_studies.json

DATA holds lidc-patches, lidc-slices and chest-mr. Everything is done by the commands that a user types; what
is done already is not done again, so the script may be interrupted and repeated. It takes over an hour on two
cores, nearly all of it training.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit


@dataclass(frozen=True)
class RealStudy:
    """One study: its folder of scans, the options of `init`, and what its study.toml says otherwise."""

    name: str
    options: tuple[str, ...]
    generator: dict[str, Any]


STUDIES = (
    RealStudy(
        "lidc-patches",
        ("--view", "patch", "--size", "64", "--name", "LIDC nodule patches"),
        {"overrides": {"network": {"width": 32}}},
    ),
    RealStudy(
        "lidc-slices",
        ("--view", "chest", "--size", "256", "--name", "LIDC whole slices"),
        {
            "classes": ["clear", "nodule"],
            "overrides": {"network": {"width": 32}, "schedule": {"epochs": 36}},
        },
    ),
    RealStudy(
        "chest-mr",
        ("--view", "chest", "--size", "128", "--name", "Chest MR, unlabelled"),
        {"overrides": {"network": {"width": 32}, "schedule": {"epochs": 40}}},
    ),
)


def scansynth(*arguments: object) -> None:
    """Runs one command; its output is shown."""
    subprocess.run([sys.executable, "-m", "scansynth.cli", *map(str, arguments)], check=True)


def make(study: RealStudy, data: Path, work: Path) -> Path:
    """Makes the study where it is missing, and runs what is stale."""
    folder, scans = work / study.name, data / study.name
    if not (folder / "study.toml").exists():
        labels = scans / "labels.csv"
        labelled = ("--labels", labels) if labels.exists() else ("--unlabelled",)
        roles = ("--split-from", work / "lidc-patches") if study.name == "lidc-slices" else ()
        scansynth("init", folder, "--dicom", scans, *labelled, *roles, *study.options)
        settings = tomlkit.parse((folder / "study.toml").read_text())
        settings["generator"].update(study.generator)  # type: ignore[union-attr]  # a table, as init wrote it
        (folder / "study.toml").write_text(tomlkit.dumps(settings))
    scansynth("run", folder)
    return folder


def summary(folder: Path) -> dict[str, Any]:
    """Counts, times and claims of one study; nothing of a single case."""
    cohort = json.loads((folder / "cohort" / "cohort.json").read_text())
    run = json.loads((folder / "gan" / "main" / "run.json").read_text())
    log = [json.loads(line) for line in (folder / "gan" / "main" / "log.jsonl").read_text().splitlines()]
    claims = json.loads((folder / "evidence" / "main" / "claims.json").read_text())["claims"]
    records = {
        stage: json.loads((folder / place / "stage.json").read_text())
        for stage, place in {
            "ingest": "cohort",
            "train": "gan/main",
            "generate": "synthetic/main",
            "audit": "evidence/main",
            "report": "report",
        }.items()
    }
    kept = ("claim", "verdict", "value", "unit", "interval", "margin", "direction", "floor", "control", "why", "n")
    return {
        "files_found": cohort["files_found"],
        "left_out": cohort["excluded"],
        "patients": len(records["ingest"]["patients"]),
        "train_images": run["train_images"],
        "images_seen": log[-1]["images"],
        "last_diversity": log[-1]["diversity"],
        "device": run["device"],
        "precision": run["precision"],
        "recipe": run["recipe"],
        "seconds": {stage: round(record["seconds"], 1) for stage, record in records.items()},
        "report_bytes": (folder / "report" / "index.html").stat().st_size,
        "claims": [{key: claim[key] for key in kept} for claim in claims],
    }


def main() -> None:
    """Parses the command line, makes the studies in order, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SCANSYNTH_INSTITUTION_KEY", str(options.work.resolve() / "institution.key"))
    found = {study.name: summary(make(study, options.data, options.work)) for study in STUDIES}
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "command": "python benchmarks/real_studies.py --data DATA --work FOLDER --out docs/results/real_studies.json",
        "studies": found,
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
