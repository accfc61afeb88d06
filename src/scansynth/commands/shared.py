"""Shared parts of commands: arguments, and running one stage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scansynth import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from scansynth.dicom.deidentify import InstitutionKey
    from scansynth.pipeline.stages import Surroundings
    from scansynth.study import Study

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key", help="The institution's key; default: SCANSYNTH_INSTITUTION_KEY, else the user's configuration."
    ),
]


def surroundings(key: InstitutionKey, *, even_if_collapsed: bool = False) -> Surroundings:
    """What a stage needs of the command line."""
    from scansynth.pipeline.stages import Surroundings

    return Surroundings(key, console.bar, console.say, console.warn, even_if_collapsed)


def together() -> bool:
    """Whether torchrun started this process beside others."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def use_device(study: Study) -> None:
    """Lets all networks of this process and of its workers compute where the study says.

    Raises:
        ConfigError: There is no such device.
    """
    from scansynth.config import DEVICE

    if study.config.device != "auto":
        from scansynth.learning.device import pick_device

        os.environ[DEVICE] = study.config.device
        pick_device()


def one_stage(
    folder: Path,
    name: str,
    key: Path | None,
    wrote: Callable[[Study], Path],
    after: str = "",
    *,
    even_if_collapsed: bool = False,
    also: Callable[[Study], None] | None = None,
) -> None:
    """Runs one stage and says what it wrote, what `also` adds, and what comes next; nothing: open it."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.pipeline.stages import run_stage
    from scansynth.study import open_study

    study = open_study(folder)
    use_device(study)
    with study.lock():
        around = surroundings(load_key(study.key_file(key)), even_if_collapsed=even_if_collapsed)
        run_stage(study, name, around)
    written = folder / wrote(study).relative_to(study.folder)
    console.result(f"wrote {written}")
    if also is not None:
        also(study)
    console.result(f"next: {after or f'open {written}'}")
