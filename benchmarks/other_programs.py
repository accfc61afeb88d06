"""The readers' figures beside those of other programs: RJafroc and iMRMC, packages of R, on the same files and ratings.

    python benchmarks/other_programs.py --out docs/results/other_programs.json

Makes studies, writes the files that a closed study leaves for these programs, lets each program read them, and sets its
figures beside ours; then the other way: ratings of published studies that RJafroc ships, as a table. Needs `Rscript`
with both packages (RJafroc is not on every machine: the programs are no part of ours). The largest distances are
printed; it ends with 1 when one is larger than rounding.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reader"))

import made_marks
import made_readings

from scansynth.files import read_csv, write_json
from scansynth.metrics.marks import Candidates, Lesions
from scansynth.reader.marks import Mark, read, written
from scansynth.reader.statistics import where
from scansynth.reader.statistics.arms import Difference, compare, compare_areas
from scansynth.reader.statistics.exported import WORKBOOKS, write_workbooks
from scansynth.reader.statistics.imrmc import write_imrmc, write_rjafroc
from scansynth.reader.statistics.localisation import gather
from scansynth.reader.statistics.modalities import read_scores
from scansynth.reader.statistics.mrmc import FEW_READERS, Figures, areas
from scansynth.reader.statistics.readings import Reading, table
from scansynth.reader.statistics.simulation import World
from scansynth.statistics import Interval

Told = dict[str, list[float]]
"""Figures, by file or study and by name."""

LARGEST = 1e-6
"""Largest distance that is rounding: RJafroc keeps the ratings in double precision, and so do we."""


def made(seed: int) -> list[Reading]:
    """Readings of two sets among the same real images; numbers of readers and images differ by the seed."""
    readings = made_readings.study(World(0.6, 0.08), 5 + seed, 60 + 20 * seed, seed)
    cases = {case: place for place, case in enumerate(sorted({one.case for one in readings if one.synthetic}))}
    return [replace(one, arm=1 + cases[one.case] % 2 if one.synthetic else 0) for one in readings]


def made_marked(seed: int, every: int) -> list[Reading]:
    """Readings with marks; each `every`-th image has a lesion.

    No two marks of an image have one confidence: ours of equal confidence count as found when one of them is right, and
    RJafroc's do not.
    """
    readings = made_marks.study(5 + seed, {False: 0.8, True: 0.6}, 0.5, 40, every, seed)
    return [replace(one, marks=written(_apart(read(one.marks)))) for one in readings]


def _apart(marks: Sequence[Mark]) -> list[Mark]:
    """At most two marks, of which the second differs in its confidence."""
    return [replace(one, confidence=(one.confidence or 1) % 5 + 1) if place and one.confidence == marks[0].confidence
            else one for place, one in enumerate(marks)]  # fmt: skip


def write_two(path: Path, seed: int) -> None:
    """Two modalities that the same readers read on the same cases, as a file of iMRMC with whole numbers."""
    rng = np.random.default_rng(seed)
    readers, cases = 5 + seed, 50
    truth = np.arange(cases) % 2
    shared = rng.normal(0.0, 0.7, cases)
    lines = [f"N0: {cases // 2}", f"N1: {cases // 2}", f"NR: {readers}", "NM: 2", "BEGIN DATA:"]
    lines += [f"-1,{case + 1},truth,{truth[case]}" for case in range(cases)]
    for modality, up in ((1, 1.2), (2, 0.8)):
        scores = rng.normal(3.0 + up * truth + shared, 1.0, (readers, cases)).round(3)
        lines += [f"{r + 1},{c + 1},{modality},{scores[r, c]}" for r in range(readers) for c in range(cases)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def alone(figures: Figures, name: str) -> Told:
    """Each reader's figure, and their mean variance and covariance."""
    covariance = figures.covariance
    apart = covariance[~np.eye(len(covariance), dtype=bool)].mean()
    return {
        name: figures.values.tolist(),
        f"{name} variance, covariance": [float(np.diag(covariance).mean()), float(apart)],
    }


def pair(found: Difference, name: str) -> Told:
    """A comparison.

    With fewer than five readers ours has other degrees of freedom than Hillis's on purpose: see `mrmc.FEW_READERS`.
    """
    if found.readers < FEW_READERS:
        return {f"{name} difference, error": [found.value, found.error]}
    ends: Interval = found.interval(0.95)
    told = [found.value, found.error, found.freedom, found.p, ends.low, ends.high]
    return {f"{name} difference, error, df, p, low, high": told}


def ours(folder: Path, seeds: range) -> dict[str, Told]:
    """Writes the files of made studies, and computes our figures of them."""
    told: dict[str, Told] = {}
    for seed in seeds:
        readings = made(seed)
        write_imrmc(folder / f"{seed}-words.imrmc", readings)
        write_rjafroc(folder / f"{seed}-rjafroc.imrmc", readings)
        for modality in (1, 2):
            own = table(one for one in readings if one.arm in {0, modality})
            found = areas(own.scores, own.synthetic)
            told.setdefault(f"{seed}-words.imrmc", {})[f"AUC {modality}"] = found.values.tolist()
            if modality == 1:
                told[f"{seed}-rjafroc.imrmc"] = alone(found, "Wilcoxon")
        write_two(folder / f"{seed}-two.imrmc", seed)
        scores = read_scores(folder / f"{seed}-two.imrmc")
        found_two = compare_areas(scores.first, scores.second, scores.positive, scores.patients)
        told[f"{seed}-two.imrmc"] = pair(found_two, "Wilcoxon")
        for every in (1, 2):
            told |= _marked(folder, seed, every)
    return told


