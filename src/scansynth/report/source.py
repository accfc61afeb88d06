"""Where the figures of each part of the page come from: the artefact, and the command that writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scansynth.report.collect import Findings
from scansynth.report.figures.words import clean
from scansynth.study import ANALYSIS, BEHIND, CLAIMS_FILE, PAIRS, READER, TRIAL


@dataclass(frozen=True)
class Source:
    """Where figures come from.

    Attributes:
        artefact: Files, within the study folder.
        command: Writes them.
    """

    artefact: str
    command: str


def sources(findings: Findings) -> Mapping[str, Source]:
    """By the part of the page; of an audit of two folders, paths are within the folder that it wrote."""
    study = findings.study
    if findings.loose:
        only = Source(f"{BEHIND}, {CLAIMS_FILE} and {PAIRS}", "scansynth audit --real DIR --synthetic DIR --out DIR")
        return dict.fromkeys(("audit", "pairs", "images", "training", "trial", "readers"), only)
    own, run = clean(study.config.synthetic.name), clean(study.config.generator.run)
    audit, made = "scansynth audit STUDY", "add-set" if findings.added else "generate"
    return {
        "audit": Source(f"evidence/{own}/{BEHIND}", audit),
        "pairs": Source(f"evidence/{own}/{PAIRS}", audit),
        "images": Source(f"cohort/ and synthetic/{own}/", f"scansynth {made} STUDY"),
        "training": Source(f"gan/{run}/", "scansynth train STUDY"),
        "trial": Source(f"{TRIAL}/{ANALYSIS}", "scansynth utility STUDY"),
        "readers": Source(f"{READER}/{ANALYSIS}", "scansynth reader analyse STUDY"),
    }
