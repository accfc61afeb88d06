"""The commands: thin, and quick to start: heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from scansynth import __version__, console
from scansynth.errors import ScansynthError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scansynth.dicom.deidentify import InstitutionKey
    from scansynth.pipeline import Surroundings
    from scansynth.study import Study

app = typer.Typer(
    name="scansynth",
    help="Synthetic medical scans from a small private cohort, and proof of what they are worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key", help="The institution's key; else SCANSYNTH_INSTITUTION_KEY, else the user's configuration."),
]


class View(StrEnum):
    """What an image shows."""

    CHEST = "chest"
    PATCH = "patch"
    ANY = "any"


class Form(StrEnum):
    """What `export` writes."""

    PNG = "png"
    NPY = "npy"


def main() -> None:
    """Runs the command line; a refusal is one line on stderr and exit code 2."""
    try:
        app(standalone_mode=False)
    except ScansynthError as fault:
        console.refuse(str(fault))
        sys.exit(fault.exit_code)
    except TyperException as fault:
        console.refuse(f"{fault.format_message().rstrip('.')}; see: scansynth --help")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        console.refuse("interrupted; what was finished is kept, run the same command again to go on")
        sys.exit(2)
    except OSError as fault:
        if fault.filename is None:
            raise
        console.refuse(f"{fault.filename}: {fault.strerror}; mend that and run the same command again")
        sys.exit(2)


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
    """Writes a procedural chest-MR cohort as real DICOM: nobody's scans, to try everything on."""
    from scansynth.phantom.cohort import write_phantom_cohort

    with console.bar("drawing patients") as progress:
        made = write_phantom_cohort(folder, patients, size, seed, progress)
    console.result(f"wrote {made.images} images of {made.patients} patients, {made.positives} with a nodule: {folder}")
    console.result(f"next: scansynth init STUDY --dicom {folder} --labels {made.labels} --view chest")


@app.command()
def init(
    study: StudyFolder,
    dicom: Annotated[Path, typer.Option(help="Folder with the scans.")],
    labels: Annotated[Path | None, typer.Option(help="labels.csv: path, label, and more.")] = None,
    recipe: Annotated[str, typer.Option(help="A recipe, or a path to a recipe's TOML file.")] = "dcgan",
    split_from: Annotated[
        Path | None, typer.Option(help="Study whose patients keep the roles they have there.")
    ] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="There are no labels.")] = False,
    view: Annotated[
        View, typer.Option(help="What an image shows; decides which augmentations are permitted.")
    ] = View.ANY,
    size: Annotated[int | None, typer.Option(help="Side of the images: 32, 64, 128, 256, 512 or 1024 pixels.")] = None,
    positive: Annotated[str | None, typer.Option(help="The label that means a lesion.")] = None,
    name: Annotated[str | None, typer.Option(help="Title of the study.")] = None,
    seed: Annotated[int, typer.Option(help="Every random draw derives from it.", min=0)] = 0,
    key: KeyFile = None,
) -> None:
    """Makes a study: looks at scans and labels, and writes study.toml."""
    from scansynth.errors import ConfigError
    from scansynth.new_study import Wishes, create

    if (labels is None) != unlabelled:
        raise ConfigError("give either --labels labels.csv or --unlabelled")
    wishes = Wishes(dicom, labels, recipe, split_from, view.value, size, positive, name, seed, key)
    made = create(study, wishes)
    cohort = made.config.cohort
    found = f"{cohort.modality}, {cohort.size} x {cohort.size} pixels" + (
        f", positive label {cohort.positive}" if cohort.positive else ""
    )
    console.result(f"wrote {made.config_file} ({found})")
    console.result(f"next: scansynth run {study}    (or first: scansynth run {study} --dry-run)")


