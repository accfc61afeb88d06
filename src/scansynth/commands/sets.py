"""Commands about synthetic sets: their evidence, sets made elsewhere, and export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scansynth import console
from scansynth.commands.shared import KeyFile, StudyFolder, one_stage

if TYPE_CHECKING:
    from scansynth.study import Study

app = typer.Typer()


class Form(StrEnum):
    """What `export` writes."""

    PNG = "png"
    NPY = "npy"


@app.command()
def audit(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="Folder of the study; without one, name two folders.")
    ] = None,
    real: Annotated[
        Path | None, typer.Option(help="Without a study: folder of real images, DICOM or pictures.")
    ] = None,
    synthetic: Annotated[
        Path | None, typer.Option(help="Without a study: folder of synthetic images, DICOM or pictures.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Without a study: new folder for evidence and page.")] = None,
    train_list: Annotated[
        Path | None,
        typer.Option(help="Without a study: CSV of the real images: path, patient_id, split (train or held-out)."),
    ] = None,
    key: KeyFile = None,
) -> None:
    """Audits a synthetic set: each claim with its interval, floor (real-vs-real reference) and control."""
    from scansynth.errors import ConfigError

    loose = [value for value in (real, synthetic, out, train_list) if value is not None]
    if study is not None and loose:
        raise ConfigError("give either STUDY, or --real, --synthetic and --out; not both")
    if study is not None:
        one_stage(
            study, "audit", key, lambda opened: opened.evidence().parent, f"scansynth report {study}", also=_quarantined
        )
        return
    if real is None or synthetic is None or out is None:
        raise ConfigError("give either STUDY, or all of --real, --synthetic and --out")
    from scansynth.pipeline.places import Places, check_places

    places = Places(real, synthetic, out, train_list)
    check_places(places)
    from scansynth.claims.judged import judged
    from scansynth.pipeline.folders import audit_folders
    from scansynth.report.audit.words import spoken
    from scansynth.study import PAGE

    claims = audit_folders(places, console.bar, console.say)
    for line in spoken(judged(claims)):
        console.say(line)
    console.result(f"wrote {out}")
    _say_quarantined(out)
    console.result(f"next: open {out / PAGE}")


def _quarantined(study: Study) -> None:
    _say_quarantined(study.evidence())


def _say_quarantined(evidence: Path) -> None:
    """Names the list of images to withhold, when there are any."""
    from scansynth.files import read_csv
    from scansynth.study import QUARANTINE

    path = evidence / QUARANTINE
    count = len(read_csv(path))
    if count:
        console.result(f"inspect and withhold {count} image{'s' * (count != 1)} too close to real ones: {path}")


@app.command(name="add-set")
def add_set(
    study: StudyFolder,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder of synthetic images: DICOM, grey PNG, JPEG or TIFF, or an image set."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the set: lower-case letters, digits and hyphens.")],
    label: Annotated[
        str | None, typer.Option(help="Label of all the images; default: the classes of the study's generator.")
    ] = None,
) -> None:
    """Adds synthetic images from elsewhere to a study, to be audited there."""
    from scansynth.study import open_study

    opened = open_study(study)
    from scansynth.data.elsewhere.added import add_set as add
    from scansynth.data.elsewhere.foreign import reading_pool

    with opened.lock(), reading_pool() as pool, console.bar("reading images") as progress:
        added = add(opened, folder, name, label, pool, progress)
    for reason, count in added.left.items():
        console.say(f"left out: {count} x {reason}")
    for note in added.notes:
        console.warn(note)
    console.result(f"wrote {added.images} images, {added.label or 'no label'}: {opened.synthetic(name)}")
    if opened.config.synthetic.name == name:
        console.result(f"next: scansynth audit {study}")
    else:
        console.result(f'next: set name = "{name}" under [synthetic] in study.toml, then: scansynth audit {study}')


@app.command()
def export(
    study: StudyFolder,
    name: Annotated[str, typer.Argument(metavar="SET", help="Name of the synthetic set.")],
    form: Annotated[Form, typer.Option("--to", help="16-bit PNG files, or one NPY array.")] = Form.PNG,
    out: Annotated[
        Path | None, typer.Option(help="New folder; default: SET-png or SET-npy in the current one.")
    ] = None,
) -> None:
    """Writes images and labels.csv, for training elsewhere."""
    from scansynth.data.export import export as write_export
    from scansynth.data.sets import is_inserted
    from scansynth.study import open_study

    folder = out or Path(f"{name}-{form.value}")
    opened = open_study(study)
    with console.bar("exporting") as progress:
        count = write_export(opened, name, form.value, folder, progress)
    if is_inserted(opened.synthetic(name)):
        console.warn("the background of each image is a patient: for use inside the house only")
    console.result(f"wrote {count} images and labels.csv: {folder}")
    console.result("next: train with them; evaluate on real test cases only")
