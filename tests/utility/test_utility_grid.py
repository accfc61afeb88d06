"""A grid is declared before it runs, goes on where it was killed, and redoes what changed and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_sets import change_set
from tiny_trial import PATIENTS, make_set, make_study, synthetic_images

from scansynth.config import GeneratorSettings, UtilitySettings
from scansynth.data.imageset import open_set
from scansynth.data.tensors import load_cohort
from scansynth.engine.job import Job, Outcome
from scansynth.errors import CohortError, LedgerError, StudyError, TrainingError
from scansynth.files import read_csv, read_json, write_json
from scansynth.ledger import Role
from scansynth.stage import read_record
from scansynth.study import Study
from scansynth.utility import grid as grid_module
from scansynth.utility.grid import Grid, check_study, declare, images_needed, job_name, run_grid, write_plan
from scansynth.utility.inputs import SetsOf
from scansynth.utility.job import JobSpec, is_done, run_job
from scansynth.utility.standing import read_plan


def changed(study: Study, **utility: Any) -> Study:
    return replace(study, config=study.config.model_copy(update={
        "utility": study.config.utility.model_copy(update=utility)}))  # fmt: skip


def sets_of(study: Study) -> SetsOf:
    return lambda fraction, pair, without: (study.synthetic(f"trial-p{pair}"),)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = make_study(tmp_path / "study", steps=10)
    make_set(made, "trial-p0", synthetic_images(48))
    return made


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs run in this process; the list tells which."""
    ran: list[str] = []

    def run_jobs(function: Any, jobs: list[Job[JobSpec]], settings: Any, progress: Any) -> tuple[Outcome, ...]:
        for number, job in enumerate(jobs):
            function(job.argument)
            ran.append(job.name)
            progress(number + 1, len(jobs), job.name)
        return tuple(Outcome(job.name) for job in jobs)

    monkeypatch.setattr(grid_module, "run_jobs", run_jobs)
    return ran


def run(study: Study) -> Grid:
    grid = declare(study, sets_of(study))
    write_plan(study, grid)
    run_grid(study, grid)
    return grid


def test_names_say_what_a_job_is() -> None:
    assert job_name("basic-synthetic", 1.0, 1.0, 0) == "f100-r1-basic-synthetic-p0"
    assert job_name("filtered", 0.1, 0.25, 4) == "f10-r0.25-filtered-p4"
    assert job_name("basic", 0.5, 0.0, 2) == "f50-r0-basic-p2"


def test_every_cell_is_declared_once_and_pairs_come_one_after_the_other(study: Study) -> None:
    make_set(study, "trial-p1", synthetic_images(48), pair=1)
    wide = changed(study, arms=("real", "basic", "basic-synthetic", "duplicates"), ratios=(0.5, 1.0), pairs=2)
    specs = declare(wide, sets_of(study)).specs
    names = [spec.name for spec in specs]
    assert len(set(names)) == len(names) == 2 * (2 + 2 * 2)
    assert [spec.pair for spec in specs] == [0] * 6 + [1] * 6
    assert len({spec.seed for spec in specs}) == 2
    assert all(bool(spec.sets) == (spec.arm == "basic-synthetic") for spec in specs)
    assert len({spec.identity for spec in specs}) == len(specs)


def test_a_dose_of_zero_trains_nothing_and_cannot_be_the_first(study: Study) -> None:
    arms = ("basic", "basic-synthetic", "duplicates")
    without, with_zero = (changed(study, arms=arms, ratios=ratios) for ratios in ((1.0, 0.5), (1.0, 0.0, 0.5)))
    names = [{spec.name for spec in declare(one, sets_of(one)).specs} for one in (without, with_zero)]
    assert names[0] == names[1]
    assert len(names[0]) == 5
    with pytest.raises(ValueError, match="ratios must begin with a value above 0"):
        UtilitySettings(ratios=(0.0, 1.0))


def test_whom_a_generator_leaves_out_is_a_column_and_a_value() -> None:
    assert GeneratorSettings().without == ("", "")
    assert GeneratorSettings(leave_out=("site", "north")).without == ("site", "north")
    with pytest.raises(ValueError, match="leave_out takes a column and a value"):
        GeneratorSettings(leave_out=("site",))


def test_the_plan_is_hashed_holds_no_path_and_an_earlier_one_is_kept(study: Study) -> None:
    write_plan(study, declare(study, sets_of(study)))
    plan = read_plan(study)
    assert str(study.folder.parent) not in json.dumps(plan)
    assert plan["settings"]["margin"] == 0.05
    assert plan["roles"]["test"] == {"patients": 16, "positive": 16, "images": 32}
    other = changed(study, margin=0.2)
    write_plan(other, declare(other, sets_of(study)))
    assert read_plan(study)["settings"]["margin"] == 0.2
    assert read_json(study.folder / "trial" / "plan.before-1.json")["settings"]["margin"] == 0.05
    write_json(study.folder / "trial" / "plan.json", {**read_plan(study), "seed": 99})
    with pytest.raises(StudyError, match="altered"):
        read_plan(study)