@app.command()
def run(
    study: StudyFolder,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, the hours and the disk.")
    ] = False,
    key: KeyFile = None,
) -> None:
    """Runs every stage that is stale; safe to interrupt at any moment and run again."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.study import open_study

    opened = open_study(study)
    if dry_run:
        _dry_run(opened, load_key(opened.key_file(key), create=False))
        return
    with opened.lock():
        done = _run_stale(opened, load_key(opened.key_file(key)))
    console.result(f"ran {', '.join(done)}" if done else "nothing is stale: every stage is done")
    console.result(f"next: open {study / 'report' / 'index.html'}")


def _run_stale(study: Study, key: InstitutionKey) -> list[str]:
    from scansynth.pipeline import run_stale

    return run_stale(study, _surroundings(key))


def _surroundings(key: InstitutionKey, *, even_if_collapsed: bool = False) -> Surroundings:
    from scansynth.pipeline import Surroundings

    return Surroundings(key, console.bar, console.say, console.warn, even_if_collapsed)


def _dry_run(study: Study, key: InstitutionKey) -> None:
    """What would run, how long, how much disk."""
    from scansynth.forecast import forecast
    from scansynth.gan.run import run_position
    from scansynth.learning.device import pick_device
    from scansynth.pipeline import LEAST_SYNTHETIC, Condition, stage_states

    states = stage_states(study, key)
    todo = {state.stage.name for state in states if state.condition is not Condition.DONE}
    for state in states:
        words = "would run" if state.stage.name in todo else "done"
        console.result(f"{state.stage.name:<9} {words}" + (f"  ({state.why})" if state.why else ""))
    device = pick_device()
    if {"ingest", "train"} & todo:
        expected = forecast(study, device, study.config.synthetic.images or LEAST_SYNTHETIC)
        position = run_position(study.run())
        left = max(0, expected.training_images - (position.images if position else 0)) if "train" in todo else 0
        console.result(f"reading   {expected.ingest_hours if 'ingest' in todo else 0.0:.2f} hours")
        console.result(
            f"training  {left / expected.images_per_second / 3600.0:.2f} hours: {left:,} images "
            f"({expected.train_images:,} a pass), {expected.images_per_second:.1f} images/s "
            f"on {device.kind} ({device.name})"
        )
        console.result(f"disk      {expected.disk_bytes / 1e9:.2f} GB")
    console.result("nothing was written; next: the same without --dry-run" if todo else "nothing is stale")


def _one_stage(
    folder: Path,
    name: str,
    key: Path | None,
    wrote: str,
    after: str,
    *,
    even_if_collapsed: bool = False,
    also: Callable[[Study], None] | None = None,
) -> None:
    """Runs one stage and says what it wrote, what `also` adds, and what comes next."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.pipeline import run_stage
    from scansynth.study import open_study

    study = open_study(folder)
    with study.lock():
        around = _surroundings(load_key(study.key_file(key)), even_if_collapsed=even_if_collapsed)
        run_stage(study, name, around)
    console.result(f"wrote {wrote}")
    if also is not None:
        also(study)
    console.result(f"next: {after}")


@app.command()
def ingest(study: StudyFolder, key: KeyFile = None) -> None:
    """Reads the scans: de-identified, normalised, each patient in one role."""
    _one_stage(study, "ingest", key, f"{study / 'cohort'}", f"scansynth train {study}")


@app.command()
def train(study: StudyFolder, key: KeyFile = None) -> None:
    """Trains the generator, or goes on with an interrupted training."""
    _one_stage(study, "train", key, f"{study / 'gan'}", f"scansynth generate {study}")


@app.command()
def generate(
    study: StudyFolder,
    even_if_collapsed: Annotated[
        bool, typer.Option("--even-if-collapsed", help="Draw from a generator whose images became alike.")
    ] = False,
    key: KeyFile = None,
) -> None:
    """Draws the synthetic set as DICOM."""
    wrote, after = f"{study / 'synthetic'}", f"scansynth audit {study}"
    _one_stage(study, "generate", key, wrote, after, even_if_collapsed=even_if_collapsed)


@app.command()
def audit(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="Folder of the study; without one, name two folders.")
    ] = None,
    real: Annotated[Path | None, typer.Option(help="Without a study: folder of real images, DICOM or PNG.")] = None,
    synthetic: Annotated[
        Path | None, typer.Option(help="Without a study: folder of synthetic images, DICOM or PNG.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Without a study: new folder for evidence and page.")] = None,
    train_list: Annotated[
        Path | None,
        typer.Option(help="Without a study: CSV of the real images: path, patient_id, split (train or held-out)."),
    ] = None,
    key: KeyFile = None,
) -> None:
    """Weighs the evidence: each claim with its interval, floor and control."""
    from scansynth.errors import ConfigError

    loose = [value for value in (real, synthetic, out, train_list) if value is not None]
    if study is not None and loose:
        raise ConfigError("give either STUDY, or --real, --synthetic and --out; not both")
    if study is not None:
        _one_stage(study, "audit", key, f"{study / 'evidence'}", f"scansynth report {study}", also=_quarantined)
        return
    if real is None or synthetic is None or out is None:
        raise ConfigError("give either STUDY, or all of --real, --synthetic and --out")
    from scansynth.loose import Folders, audit_folders
    from scansynth.report.questions import spoken

    for line in spoken(audit_folders(Folders(real, synthetic, out, train_list), console.bar, console.say)):
        console.say(line)
    console.result(f"wrote {out}")
    _say_quarantined(out)
    console.result(f"next: open {out / 'index.html'}")


