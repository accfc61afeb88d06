"""What a run tells of itself while it trains: `log.jsonl`, a line for each look, and `alarms.jsonl`.

A run that went back to an earlier state is in its next attempt. Lines of the part that was given up stay, so that
one can see what happened; `surviving` leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scansynth.files import append_json_line, read_json_lines, write_json_lines

LOG, ALARMS = "log.jsonl", "alarms.jsonl"


def append(path: Path, attempt: int, images: int, values: Mapping[str, Any]) -> None:
    """Adds one line."""
    append_json_line(path, {"images": images, "attempt": attempt, **values})


def cut(folder: Path, attempt: int, images: int) -> None:
    """Takes out lines that were written after the checkpoint from which the run goes on."""
    for path in (folder / LOG, folder / ALARMS):
        if path.exists():
            rows = read_json_lines(path)
            write_json_lines(path, [row for row in rows if (row["attempt"], row["images"]) <= (attempt, images)])


def surviving(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines of the training as it stands, without what a roll-back gave up; in order of the images."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        # a later attempt began at or before its first line: what stood after that is given up
        kept = [old for old in kept if old["images"] < row["images"]] if _goes_back(kept, row) else kept
        kept.append(dict(row))
    return kept


def _goes_back(kept: list[dict[str, Any]], row: Mapping[str, Any]) -> bool:
    return bool(kept) and row.get("attempt", 1) > kept[-1].get("attempt", 1)
