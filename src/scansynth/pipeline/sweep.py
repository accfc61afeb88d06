"""A sweep: trainings over settings of the recipe, judged on tune patients, the worse half dropped at each rung.

Successive halving, Jamieson and Talwalkar 2016 (arXiv 1502.07943): all trials train for a share of the schedule, the
better half for twice as long, and so on; the last two to the end. A trial that goes on continues its own training. What
each trial did at each rung lies in a file of its own, so that a sweep that was killed goes on where it stopped, and
everything that is decided follows from these files.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from scansynth.console import Progress
from scansynth.engine.job import Job
from scansynth.engine.run import run_jobs
from scansynth.errors import ConfigError, TrainingError
from scansynth.files import sha256_json, write_csv, write_json, write_text
from scansynth.gan.models.families import complete
from scansynth.gan.standing import train_inputs
from scansynth.gan.trial_run import RungResult, TrialTask, read_result, run_trial, with_settings
from scansynth.recipe import Recipe
from scansynth.stage import versions
from scansynth.study import Study

MOST_TRIALS = 256
COLUMNS = ("trial", "settings", "share", "images", "tune_kid", "tune_recall", "tune_copies", "score", "ended")


@dataclass(frozen=True)
class Trial:
    """One combination of settings.

    Attributes:
        number: Its place among all, from 1.
        settings: Key with dots to value.
    """

    number: int
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of its folder and its job."""
        return f"trial-{self.number:03d}"

    @property
    def words(self) -> str:
        """Its settings, as a user wrote them."""
        return " ".join(f"{key}={json.dumps(value)}" for key, value in self.settings.items())

    @property
    def tables(self) -> dict[str, Any]:
        """Its settings, in tables as in a recipe's file."""
        found: dict[str, Any] = {}
        for key, value in self.settings.items():
            *tables, last = key.split(".")
            place = found
            for table in tables:
                place = place.setdefault(table, {})
            place[last] = value
        return found


@dataclass(frozen=True)
class Line:
    """A trial with the last rung that it came to.

    Attributes:
        trial: Its settings.
        share: Of the schedule that it trained.
        result: How it stood then.
        ended: `chosen`, `trained to the end`, `fell behind` or `failed`.
    """

    trial: Trial
    share: float
    result: RungResult
    ended: str


@dataclass(frozen=True)
class Sweep:
    """A sweep that has ended.

    Attributes:
        folder: Where it lies.
        lines: All trials, the best first.
        recipe: File of the chosen recipe.
    """

    folder: Path
    lines: tuple[Line, ...]
    recipe: Path


def parse_settings(asked: Sequence[str]) -> list[Trial]:
    """All combinations of `key=value,value,...`, values as in TOML.

    Raises:
        ConfigError: One is not of that form, is named twice, or there are too few or too many combinations.
    """
    values: dict[str, list[Any]] = {}
    for words in asked:
        key, equals, text = words.partition("=")
        if not (key and equals and text):
            raise ConfigError(f"--set {words} is not of the form table.key=value,value, such as loss.penalty=0.1,0.2")
        if key in values:
            raise ConfigError(f"--set names {key} twice; give all its values in one")
        values[key] = _values(text)
        if len({json.dumps(value) for value in values[key]}) < len(values[key]):
            raise ConfigError(f"--set {words} names a value twice")
    found = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    if not 2 <= len(found) <= MOST_TRIALS:
        raise ConfigError(f"a sweep compares 2 to {MOST_TRIALS} combinations, and --set asks for {len(found)}")
    return [Trial(number, settings) for number, settings in enumerate(found, 1)]


def _values(text: str) -> list[Any]:
    """Values with commas between them; words without quotes are text."""
    try:
        return list(tomllib.loads(f"values = [{text}]")["values"])
    except tomllib.TOMLDecodeError:
        return [word.strip() for word in text.split(",")]