def _marked(folder: Path, seed: int, every: int) -> dict[str, Told]:
    """The workbooks of a made study with marks, and our figures of each kind of image by itself."""
    readings, known, told = made_marked(seed, every), made_marks.outlines(every=every), {}
    kept = {one.reader for one in readings}
    place = folder / f"{seed}-{every}"
    place.mkdir()
    write_workbooks(place, gather(readings, kept, known, made_marks.ROWS))
    for arm in (0, 1):
        (place / WORKBOOKS[arm]).rename(folder / (name := f"{seed}-{every}-{WORKBOOKS[arm]}"))
        own = gather([one for one in readings if one.arm == arm], kept, known, made_marks.ROWS)
        images = np.array([f"image {number}" for number in range(len(own.patients))])  # RJafroc knows no patients
        found = where.free_response(own.marks, own.lesions, images, everywhere=every == 1)
        told[name] = alone(found, "AFROC1" if every == 1 else "AFROC")
        if every > 1:
            told[name]["ALROC"] = where.localised(own.marks, own.lesions, images).values.tolist()
    return told


def theirs(folder: Path, rscript: str) -> tuple[dict[str, Told], dict[str, str]]:
    """What the other programs say of the files of a folder, and their versions."""
    script = Path(__file__).with_suffix(".R")
    said = subprocess.run([rscript, str(script), str(folder)], check=True, capture_output=True, text=True).stdout
    told: dict[str, Told] = {}
    versions = {}
    for line in said.splitlines():
        name, figure, *values = line.split("\t")
        if figure == "version":
            versions[name] = values[0]
        else:
            told.setdefault(name, {})[figure] = [float(value) for value in values]
    return told, versions


def published(folder: Path, figures: Mapping[str, Told]) -> dict[str, Told]:
    """Our figures of the published studies whose ratings RJafroc wrote into the folder."""
    told = {}
    for name in (name for name in figures if (folder / f"{name}.csv").exists()):
        (figure,) = figures[name]
        rows, cases = read_csv(folder / f"{name}.csv"), read_csv(folder / f"{name}-cases.csv")
        lesions = [(number, lesion) for number, case in enumerate(cases) for lesion in range(int(case["lesions"]))]
        known = Lesions(
            np.array([image for image, _ in lesions]), np.zeros(len(lesions)),
            np.array([100.0 * lesion for _, lesion in lesions]), np.full(len(lesions), 5.0),
        )  # fmt: skip
        arms = [_marks_of(rows, modality) for modality in sorted({row["modality"] for row in rows})]
        images = np.arange(len(cases))
        if figure.startswith("ALROC"):
            told[name] = {figure: where.localised(arms[0], known, images).values.tolist()}
            continue
        # an ROC study is one of marks with one rating for each case, which is no place
        found = [where.free_response(arm, known, images) for arm in arms]
        told[name] = pair(compare(*found), figure.split()[0])
    return told


def _marks_of(rows: list[dict[str, str]], modality: str) -> list[Candidates]:
    """Marks of each reader: a lesion's stand on it, others far away."""
    found = []
    for reader in sorted({row["reader"] for row in rows}, key=int):
        own = [row for row in rows if (row["reader"], row["modality"]) == (reader, modality)]
        image, lesion = (np.array([int(row[name]) - 1 for row in own]) for name in ("case", "lesion"))
        away = np.array([1000.0 * (row["kind"] == "false") for row in own])
        found.append(Candidates(image, away, 100.0 * lesion, np.array([float(row["rating"]) for row in own])))
    return found


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--studies", type=int, default=4, help="made studies of each kind")
    parser.add_argument("--rscript", default="Rscript", help="the program, where both packages can be loaded")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        own = ours(Path(place), range(asked.studies))
        other, versions = theirs(Path(place), asked.rscript)
        own |= published(Path(place), other)
    rows: list[dict[str, Any]] = []
    for name, figures in sorted(other.items()):
        for figure, values in figures.items():
            apart = float(np.max(np.abs(np.array(values) - own[name][figure])))
            rows.append({"of": name, "figure": figure, "theirs": values, "ours": own[name][figure], "apart": apart})
    missing = {(name, figure) for name in own for figure in own[name]} - {(row["of"], row["figure"]) for row in rows}
    largest = max(row["apart"] for row in rows)
    print(f"{len(rows)} lines of figures, at most {largest:.2g} apart; not computed by the others: {len(missing)}")
    if asked.out is not None:
        head = {
            "command": shlex.join(["python", *sys.argv]),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
        }
        write_json(asked.out, {**head, "versions": versions, "largest": largest, "figures": rows})
    sys.exit(largest > LARGEST or bool(missing))


if __name__ == "__main__":
    main()
