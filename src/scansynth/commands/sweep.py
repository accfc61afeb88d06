"""The command that sweeps over settings of the recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from scansynth import console
from scansynth.commands.shared import KeyFile, StudyFolder, use_device

app = typer.Typer()


@app.command()
def sweep(
    study: StudyFolder,
    settings: Annotated[
        list[str],
        typer.Option("--set", help="A key of the recipe and its values: loss.penalty=0.1,0.2,0.4; repeat for others."),
    ],
    key: KeyFile = None,
) -> None:
    """Trains over settings of the recipe, judged on tune patients, dropping the worse half; resumes where stopped."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.pipeline.stages import need_stage
    from scansynth.study import open_study

    opened = open_study(study)
    use_device(opened)
    with opened.lock():
        need_stage(opened, "ingest", load_key(opened.key_file(key)))
        from scansynth.pipeline.sweep import run_sweep, spoken

        with console.bar("sweeping") as progress:
            found = run_sweep(opened, settings, progress)
    for line in spoken(found):
        console.result(line)
    recipe = found.recipe.relative_to(opened.folder)
    console.result(f"wrote {study / recipe}")
    if opened.config.generator.overrides:
        console.say("the recipe holds generator.overrides as well: take them out of study.toml when you use it")
    console.result(f'next: set recipe = "{recipe}" under [generator] in study.toml, then: scansynth run {study}')
