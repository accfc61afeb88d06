"""How a run stands: what it was trained from, and how far it is; quick to import, without any network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansynth.errors import TrainingError
from scansynth.files import read_json, read_json_lines, sha256_file
from scansynth.gan import run_log
from scansynth.gan.watching.health import Level
from scansynth.stage import plain, read_record
from scansynth.study import RUN, WEIGHTS, Study


def train_settings(study: Study) -> dict[str, Any]:
    """The settings that decide about the weights: the recipe as written, without what its family fills in."""
    settings: dict[str, Any] = {
        "recipe": study.recipe().model_dump(mode="json"),
        "classes": list(study.config.generator.classes),
    }
    if study.config.generator.fraction < 1.0:  # said only where it matters: runs of all patients stay as they are
        settings["fraction"] = study.config.generator.fraction
    if study.config.generator.leave_out:
        settings["leave_out"] = list(study.config.generator.leave_out)
    if study.config.generator.conditions:
        settings["conditions"] = list(study.config.generator.conditions)
    if study.config.generator.freeze:
        settings["freeze"] = study.config.generator.freeze
    return plain(settings)


def train_inputs(study: Study) -> dict[str, str]:
    """Digest of what training reads; empty while there is no cohort."""
    record, own = read_record(study.cohort), study.config.generator
    if record is None:
        return {}
    weights = study.source(own.start_from) / WEIGHTS
    begun = {"start_from": sha256_file(weights) if weights.is_file() else ""} if own.start_from else {}
    return {"cohort": record.digest, **begun}


def described_run(folder: Path) -> dict[str, Any]:
    """What was written when the run began.

    Raises:
        TrainingError: The file is damaged.
    """
    try:
        found: dict[str, Any] = read_json(folder / RUN)
        if int(found["images_total"]) > 0:
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise TrainingError(f"{RUN} of the run {folder.name} is damaged; rename its folder, and train again")


@dataclass(frozen=True)
class Position:
    """Where a run stands, as its last log line says.

    Attributes:
        images: Real images seen.
        total: Real images until the end.
        attempt: 1, and one more for each roll-back.
        level: How it stands; none before the first look.
        diversity: Variety against real patients; none before the first look.
    """

    images: int
    total: int
    attempt: int = 1
    level: Level | None = None
    diversity: float | None = None


def run_position(folder: Path) -> Position | None:
    """Where a run that has begun stands; none otherwise."""
    if not (folder / RUN).exists():
        return None
    total = int(described_run(folder)["images_total"])
    rows = [row for row in read_json_lines(folder / run_log.LOG) if {"attempt", "level", "diversity"} <= row.keys()]
    returns = [row for row in read_json_lines(folder / run_log.ALARMS) if row.get("event") == "roll-back"]
    attempt = max((row["attempt"] for row in (*rows, *returns)), default=1)
    if not rows or rows[-1]["attempt"] < attempt:  # it has gone back, and not been looked at since
        return Position(int(returns[-1]["images"]) if returns else 0, total, attempt)
    last = rows[-1]
    return Position(int(last["images"]), total, attempt, Level(last["level"]), last["diversity"])
