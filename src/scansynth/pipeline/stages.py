"""The stages in order: what is done, what is stale, and running stale stages.

Only `pipeline` imports from several wings; they meet through files in the study folder. What a stage needs to run is
imported when it runs: a listing of stages, or a refusal, should not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from scansynth import __version__
from scansynth.audit.standing import audit_settings
from scansynth.config import EvidenceSettings
from scansynth.console import Progress
from scansynth.data.standing import ADD_SET, add_set_settings, ingest_inputs, ingest_settings, is_added
from scansynth.data.tensors import cases_for, load_cohort
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import CohortError, ScansynthError, StudyError
from scansynth.files import sha256_file
from scansynth.gan.standing import train_inputs, train_settings
from scansynth.ledger import Use
from scansynth.report.standing import report_inputs, report_settings
from scansynth.stage import StageRecord, read_record, stale
from scansynth.study import SCORES, WEIGHTS, Study

LEAST_SYNTHETIC = 400
"""Images of a set when the study names no number: enough for the copy question to resolve one percent."""


@dataclass(frozen=True)
class Surroundings:
    """What a stage needs from outside the study.

    Attributes:
        key: The institution's key.
        bar: Opens a progress bar with a title.
        say: Prints a line for the user.
        warn: Prints a warning.
        even_if_collapsed: Use even a generator that collapsed.
    """

    key: InstitutionKey
    bar: Callable[[str], AbstractContextManager[Progress]]
    say: Callable[[str], None]
    warn: Callable[[str], None]
    even_if_collapsed: bool = False


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: Its command.
        about: What it does, for the bar.
        folder: Where it writes.
        inputs: Digests of what it reads, as its record holds them.
        settings: The settings it reads, as its record holds them.
        run: Does it.
        partial: It works with what there is, when an earlier stage is missing or stale.
        seeded: It uses random numbers, so another seed makes it stale.
    """

    name: str
    about: str
    folder: Callable[[Study], Path]
    inputs: Callable[[Study, InstitutionKey], Mapping[str, str]]
    settings: Callable[[Study], Mapping[str, Any]]
    run: Callable[[Study, Surroundings, Progress], None]
    partial: bool = False
    seeded: bool = True


class Condition(StrEnum):
    """How a stage stands."""

    DONE = "done"
    STALE = "stale"
    MISSING = "not yet"


@dataclass(frozen=True)
class StageState:
    """How one stage stands, and why."""

    stage: Stage
    condition: Condition
    why: str
    record: StageRecord | None


def _ingest(study: Study, around: Surroundings, progress: Progress) -> None:
    from scansynth.data.ingest import ingest

    summary = ingest(study, around.key, progress)
    roles = ", ".join(f"{role} {count}" for role, count in summary.patients_by_role.items())
    around.say(f"{summary.cases} images of {summary.patients} patients; patients by role: {roles}")
    for reason, count in sorted(summary.facts.excluded.items()):
        around.say(f"left out: {count} x {reason}")
    for warning in summary.warnings:
        around.warn(warning)


def _train(study: Study, around: Surroundings, progress: Progress) -> None:
    from scansynth.gan.run import train_run
    from scansynth.learning.device import pick_device

    if study.config.tracking.real_images:
        around.warn("tracking.real_images is on: real cases go to the trackers")
    record = train_run(study, pick_device(), progress, around.warn)
    study.log("train", "written", **record.logged)


def synthetic_count(study: Study) -> int:
    """Images of the set: as the study says, or as many as the test role has of its classes, at least 400."""
    if study.config.synthetic.images is not None:
        return study.config.synthetic.images
    cohort = load_cohort(study.cohort)
    classes = (
        study.config.synthetic.labels
        or study.config.generator.classes
        or ((cohort.facts.positive,) if cohort.facts.positive else None)
    )
    return max(LEAST_SYNTHETIC, len(cases_for(cohort, Use.REALISM, classes)))


def _generate(study: Study, around: Surroundings, progress: Progress) -> None:
    from scansynth.gan.synthetic_set import make_set
    from scansynth.learning.device import pick_device

    count, even = synthetic_count(study), around.even_if_collapsed
    record = make_set(study, count, pick_device(), progress, around.warn, even_if_collapsed=even)
    study.log("generate", "written", images=count, **record.logged)


