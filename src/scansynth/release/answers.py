"""What a study knows of the items that reporting checklists ask: one line each, with where it stands in the release."""

from __future__ import annotations

from collections.abc import Mapping

from scansynth import __version__
from scansynth.claims.questions import EVERY_QUESTION, HOUSE
from scansynth.claims.rules import RULE_VERSION
from scansynth.data.sets import LABEL_SEPARATOR
from scansynth.gan.weights import FACTS
from scansynth.ledger import Role
from scansynth.release.candidate import Candidate
from scansynth.release.manifest import BUNDLE, DICOM, GENERATOR, MANIFEST, TABLE, Manifest
from scansynth.statistics import Verdict

CARD, MODEL, REPORT, CLAIMS = "DATA_CARD.md", "MODEL_CARD.md", "report/index.html", "evidence/claims.json"

Answers = Mapping[str, tuple[str, str]]
"""By the name of the answer: the line, empty where a person must write it, and a path in the release."""


def answers(candidate: Candidate, about: Manifest) -> Answers:
    """Every answer."""
    return {**_of_people(candidate), **_of_cohort(candidate), **_of_model(candidate, about), **_of_evidence(candidate)}


def _of_people(candidate: Candidate) -> Answers:
    """What persons wrote into `[governance]`, and what follows from it."""
    told = candidate.study.config.governance
    return {
        "intended": (told.intended_use, CARD),
        "uses": (f"For: {told.intended_use}; not for: {told.excluded_use}", CARD),
        "legal": (told.legal_basis, CARD),
        "ethics": (told.ethics_reference, CARD),
        "retention": (f"{told.data_use_terms}; kept: {told.retention}", CARD),
        "compliant": (f"Legal basis: {told.legal_basis}; ethics: {told.ethics_reference}", CARD),
        "accepted": (f"Responsible: {told.responsible_person}", CARD),
    }


def _of_cohort(candidate: Candidate) -> Answers:
    cases, facts = candidate.cohort.cases, candidate.cohort.facts
    people = {role: len({case.patient for case in cases if case.role is role}) for role in Role}
    shares = ", ".join(f"{role.value} {number}" for role, number in people.items())
    gone = ", ".join(f"{number} {reason}" for reason, number in sorted(facts.excluded.items())) or "none"
    by_label = {label: sum(case.label == label for case in cases) for label in facts.labels}
    labels = ", ".join(f"{number} {label.replace(LABEL_SEPARATOR, ' or ')}" for label, number in by_label.items())
    attributes = ", ".join(sorted({name for case in cases for name in case.attributes}))
    size = f"{facts.shape[0]} x {facts.shape[1]} pixels of {' x '.join(f'{step:.3g}' for step in facts.spacing)} mm"
    return {
        "cohort": (f"{len(cases)} {facts.modality} images of {sum(people.values())} patients of one study", CARD),
        "excluded": (f"Files left out by the program: {gone}. Criteria for patients: a person must write them", REPORT),
        "flow": (f"{facts.files_found} files found, left out: {gone}, {len(cases)} images kept", REPORT),
        "preprocessing": (
            f"Resized to {size}; grey levels {facts.low:g} to {facts.high:g} (median) brought to [-1, 1]",
            REPORT,
        ),
        "modified": (
            f"Every image is synthetic. The real ones were resized to {size}, and their grey levels scaled",
            REPORT,
        ),
        "classes": (f"Learned from: {', '.join(candidate.source.facts.classes) or 'all labels'}", MODEL),
        "deidentified": (
            "DICOM PS3.15 basic profile; identifiers replaced by hashes with a key that stays in the institution. "
            f"Text in the pixels: {facts.text_search or 'see the report'}",
            REPORT,
        ),
        "minimised": ("Pixels, label and the attributes in use; all else of a header is removed", REPORT),
        "acquisition": (f"{facts.modality}, plane {facts.plane or 'not known'}, {size}; scanners not listed", REPORT),
        "roles": (f"By patient, at random under the seed {candidate.study.config.seed}: {shares}", REPORT),
        "disjoint": ("Patients, source pixels and ingested images, each compared by hash at release", MANIFEST),
        "labels": (f"Labels: {labels or 'none'}; attributes that were kept: {attributes or 'none'}", REPORT),
        "groups": (f"Attributes that were kept: {attributes}" if attributes else "", REPORT),
    }


