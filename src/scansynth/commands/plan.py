"""Commands that tell sample sizes before anything is begun."""

from __future__ import annotations

from typing import Annotated

import typer

from scansynth import console
from scansynth.commands.shared import StudyFolder

app = typer.Typer(help="Sample sizes, before you start.", no_args_is_help=True)


@app.command()
def utility(
    study: StudyFolder,
    gain: Annotated[float, typer.Option(help="Wished-for gain of sensitivity, 0.064 for 6.4 points.")] = 0.064,
    power: Annotated[float, typer.Option(help="Share of trials that are to show it.")] = 0.8,
) -> None:
    """Says what a trial of this cohort could show, and what it costs, before any training."""
    from scansynth.errors import ConfigError
    from scansynth.experiment.prospect import cost, prospect, told
    from scansynth.study import open_study

    if not 0.0 < gain < 1.0 or not 0.0 < power < 1.0:
        raise ConfigError("give --gain and --power over 0 and under 1")
    opened = open_study(study)
    told(prospect(opened, gain, power), console.result)
    expected = cost(opened)
    if expected.generators:
        console.result(f"{expected.generators} generators to train: about {expected.training_hours:.1f} hours here")
    console.result(
        f"{expected.jobs} detectors, {expected.workers} at a time: about {expected.job_hours:.1f} hours here"
    )
    console.result(f"next: scansynth utility {study}")