def _generate_settings(study: Study) -> dict[str, Any]:
    own = study.config.synthetic
    told = {"labels": list(own.labels), "asked": dict(own.asked), "into": own.into}
    return {"images": synthetic_count(study), **{name: wish for name, wish in told.items() if wish}}


def _audit(study: Study, around: Surroundings, progress: Progress) -> None:
    from scansynth.audit.run import judge
    from scansynth.claims.judged import judged
    from scansynth.report.audit.words import spoken

    claims = judge(
        study.cohort,
        study.synthetic(),
        study.evidence(),
        _evidence_settings(study),
        study.config.seed,
        progress,
        cache=study.encoders,
        scores=_scores(study),
        engine=study.config.engine,
    )
    record = read_record(study.evidence())
    study.log("audit", "written", **(record.logged if record else {}))
    for line in spoken(judged(claims)):
        around.say(line)


def _evidence_settings(study: Study) -> EvidenceSettings:
    """The settings of the audit, with the path of the user's network taken from the study folder."""
    settings = study.config.evidence
    if settings.encoder is None:
        return settings
    return settings.model_copy(update={"encoder": study.source(str(settings.encoder))})


def _scores(study: Study) -> Path | None:
    """Scores of real images by the discriminator of the run that made the set; none for a set of other origin."""
    made = read_record(study.synthetic())
    weights = made.inputs.get("weights") if made else None
    for run in study.runs if weights else ():
        record = read_record(run)
        if record is not None and record.outputs.get(WEIGHTS) == weights and (run / SCORES).is_file():
            return run / SCORES
    return None


def _audit_inputs(study: Study) -> dict[str, str]:
    scores = _scores(study)
    digests = _record_digests(study, cohort=study.cohort, set=study.synthetic())
    return digests if scores is None else {**digests, "scores": sha256_file(scores)}


def _report(study: Study, around: Surroundings, progress: Progress) -> None:
    from scansynth.report.render import write_report

    write_report(study)
    progress(1, 1)
    record = read_record(study.report)
    study.log("report", "written", **(record.logged if record else {}))


def _record_digests(study: Study, **folders: Path) -> dict[str, str]:
    records = {name: read_record(folder) for name, folder in folders.items()}
    return {name: record.digest for name, record in records.items() if record is not None}


def _weights(study: Study) -> dict[str, str]:
    record = read_record(study.run())
    return {} if record is None else {"weights": record.outputs.get(WEIGHTS, "")}


STAGES: tuple[Stage, ...] = (
    Stage("ingest", "reading scans", lambda study: study.cohort, ingest_inputs, ingest_settings, _ingest),
    Stage("train", "training", lambda study: study.run(), lambda study, _: train_inputs(study), train_settings, _train),
    Stage(
        "generate",
        "generating images",
        lambda study: study.synthetic(),
        lambda study, _: _weights(study),
        _generate_settings,
        _generate,
    ),
    Stage(
        "audit",
        "auditing",
        lambda study: study.evidence(),
        lambda study, _: _audit_inputs(study),
        lambda study: audit_settings(_evidence_settings(study)),
        _audit,
    ),
    Stage(
        "report",
        "writing the report",
        lambda study: study.report,
        lambda study, _: report_inputs(study),
        report_settings,
        _report,
        partial=True,
    ),
)


def _add_again(study: Study, around: Surroundings, progress: Progress) -> None:
    """The source files of an added set are known only to the user."""
    name = study.config.synthetic.name
    raise StudyError(
        f"the set {name} was added to another cohort; add it again: scansynth add-set {study.folder} DIR --name {name}"
    )


def _added_inputs(study: Study) -> dict[str, str]:
    """The source files of a set are not read again: the record stands."""
    record = read_record(study.synthetic())
    return dict(record.inputs) if record else {}


_ADDED = Stage(
    ADD_SET,
    "checking the added set",
    lambda study: study.synthetic(),
    lambda study, _: _added_inputs(study),
    add_set_settings,
    _add_again,
    seeded=False,
)


def stages_of(study: Study) -> tuple[Stage, ...]:
    """The stages of a study: where the set was added, nothing is trained or generated.

    Raises:
        StudyError: The set's record is damaged.
    """
    if not is_added(study.synthetic()):
        return STAGES
    return tuple(_ADDED if stage.name == "generate" else stage for stage in STAGES if stage.name != "train")