def test_a_grid_that_was_not_declared_does_not_run(study: Study, here: list[str]) -> None:
    grid = declare(study, sets_of(study))
    with pytest.raises(StudyError, match="not declared"):
        run_grid(study, grid)
    write_plan(study, grid)
    with pytest.raises(StudyError, match="another trial"):
        run_grid(study, declare(changed(study, margin=0.2), sets_of(study)))
    assert here == []


def test_jobs_write_scores_of_all_roles_and_a_detector(study: Study, here: list[str]) -> None:
    grid = run(study)
    folder = grid.specs[1].folder
    rows = read_csv(folder / "scores.csv")
    assert list(rows[0]) == ["case", "patient", "role", "positive", "score"]
    counts = {role: sum(row["role"] == role for row in rows) for role in ("train", "calibrate", "test")}
    assert counts == {role.value: 2 * PATIENTS[role] for role in (Role.TRAIN, Role.CALIBRATE, Role.TEST)}
    assert len({row["score"] for row in rows}) > 0.95 * len(rows), "scores are not rounded into ties"
    fit = read_json(folder / "fit.json")
    assert (fit["train_positive"], fit["extra_positive"]) == (24, 24)
    assert fit["temperature"] > 0
    assert fit["peak_mib"] > 0
    assert {path.name for path in folder.iterdir()} == {
        "scores.csv", "fit.json", "detector.safetensors", "detector.json", "stage.json",
    }  # fmt: skip
    record = read_record(folder)
    assert record is not None
    assert record.roles == ("calibrate", "test", "train")
    cohort = load_cohort(study.cohort)
    assert set(record.patients) == {case.patient for case in cohort.cases if case.role.value in record.roles}
    assert str(study.folder) not in (folder / "fit.json").read_text()


def test_a_killed_grid_goes_on_and_a_changed_setting_redoes_what_it_concerns(study: Study, here: list[str]) -> None:
    grid = run(study)
    assert here == [spec.name for spec in grid.specs]
    scores = {spec.name: (spec.folder / "scores.csv").read_bytes() for spec in grid.specs}
    run(study)
    assert len(here) == 2, "nothing is done twice"
    (grid.specs[0].folder / "stage.json").unlink()  # killed before the record
    told: list[tuple[int, int]] = []
    run_grid(study, grid, lambda done, total, note="": told.append((done, total)))
    assert here[2:] == [grid.specs[0].name]
    assert told == [(2, 2)]
    assert (grid.specs[0].folder / "scores.csv").read_bytes() == scores[grid.specs[0].name], "and the same again"
    run(changed(study, margin=0.3, draws=300))
    assert len(here) == 3, "what concerns the analysis alone trains nothing again"
    run(changed(study, steps=11))
    assert here[3:] == [spec.name for spec in grid.specs]


def test_another_set_redoes_only_the_arms_that_read_it(study: Study, here: list[str]) -> None:
    grid = run(study)
    make_set(study, "again", synthetic_images(48, seed=77))
    run_again = declare(study, lambda fraction, pair, without: (study.synthetic("again"),))
    assert [is_done(spec) for spec in run_again.specs] == [True, False]
    assert [spec.arm for spec in grid.specs] == ["basic", "basic-synthetic"]


def test_arms_of_a_pair_start_from_the_same_weights_and_duplicates_are_not_basic(study: Study, here: list[str]) -> None:
    """The placebo has the same images; its order differs, so its scores do, a little."""
    three = changed(study, arms=("basic", "basic-synthetic", "duplicates"), steps=40)
    grid = run(three)
    scores = {}
    for spec in grid.specs:
        rows = [row for row in read_csv(spec.folder / "scores.csv") if row["role"] == "test"]
        scores[spec.arm] = np.array([float(row["score"]) for row in rows])
        truth = np.array([row["positive"] == "1" for row in rows])
    assert 0.0 < np.abs(scores["basic"] - scores["duplicates"]).mean() < 0.5
    assert truth.sum() == 16


