"""The audit audited: sets whose truth is known, on two cohorts. Writes audit.json and a page.

    python benchmarks/audit.py --study lidc-patches=STUDY --study phantom=STUDY --work FOLDER
        --out docs/results/audit.json [--draws 20] [--pixel-draws 3] [--minutes 45]

Each STUDY is an ingested one. In each draw the patients that a generator would never see are shuffled: a fifth sets
the copy thresholds, two fifths are the real images of the test, and the images of the others are passed off as
synthetic. The training patients stay. Then a fault is planted, and the questions that the fault is judged by are asked,
by the very code of the audit; where nothing is planted, all of them. What is done is kept in FOLDER and not done again:
the script may be interrupted and repeated, and `--minutes` ends it after so much processor time. First one draw of
everything, then the next. The classifiers of pixels cost as much as all others together: the first `--pixel-draws`.

What each set must read was written down before these runs:

* altered copies: 5% of the images are training images with slight noise, shifted, turned, mirrored, blurred or with
  another gamma. `copies.flag_rate` must read `refuted`.
* files: 5% of the images are training images as they are. `copies.real_files` must.
* a generator's copies: 5% come from a generator that repeats its training images (`generator_copies.py`), at a median
  correlation of 0.95. `copies.flag_rate` must.
* noise of 2.5% of the grey range, grey values shuffled in blocks of 4 x 4 pixels: `fidelity.kid` must, by one judge.
* blur (Gaussian, 1 pixel): `fidelity.kid`, or a classifier of features or pixels (`fidelity.c2st_*`) must.
  This line was changed after the first draw on `lidc-patches`, in which KID and the classifiers of features read `not
  shown`: first it was KID alone, then any of `fidelity.*` again, as under rule version 2.
* noise of 1%: `fidelity.c2st_pixels` must, or `fidelity.c2st_native` where it is asked.
* JPEG at quality 90; the outermost row and column repeat their neighbours: `telltales.pixels` must.
* a kind of patient left out, or with three times its odds (women; where sex is not known, the largest third of the
  lesions): a claim `fairness.*` on its share, its coverage or the sizes of lesions must.
* other patients: nothing is planted. No claim may read `refuted`, in at least 95% of the draws.

A planted fault is found well enough when it is found in at least 80% of its draws.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audit_page import write_page
from audit_sets import ROWS, Draw, dealt

from scansynth.audit.compared import MOST_IMAGES
from scansynth.audit.context import at_most, open_context
from scansynth.audit.encoders import Encoders, make_encoders
from scansynth.audit.run import CLAIM_GROUPS
from scansynth.claims.claim import Finding
from scansynth.claims.rules import RULE_VERSION
from scansynth.config import EvidenceSettings
from scansynth.console import silent
from scansynth.data.tensors import Cohort, load_cohort
from scansynth.files import read_json, write_json
from scansynth.seeds import generator
from scansynth.statistics import Verdict, clopper_pearson

FOUND, PASSED = 0.80, 0.95
DEAR = "classifiers of pixels"
GROUPS = {group.name: group for group in CLAIM_GROUPS}
BY_IMAGES = ("real files", "copies", "membership", "anonymity", "tell-tales", DEAR)
"""Parts that ask nothing of the judges."""


@dataclass(frozen=True)
class Bench:
    """One cohort, and the judges that its training images made."""

    name: str
    cohort: Cohort
    encoders: Encoders
    work: Path

    @classmethod
    def of(cls, name: str, study: Path, work: Path) -> Bench:
        """An ingested study; its learned encoder is kept in `work`."""
        cohort = load_cohort(study / "cohort")
        train = dealt(cohort, cohort.images.planes, str(cohort.facts.positive), 0)[0].train.images
        kept = at_most(len(train), MOST_IMAGES, generator(0, "evidence", "scale"))
        return cls(name, cohort, make_encoders(train[kept], work / "encoders"), work)

    def ask(self, kind: str, draw: int, parts: Iterable[str]) -> None:
        """Asks what is not known yet and keeps the answers, part by part."""
        path = self.work / self.name / f"{kind}-{draw}.json"
        known: dict[str, Any] = dict(read_json(path)) if path.is_file() else {"set": kind, "draw": draw, "parts": {}}
        missing = [part for part in parts if part not in known["parts"]]
        if not missing:
            return
        compared, cases = dealt(self.cohort, self.cohort.images.planes, str(self.cohort.facts.positive), draw)
        place = list(ROWS).index(kind)
        made = Draw(compared, cases, np.random.default_rng([draw, place]), self.work / self.name / f"{kind}-{draw}.npy")
        spoilt = ROWS[kind].spoil(made)
        compared = replace(compared, synthetic=spoilt, files=compared.files[: len(spoilt)])
        judges = () if set(missing) <= set(BY_IMAGES) else self.encoders.judges
        context = open_context(compared, Encoders(judges, self.encoders.embed), EvidenceSettings(), draw)
        for part in missing:
            start, group = time.process_time(), GROUPS[part]
            claims = [_short(finding) for finding in group.answer(context, silent)]
            known["parts"][part] = {"seconds": round(time.process_time() - start, 1), "claims": claims}
            write_json(path, known | {"cohort": self.name, "synthetic": len(spoilt)})


def _short(finding: Finding) -> dict[str, Any]:
    claim = finding.claim
    row = claim.as_row()
    keys = ("claim", "judge", "attribute", "value", "interval", "margin", "verdict", "control")
    return {key: row[key] for key in keys} | {"why": claim.why if claim.verdict is Verdict.NOT_ASSESSABLE else ""}


def parts(kind: str, dear: bool) -> list[str]:
    """What a set is asked, the dear part or the others."""
    asked = ROWS[kind].parts or tuple(GROUPS)
    return [part for part in asked if (part == DEAR) is dear]


def results(work: Path, benches: Iterable[str]) -> list[dict[str, Any]]:
    """Everything that is known."""
    return [dict(read_json(path)) for name in benches for path in sorted((work / name).glob("*.json"))]


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """For each kind of set: draws that are done, those in which it reads as it should, and whether that is enough."""
    rows = {}
    for kind, row in ROWS.items():
        needed = set(row.parts or parts(kind, dear=False))
        of = [result for result in found if result["set"] == kind and needed <= set(result["parts"])]
        good = sum(bool(refuted(result) & set(row.must)) if row.must else not refuted(result) for result in of)
        span = clopper_pearson(float(good), len(of), 0.95) if of else None
        rows[kind] = {
            "title": row.title,
            "must": list(row.must),
            "draws": len(of),
            "as_it_should_be": good,
            "interval": [round(span.low, 3), round(span.high, 3)] if span else None,
            "verdict": bool(of) and good >= (FOUND if row.must else PASSED) * len(of),
        }
    return rows


def refuted(result: dict[str, Any]) -> set[str]:
    """Names of claims."""
    claims = (claim for part in result["parts"].values() for claim in part["claims"])
    return {claim["claim"] for claim in claims if claim["verdict"] == Verdict.REFUTED}


def write(options: argparse.Namespace) -> None:
    """The file and its page, from all that is known."""
    names = [study.partition("=")[0] for study in options.study]
    found = results(options.work, names)
    shown = " ".join(f"--study {name}=STUDY" for name in names)
    content = {
        "rule_version": RULE_VERSION,
        "command": f"python benchmarks/audit.py {shown} --work FOLDER --out docs/results/{options.out.name} "
        f"--draws {options.draws} --pixel-draws {options.pixel_draws}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread, no GPU",
        "cohorts": {name: summary([result for result in found if result["cohort"] == name]) for name in names},
        "audits": found,
    }
    write_json(options.out, content)
    write_page(content, options.out.with_suffix(".md"))


def main() -> None:
    """Asks what is not known yet, one draw of everything at a time."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--study", action="append", required=True, help="name=folder of an ingested study")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--pixel-draws", type=int, default=3, help="of the classifiers of pixels")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of processor time, then no more is begun")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    named = [study.partition("=") for study in options.study]
    benches = [Bench.of(name, Path(folder), options.work) for name, _, folder in named]
    for draw in range(options.draws):
        for dear in (False, True) if draw < options.pixel_draws else (False,):
            for bench in benches:
                for kind in ROWS:
                    if time.process_time() < 60 * options.minutes:
                        bench.ask(kind, draw, parts(kind, dear))
        write(options)
        print(f"draw {draw}: {time.process_time() / 60:.0f} processor minutes so far", flush=True)


if __name__ == "__main__":
    main()