def stage_states(study: Study, key: InstitutionKey, stages: Sequence[Stage] | None = None) -> list[StageState]:
    """How each stage stands: a stage after a stale one is stale too.

    Args:
        study: The study.
        key: The institution's key.
        stages: The stages in order; none: those of the study.

    Raises:
        StudyError: A record is damaged.
    """
    states: list[StageState] = []
    waits_for = ""
    for stage in stages_of(study) if stages is None else stages:
        state = _state(stage, study, key, waits_for)
        if state.condition is not Condition.DONE and not waits_for:
            waits_for = stage.name
        states.append(state)
    return states


def _state(stage: Stage, study: Study, key: InstitutionKey, waits_for: str = "") -> StageState:
    """How one stage stands, when the earlier ones are done but for `waits_for`."""
    record = read_record(stage.folder(study))
    if record is None:
        return StageState(stage, Condition.MISSING, f"waiting for {waits_for}" if waits_for else "", None)
    if waits_for:
        return StageState(stage, Condition.STALE, f"{waits_for} must run first", record)
    try:
        seed = study.config.seed if stage.seeded else None
        changes = stale(stage.folder(study), stage.inputs(study, key), stage.settings(study), seed)
    except CohortError as fault:  # the scans' disk is not mounted: what was made from them is still valid
        return StageState(stage, Condition.DONE, f"not checked: {fault}", record)
    if changes:
        return StageState(stage, Condition.STALE, "changed: " + ", ".join(changes), record)
    return StageState(stage, Condition.DONE, "", record)


def run_stage(study: Study, name: str, around: Surroundings) -> None:
    """Runs one stage, whether stale or not.

    Raises:
        StudyError: An earlier stage is not done.
        ScansynthError: The stage refuses its input.
    """
    wanted = next(stage for stage in STAGES if stage.name == name)
    own = stages_of(study)
    if name == "generate" and wanted not in own:
        raise StudyError(
            f"synthetic.name names the added set {study.config.synthetic.name}, which is never overwritten; set "
            f"another synthetic.name in study.toml"
        )
    for state in stage_states(study, around.key, own if wanted in own else STAGES):
        if state.stage is wanted:
            _run(wanted, study, around)
            return
        if state.condition is not Condition.DONE and not wanted.partial:
            reason = "has not run" if state.condition is Condition.MISSING else f"is stale ({state.why})"
            raise StudyError(f"{name} needs {state.stage.name}, which {reason}; run: scansynth run {study.folder}")


def need_stage(study: Study, name: str, key: InstitutionKey) -> None:
    """Checks that a stage is done, for commands that are not stages.

    Raises:
        StudyError: It has not run, or is stale.
    """
    state = next(state for state in stage_states(study, key, STAGES) if state.stage.name == name)
    if state.condition is not Condition.DONE:
        reason = "has not run" if state.condition is Condition.MISSING else f"is stale ({state.why})"
        raise StudyError(f"it needs {name}, which {reason}; run: scansynth {name} {study.folder}")


def _run(stage: Stage, study: Study, around: Surroundings) -> None:
    """Runs a stage under its own bar; the journal tells when it began, and when it refused."""
    study.log(stage.name, "began")
    try:
        with around.bar(stage.about) as progress:
            stage.run(study, around, progress)
    except ScansynthError as fault:
        study.log(stage.name, "stopped", kind=type(fault).__name__)
        raise


def run_stale(study: Study, around: Surroundings) -> list[str]:
    """Runs every stage that is stale or missing, in order; returns their names.

    Raises:
        ScansynthError: A stage refuses; what was done before stays.
    """
    from scansynth.gan.models.families import check_into, complete

    recipe = complete(study.recipe())  # a wrong key of the recipe is refused before hours of work, not after
    own, done = stages_of(study), []
    if own is STAGES:
        check_into(recipe, study.config.synthetic.into)
    for stage in own:
        state = _state(stage, study, around.key)  # the stages before it are done by now
        if state.condition is Condition.DONE:
            _warn_of_version(state, around)
            continue
        _run(stage, study, around)
        done.append(stage.name)
    return done


def _warn_of_version(state: StageState, around: Surroundings) -> None:
    made_by = state.record.versions.get("scansynth") if state.record else None
    if made_by and made_by != __version__:
        around.warn(f"{state.stage.name} was made by scansynth {made_by}, and this is {__version__}; it is kept")
