"""What a confined child process does for its parent: read a header, decode an image, or read a lesion's mask.

One program for all, so that the same children serve a whole ingest and start once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scansynth.dicom import raster
from scansynth.dicom.masks.read import mask_task
from scansynth.dicom.pixels import decode_task
from scansynth.dicom.read import read_task

TASKS: Mapping[str, Callable[..., tuple[dict[str, Any], bytes]]] = {
    "header": read_task,
    "image": decode_task,
    "raster header": raster.header_task,
    "raster image": raster.image_task,
    "mask": mask_task,
}


def perform(task: str, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """One task by its name; see `scansynth.dicom.child.Task`."""
    return TASKS[task](**arguments)
