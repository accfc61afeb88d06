"""Commands to try scansynth out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scansynth import __version__, console
from scansynth.commands.reader import say_created

app = typer.Typer()


@app.command()
def version() -> None:
    """Prints the version."""
    console.result(__version__)


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the scans.")],
    patients: Annotated[int, typer.Option(help="How many patients, of four slices each.", min=1, max=100_000)] = 300,
    size: Annotated[int, typer.Option(help="Side of the images in pixels.", min=32, max=1024)] = 256,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.", min=0)] = 0,
) -> None:
    """Writes a procedural chest-MR cohort as real DICOM, without any real patient."""
    from scansynth.phantom.cohort import write_phantom_cohort

    with console.bar("making patients") as progress:
        made = write_phantom_cohort(folder, patients, size, seed, progress)
    console.result(f"wrote {made.images} images of {made.patients} patients, {made.positives} with a nodule: {folder}")
    console.result(f"next: scansynth init STUDY --dicom {folder} --labels {made.labels} --view chest")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for scans and study.")] = Path("demo"),
) -> None:
    """From a phantom cohort to the report, on any laptop, in minutes; run again to resume."""
    from scansynth.pipeline.demonstration import demonstrate

    made = demonstrate(out, console.bar, console.say, console.warn)
    console.result(f"wrote {made.page}")
    console.result(
        f"next: open {made.page}; for your own scans: scansynth init STUDY --dicom DIR --labels labels.csv; to try "
        f"the reading page:"
    )
    if made.reading is not None:
        say_created(made.reading, made.study)
    else:
        console.result(f"next: scansynth reader serve {made.study}")
