"""Commands that look on: how far readers are, and how two modalities compare that were read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scansynth import console
from scansynth.commands.amend import app
from scansynth.commands.reader import Database, WorklistFolder, worklist_of
from scansynth.errors import ReaderError

__all__ = ["app"]

Margin = Annotated[
    float | None,
    typer.Option(help="Largest difference of the AUC that does not matter; default: 0.1, or that of both protocols."),
]
Level = Annotated[
    float | None, typer.Option(help="Confidence level of the intervals; default: 0.95, or that of both protocols.")
]


@app.command()
def status(study: WorklistFolder, database: Database = None) -> None:
    """Shows how far each reader is and what each said of the screen; never an answer."""
    from scansynth.reader.server.locked import how_far
    from scansynth.reader.server.worklist import load_worklist, was_served

    folder = worklist_of(study)
    load_worklist(folder)
    if database is None and not was_served(folder):
        console.result("this worklist was not served; where a copy of it is served, name that folder")
        console.result(f"next: scansynth reader serve {study}")
        return
    rows = how_far(folder, database)
    for row in rows:
        first = f"first part {row.first_done}/{row.first_total}, " if row.first_total else ""
        console.result(
            f"{row.reader}  {row.state:<10}  {first}practice {row.practice_done}/{row.practice_total}, images "
            f"{row.done}/{row.total}; screen: {row.screen or 'not checked yet'}"
        )
    console.result(f"{sum(row.finished for row in rows)} of {len(rows)} readers have finished")
    console.result(f"next, when all readers have finished: scansynth reader close {study}")


@app.command()
def compare(
    scores: Annotated[
        Path,
        typer.Argument(
            metavar="SCORES",
            help="CSV with reader, modality, case, truth, score (and patient); or .imrmc; or the first of two studies.",
        ),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY", help="The second of two closed studies that the same readers read."),
    ] = None,
    finding: Annotated[
        bool,
        typer.Option(
            "--finding",
            help="Of two studies: how well the finding is told in real images, by the second question; default: how "
            "well synthetic images are told from real ones.",
        ),
    ] = False,
    same: Annotated[
        list[str] | None,
        typer.Option(help="Of two studies: r01=r03, one reader's seats in both; default: whoever has the same seat."),
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="One of two to compare, the first one first; default: the two there are.")
    ] = None,
    margin: Margin = None,
    level: Level = None,
    out: Annotated[Path | None, typer.Option(help="Also write every figure to this JSON file.")] = None,
) -> None:
    """Compares two modalities or sets that the same readers read: difference of the AUC, readers and cases random."""
    from scansynth.files import write_json

    if other is None:
        if finding or same:
            raise ReaderError("--finding and --same are for two studies; a table says itself who read what")
        found = _of_table(scores, tuple(modality or ()), margin, level)
    else:
        if modality:
            raise ReaderError("--modality is for a table of scores; two studies are compared as they are")
        found = _of_studies((scores, other), finding, tuple(same or ()), margin, level)
    _say(found)
    if out is not None:
        write_json(out, found)
        console.result(f"wrote {out}")
    console.result("next, to plan another such study: scansynth plan reader --two-sets")


def _of_table(scores: Path, modalities: tuple[str, ...], margin: float | None, level: float | None) -> dict[str, Any]:
    """The comparison of a table.

    Raises:
        ReaderError: It is a folder, or cannot be compared.
    """
    from scansynth.reader.statistics.modalities import compare_modalities, read_scores

    if scores.is_dir():
        raise ReaderError(f"{scores} is a folder; give two studies that are closed, or a table of scores")
    read = read_scores(scores, modalities)
    return compare_modalities(read, 0.1 if margin is None else margin, 0.95 if level is None else level)


def _of_studies(
    folders: tuple[Path, Path], finding: bool, same: tuple[str, ...], margin: float | None, level: float | None
) -> dict[str, Any]:
    """The comparison of two closed studies.

    Raises:
        ReaderError: They cannot be compared.
    """
    from scansynth.reader.pair import compare_studies
    from scansynth.study import open_study

    for folder in folders:
        if folder.is_file():
            raise ReaderError(f"{folder} is a file; give two studies that are closed, or one table of scores alone")
    first, second = (open_study(folder) for folder in folders)
    if first.folder == second.folder:
        raise ReaderError("both are the same study; give two")
    with first.lock(), second.lock():
        return compare_studies(first, second, finding, same, margin, level)


def _say(found: dict[str, Any]) -> None:
    """Prints a comparison."""
    cases, level = found["cases"], found["level"]
    if (studies := found.get("studies")) is None:
        console.result(
            f"{len(found['readers'])} readers, {cases['positive']} cases with the finding and {cases['negative']} "
            f"without, of {found['patients']} patients"
        )
    else:
        _say_studies(found, studies)
    for name in found["left_out"]:
        told = "read in one modality alone" if studies is None else "did not read enough in both"
        console.warn(f"{name} {told} and is left out")
    for name, auc, (low, high) in zip(found["modalities"], found["auc"], found["auc_intervals"], strict=True):
        console.result(f"{name}: mean AUC {auc:.4f} ({level:.0%} interval {low:.4f} to {high:.4f})")
    low, high = found["interval"]
    console.result(
        f"difference {found['difference']:.4f} ({low:.4f} to {high:.4f}), "
        f"standard error {found['standard_error']:.5f}, {found['degrees_of_freedom']:.2f} degrees of freedom, "
        f"p {found['p']:.4f}; "
        f"p of equivalence {found['equivalence_p']:.4f}"
    )
    console.result(f"{found['outcome']}: {found['why']}")


def _say_studies(found: dict[str, Any], studies: dict[str, Any]) -> None:
    """Prints what was compared of two studies, and who was taken for whom."""
    cases, finding = found["cases"], studies["finding"]
    what = f"{finding} is told in real images" if finding else "synthetic images are told from real ones"
    kinds = (f"images with {finding}", "without") if finding else ("synthetic images", "real ones")
    console.result(f"how well {what}: {' less '.join(found['modalities'])}")
    console.result(f"readers, by their seats: {', '.join(' is '.join(seats) for seats in studies['seats'])}")
    console.result(
        f"{cases['positive']} {kinds[0]} and {cases['negative']} {kinds[1]}; "
        f"real images of {studies['shared_patients']} patients were read in both"
    )
    if not studies["shared_patients"]:
        console.warn(
            "no patient was read in both, so the studies count as of different patients; if they are not, the studies "
            "were ingested with different keys"
        )
