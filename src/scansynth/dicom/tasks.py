"""What a confined child process does for its parent: read a header, or decode an image.

One program for both, so that the same children serve a whole ingest and start once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scansynth.dicom import png
from scansynth.dicom.pixels import decode_task
from scansynth.dicom.read import read_task

TASKS: Mapping[str, Callable[..., tuple[dict[str, Any], bytes]]] = {
    "header": read_task,
    "image": decode_task,
    "PNG header": png.header_task,
    "PNG image": png.image_task,
}


def perform(task: str, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """One task by its name; see `scansynth.dicom.child.Task`."""
    return TASKS[task](**arguments)