def test_failed_jobs_are_told_in_one_line(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = declare(study, sets_of(study))
    write_plan(study, grid)
    refused = (Outcome("a"), Outcome("b", "no such thing; do that", True))
    monkeypatch.setattr(grid_module, "run_jobs", lambda *_: refused)
    with pytest.raises(TrainingError, match="1 of 2 jobs of the trial failed, first b: no such thing; do that"):
        run_grid(study, grid)
    monkeypatch.setattr(grid_module, "run_jobs", lambda *_: (Outcome("b", "KeyError: 1", False, "Traceback ..."),))
    with pytest.raises(RuntimeError, match=r"Traceback \.\.\."):
        run_grid(study, grid)


def sets_apart(study: Study) -> SetsOf:
    """Sets of generators that saw all, and of those that never saw a site."""
    return lambda fraction, pair, without: (study.synthetic("-".join(("trial", f"p{pair}", *filter(None, without)))),)


def test_leaving_a_site_out_tries_on_it_alone(study: Study, here: list[str]) -> None:
    for site in ("north", "south"):
        make_set(study, f"trial-p0-site-{site}", synthetic_images(24), leave_out=("site", site))
    grid = declare(changed(study, leave_out="site"), sets_apart(study))
    extra = [spec for spec in grid.specs if spec.left_out[0]]
    arms = ("basic", "basic-synthetic")
    assert [(spec.left_out[1], spec.arm) for spec in extra] == [
        (site, arm) for site in ("north", "south") for arm in arms
    ]
    assert [Path(folder).name for spec in extra for folder in spec.sets] == [
        "trial-p0-site-north",
        "trial-p0-site-south",
    ]
    there = {case.case for case in load_cohort(study.cohort).cases if case.attributes["site"] == "north"}
    for spec in extra[:2]:
        run_job(spec)
        for row in read_csv(spec.folder / "scores.csv"):
            assert (row["case"] in there) == (row["role"] == "test")
    with pytest.raises(CohortError, match="known columns: site"):
        declare(changed(study, leave_out="scanner"), sets_of(study))


def test_a_set_whose_generator_saw_the_site_is_refused(study: Study) -> None:
    def of_all(fraction: float, pair: int, without: tuple[str, str]) -> tuple[Path, ...]:
        return (study.synthetic("trial-p0"),)

    with pytest.raises(LedgerError, match=r"learned from 24 patients, of whom 12 are not among the 12"):
        declare(changed(study, leave_out="site"), of_all)


def test_the_arm_filtered_leaves_nobody_out(study: Study) -> None:
    arms = ("basic", "basic-synthetic", "filtered")
    for site in ("north", "south"):
        make_set(study, f"trial-p0-site-{site}", synthetic_images(48), leave_out=("site", site))
    grid = declare(changed(study, leave_out="site", arms=arms), sets_apart(study))
    assert {spec.arm for spec in grid.specs if spec.left_out[0]} == {"basic", "basic-synthetic"}
    assert any(note.startswith("the arm filtered leaves no site out") for note in grid.plan["notes"])
    cohort = load_cohort(study.cohort)
    wide = changed(study, leave_out="site", arms=arms, ratios=(0.5, 2.0))
    assert images_needed(wide, cohort, 1.0, 0) == {"nodule": 96}
    assert images_needed(wide, cohort, 1.0, 0, ("site", "north")) == {"nodule": 6}


def test_leaving_out_has_the_largest_share_and_the_first_ratio_alone(study: Study) -> None:
    arms = ("duplicates", *study.config.utility.arms)
    wide = changed(study, leave_out="site", fractions=(0.5, 1.0), ratios=(0.5, 1.0), arms=arms)
    make_set(study, "half", synthetic_images(24), fraction=0.5)
    for site in ("north", "south"):
        make_set(study, f"trial-p0-site-{site}", synthetic_images(24), leave_out=("site", site))
    whole = {1.0: sets_apart(study), 0.5: lambda *_: (study.synthetic("half"),)}
    grid = declare(wide, lambda fraction, pair, without: whole[fraction](fraction, pair, without))
    extra = [(spec.arm, spec.fraction, spec.ratio) for spec in grid.specs if spec.left_out == ("site", "north")]
    assert sorted(extra) == [("basic", 1.0, 0.0), ("basic-synthetic", 1.0, 0.5), ("duplicates", 1.0, 0.5)]


def test_what_would_stop_the_jobs_is_refused_before_there_is_a_set(study: Study) -> None:
    check_study(study)
    with pytest.raises(CohortError, match="known columns: site"):
        check_study(changed(study, leave_out="scanner"))
    rows = [dict(row) for row in open_set(study.cohort).rows]
    without = [row | {"label": "clear"} if row["role"] in {"reserve", "tune"} else row for row in rows]
    change_set(study.cohort, rows=without)
    check_study(study)
    with pytest.raises(CohortError, match="the arm reserve needs images with a lesion of reserve patients"):
        check_study(changed(study, arms=("basic", "basic-synthetic", "reserve")))
    with pytest.raises(CohortError, match=r"the arm filtered needs 20 images of the tune patients .* there are 0"):
        check_study(changed(study, arms=("basic", "basic-synthetic", "filtered")))
    one_site = [row | {"attr_site": "north"} for row in rows]
    change_set(study.cohort, rows=one_site)
    with pytest.raises(CohortError, match="fewer than two values"):
        check_study(changed(study, leave_out="site"))


def test_altered_scores_are_made_again(study: Study, here: list[str]) -> None:
    grid = run(study)
    table = grid.specs[0].folder / "scores.csv"
    honest = table.read_text()
    table.write_text(honest.replace(",test,1,0.", ",test,1,0.9"))
    assert table.read_text() != honest
    run(study)
    assert here[2:] == [grid.specs[0].name]
    assert table.read_text() == honest


def test_the_level_is_declared_and_the_lesions_are_there_whenever_the_plan_is(tmp_path: Path) -> None:
    study = make_study(tmp_path / "masked", masks=True, lesions="auto")
    make_set(study, "trial-p0", synthetic_images(48))
    grid = declare(study, sets_of(study))
    assert grid.plan["level"] == study.config.evidence.level
    write_plan(study, grid)
    lesions = study.folder / "trial" / "lesions.csv"
    before = lesions.read_bytes()
    lesions.unlink()  # lost, or killed in between
    write_plan(study, grid)
    assert lesions.read_bytes() == before


def test_images_needed_are_the_most_that_any_arm_takes(study: Study) -> None:
    cohort = load_cohort(study.cohort)
    wide = changed(
        study, arms=("basic", "basic-synthetic", "filtered"), ratios=(0.25, 2.0), classes=("nodule", "clear")
    )
    assert images_needed(wide, cohort, 1.0, 0) == {"nodule": 96, "clear": 96}
    assert images_needed(wide, cohort, 0.25, 0) == {"nodule": 24, "clear": 24}
    assert images_needed(changed(study, arms=("real", "basic")), cohort, 1.0, 0) == {}


def test_an_unlabelled_cohort_is_refused(study: Study) -> None:
    write_json(study.cohort / "cohort.json", {**read_json(study.cohort / "cohort.json"), "unlabelled": True})
    with pytest.raises(CohortError, match="needs labels"):
        declare(study, sets_of(study))


def test_lesions_need_masks(study: Study) -> None:
    with pytest.raises(CohortError, match="no masks"):
        declare(changed(study, lesions="on"), sets_of(study))
    assert not declare(changed(study, lesions="auto"), sets_of(study)).plan["fit"]["lesions"]


def test_lesion_jobs_write_candidates_and_the_lesions_to_be_found(tmp_path: Path, here: list[str]) -> None:
    study = make_study(tmp_path / "masked", masks=True, lesions="auto", steps=10)
    make_set(study, "trial-p0", synthetic_images(48))
    grid = run(study)
    assert grid.plan["fit"]["lesions"]
    lesions = read_csv(study.folder / "trial" / "lesions.csv")
    assert len(lesions) == PATIENTS[Role.CALIBRATE] + PATIENTS[Role.TEST]
    assert all(1.5 < float(lesion["radius"]) < 3.5 for lesion in lesions)
    candidates = read_csv(grid.specs[1].folder / "candidates.csv")
    scores = {row["case"]: float(row["score"]) for row in read_csv(grid.specs[1].folder / "scores.csv")}
    first = {}
    for row in candidates:
        first.setdefault(row["case"], float(row["score"]))
    assert set(first) == {
        row["case"] for row in read_csv(grid.specs[1].folder / "scores.csv") if row["role"] != "train"
    }
    assert all(top == pytest.approx(scores[case], rel=1e-6) for case, top in first.items())


def test_a_damaged_cohort_table_stops_before_any_job(study: Study, here: list[str]) -> None:
    rows = [dict(row) for row in open_set(study.cohort).rows]
    for row in rows:
        row["label"] = "clear"
    change_set(study.cohort, rows=rows)
    with pytest.raises(CohortError, match="role train has no positive image"):
        run(study)
    assert here == []


def test_other_processes_make_the_same_scores(study: Study) -> None:
    """Not through the fixture: two real workers, in whatever order they end."""
    grid = declare(study, sets_of(study))
    write_plan(study, grid)
    outcomes = run_grid(study, grid)
    assert all(outcome.succeeded for outcome in outcomes)
    elsewhere = {spec.name: (spec.folder / "scores.csv").read_bytes() for spec in grid.specs}
    for spec in reversed(grid.specs):
        run_job(spec)
    assert elsewhere == {spec.name: (spec.folder / "scores.csv").read_bytes() for spec in grid.specs}