def _quarantined(study: Study) -> None:
    _say_quarantined(study.evidence())


def _say_quarantined(evidence: Path) -> None:
    """Names the list of images to keep back, when there are any."""
    from scansynth.court import QUARANTINE
    from scansynth.files import read_csv

    path = evidence / QUARANTINE
    count = len(read_csv(path))
    if count:
        console.result(f"look at {count} images and keep them back, they are too close to real ones: {path}")


@app.command(name="add-set")
def add_set(
    study: StudyFolder,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of synthetic images, DICOM or grey PNG.")],
    name: Annotated[str, typer.Option(help="Name of the set: small letters, digits and hyphens.")],
    label: Annotated[
        str | None, typer.Option(help="What all the images show; else the classes that the generator learns.")
    ] = None,
) -> None:
    """Brings somebody else's synthetic images into a study, to be audited there."""
    from scansynth.cohort.added import add_set as add
    from scansynth.cohort.foreign import reading_pool
    from scansynth.study import open_study

    opened = open_study(study)
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
def report(study: StudyFolder, key: KeyFile = None) -> None:
    """Writes the page for the review board."""
    page = study / "report" / "index.html"
    _one_stage(study, "report", key, f"{page}", f"open {page}")


@app.command()
def export(
    study: StudyFolder,
    name: Annotated[str, typer.Argument(metavar="SET", help="Name of the synthetic set.")],
    form: Annotated[Form, typer.Option("--to", help="16-bit PNG files, or one NPY array.")] = Form.PNG,
    out: Annotated[Path | None, typer.Option(help="New folder; else SET-png or SET-npy in the current one.")] = None,
) -> None:
    """Writes images and labels.csv, for training elsewhere."""
    from scansynth.export import export as write_export
    from scansynth.study import open_study

    folder = out or Path(f"{name}-{form.value}")
    with console.bar("exporting") as progress:
        count = write_export(open_study(study), name, form.value, folder, progress)
    console.result(f"wrote {count} images and labels.csv: {folder}")
    console.result("next: train with them; keep real test cases for the result")


@app.command()
def status(study: StudyFolder, key: KeyFile = None) -> None:
    """Says what is done, what is stale and what comes next."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.gan.run import run_position
    from scansynth.pipeline import Condition, stage_states
    from scansynth.study import open_study

    opened = open_study(study)
    states = stage_states(opened, load_key(opened.key_file(key), create=False))
    for state in states:
        took = f"  {state.record.seconds:,.0f} s" if state.record and state.condition is Condition.DONE else ""
        console.result(f"{state.stage.name:<9} {state.condition.value:<8}{took}  {state.why}".rstrip())
    position = run_position(opened.run())
    if position:
        looked = f", variety {position.diversity:.2f}, {position.level}" if position.level else ""
        again = f", attempt {position.attempt}" if position.attempt > 1 else ""
        console.result(f"training  at {position.images:,} of {position.total:,} images{looked}{again}")
    todo = [state.stage.name for state in states if state.condition is not Condition.DONE]
    console.result(f"next: scansynth run {study}" if todo else f"next: open {study / 'report' / 'index.html'}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for scans and study.")] = Path("demo"),
) -> None:
    """From a phantom cohort to the report, on any laptop, in minutes; run again after an interruption."""
    from scansynth.demonstration import demonstrate

    page = demonstrate(out, console.bar, console.say, console.warn)
    console.result(f"wrote {page}")
    console.result(f"next: open {page}, then try your own scans: scansynth init STUDY --dicom DIR --labels labels.csv")


if __name__ == "__main__":
    main()
