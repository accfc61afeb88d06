"""Commands that compute sample sizes before a study begins."""

from __future__ import annotations

from typing import Annotated

import typer

from scansynth import console
from scansynth.commands.shared import StudyFolder, use_device

app = typer.Typer(help="Sample sizes, before you start.", no_args_is_help=True)


@app.command()
def utility(
    study: StudyFolder,
    gain: Annotated[float, typer.Option(help="Gain of sensitivity to detect, 0.064 for 6.4 points.")] = 0.064,
    power: Annotated[float, typer.Option(help="Power: share of trials that should show it.")] = 0.8,
    discordance: Annotated[
        float, typer.Option(help="Share of lesions on which two detectors differ; a finished trial reports its own.")
    ] = 0.15,
    negative_discordance: Annotated[
        float, typer.Option(help="The same for images without a lesion; a finished trial reports its own.")
    ] = 0.1,
) -> None:
    """Estimates what a trial of this cohort could show, and its cost, before any training."""
    from scansynth.errors import ConfigError
    from scansynth.study import open_study

    if not all(0.0 < one < 1.0 for one in (gain, power, discordance, negative_discordance)):
        raise ConfigError(
            "give --gain, --power, --discordance and --negative-discordance over 0 and under 1; 6.4 points are 0.064"
        )
    opened = open_study(study)
    from scansynth.pipeline.prospect import cost, prospect, told
    from scansynth.utility.statistics.power import Assumed

    use_device(opened)
    assumed = Assumed(discordance=discordance, negative_discordance=negative_discordance)
    told(prospect(opened, gain, power, assumed), console.result)
    expected = cost(opened)
    if expected.generators:
        console.result(f"{expected.generators} generators to train: about {expected.training_hours:.1f} hours here")
    console.result(
        f"{expected.jobs} detectors, {expected.workers} at a time: about {expected.job_hours:.1f} hours here"
    )
    console.result(f"next: scansynth utility {study}")


@app.command()
def reader(
    margin: Annotated[
        float, typer.Option(help="Equivalence margin: the readers' AUC lies within 0.5 plus or minus this.")
    ] = 0.1,
    reader_sd: Annotated[
        float, typer.Option(help="Reader variability: standard deviation of their true AUC, 0.1 for 10 points.")
    ] = 0.1,
    level: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    readers: Annotated[list[int] | None, typer.Option(help="Number of readers; repeat for several.")] = None,
    images: Annotated[list[int] | None, typer.Option(help="Images per reader; repeat for several.")] = None,
    runs: Annotated[int, typer.Option(help="Simulated studies per figure.", min=50, max=100_000)] = 400,
    two_sets: Annotated[
        bool, typer.Option("--two-sets", help="Plan a comparison of two sets (reader.against), not a verdict on one.")
    ] = False,
    marks: Annotated[
        bool, typer.Option("--marks", help="Plan what marks of findings (reader.marks) can show of the two kinds.")
    ] = False,
    unaware: Annotated[
        bool, typer.Option("--unaware", help="Plan the part before readers are told (reader.unaware) instead.")
    ] = False,
) -> None:
    """Computes how many readers and images a blinded reader study needs."""
    from scansynth.errors import ReaderError
    from scansynth.reader.statistics import planning
    from scansynth.reader.statistics.planning import IMAGES, READERS

    if two_sets + marks + unaware > 1:
        raise ReaderError("give one of --two-sets, --marks and --unaware; each is planned by itself")
    if unaware:
        _unaware(readers, images, level)
        return
    numbers, sizes = tuple(readers or READERS), tuple(images or IMAGES)
    with console.bar("simulating designs") as progress:
        plan = planning.plan_sets if two_sets else planning.plan_marks if marks else planning.plan
        made = plan(planning.Asked(margin, level, reader_sd, numbers, sizes, runs), progress)
    if_so = "two sets truly do not differ" if two_sets else "readers truly cannot distinguish"
    if_so = "findings are found in both kinds alike" if marks else if_so
    console.result(
        f"share of {made.runs} simulated studies that show equivalence within {100 * margin:g} points when {if_so}"
    )
    console.result("readers" + "".join(f"{size:>14} images" for size in sizes))
    for count in numbers:
        own = [cell for cell in made.cells if cell.readers == count]
        console.result(f"{count:>7}" + "".join(f"{cell.equivalent:>21.0%}" for cell in own))
    told = planning.sentences_of_sets if two_sets else planning.sentences_of_marks if marks else planning.sentences
    for line in told(made):
        console.result(line)
    console.result("next: set readers and images under [reader] in study.toml, then: scansynth reader create STUDY")


def _unaware(readers: list[int] | None, images: list[int] | None, level: float) -> None:
    """Prints what a first part can show."""
    from scansynth.reader.statistics import noticing_plan
    from scansynth.reader.statistics.planning import READERS

    made = noticing_plan.plan_noticing(readers or (*READERS, 17), images or noticing_plan.IMAGES, level)
    for line in noticing_plan.lines(made):
        console.result(line)
    console.result("next: set reader.unaware and reader.question in study.toml, then: scansynth reader create STUDY")
