"""An ingest among attacks, and one that is killed; shared by tests and `make drill`.

python tests/data/attacked.py FOLDER [--files N] [--kills N] [--minutes M]: prints what came of it as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks import packaged_files, write_bombs, write_mutated
from moments import in_forks

from scansynth.files import read_csv, sha256_file
from scansynth.phantom.cohort import write_phantom_cohort
from scansynth.seeds import generator

MOST_KIB = 1 << 20
"""Memory that no process may reach: 1 GiB."""

INGEST = """
import resource
from scansynth.config import StudyConfig
from scansynth.data import ingest as stage
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.dicom.forks import close_all
from scansynth.study import Study
from moments import Moments, serve

scans, workers = sys.argv[1], int(sys.argv[2])
stage._workers = lambda: workers


def work(folder, dies_at):
    moments = Moments(folder, dies_at)
    values = {"dicom": scans, "unlabelled": True, "size": 32, "modality": "MR"}
    config = StudyConfig.model_validate({"cohort": values})
    summary = stage.ingest(Study(folder, config), InstitutionKey(b"k" * 32), moments.passed)
    close_all()  # what has not ended does not count
    # of this fork and what it started: its parent's children would count what their parents took before them
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return summary.cases, moments.count, peak


serve(work)
"""
"""Ingests: images kept, moments, and memory of the largest process in KiB."""


@dataclass(frozen=True)
class Ended:
    """How an ingest ended.

    Attributes:
        code: Exit status; negative: the signal.
        cases: Images kept.
        moments: That it counted.
        peak_kib: Memory of the largest of its processes.
    """

    code: int
    cases: int = 0
    moments: int = 0
    peak_kib: int = 0


def run_ingests(
    scans: Path, jobs: Sequence[tuple[Path, int]], seconds: float, workers: int = 1
) -> tuple[list[Ended], str]:
    """Ingests into folders, one after the other, each killed at a moment (0: not at all); what was said on stderr.

    Raises:
        subprocess.TimeoutExpired: They hang.
    """
    ended, said = in_forks(INGEST, (str(scans), str(workers)), jobs, seconds)
    return [Ended(code, *(told or ())) for code, told in ended], said


def outputs(study: Path) -> dict[str, str]:
    """SHA-256 of each file of a study but for records, which hold seconds, and the journal."""
    found = [
        path
        for path in study.rglob("*")
        if path.is_file() and path.name not in {"stage.json", "journal.jsonl", "journal.end.json"}
    ]
    return {path.relative_to(study).as_posix(): sha256_file(path) for path in found}


def kill_and_repeat(place: Path, scans: Path, kills: int) -> dict[str, Any]:
    """Kills ingests at moments spread over the whole, and repeats each; which of them gave another result."""
    (whole,), said = run_ingests(scans, [(place / "whole", 0)], 300)
    assert whole.code == 0, said
    wanted = outputs(place / "whole")
    moments = [int(at) for at in np.linspace(1, whole.moments, kills).round()]
    jobs = [(place / f"killed-{at}", stop) for at in moments for stop in (at, 0)]
    ended, _ = run_ingests(scans, jobs, 300 + 60 * kills)
    different = [
        at
        for at, repeated in zip(moments, ended[1::2], strict=True)
        if repeated.code
        or outputs(place / f"killed-{at}") != wanted
        or list((place / f"killed-{at}").glob(".*scansynth-*"))
    ]
    return {"moments": whole.moments, "killed": sum(one.code == -9 for one in ended[::2]), "different": different}


def attack(place: Path, count: int, seed: int = 7) -> dict[str, Any]:
    """Ingests some good files among mutated ones and bombs; what came of it.

    Raises:
        subprocess.TimeoutExpired: It hangs.
    """
    good, others = place / "scans" / "good", place / "others"
    write_phantom_cohort(good, patients=6, size=32, seed=1)
    write_phantom_cohort(others, patients=4, size=32, seed=2)
    for path in sorted(others.rglob("*.dcm")):
        path.write_bytes(path.read_bytes().replace(b"PHANTOM-0", b"PHANTOM-9"))
    bases = [*packaged_files(), *sorted(others.rglob("*.dcm"))]
    write_mutated(place / "scans" / "mutated", bases, count, generator(seed, "attacks"))
    write_bombs(place / "scans" / "bombs")
    shutil.rmtree(others)
    before = {path: path.lstat().st_mtime_ns for path in place.rglob("*")}
    started = time.monotonic()
    (ended,), said = run_ingests(place / "scans", [(place / "study", 0)], 120 + count, workers=2)
    outside = (path for path in place.rglob("*") if place / "study" not in (path, *path.parents))
    after = {path: path.lstat().st_mtime_ns for path in outside}
    excluded = read_csv(place / "study" / "cohort" / "excluded.csv") if ended.code == 0 else []
    mine = {row["file"] for row in read_csv_of_names(place / "study") if row["case"]}
    (place / "scans" / "bombs" / "closed").chmod(0o755)
    return {
        "code": ended.code,
        "said": said,
        "seconds": round(time.monotonic() - started, 1),
        "cases": ended.cases,
        "good": sum(name.startswith("good/") for name in mine),
        "bombs_kept": sorted(name for name in mine if name.startswith("bombs/")),
        "excluded": len(excluded),
        "reasons": sorted({row["reason"] for row in excluded}),
        "longest": max((len(row["reason"]) + len(row["detail"]) for row in excluded), default=0),
        "printable": all((row["reason"] + row["detail"]).isprintable() and row["reason"] for row in excluded),
        "outside": sorted(str(path) for path in before.keys() ^ after.keys())
        + sorted(str(path) for path in before.keys() & after.keys() if before[path] != after[path]),
        "peak_kib": ended.peak_kib,
    }


def read_csv_of_names(study: Path) -> list[dict[str, str]]:
    """Rows of the private table of names; a name need not be UTF-8."""
    path = study / "private" / "linkage.csv"
    if not path.exists():
        return []
    copy = path.with_suffix(".utf8")
    copy.write_text(path.read_text(encoding="utf-8", errors="surrogateescape"), encoding="utf-8", errors="replace")
    try:
        return read_csv(copy)
    finally:
        copy.unlink()


FUZZ = """
import json, sys
import atheris
with atheris.instrument_imports(include=["pydicom", "scansynth.dicom"]):
    from scansynth.dicom.child import answer
    from scansynth.dicom.read import Limits, read_task
    from scansynth.dicom.tasks import perform
