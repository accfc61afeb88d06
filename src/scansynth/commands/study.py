"""Commands that make a study and run its stages."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from scansynth import console
from scansynth.commands.shared import KeyFile, StudyFolder, one_stage, surroundings, together, use_device
from scansynth.errors import ConfigError

if TYPE_CHECKING:
    from scansynth.dicom.deidentify import InstitutionKey
    from scansynth.study import Study

app = typer.Typer()


class View(StrEnum):
    """What an image shows."""

    CHEST = "chest"
    PATCH = "patch"
    ANY = "any"


class Into(StrEnum):
    """What lesions are put into."""

    CLEAR = "clear"


@app.command()
def init(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="Folder of the study; not needed with --labels-template.")
    ] = None,
    *,
    dicom: Annotated[Path, typer.Option(help="Folder with the scans.")],
    labels: Annotated[Path | None, typer.Option(help="labels.csv: path, label, and more.")] = None,
    labels_template: Annotated[
        Path | None, typer.Option(help="Only write a labels.csv to fill in: every file, with what its header says.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="A recipe, or a path to a recipe's TOML file.")] = "compact",
    split_from: Annotated[Path | None, typer.Option(help="Study from which patients keep their roles.")] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="There are no labels.")] = False,
    view: Annotated[
        View, typer.Option(help="What an image shows; determines which augmentations are permitted.")
    ] = View.ANY,
    size: Annotated[
        int | None, typer.Option(help="Rows and columns of the images in pixels, one number for both.")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="The label that means a lesion.")] = None,
    name: Annotated[str | None, typer.Option(help="Title of the study.")] = None,
    seed: Annotated[int, typer.Option(help="All random numbers derive from it.", min=0)] = 0,
    key: KeyFile = None,
) -> None:
    """Creates a study: inspects scans and labels, and writes study.toml."""
    from scansynth.data.tensors import in_pixels
    from scansynth.pipeline.new_study import Wishes, create

    if labels_template is not None:
        _template(labels_template, dicom, study)
        return
    if study is None:
        raise ConfigError("name the folder of the study: scansynth init STUDY --dicom DIR --labels labels.csv")
    if (labels is None) != unlabelled:
        raise ConfigError("give either --labels labels.csv or --unlabelled, or write a table with --labels-template")
    wishes = Wishes(dicom, labels, recipe, split_from, view.value, size, positive, name, seed, key)
    made = create(study, wishes, console.warn)
    cohort = made.config.cohort
    found = f"{cohort.modality}, {in_pixels(cohort.shape)}" + (
        f", positive label {cohort.positive}" if cohort.positive else ""
    )
    console.result(f"wrote {made.config_file} ({found})")
    console.result(f"next: scansynth run {study}    (or first: scansynth run {study} --dry-run)")


def _template(path: Path, dicom: Path, study: Path | None) -> None:
    """Writes a labels.csv to fill in."""
    from scansynth.config import EngineSettings
    from scansynth.data.scans.template import write_template
    from scansynth.engine.processes import worker_count

    with console.bar("reading headers") as progress:
        files = write_template(path, dicom, worker_count(EngineSettings(), 16), progress)
    console.result(f"wrote {path} ({files} files)")
    console.result(f"next: fill in label, then scansynth init {study or 'STUDY'} --dicom {dicom} --labels {path}")


@app.command()
def run(
    study: StudyFolder,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would run, with hours and disk space.")
    ] = False,
    key: KeyFile = None,
) -> None:
    """Runs every stale stage; safe to interrupt at any time and run again."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.study import open_study

    opened = open_study(study)
    use_device(opened)
    if dry_run:
        _dry_run(opened, load_key(opened.key_file(key), create=False))
        return
    with opened.lock():
        done = _run_stale(opened, load_key(opened.key_file(key)))
    console.result(f"ran {', '.join(done)}" if done else "nothing is stale: every stage is up to date")
    console.result(f"next: open {study / 'report' / 'index.html'}")


def _run_stale(study: Study, key: InstitutionKey) -> list[str]:
    from scansynth.pipeline.stages import run_stale

    return run_stale(study, surroundings(key))


def _dry_run(study: Study, key: InstitutionKey) -> None:
    """What would run, how long, how much disk."""
    from scansynth.gan.standing import run_position
    from scansynth.learning.device import pick_device
    from scansynth.pipeline.forecast import forecast
    from scansynth.pipeline.stages import LEAST_SYNTHETIC, Condition, stage_states

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
            f"on {device.torch_device} ({device.name})"
        )
        console.result(f"disk      {expected.disk_bytes / 1e9:.2f} GB")
    console.result("nothing was written; next: the same without --dry-run" if todo else "nothing is stale")


