"""How a study's trial stands."""

from __future__ import annotations

from typing import Any

from scansynth.errors import StudyError
from scansynth.files import read_json, sha256_json
from scansynth.stage import RECORD, differing, outdated, plain, read_record
from scansynth.study import PLAN, Study

STAGE = "utility"


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


def read_plan(study: Study) -> dict[str, Any]:
    """The declaration, intact.

    Raises:
        StudyError: There is none, or it was altered.
    """
    path = study.trial / PLAN
    try:
        plan: dict[str, Any] = read_json(path)
        intact = plan["sha256"] == sha256_json({key: value for key, value in plan.items() if key != "sha256"})
    except FileNotFoundError:
        raise StudyError(f"the trial is not declared yet; run: scansynth utility {study.folder}") from None
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise StudyError(f"{PLAN} of the trial was altered after it was written; remove it, and run utility again")
    return plan