from dataclasses import asdict
from pathlib import Path
place, bounds = Path(sys.argv[1]) / "input", asdict(Limits(max_pixels=1 << 20))


def one(data):
    place.write_bytes(data)
    found, _ = answer(read_task, json.dumps({"path": str(place), "limits": bounds}).encode())
    if "value" in found:
        found, _ = answer(perform, json.dumps({"task": "image", "path": str(place), "header": found["value"]}).encode())
    assert "value" in found or found["reason"].isprintable() and "\\n" not in found["detail"]


atheris.Setup(["fuzz", sys.argv[2], f"-max_total_time={sys.argv[3]}", "-max_len=60000", "-rss_limit_mb=1024",
               "-timeout=30", "-seed=7", "-print_final_stats=1", "-verbosity=0"], one)
atheris.Fuzz()
"""
"""What a child does for a file, in one process; a crash, a hang, too much memory or a reason of two lines is a find."""


def fuzz(place: Path, seconds: int) -> dict[str, Any]:
    """Lets atheris look for inputs that raise what is no refusal; without it, says so."""
    corpus = place / "corpus"
    corpus.mkdir(parents=True)
    for number, path in enumerate(packaged_files(60_000)):
        shutil.copy(path, corpus / str(number))
    command = [sys.executable, "-c", FUZZ, str(place), str(corpus), str(seconds)]
    if subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True, check=False).returncode:
        return {"fuzzed": "not: atheris is not installed (pip install atheris); the mutator alone was at work"}
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=place, timeout=seconds + 300, check=False
    )
    return {"fuzzed": seconds, "code": done.returncode, "end": done.stderr[-2000:] if done.returncode else ""}


def main() -> None:
    """The drill; exits with 1 when anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    place = options.folder.resolve()
    shutil.rmtree(place, ignore_errors=True)
    attacked = attack(place / "attacked", options.files)
    killed = kill_and_repeat(place, place / "attacked" / "scans" / "good", options.kills)
    fuzzed = fuzz(place / "fuzz", round(60 * options.minutes)) if options.minutes else {}
    print(json.dumps({"attacked": attacked, "killed": killed, "fuzzed": fuzzed}, indent=2))
    fine = attacked["code"] == 0 and attacked["good"] == 24 and not attacked["outside"] and attacked["printable"]
    fine = fine and attacked["peak_kib"] < MOST_KIB and not killed["different"] and not fuzzed.get("code")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