@app.command()
def ingest(study: StudyFolder, key: KeyFile = None) -> None:
    """Reads the scans: de-identifies, normalises, and gives each patient one role."""
    one_stage(study, "ingest", key, lambda opened: opened.cohort, f"scansynth train {study}")


@app.command()
def train(study: StudyFolder, key: KeyFile = None) -> None:
    """Trains the generator, or resumes an interrupted run; under torchrun on many processes together."""

    def alone() -> None:
        one_stage(study, "train", key, lambda opened: opened.run().parent, f"scansynth generate {study}")

    if not together():
        alone()
        return
    from scansynth.learning import ranks

    with ranks.joined():
        if ranks.first():
            alone()
        elif not _follow(study):
            sys.exit(2)


def _follow(folder: Path) -> bool:
    """Trains beside the first of the processes that torchrun started; whether it ended well."""
    from scansynth.gan.run import prepare
    from scansynth.gan.together import follow
    from scansynth.gan.training_job import TrainingJob
    from scansynth.learning.device import pick_device
    from scansynth.study import open_study

    def job() -> TrainingJob:
        opened = open_study(folder)
        use_device(opened)
        return prepare(opened).job

    return follow(job, pick_device, lambda line: None)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def generate(
    context: typer.Context,
    study: StudyFolder,
    even_if_collapsed: Annotated[
        bool, typer.Option("--even-if-collapsed", help="Use a generator that collapsed.")
    ] = False,
    label: Annotated[
        list[str] | None, typer.Option(help="Draw a set of this label beside the other; repeat for several.")
    ] = None,
    diameter: Annotated[
        str | None, typer.Option(metavar="MM", help="Draw lesions of this diameter, in mm, such as 4-8.")
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(metavar="ROWS,COLUMNS", help="Draw lesions here: shares of the image, such as 0.2-0.5,0.6-0.9."),
    ] = None,
    into: Annotated[
        Into | None, typer.Option(help="Put lesions into clear scans of train patients, for use inside the house.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Images of a set beside the other.", min=1)] = None,
    key: KeyFile = None,
) -> None:
    """Generates the synthetic set as DICOM. --COLUMN VALUE asks for any other condition that was learned."""
    asked = {name: text for name, text in (("diameter", diameter), ("place", place)) if text is not None}
    asked |= _columns(context.args)
    if label or asked or into is not None:
        wanted = _Wanted(tuple(label or ()), asked, into.value if into else "", count)
        _generate_asked(study, wanted, key, even_if_collapsed=even_if_collapsed)
        return
    if count is not None:
        raise ConfigError("--count goes with --into, --label or a condition; for the set itself set synthetic.images")
    one_stage(
        study,
        "generate",
        key,
        lambda opened: opened.synthetic().parent,
        f"scansynth audit {study}",
        even_if_collapsed=even_if_collapsed,
    )


def _columns(words: list[str]) -> dict[str, str]:
    """Options that are no command's: names of columns, each with a value.

    Raises:
        ConfigError: They are no pairs of name and value.
    """
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    names, texts = parts[::2], parts[1::2]
    if len(names) > len(texts) or any(not name.startswith("--") for name in names):
        wrong = next((name for name in names if not name.startswith("--")), names[-1])
        raise ConfigError(
            f"generate does not understand {wrong}: write STUDY first, and --COLUMN VALUE for other conditions"
        )
    return {name.removeprefix("--").replace("-", "_"): text for name, text in zip(names, texts, strict=True)}


class _Wanted(NamedTuple):
    """A set beside the one that is judged: labels, conditions, what lesions are put into, how many images."""

    labels: tuple[str, ...]
    asked: dict[str, str]
    into: str
    images: int | None


