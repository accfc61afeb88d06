"""What is to leave a study: set, generator and evidence, each whole and of the others; or why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scansynth.claims.claim import Claim
from scansynth.claims.judged import Judged, read_judged
from scansynth.claims.questions import HOUSE
from scansynth.data.imageset import ImageSet, Kind
from scansynth.data.sets import MANIFEST, load_set
from scansynth.data.tensors import Cohort, load_cohort
from scansynth.errors import CohortError, EvidenceError, ReleaseError, ScansynthError
from scansynth.files import read_csv, sha256_file
from scansynth.gan.sampling import Sampler
from scansynth.gan.standing import described_run
from scansynth.gan.weights import GeneratorFacts, load_generator
from scansynth.stage import StageRecord, outdated, read_record, stale
from scansynth.statistics import Verdict
from scansynth.study import CLAIMS_FILE, QUARANTINE, WEIGHTS, Study

T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """A synthetic set.

    Attributes:
        images: The image set.
        files: Rows of its manifest: the DICOM files.
        record: Of the stage that made it.
    """

    images: ImageSet
    files: tuple[Mapping[str, str], ...]
    record: StageRecord


@dataclass(frozen=True)
class Source:
    """The generator that made the set.

    Attributes:
        folder: Of its run.
        sampler: What draws from it.
        facts: What the weights are.
        record: Of the training.
        started_from: What `run.json` says of the weights that it was started from; none: from chance.
    """

    folder: Path
    sampler: Sampler
    facts: GeneratorFacts
    record: StageRecord
    started_from: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Evidence:
    """What the audit of the set says.

    Attributes:
        judged: Verdicts and claims.
        kept_back: Images that are real files or too close to one, by id.
        record: Of the audit.
    """

    judged: Judged
    kept_back: frozenset[str]
    record: StageRecord

    def refuted(self) -> tuple[Claim, ...]:
        """Claims that were refuted, but for those of files that never leave."""
        claims = [claim for claim in self.judged.claims if not HOUSE.holds(claim)]
        return tuple(claim for claim in claims if claim.verdict is Verdict.REFUTED)


@dataclass(frozen=True)
class Candidate:
    """A set that is whole; whether it may leave, the gate says."""

    study: Study
    cohort: Cohort
    made: Made
    source: Source
    evidence: Evidence

    @property
    def leaving(self) -> tuple[Mapping[str, str], ...]:
        """Rows of the images that leave: all but those kept back."""
        return tuple(row for row in self.made.files if row["id"] not in self.evidence.kept_back)


@dataclass(frozen=True)
class Parts:
    """What of a candidate could be read, and a line for each part that could not."""

    study: Study
    cohort: Cohort | None
    made: Made | None
    source: Source | None
    evidence: Evidence | None
    faults: tuple[str, ...]

    def whole(self) -> Candidate:
        """The candidate.

        Raises:
            ReleaseError: A part could not be read.
        """
        if self.cohort is None or self.made is None or self.source is None or self.evidence is None:
            raise ReleaseError(self.faults[0])
        return Candidate(self.study, self.cohort, self.made, self.source, self.evidence)


def gather(study: Study) -> Parts:
    """Reads every part of what the study would release; a part that fails hides no other part's fault."""
    faults: list[str] = []

    def part(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ScansynthError as fault:
            faults.append(str(fault))
            return None

    cohort = part(lambda: load_cohort(study.cohort))
    made = part(lambda: _made(study, cohort)) if cohort else None
    source = part(lambda: _source(study, made)) if made else None
    evidence = part(lambda: _evidence(study, made)) if made else None
    return Parts(study, cohort, made, source, evidence, tuple(faults))


def _made(study: Study, cohort: Cohort) -> Made:
    """The set of the study.

    Raises:
        CohortError: It is missing, empty, altered, or its DICOM files are not listed.
    """
    folder = study.synthetic()
    images = load_set(folder, cohort.facts)
    if images.facts.kind is Kind.INSERTED:
        raise CohortError(
            f"the set {folder.name} has lesions in scans of patients (generate --into clear): its background is a "
            "patient, so it is for use inside the house and is never released"
        )
    record = read_record(folder)
    if record is None or images.facts.kind is not Kind.GENERATED or not (folder / MANIFEST).is_file():
        raise CohortError(
            f"the set {folder.name} was not generated by this study: what made it is not known, so it is not released"
        )
    whole = record.outputs.get(MANIFEST) == sha256_file(folder / MANIFEST)
    files = tuple(read_csv(folder / MANIFEST)) if whole else ()
    if [row["id"] for row in files] != [*images.ids]:
        raise CohortError(f"{MANIFEST} of the set {folder.name} was altered; generate the set again")
    return Made(images, files, record)


def _source(study: Study, made: Made) -> Source:
    """The run whose weights made the set.

    Raises:
        ReleaseError: The study has no such weights.
        CheckpointError: They are damaged.
    """
    weights = made.record.inputs.get("weights", "")
    stated = {row["weights_sha256"] for row in made.files}
    for folder in study.runs:
        record = read_record(folder)
        if record is not None and stated == {weights} and record.outputs.get(WEIGHTS) == weights:
            sampler, facts = load_generator(folder)
            began = described_run(folder).get("started_from") if "start_from" in record.inputs else None
            return Source(folder, sampler, facts, record, began)
    raise ReleaseError(
        f"the set {study.config.synthetic.name} was drawn with weights that no run of this study has; generate it again"
    )


def _evidence(study: Study, made: Made) -> Evidence:
    """The audit of this very set and cohort.

    Raises:
        EvidenceError: There is none, it is of another set, altered, or of another version of the rules.
    """
    folder, name = study.evidence(), study.config.synthetic.name
    record = read_record(folder)
    if record is None:
        raise EvidenceError(f"the set {name} was not audited; run: scansynth audit {study.folder}")
    sources = {"set": made.record, "cohort": read_record(study.cohort)}
    if sources["cohort"] is None:
        raise EvidenceError(
            f"what wrote the cohort is not known: it has no record; run: scansynth ingest {study.folder}"
        )
    changed = [key for key in sources if key not in record.inputs] or outdated(record.inputs, sources)
    if changed:
        raise EvidenceError(
            f"the evidence is on another {changed[0]} than this one; run: scansynth audit {study.folder}"
        )
    altered = stale(folder, record.inputs, exact=(CLAIMS_FILE, QUARANTINE))
    if altered:
        raise EvidenceError(f"of the evidence, {altered[0]}; run: scansynth audit {study.folder}")
    kept_back = frozenset(row["image"] for row in read_csv(folder / QUARANTINE))
    return Evidence(read_judged(folder / CLAIMS_FILE), kept_back, record)
