"""How a study's trial stands."""

from __future__ import annotations

from scansynth.stage import RECORD, differing, outdated, plain, read_record
from scansynth.study import PLAN, Study
from scansynth.utility.grid import STAGE, read_plan


def standing(study: Study) -> str:
    """In words; empty while there is no trial.

    Raises:
        StudyError: The declaration or a record is damaged.
    """
    folder = study.trial
    if not (folder / PLAN).exists():
        return ""
    plan = read_plan(study)
    record, cohort = read_record(folder), read_record(study.cohort)
    done = sum((study.jobs / str(job["name"]) / RECORD).exists() for job in plan["jobs"])
    detectors = f"{done} of {len(plan['jobs'])} detectors"
    declared = plain(study.config.utility.model_dump(mode="json", exclude={"external"}))
    changed = outdated(plan, {"cohort": cohort})
    changed += differing({key: plan["settings"].get(key) for key in declared}, declared)
    if changed:
        return f"stale     changed: {', '.join(changed)}; run: scansynth {STAGE} {study.folder}"
    if record is None or record.stage != STAGE or done < len(plan["jobs"]):
        return f"not yet   {detectors}; run: scansynth {STAGE} {study.folder}"
    return f"done      {detectors}"