def _generate_asked(folder: Path, wanted: _Wanted, key: Path | None, *, even_if_collapsed: bool) -> None:
    """Draws a set of asked-for labels and conditions, or into scans, and says how to have it judged."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.pipeline.asked import generate_asked, study_asking, study_inserting, with_count
    from scansynth.study import open_study

    opened = open_study(folder)
    use_device(opened)
    with opened.lock():
        around = surroundings(load_key(opened.key_file(key)), even_if_collapsed=even_if_collapsed)
        labels, asked, into, images = wanted
        other = study_asking(opened, labels, asked) if not into else study_inserting(opened, labels, asked, into)
        name = generate_asked(with_count(other, images), around)
    console.result(f"wrote {folder / opened.synthetic(name).relative_to(opened.folder)}")
    keys = [f'name = "{name}"']
    keys += [f"labels = {json.dumps(labels)}"] if labels else []
    keys += [f"asked = {{{', '.join(f'{json.dumps(one)} = {json.dumps(text)}' for one, text in asked.items())}}}"] * (
        len(asked) > 0
    )
    keys += [f'into = "{into}"'] if into else []
    keys += [f"images = {images}"] if images is not None else []
    said = ", ".join(keys[:-1]) + f" and {keys[-1]}" if len(keys) > 1 else keys[0]
    console.result(
        f"next: scansynth export {folder} {name}; or, to judge it, set {said} under [synthetic] in study.toml, then: "
        f"scansynth run {folder}"
    )


@app.command()
def report(
    study: StudyFolder,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print it to report.pdf, too; needs Chromium, Chrome or Edge.")
    ] = False,
    gallery: Annotated[
        bool, typer.Option("--gallery", help="Write pages of every synthetic image beside its nearest real one, too.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="Set of this study, or folder of a study, to lay beside the set, too."),
    ] = None,
    key: KeyFile = None,
) -> None:
    """Writes the report page for the review board."""
    from scansynth.study import PAGE

    browser = _browser() if pdf else ""

    def further(opened: Study) -> None:
        if gallery:
            from scansynth.report.gallery import write_gallery

            with console.bar("comparing images") as progress:
                _wrote(study, opened, write_gallery(opened, progress))
        if compare is not None:
            from scansynth.report.compare import write_comparison

            _wrote(study, opened, write_comparison(opened, compare))
        if browser:
            from scansynth.report.printed import print_page

            _wrote(study, opened, print_page(opened.report / PAGE, browser))

    one_stage(study, "report", key, lambda opened: opened.report / PAGE, also=further)


def _browser() -> str:
    from scansynth.report.printed import find_browser

    return find_browser()


def _wrote(study: Path, opened: Study, path: Path) -> None:
    console.result(f"wrote {study / path.relative_to(opened.folder)}")


@app.command()
def withdraw(
    study: StudyFolder,
    patient: Annotated[
        str,
        typer.Argument(
            metavar="PATIENT", help="The patient's number as labels.csv or the files have it, or the keyed hash."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False,
    key: KeyFile = None,
) -> None:
    """Withdraws a patient: says what the patient touched, removes the case, and never takes it in again."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.pipeline.withdraw import plan_withdrawal
    from scansynth.pipeline.withdraw import withdraw as remove
    from scansynth.study import open_study

    opened = open_study(study)
    with opened.lock():
        found = plan_withdrawal(opened, patient, load_key(opened.key_file(key), create=False))
        roles = f", role {', '.join(found.roles)}" if found.roles else ""
        console.result(f"patient {', '.join(sorted(found.patients))}{roles}")
        console.result(f"{'cohort':<18} {found.images} images, {found.files} files named in private/: removed now")
        for trace in found.traces:
            console.result(f"{trace.name:<18} {trace.how}: {trace.todo}")
        if found.again:
            console.say("the patient is already marked as withdrawn; what is left is removed now")
        if not yes and not typer.confirm("Remove the images, and never take this patient in again?", err=True):
            console.result("nothing was removed")
            return
        remove(opened, found)
    console.result("removed the patient; the source files are as they were")
    console.result(f"next: scansynth run {study}" if found.traces else f"next: scansynth status {study}")


@app.command()
def status(study: StudyFolder, key: KeyFile = None) -> None:
    """Shows what is done, what is stale and what comes next."""
    from scansynth.dicom.deidentify import load_key
    from scansynth.gan.standing import run_position
    from scansynth.pipeline.stages import Condition, stage_states
    from scansynth.reader.standing import standing as of_reading
    from scansynth.study import open_study
    from scansynth.utility.standing import standing as of_trial

    opened = open_study(study)
    states = stage_states(opened, load_key(opened.key_file(key), create=False))
    for state in states:
        took = f"  {state.record.seconds:,.0f} s" if state.record and state.condition is Condition.DONE else ""
        console.result(f"{state.stage.name:<9} {state.condition.value:<8}{took}  {state.why}".rstrip())
    for name, words in (("utility", of_trial(opened)), ("reader", of_reading(opened))):
        if words:
            console.result(f"{name:<9} {words}")
    position = run_position(opened.run())
    if position:
        looked = f", variety {position.diversity:.2f}, {position.level}" if position.level else ""
        again = f", attempt {position.attempt}" if position.attempt > 1 else ""
        console.result(f"training  at {position.images:,} of {position.total:,} images{looked}{again}")
    todo = [state.stage.name for state in states if state.condition is not Condition.DONE]
    console.result(f"next: scansynth run {study}" if todo else f"next: open {study / 'report' / 'index.html'}")
