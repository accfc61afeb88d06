"""The attacks of `anonymity.*` on sets whose truth is known: how often each is refuted. Writes anonymity.json.

    python benchmarks/anonymity.py --study STUDY --out docs/results/anonymity.json [--draws 20]

STUDY is an ingested study of the LIDC-IDRI patches. In each draw the patients that are not of train are shuffled, as
`benchmarks/audit.py` does it: some are the test, and the images of the others are passed off as synthetic. Then an
image each of some share of the training patients, slightly noisy, takes the place of as many synthetic images. The
margin is 5 points: a set without copies must not be refuted, and one with half of the patients must be.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from audit_sets import dealt

from scansynth.audit.compared import Compared
from scansynth.audit.context import open_context
from scansynth.audit.encoders import Encoders
from scansynth.audit.questions import anonymity
from scansynth.claims.rules import RULE_VERSION
from scansynth.config import EvidenceSettings
from scansynth.console import silent
from scansynth.data.tensors import load_cohort
from scansynth.files import write_json
from scansynth.metrics import planted

SHARES = (0.0, 0.05, 0.1, 0.2, 0.5)


def with_copies(compared: Compared, share: float, rng: np.random.Generator) -> Compared:
    """The set with a noisy image each of so many training patients in the place of as many of its own."""
    patients = compared.train.patients
    chosen = rng.permutation(np.unique(patients))[: round(share * compared.train.patient_count)]
    images = compared.synthetic.copy()
    sources = [int(rng.choice(np.flatnonzero(patients == patient))) for patient in chosen]
    if sources:
        images[rng.permutation(len(images))[: len(sources)]] = planted.noise(compared.train.images[sources], 0.025, rng)
    return replace(compared, synthetic=images)


def main() -> None:
    """Every share in every draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    cohort = load_cohort(options.study / "cohort")
    label, images = str(cohort.facts.positive), cohort.images.planes
    rows: list[dict[str, Any]] = []
    seconds = []
    for draw in range(options.draws):
        compared, _ = dealt(cohort, images, label, draw)
        for share in SHARES:
            spoilt = with_copies(compared, share, np.random.default_rng([draw, round(100 * share)]))
            start = time.process_time()
            found = anonymity.answer(open_context(spoilt, Encoders((), None), EvidenceSettings(), draw), silent)
            seconds.append(time.process_time() - start)
            rows += [
                {"share": share, "claim": f.claim.claim, "value": f.claim.value, "verdict": f.claim.verdict}
                for f in found
            ]
        print(f"{draw + 1} of {options.draws}", flush=True)
    table = [
        {
            "claim": name,
            "copied": share,
            "mean": round(float(np.mean([row["value"] for row in own])), 3),
            "verdicts": dict(Counter(str(row["verdict"]) for row in own)),
        }
        for name in anonymity.CLAIMS
        for share in SHARES
        if (own := [row for row in rows if row["claim"] == name and row["share"] == share])
    ]
    content = {
        "rule_version": RULE_VERSION,
        "command": "python benchmarks/anonymity.py --study STUDY --out docs/results/anonymity.json "
        f"--draws {options.draws}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one process, no GPU",
        "processor_seconds": {"median": round(float(np.median(seconds)), 1), "most": round(max(seconds), 1)},
        "synthetic": len(compared.synthetic),
        "training_patients": compared.train.patient_count,
        "table": table,
    }
    write_json(options.out, content)
    for row in table:
        print(row)


if __name__ == "__main__":
    main()