def _of_model(candidate: Candidate, about: Manifest) -> Answers:
    facts, governance = candidate.source.facts, candidate.study.config.governance
    masks = sum(bool(row["mask"]) for row in candidate.leaving)
    kind, settings = "Generative adversarial network", f"{GENERATOR}/{FACTS}"
    chosen = candidate.study.recipe().choice.on
    return {
        "kind": (f"{kind}; every image is synthetic", MODEL),
        "summary": (f"{about.images} synthetic {candidate.cohort.facts.modality} images with their generator", CARD),
        "identity": (f"{about.study}, {about.made[:10]}, {governance.licence}, {governance.responsible_person}", CARD),
        "model": (f"{kind}, family {facts.family}, recipe {facts.recipe}; its settings are listed", settings),
        "software": (f"scansynth {__version__} and the packages of the bill of materials", "sbom.cdx.json"),
        "initial": (f"Random, seed {candidate.study.config.seed}; not pretrained", settings),
        "training": (f"{facts.images:,} real images seen, repeats counted; ended {facts.level}", REPORT),
        "chosen": ("By images of tune patients" if chosen else "The last state of the training", REPORT),
        "single": ("None: one generator", MODEL),
        "complete": (f"{about.images} DICOM files with spacing, label, invented patient; {masks} with a mask", TABLE),
        "explained": ("Cards, report, every claim with its control, seed and weights", MODEL),
        "available": (f"Images, generator ({GENERATOR}/, {BUNDLE}/) and claims; real images are not", MANIFEST),
        "marked": ("SyntheticData (0008,001C) is YES in each DICOM file; Croissant says so, too", f"{DICOM}/"),
        "journal": (f"A hash-chained journal in the study; its end before this: {about.journal[:12]}", MANIFEST),
    }  # fmt: skip


def _of_evidence(candidate: Candidate) -> Answers:
    judged = candidate.evidence.judged
    claims = [claim for claim in judged.claims if not HOUSE.holds(claim)]
    by = {one: sorted({claim.claim for claim in claims if claim.verdict is one}) for one in Verdict}
    verdicts = " ".join(
        f"{question.title} {judged.verdicts[question.name].value}."
        for question in EVERY_QUESTION
        if question.name in judged.verdicts
    )
    levels = sorted({claim.level for claim in claims if claim.level is not None})
    controls = [control for claim in claims for control in claim.control]
    passed = sum(control.passed for control in controls)
    return {
        "metrics": (", ".join(sorted({claim.claim for claim in claims})), CLAIMS),
        "uncertainty": (
            f"Intervals at {', '.join(f'{level:.0%}' for level in levels)}, each beside a real-against-real reference",
            CLAIMS,
        ),
        "controls": (f"Planted faults: {passed} of {len(controls)} controls passed", CLAIMS),
        "internal": ("On patients of the roles calibrate and test, whom the generator never saw", REPORT),
        "verdicts": (verdicts, REPORT),
        "refuted": (f"Refuted: {', '.join(by[Verdict.REFUTED]) or 'no claim'}", CLAIMS),
        "not_shown": (
            f"Not shown: {', '.join(by[Verdict.NOT_SHOWN]) or 'no claim'}. "
            f"Not assessable: {', '.join(by[Verdict.NOT_ASSESSABLE]) or 'no claim'}",
            CLAIMS,
        ),
        "unassessed": (f"Not assessable: {', '.join(by[Verdict.NOT_ASSESSABLE]) or 'no claim'}", CLAIMS),
        "constraint": ("Traces of processing are searched; anatomy is for a reader to judge", REPORT),
        "rules": (f"Version {RULE_VERSION} of the rules, which were fixed before the data were seen", CLAIMS),
    }
