"""The gate: every reason against a release, a line each. A set leaves when there is none.

Reasons that say what the images, the weights or the evidence *are* stand whatever anybody decides; those that rest on
what was *found* can be overridden, by name and with a reason.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from scansynth.claims.claim import Claim
from scansynth.claims.questions import QUESTIONS
from scansynth.config import GovernanceSettings
from scansynth.data.cohort.removed import REMOVED
from scansynth.data.standing import withdrawn_from
from scansynth.data.tensors import Cohort
from scansynth.files import read_csv, sha256_file
from scansynth.gan.watching.health import Level
from scansynth.release.candidate import Evidence, Parts
from scansynth.release.policy import Policy, written
from scansynth.stage import read_record
from scansynth.statistics import Verdict

ASSESSED = ("realism", "groups", "traces")
"""Questions that must have been assessed, whatever came of it."""

_NOT_CLEAN = ("not searched", "nothing read: kept", "kept, as cohort.burned_in says")
"""In deidentification.csv: text in the pixels that was not looked for, or stayed."""


@dataclass(frozen=True)
class Reason:
    """One reason against a release.

    Attributes:
        check: Which check gives it.
        text: What is wrong and what to do, one line.
        open: A named person may override it.
    """

    check: str
    text: str
    open: bool = False


def reasons_against(parts: Parts, policy: Policy) -> tuple[Reason, ...]:
    """Every reason against releasing what was gathered, in the order of the checks."""
    found = [Reason("parts", fault) for fault in parts.faults]
    for name, check in _CHECKS.items():
        found += [Reason(name, text, name in _OPEN) for text in check(parts, policy)]
    return tuple(found)


def named(evidence: Evidence, policy: Policy) -> tuple[Claim, ...]:
    """Refuted claims that the policy lets pass, to be named on every card."""
    return tuple(claim for claim in evidence.refuted() if claim.claim in policy.refuted)


def unfilled(governance: GovernanceSettings) -> tuple[str, ...]:
    """Keys of the governance that nobody has written."""
    values = governance.model_dump()
    return tuple(key for key, text in values.items() if not written(text))


def _governance(parts: Parts, policy: Policy) -> Iterable[str]:
    for key in unfilled(parts.study.config.governance):
        yield f"governance.{key} in study.toml is not filled in"


def _collapse(parts: Parts, policy: Policy) -> Iterable[str]:
    if parts.source is not None and parts.source.facts.level == Level.CRITICAL:
        yield "the generator had collapsed when its training ended; train again with another recipe"


def _started_elsewhere(parts: Parts, policy: Policy) -> Iterable[str]:
    began = parts.source.started_from if parts.source is not None else None
    if began and not began.get("own_cohort"):
        yield (
            "the generator was started from weights of another study (generator.start_from), and the audit did not "
            "search for copies of that study's patients; train without it"
        )


def _copies(parts: Parts, policy: Policy) -> Iterable[str]:
    if parts.evidence is None:
        return
    claims = [claim for claim in parts.evidence.judged.claims if claim.claim.startswith("copies.")]
    enough = {Verdict.SHOWN} if policy.copies == "shown" else {Verdict.SHOWN, Verdict.NOT_SHOWN}
    if not claims:
        yield "the evidence holds no claim on copies; run the audit again"
    for claim in claims:
        if claim.verdict not in enough:
            yield f"copies are not shown to be within bounds: {claim.claim} is {claim.verdict.value}"


def _left(parts: Parts, policy: Policy) -> Iterable[str]:
    if parts.evidence is None or parts.made is None:
        return
    if all(row["id"] in parts.evidence.kept_back for row in parts.made.files):
        yield "every image is too close to a real one: nothing is left to release"


def _assessed(parts: Parts, policy: Policy) -> Iterable[str]:
    if parts.evidence is None:
        return
    titles = {question.name: question.title for question in QUESTIONS}
    for name in ASSESSED:
        if parts.evidence.judged.verdicts.get(name, Verdict.NOT_ASSESSABLE) is Verdict.NOT_ASSESSABLE:
            yield f"not assessed: {titles[name]} The report says what is missing"


def _refuted(parts: Parts, policy: Policy) -> Iterable[str]:
    for claim in parts.evidence.refuted() if parts.evidence else ():
        if not claim.claim.startswith("copies.") and claim.claim not in policy.refuted:
            whose = ", ".join(part for part in (claim.judge, claim.attribute) if part)
            yield f"{claim.claim}{f' ({whose})' if whose else ''} is refuted, and no policy lets that pass"


def _roles(parts: Parts, policy: Policy) -> Iterable[str]:
    if parts.cohort is None:
        return
    for what, keys in _identities(parts.cohort).items():
        roles: dict[str, set[str]] = defaultdict(set)
        for case, key in zip(parts.cohort.cases, keys, strict=True):
            roles[key].add(case.role.value)
        if "" in roles:
            yield f"the cohort does not know the {what} of every image, so roles cannot be compared; ingest again"
        shared = sorted({" and ".join(sorted(several)) for key, several in roles.items() if key and len(several) > 1})
        if shared:
            yield f"one {what} has two roles ({shared[0]}); remove one of its images, and ingest again"


def _identities(cohort: Cohort) -> Mapping[str, list[str]]:
    """What must be of one role: persons, source pixels, and images as ingested."""
    return {
        "patient": [case.patient for case in cohort.cases],
        "source image": [row.get("pixels", "") for row in cohort.images.rows],
        "ingested image": [hashlib.sha256(image.tobytes()).hexdigest() for image in cohort.images.images],
    }


def _deidentification(parts: Parts, policy: Policy) -> Iterable[str]:
    if parts.cohort is None:
        return
    record, path = read_record(parts.study.cohort), parts.study.cohort / REMOVED
    if record is None or not path.is_file():
        yield f"the cohort has no {REMOVED}; run ingest again"
        return
    if record.outputs.get(REMOVED) != sha256_file(path):
        yield f"{REMOVED} of the cohort was altered; run ingest again"
        return
    for row in read_csv(path):
        if any(words in row["done"] for words in _NOT_CLEAN):
            yield f"de-identification is not clean: {row['attribute']}, {row['done']} ({row['files']} images)"


def _withdrawn(parts: Parts, policy: Policy) -> Iterable[str]:
    gone = withdrawn_from(parts.study).patients
    for what, people in _people(parts):
        if not gone.isdisjoint(people):
            yield f"{what} has read images of a patient who was withdrawn; run: scansynth run {parts.study.folder}"


def _people(parts: Parts) -> Iterable[tuple[str, Iterable[str]]]:
    """What read patients, and whom."""
    yield "the cohort", [case.patient for case in parts.cohort.cases] if parts.cohort else ()
    yield "the training", parts.source.record.patients if parts.source else ()
    yield "the audit", parts.evidence.record.patients if parts.evidence else ()


_CHECKS: Mapping[str, Callable[[Parts, Policy], Iterable[str]]] = {
    "roles": _roles,
    "withdrawn": _withdrawn,
    "left": _left,
    "governance": _governance,
    "de-identification": _deidentification,
    "collapse": _collapse,
    "started from": _started_elsewhere,
    "copies": _copies,
    "assessed": _assessed,
    "refuted": _refuted,
}
_OPEN = frozenset({"de-identification", "collapse", "started from", "copies", "assessed", "refuted"})
"""Checks of what was found."""


def read_by(parts: Parts) -> tuple[str, ...]:
    """Keyed hashes of everybody whose images were read for the release."""
    return tuple(sorted({person for _, people in list(_people(parts))[1:] for person in people}))
