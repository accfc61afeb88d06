"""The audit audited: sets whose truth is known, and one real generator's. Writes audit.json and a page.

    python benchmarks/audit.py --study STUDY --work FOLDER --out docs/results/audit.json [--draws 20] [--jobs 2]

STUDY is a study of the LIDC-IDRI patches with a synthetic set of the recipe `dcgan` (200 epochs). What is done already
is not done again: the script may be interrupted and repeated.

In each draw the patients that the generator never saw are shuffled: a fifth sets the copy thresholds, two fifths
are the real images of the test, and the images of the others are passed off as synthetic. The training patients stay.

What each row must read was written down before these runs:

* other patients: nothing is planted. It passes when no claim reads `refuted`, in at least 95% of the draws.
* copies: 5% of the images are training images with slight noise, shifted, turned, mirrored, blurred or with another
  gamma. `copies.flag_rate` must read `refuted`.
* files: 5% of the images are training images as they are. `copies.real_files` must read `refuted`.
* blurred: Gaussian, standard deviation 1 pixel. A claim `fidelity.*` must read `refuted`.
* no large lesions: the images of the largest third of the lesions are left out. A claim `diversity.*`, or
  `fairness.lesion_size`, must read `refuted`.
* JPEG: rounded to 8 bits, compressed at quality 90. `telltales.pixels` must read `refuted`.
* dcgan: the set of the study; nothing was promised of it.

A row with a planted fault is as it should be when the fault is found in at least 80% of its draws.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audit_page import write_page
from numpy.typing import NDArray

from scansynth.audit.compared import Compared, Reals, gather
from scansynth.audit.run import measure
from scansynth.claims.claim import Finding
from scansynth.claims.rules import RULE_VERSION
from scansynth.config import EvidenceSettings
from scansynth.data.tensors import Case, Cohort, load_cohort, to_signed
from scansynth.files import read_json, write_json
from scansynth.ledger import Role
from scansynth.metrics import planted
from scansynth.statistics import Verdict

Images = NDArray[np.float32]
SHARE_OF_COPIES = 0.05
FOUND = 0.80
PASSED = 0.95


@dataclass(frozen=True)
class Row:
    """A kind of set.

    Attributes:
        title: In the table.
        spoil: Other patients' images and their cases to the set that is judged.
        must: Claims of which one must read `refuted`; none: none may.
    """

    title: str
    spoil: Callable[[Compared, tuple[Case, ...], np.random.Generator], Images]
    must: tuple[str, ...] = ()


def _as_they_are(compared: Compared, cases: tuple[Case, ...], rng: np.random.Generator) -> Images:
    return compared.synthetic


def _with_training_images(compared: Compared, rng: np.random.Generator, change: bool) -> Images:
    images = compared.synthetic.copy()
    count = max(1, round(SHARE_OF_COPIES * len(images)))
    sources = compared.train.images[rng.permutation(len(compared.train.images))[:count]]
    changes: tuple[Callable[[Images], Images], ...] = (
        lambda x: planted.noise(x, 0.025, rng),
        planted.shift,
        planted.rotate,
        lambda x: planted.noise(x[:, :, ::-1], 0.01, rng),
        planted.blur,
        planted.gamma,
    )
    for place, source in enumerate(sources):
        images[place] = changes[place % len(changes)](source[None])[0] if change else source
    return images


def _copies(compared: Compared, cases: tuple[Case, ...], rng: np.random.Generator) -> Images:
    return _with_training_images(compared, rng, change=True)


def _files(compared: Compared, cases: tuple[Case, ...], rng: np.random.Generator) -> Images:
    return _with_training_images(compared, rng, change=False)


def _blurred(compared: Compared, cases: tuple[Case, ...], rng: np.random.Generator) -> Images:
    return planted.blur(compared.synthetic)


def _no_large_lesions(compared: Compared, cases: tuple[Case, ...], rng: np.random.Generator) -> Images:
    diameters = np.array([float(case.attributes["diameter_mm"]) for case in cases])
    return compared.synthetic[diameters <= np.quantile(diameters, 2 / 3)]


def _jpeg(compared: Compared, cases: tuple[Case, ...], rng: np.random.Generator) -> Images:
    return planted.jpeg(compared.synthetic, 90)


FIDELITY = (
    "fidelity.kid",
    "fidelity.c2st_features",
    "fidelity.c2st_pixels",
    "fidelity.c2st_native",
    "fidelity.precision",
    "fidelity.density",
)
VARIETY = (
    "diversity.pair_distance",
    "diversity.near_pairs",
    "diversity.nearest",
    "diversity.vendi",
    "diversity.coverage",
    "diversity.recall",
    "fairness.lesion_size",
)
ROWS: Mapping[str, Row] = {
    "others": Row("other patients’ real images", _as_they_are),
    "copies": Row("with 5% altered copies of training images", _copies, ("copies.flag_rate",)),
    "files": Row("with 5% training images as they are", _files, ("copies.real_files",)),
    "blurred": Row("blurred by 1 pixel", _blurred, FIDELITY),
    "small": Row("the largest third of the lesions left out", _no_large_lesions, VARIETY),
    "jpeg": Row("compressed as JPEG, quality 90", _jpeg, ("telltales.pixels",)),
}


def dealt(cohort: Cohort, images: NDArray[np.uint16], label: str, draw: int) -> tuple[Compared, tuple[Case, ...]]:
    """Compared in which other patients stand for the synthetic set, and the cases of these."""
    cases = [case for case in cohort.cases if case.label == label]
    others = sorted({case.patient for case in cases if case.role is not Role.TRAIN})
    shuffled = np.random.default_rng(draw).permutation(np.array(others))
    first, second = len(shuffled) // 5, 3 * len(shuffled) // 5
    part = {Role.CALIBRATE: set(shuffled[:first]), Role.TEST: set(shuffled[first:second])}
    passed_off = set(shuffled[second:])

    def of(role: Role) -> Reals:
        chosen = tuple(
            replace(case, role=role)
            for case in cases
            if (case.role is Role.TRAIN if role is Role.TRAIN else case.patient in part[role])
        )
        return Reals(chosen, to_signed(np.array(images[[case.index for case in chosen]])))

    made = tuple(case for case in cases if case.patient in passed_off)
    compared = Compared(
        files=tuple(f"{place:06d}" for place in range(len(made))),
        synthetic=to_signed(np.array(images[[case.index for case in made]])),
        labels=(label,),
        view=cohort.facts.view,
        unlabelled=False,
        train=of(Role.TRAIN),
        calibrate=of(Role.CALIBRATE),
        test=of(Role.TEST),
        inputs={},
    )
    return compared, made


def audit(study: Path, work: Path, kind: str, draw: int) -> dict[str, Any]:
    """One audit, or its kept result."""
    kept = work / f"{kind}-{draw}.json"
    if kept.is_file():
        return dict(read_json(kept))
    torch.set_num_threads(1)
    cohort = load_cohort(study / "cohort")
    if kind == "dcgan":
        compared = gather(study / "cohort", study / "synthetic" / "main", study / "gan" / "main" / "scores.csv")
    else:
        images = cohort.images.planes
        compared, cases = dealt(cohort, images, str(cohort.facts.positive), draw)
        spoilt = ROWS[kind].spoil(compared, cases, np.random.default_rng([draw, 1]))
        compared = replace(compared, synthetic=spoilt, files=compared.files[: len(spoilt)])
    start = time.monotonic()
    findings = measure(compared, EvidenceSettings(), draw, cache=work / "encoders")
    result = {
        "set": kind,
        "draw": draw,
        "seconds": round(time.monotonic() - start, 1),
        "synthetic": len(compared.synthetic),
        "claims": [_short(finding) for finding in findings],
    }
    write_json(kept, result)
    return result


def _short(finding: Finding) -> dict[str, Any]:
    claim = finding.claim
    row = claim.as_row()
    keys = ("claim", "judge", "attribute", "value", "interval", "margin", "verdict", "control")
    return {key: row[key] for key in keys} | {"why": claim.why if claim.verdict is Verdict.NOT_ASSESSABLE else ""}


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """For each kind of set: draws, draws in which it reads as it should, and whether that is enough."""
    found = {}
    for kind, row in ROWS.items():
        of = [result for result in results if result["set"] == kind]
        good = 0
        for result in of:
            refuted = {claim["claim"] for claim in result["claims"] if claim["verdict"] == Verdict.REFUTED}
            good += bool(refuted & set(row.must)) if row.must else not refuted
        needed = FOUND if row.must else PASSED
        found[kind] = {
            "title": row.title,
            "must": list(row.must),
            "draws": len(of),
            "as_it_should_be": good,
            "needed": needed,
            "verdict": bool(of) and good >= needed * len(of),
        }
    return found


def main() -> None:
    """Runs the audits that are missing and writes the page."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20, help="of the set in which nothing is planted")
    parser.add_argument("--faulty", type=int, default=5, help="draws of each set with a planted fault")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    # the learned encoder first: every draw uses the same training patients, and it is kept
    results = [audit(options.study, options.work, "dcgan", 0)]
    jobs = [(kind, draw) for draw in range(options.faulty) for kind in ROWS]
    jobs += [("others", draw) for draw in range(options.faulty, options.draws)]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(audit, options.study, options.work, kind, draw) for kind, draw in jobs]
        for done, future in enumerate(waiting, start=1):
            results.append(future.result())
            last = results[-1]
            print(f"{done} of {len(jobs)}: {last['set']} {last['draw']}, {last['seconds']} s", flush=True)
    content = {
        # the folders are the user's own, and no part of the result
        "rule_version": RULE_VERSION,
        "command": f"python benchmarks/audit.py --study STUDY --work FOLDER --out docs/results/{options.out.name} "
        f"--draws {options.draws} --faulty {options.faulty} --jobs {options.jobs}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {options.jobs} audits at once, no GPU",
        "rows": summary(results),
        "audits": results,
    }
    write_json(options.out, content)
    write_page(content, options.out.with_suffix(".md"))


if __name__ == "__main__":
    main()
