"""The state of a reader study."""

from __future__ import annotations

from scansynth.reader.server.worklist import was_served
from scansynth.study import ANALYSIS, CLOSING, PROTOCOL, WORKLIST_FOLDER, Study


def standing(study: Study) -> str:
    """In words; empty while there is no reader study."""
    folder = study.reader
    if not (folder / PROTOCOL).exists():
        return ""
    if (folder / ANALYSIS).exists():
        return "done      closed and analysed"
    if (folder / CLOSING).exists():
        return f"closed    run: scansynth reader analyse {study.folder}"
    if was_served(folder / WORKLIST_FOLDER):
        return f"open      how far readers are: scansynth reader status {study.folder}"
    return f"made      run: scansynth reader serve {study.folder}"
