"""What ingest makes of DICOM that others wrote: read, or left out and why.

    python benchmarks/dicom_in.py --data DATA --out docs/results/dicom.json

The files that pydicom ships with are read one by one; DATA holds folders of scans, each ingested as a cohort without
labels. `docs/results/dicom.md` is written beside the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom

from scansynth.config import StudyConfig
from scansynth.data.ingest import ingest
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.dicom.header import Header
from scansynth.dicom.read import Limits
from scansynth.dicom.sandbox import Decoded, DecodePool
from scansynth.errors import DicomError
from scansynth.files import read_csv
from scansynth.study import Study


def packaged() -> dict[str, Any]:
    """The files of pydicom's package: how many were decoded, and the reasons of the others."""
    folder = Path(pydicom.__file__).parent / "data"
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"})
    with DecodePool() as pool:
        found = list(pool.scan_all(paths, Limits()))
        jobs = [(path, header) for path, header in zip(paths, found, strict=True) if isinstance(header, Header)]
        images = list(pool.decode_all(jobs))
    reasons = Counter(fault.reason for fault in (*found, *images) if isinstance(fault, DicomError))
    decoded = sum(isinstance(image, Decoded) for image in images)
    return {"version": pydicom.__version__, "files": len(paths), "decoded": decoded, "left_out": dict(reasons)}


def cohort(folder: Path, work: Path) -> dict[str, Any]:
    """One folder of scans as a cohort: images, patients, files left out, notes, and what stood in the headers."""
    settings = {"cohort": {"dicom": str(folder), "unlabelled": True, "size": 64}}
    study = Study(work / folder.name, StudyConfig.model_validate(settings))
    summary = ingest(study, InstitutionKey(b"benchmark key" * 3))
    return {
        "images": summary.cases,
        "patients": summary.patients,
        "left_out": dict(summary.facts.excluded),
        "notes": [note for note in summary.warnings if "role" not in note],
        "removed": len(read_csv(study.cohort / "deidentification.csv")),
    }


def page(result: dict[str, Any]) -> str:
    """The figures as a page."""

    def words(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda pair: -pair[1]))

    own = result["packaged"]
    lines = [
        "# DICOM of others, read",
        "",
        f"Made by `{result['command']}`. What each reason means stands in [DICOM and privacy](../dicom.md).",
        "",
        f"The package pydicom {own['version']} ships with {own['files']} files, many of them odd on purpose: "
        f"{own['decoded']} are decoded, the others left out: {words(own['left_out'])}.",
        "",
        "| folder | images | patients | left out | attributes of PS3.15 in the headers | notes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in result["cohorts"].items():
        cells = [found["images"], found["patients"], words(found["left_out"]) or "none", found["removed"]]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} | {'; '.join(found['notes']) or 'none'} |")
    return "\n".join(lines) + "\n"


def since(same: dict[str, Any]) -> str:
    """What became of the cohorts since they were first made, from `same_cohort.json`."""
    found = {name: one for name, one in same.items() if isinstance(one, dict)}
    lines = [
        "",
        "## Ingested anew",
        "",
        "The three folders by commit `ef404db`, before text was searched and persons were told apart, and by the code "
        "of this page, with one key and seed (`same_cohort.json`):",
        "",
        "| folder | images before | now | of both | same role | same label | same pixels | newly left out |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in found.items():
        before, now = map(Counter, one["left_out"])
        new = ", ".join(f"{count} {reason}" for reason, count in (now - before).items()) or "none"
        kept = [*one["images"], one["images_of_both"], one["same_role"], one["same_label"], one["same_pixels"], new]
        lines.append(f"| {name} | {' | '.join(map(str, kept))} |")
    lines += [
        "",
        'No image changed its role, and the same images belong to one patient. The three with "burned-in text" were '
        "looked at: they hold none; a table, a scapula and vessels were read as four letters. That is 3 of 5,483; "
        '`cohort.burned_in = "keep"` takes such images after a person has looked. Spots are read many to a page, in an '
        "order that hangs on the key, and the program's reading of a spot hangs on the page: with the other key of the "
        "table at the top one of the slices was kept.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Reads, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with folders of scans")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    folders = sorted(path for path in given.data.iterdir() if path.is_dir())
    with tempfile.TemporaryDirectory() as work:
        cohorts = {folder.name: cohort(folder, Path(work)) for folder in folders}
    result = {
        "command": "python benchmarks/dicom_in.py --data DATA --out docs/results/dicom.json",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "packaged": packaged(),
        "cohorts": cohorts,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    same = given.out.with_name("same_cohort.json")
    told = since(json.loads(same.read_text(encoding="utf-8"))) if same.exists() else ""
    given.out.with_suffix(".md").write_text(page(result) + told, encoding="utf-8")


if __name__ == "__main__":
    main()
