"""The audit of one synthetic set: images in, claims out.

The rules stand in `docs/evidence.md`. The judges' features are never those that a generator was trained or stopped on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scansynth.audit import appearance
from scansynth.audit.compared import LEAST_SYNTHETIC, MOST_IMAGES, Compared, Reals, gather
from scansynth.audit.context import Context, at_most, open_context
from scansynth.audit.encoders import Encoders, make_encoders
from scansynth.audit.fairness import subgroups
from scansynth.audit.questions import (
    anonymity,
    copies,
    coverage,
    discrimination,
    diversity,
    fidelity,
    house,
    identical,
    membership,
    telltales,
)
from scansynth.audit.standing import audit_settings
from scansynth.claims.claim import Claim, Finding, not_assessable
from scansynth.claims.judged import write_claims
from scansynth.claims.rules import CLAIMS, RULES
from scansynth.config import EngineSettings, EvidenceSettings
from scansynth.console import Progress, silent
from scansynth.engine.processes import beside, worker_count
from scansynth.files import new_directory, write_csv, write_json
from scansynth.ledger import Use
from scansynth.seeds import generator
from scansynth.stage import StageRecord, hash_outputs, versions, write_record
from scansynth.statistics import Verdict
from scansynth.study import BEHIND, CLAIMS_FILE, PAIRS, QUARANTINE

MADE = "synthetic images"
"""What a claim calls their number."""


@dataclass(frozen=True)
class ClaimGroup:
    """The claims of one file of `questions/`.

    Attributes:
        name: What the progress bar calls it.
        claims: Names of the claims that it can make.
        answer: Makes them; a claim without data becomes `not assessable`.
        apart: It asks nothing of the judges and takes as long as all others: it may run in a process of its own.
    """

    name: str
    claims: tuple[str, ...]
    answer: Callable[[Context, Progress], tuple[Finding, ...]]
    apart: bool = False


CLAIM_GROUPS: tuple[ClaimGroup, ...] = (
    ClaimGroup("realism", fidelity.CLAIMS, fidelity.answer),
    ClaimGroup("classifiers of features", discrimination.BY_FEATURES, discrimination.answer_by_features),
    ClaimGroup("variety", diversity.CLAIMS, diversity.answer),
    ClaimGroup("neighbours", coverage.CLAIMS, coverage.answer),
    ClaimGroup("real files", identical.CLAIMS, identical.answer),
    ClaimGroup("copies", copies.CLAIMS, copies.answer),
    ClaimGroup("membership", membership.CLAIMS, membership.answer),
    ClaimGroup("anonymity", anonymity.CLAIMS, anonymity.answer),
    ClaimGroup("groups of patients", subgroups.CLAIMS, subgroups.answer),
    ClaimGroup("tell-tales", telltales.CLAIMS, telltales.answer),
    ClaimGroup("what must stay", house.CLAIMS, house.answer),
    ClaimGroup("classifiers of pixels", discrimination.BY_PIXELS, discrimination.answer_by_pixels, apart=True),
)
WORTHWHILE = 300
"""Images, real and synthetic, below which a process costs more than it saves."""

_PARTS = 100  # of the bar for each group


def judge(
    cohort_folder: Path,
    set_folder: Path,
    out: Path,
    settings: EvidenceSettings,
    seed: int,
    progress: Progress = silent,
    cache: Path | None = None,
    scores: Path | None = None,
    engine: EngineSettings | None = None,
) -> tuple[Claim, ...]:
    """Judges a set and writes claims.json, pairs.json, distributions.json, quarantine.csv and stage.json.

    Args:
        cohort_folder: An ingested cohort.
        set_folder: A synthetic set with its manifest.
        out: Folder of the evidence; replaced when everything is written.
        settings: Number of draws, level, number of pairs.
        seed: All random numbers derive from it.
        progress: Called with the number of steps done.
        cache: Folder in which learned encoders are kept.
        scores: Discriminator scores of real images, from the run that made the set, or None.
        engine: How many processes may be used; None: this one.

    Returns:
        The claims in the order of `CLAIMS`; one for each judge or attribute where a claim is asked of several.

    Raises:
        EvidenceError: The set shows a label that the cohort does not have, a value is not finite, or a real image is
        constant.
        CohortError: The cohort or the set is missing or damaged.
        StorageError: `out` cannot be written.
    """
    progress(0, _PARTS * (len(CLAIM_GROUPS) + 1), "reading")
    compared = gather(cohort_folder, set_folder, scores)
    with new_directory(out) as folder:
        return judge_compared(compared, folder, settings, seed, progress, cache, engine)


def judge_compared(
    compared: Compared,
    folder: Path,
    settings: EvidenceSettings,
    seed: int,
    progress: Progress = silent,
    cache: Path | None = None,
    engine: EngineSettings | None = None,
) -> tuple[Claim, ...]:
    """Judges images of any origin and writes what `judge` writes into an empty folder."""
    start = time.monotonic()
    findings = measure(compared, settings, seed, progress, cache, engine)
    claims = tuple(_signed(finding.claim, compared) for finding in findings)
    cases = [case for part in (compared.train, compared.calibrate, compared.test) for case in part.cases]
    figures = [
        {"claim": c.claim, "judge": c.judge, "attribute": c.attribute, "figures": finding.figures}
        for c, finding in zip(claims, findings, strict=True)
        if finding.figures
    ]
    write_claims(folder / CLAIMS_FILE, claims)
    write_json(folder / PAIRS, [pair for finding in findings for pair in finding.pairs])
    write_json(folder / BEHIND, [*figures, *appearance.row(compared, seed)])
    write_csv(folder / QUARANTINE, ("image", "nearest", "score", "p"), _quarantine(findings, compared))
    record = StageRecord(
        stage="audit",
        inputs=compared.inputs,
        settings=audit_settings(settings),
        outputs=hash_outputs(folder, [*folder.glob("*.json"), folder / QUARANTINE]),
        seed=seed,
        roles=tuple(sorted({case.role.value for case in cases})),
        patients=tuple(sorted({case.patient for case in cases})),
        seconds=round(time.monotonic() - start, 1),
        versions=versions(),
    )
    write_record(folder, record)
    return claims


def _quarantine(findings: tuple[Finding, ...], compared: Compared) -> list[Mapping[str, Any]]:
    """Each flagged image once, real images first, with the nearest real image by the name known to the user."""
    rows: dict[str, Mapping[str, Any]] = {}
    for row in (row for finding in findings for row in finding.flagged):
        rows.setdefault(row["image"], {**row, "nearest": compared.names.get(row["nearest"], row["nearest"])})
    return list(rows.values())


def _signed(claim: Claim, compared: Compared) -> Claim:
    """The claim with the hashes of its inputs and the general caveat."""
    caveat = "" if claim.verdict is Verdict.NOT_ASSESSABLE else compared.caveat
    return replace(claim, inputs=dict(compared.inputs), why=f"{claim.why} {caveat}".strip())


def measure(
    compared: Compared,
    settings: EvidenceSettings,
    seed: int,
    progress: Progress = silent,
    cache: Path | None = None,
    engine: EngineSettings | None = None,
) -> tuple[Finding, ...]:
    """All findings in the order of `CLAIMS`; only a learned encoder is written, to `cache`."""
    missing = {**_missing(compared), **compared.withheld}
    total = _PARTS * (len(CLAIM_GROUPS) + 1)
    progress(0, total, "looking")
    findings: list[Finding] = []
    with _apart(compared, settings, seed, missing, engine) as elsewhere:
        context, lacking = _context(compared, settings, seed, missing, cache)
        for place, group in enumerate(CLAIM_GROUPS, start=1):
            asked = [name for name in group.claims if name not in missing]
            if asked:
                tell = _part_of(progress, place, total, group.name)
                found = elsewhere() if elsewhere and group.apart else group.answer(context, tell)
                findings += [finding for finding in found if finding.claim.claim not in missing]
            findings += [_unasked(compared, name, missing[name]) for name in group.claims if name in missing]
    progress(total, total, "judged")
    order = {name: place for place, name in enumerate(CLAIMS)}
    ordered = sorted(findings, key=lambda finding: order[finding.claim.claim])
    ordered = [_with_lacking(finding, lacking) for finding in ordered]
    flat = compared.flat
    return tuple(_with_flat(finding, flat, len(compared.synthetic)) if flat else finding for finding in ordered)


@contextmanager
def _apart(
    compared: Compared,
    settings: EvidenceSettings,
    seed: int,
    missing: Mapping[str, str],
    engine: EngineSettings | None,
) -> Iterator[Callable[[], tuple[Finding, ...]] | None]:
    """The group that may run apart, at work in a process of its own; None where it does not pay or is not allowed."""
    pays = len(compared.synthetic) + len(compared.test.images) >= WORTHWHILE
    asked = any(name not in missing for group in CLAIM_GROUPS if group.apart for name in group.claims)
    if not (engine and pays and asked and worker_count(engine, 2) > 1):
        yield None
        return
    context = open_context(compared, Encoders((), None), settings, seed)
    nobody = Reals((), compared.test.images[:0])
    # what the group does not look at stays here
    bare = replace(compared, synthetic=context.synthetic[:0], train=nobody, calibrate=nobody, test=nobody, scores={})
    with beside(_answer_apart, replace(context, compared=bare)) as result:
        yield result


def _answer_apart(context: Context) -> tuple[Finding, ...]:
    (group,) = (group for group in CLAIM_GROUPS if group.apart)
    return group.answer(context, silent)


def _context(
    compared: Compared, settings: EvidenceSettings, seed: int, missing: Mapping[str, str], cache: Path | None
) -> tuple[Context, str]:
    """The context, with judges where a claim needs them, and why a judge is missing."""
    if all(name in missing for name, rule in RULES.items() if Use.ENCODER in rule.uses):
        return open_context(compared, Encoders((), None), settings, seed), ""
    kept = at_most(len(compared.train.images), MOST_IMAGES, generator(seed, "evidence", "scale"))
    encoders = make_encoders(compared.train.images[kept], cache, settings.encoder)
    return open_context(compared, encoders, settings, seed), encoders.lacking


def _part_of(progress: Progress, place: int, whole: int, name: str) -> Progress:
    """The progress of one group as part of the total."""

    def tell(done: int, total: int, note: str = "") -> None:
        progress(_PARTS * place + _PARTS * done // max(total, 1), whole, f"{name}: {note}" if note else name)

    tell(0, 1)
    return tell


def _unasked(compared: Compared, name: str, why: str) -> Finding:
    return Finding(not_assessable(name, why, _counts(compared, name)))


def _with_lacking(finding: Finding, lacking: str) -> Finding:
    """The finding of a judge, with a note on a missing judge."""
    if not lacking or not finding.claim.judge:
        return finding
    return replace(finding, claim=replace(finding.claim, why=f"{finding.claim.why} {lacking}"))


def _with_flat(finding: Finding, flat: int, made: int) -> Finding:
    """The finding with the number of constant synthetic images, which are part of every figure."""
    claim = finding.claim
    if MADE not in claim.n:
        return finding
    why = f"{claim.why} Of all synthetic images, {flat} of {made} are constant (a single grey value) and are not scans."
    return replace(finding, claim=replace(claim, why=why, n={**claim.n, "constant synthetic images": flat}))


def _missing(compared: Compared) -> dict[str, str]:
    """Why a claim cannot be assessed, for those that lack labels, images or patients."""
    if compared.unlabelled:
        return dict.fromkeys(CLAIMS, "The cohort has no labels, so real images of the same class cannot be selected.")
    always = ("copies.real_files",)
    others = [name for name in CLAIMS if name not in always]
    made = len(compared.synthetic)
    if made < LEAST_SYNTHETIC:
        why = f"The set holds {made} images; at least {LEAST_SYNTHETIC} are needed. Generate more."
        return dict.fromkeys(others, why)
    missing: dict[str, str] = {}
    if compared.test.lack():
        why = f"Too few patients have the role test: {compared.test.lack()}."
        missing |= {name: why for name in others if "test" in RULES[name].roles}
    few = compared.calibrate.lack(copies.LEAST_PATIENTS, copies.LEAST_IMAGES)
    if few:
        why = f"Too few patients have the role calibrate: {few}."
        missing |= {name: why for name in others if Use.COPY_THRESHOLD in RULES[name].uses}
    if compared.train.patient_count < 2:
        missing |= dict.fromkeys(others, "There are fewer than two training patients with the labels of the set.")
    return missing


def _counts(compared: Compared, name: str) -> Mapping[str, int]:
    counts = {MADE: len(compared.synthetic)}
    parts = {"train": compared.train, "calibrate": compared.calibrate, "test": compared.test}
    words = {"train": "training {}", "calibrate": "{} kept for thresholds", "test": "test {}"}
    for role in RULES[name].roles:
        counts[words[role].format("images")] = len(parts[role].cases)
        counts[words[role].format("patients")] = parts[role].patient_count
    return counts
