"""Commands that look on: how far readers are, and how two modalities compare that were read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scansynth import console
from scansynth.commands.amend import app
from scansynth.commands.reader import Database, WorklistFolder, worklist_of

__all__ = ["app"]


@app.command()
def status(study: WorklistFolder, database: Database = None) -> None:
    """Shows how far each reader is and what each said of the screen; never an answer."""
    from scansynth.reader.server.locked import how_far
    from scansynth.reader.server.worklist import was_served

    folder = worklist_of(study)
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
            metavar="SCORES", help="CSV with reader, modality, case, truth, score (and patient); or .imrmc."
        ),
    ],
    modality: Annotated[
        list[str] | None, typer.Option(help="One of two to compare, the first one first; default: the two there are.")
    ] = None,
    margin: Annotated[float, typer.Option(help="Largest difference of the AUC that does not matter.")] = 0.1,
    level: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    out: Annotated[Path | None, typer.Option(help="Also write every figure to this JSON file.")] = None,
) -> None:
    """Compares two modalities or sets that the same readers read: difference of the AUC, readers and cases random."""
    from scansynth.files import write_json
    from scansynth.reader.statistics.modalities import compare_modalities, read_scores

    read = read_scores(scores, tuple(modality or ()))
    found = compare_modalities(read, margin, level)
    cases = found["cases"]
    console.result(
        f"{len(found['readers'])} readers, {cases['positive']} cases with the finding and {cases['negative']} without, "
        f"of {found['patients']} patients"
    )
    for name in found["left_out"]:
        console.warn(f"{name} read in one modality alone and is left out")
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
    if out is not None:
        write_json(out, found)
        console.result(f"wrote {out}")
    console.result("next, to plan another such study: scansynth plan reader --two-sets")