def rungs(trials: int) -> list[tuple[int, float]]:
    """How many trials train, and to what share of the schedule: half as many for twice as long, at least two."""
    counts = [trials]
    while counts[-1] > 2:
        counts.append(max(2, -(-counts[-1] // 2)))
    return [(count, 0.5 ** (len(counts) - 1 - place)) for place, count in enumerate(counts)]


def run_sweep(study: Study, asked: Sequence[str], progress: Progress) -> Sweep:
    """Trains all trials as far as they are worth it, or goes on with that, and writes the chosen recipe.

    Args:
        study: With its cohort.
        asked: `key=value,value,...`.
        progress: Shows real images trained, of all that will be.

    Raises:
        ConfigError: A setting is unknown or out of range.
        TrainingError: No trial has a state to draw from, or trials could not run.
    """
    trials = parse_settings(asked)
    recipes = {trial.number: complete(with_settings(study, trial.tables).recipe()) for trial in trials}
    plan = {
        "trials": [dict(trial.settings) for trial in trials],
        "recipe": study.recipe().model_dump(mode="json"),
        "cohort": train_inputs(study),
        "generator": study.config.generator.model_dump(mode="json"),
        "seed": study.config.seed,
    }
    folder = study.sweep(sha256_json(plan)[:12])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "plan.json", {**plan, "rungs": rungs(len(trials)), "versions": versions()})
    lines: dict[int, Line] = {}
    left, steps = trials, rungs(len(trials))
    for rung, (count, share) in enumerate(steps):
        left = _best(left, lines)[:count] if rung else left
        _climb(study, folder, left, rung, share, _Shown(progress, steps, rung))
        for trial in left:
            result = read_result(folder / trial.name, rung)
            assert result is not None  # `_climb` has seen to it
            ended = "fell behind" if result.score is not None else "failed"
            lines[trial.number] = Line(trial, share, result, ended)
        left = [trial for trial in left if lines[trial.number].result.score is not None]
        if not left:
            reason = lines[trials[0].number].result.reason
            raise TrainingError(f"no trial has a state to draw from (the first one: {reason}); sweep other settings")
    order = _best(trials, lines)
    ends = {trial.number: "trained to the end" for trial in left} | {order[0].number: "chosen"}
    told = tuple(
        Line(line.trial, line.share, line.result, ends.get(line.trial.number, line.ended))
        for line in (lines[trial.number] for trial in order)
    )
    return Sweep(folder, told, _write(folder, told, recipes[order[0].number]))


def spoken(found: Sweep) -> list[str]:
    """The table of all trials, one line each, the best first."""
    lines = []
    for line in found.lines:
        figures = line.result.figures
        score = "no state to draw from" if line.result.score is None else f"score {line.result.score:8.2f}"
        measured = (
            f"KID {figures['tune_kid']:.4f}  recall {figures['tune_recall']:.2f}  copies {figures['tune_copies']:.1%}  "
            if figures
            else ""
        )
        reason = f": {line.result.reason}" if line.result.reason else ""
        lines.append(
            f"{line.trial.name}  {line.trial.words}  {line.share:.0%} of the schedule  {measured}{score}  "
            f"{line.ended}{reason}"
        )
    return lines


class _Shown:
    """Progress of a rung as part of the whole sweep, in thousandths of a full training."""

    def __init__(self, progress: Progress, steps: Sequence[tuple[int, float]], rung: int) -> None:
        """`steps` as `rungs` gives them."""
        before = [0.0, *(share for _, share in steps)]
        costs = [round(1000 * (share - begun)) for (_, share), begun in zip(steps, before, strict=False)]
        self._progress, self._each = progress, costs[rung]
        self._done = sum(count * cost for (count, _), cost in zip(steps[:rung], costs, strict=False))
        self._total = sum(count * cost for (count, _), cost in zip(steps, costs, strict=True))

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of this rung's `total` trials have come to its end."""
        self._progress(self._done + done * self._each, self._total, note)


def _climb(study: Study, folder: Path, trials: Sequence[Trial], rung: int, share: float, progress: Progress) -> None:
    """Brings trials to the end of a rung; those that have come there before are left alone.

    Raises:
        TrainingError: Some could not run; what others did is kept.
    """
    missing = [trial for trial in trials if read_result(folder / trial.name, rung) is None]
    for trial in missing:
        (folder / trial.name).mkdir(exist_ok=True)
    jobs = [
        Job(
            f"{trial.name} ({trial.words})",
            TrialTask(str(study.folder), str(folder / trial.name), json.dumps(trial.tables), rung, share),
        )
        for trial in missing
    ]
    before = len(trials) - len(missing)

    def counted(done: int, total: int, note: str = "") -> None:
        progress(before + done, len(trials), note)

    outcomes = run_jobs(run_trial, jobs, study.config.engine, counted)
    failed = [outcome for outcome in outcomes if not outcome.succeeded]
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(jobs)} trials could not run ({failed[0].name}: {failed[0].reason}); put this right "
            "and give the same command again: the others are kept"
        )


def _best(trials: Sequence[Trial], lines: Mapping[int, Line]) -> list[Trial]:
    """Trials by how far they came, then by their score there; equals by their number."""

    def place(trial: Trial) -> tuple[float, float, int]:
        line = lines[trial.number]
        score = line.result.score
        return (-line.share if score is not None else 1.0, score if score is not None else 0.0, trial.number)

    return sorted(trials, key=place)


def _write(folder: Path, lines: Sequence[Line], recipe: Recipe) -> Path:
    """The table of all trials, and the chosen recipe as a file that `generator.recipe` may name."""
    rows = [
        {
            "trial": line.trial.name,
            "settings": line.trial.words,
            "share": line.share,
            "images": line.result.images,
            **line.result.figures,
            "score": line.result.score,
            "ended": f"{line.ended}: {line.result.reason}" if line.result.reason else line.ended,
        }
        for line in lines
    ]
    write_csv(folder / "trials.csv", COLUMNS, [{name: row.get(name, "") for name in COLUMNS} for row in rows])
    about = f"Chosen by a sweep on tune patients: {lines[0].trial.words}."
    values = {**recipe.model_dump(mode="json"), "name": f"{recipe.name}-sweep", "about": about}
    path = folder / "recipe.toml"
    write_text(path, tomlkit.dumps(values))
    return path
