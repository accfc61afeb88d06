"""Commands of the utility trial: the trial, and its detectors on new scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scansynth import console
from scansynth.commands.shared import KeyFile, StudyFolder, use_device

app = typer.Typer()


@app.command()
def utility(
    study: StudyFolder,
    even_if_collapsed: Annotated[
        bool, typer.Option("--even-if-collapsed", help="Also use generators that collapsed.")
    ] = False,
    key: KeyFile = None,
) -> None:
    """Tests whether synthetic images help a detector: generators, detectors, intervals; resumes where it stopped."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.pipeline.stages import need_stage
    from scansynth.study import open_study

    opened = open_study(study)
    use_device(opened)
    with opened.lock():
        need_stage(opened, "ingest", load_key(opened.key_file(key)))
        from scansynth.pipeline.utility import run_utility, spoken

        trial = run_utility(opened, console.bar, console.warn, even_if_collapsed=even_if_collapsed)
    for line in spoken(trial.analysis):
        console.say(line)
    kept = trial.jobs - trial.ran
    console.result(
        f"wrote {study / 'trial'}: {trial.jobs} detectors" + (f", {kept} of them from before" if kept else "")
    )
    console.result(f"next: scansynth report {study}")


@app.command()
def detect(
    study: StudyFolder,
    dicom: Annotated[Path, typer.Option(help="Folder with the scans to score.")],
    out: Annotated[Path, typer.Option(help="New folder for scores and overlays; it will contain patient images.")],
    arm: Annotated[str, typer.Option(help="Which detector: one of the trial's arms.")] = "basic",
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Write saliency overlays.")] = True,
) -> None:
    """Scores scans with a detector of the trial, for research only: scores, overlays, DICOM for a viewer."""
    from scansynth.study import open_study

    opened = open_study(study)
    from scansynth.data.elsewhere.foreign import reading_pool
    from scansynth.utility.detect import detect as look

    use_device(opened)
    with reading_pool() as pool, console.bar("scoring scans") as progress:
        found = look(opened, dicom, out, pool, arm, progress, pictures=pictures)
    for reason, count in found.left.items():
        console.say(f"left out: {count} x {reason}")
    for note in found.notes:
        console.warn(note)
    console.result(f"wrote scores of {found.images} images, {found.above} above the threshold: {out}")
    console.result("next: review them; research only, not for diagnosis")
