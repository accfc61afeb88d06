"""What a confined child process does for its parent: read a header, decode an image, or read a lesion's mask.

One program for all, so that the same children serve a whole ingest and start once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scansynth.dicom import picture, raster
from scansynth.dicom.header import Header
from scansynth.dicom.masks.read import mask_task
from scansynth.dicom.pixels import decode_task
from scansynth.dicom.read import read_task
from scansynth.dicom.text import text_places


def _image(path: str, header: Mapping[str, Any], text: bool = False) -> tuple[dict[str, Any], bytes]:
    """The image of a DICOM file, or of one that stands in its place, and where text may stand in it."""
    kind = str(header["transfer_syntax_uid"])
    if kind in picture.PICTURE_KINDS or kind.startswith(picture.NIFTI):
        value, pixels = picture.image_task(path, Header.from_values(header))
    else:
        value, pixels = decode_task(path, header)
    if text:
        value["text"] = text_places(np.frombuffer(pixels, "<f4").reshape(header["rows"], header["columns"]))
    return value, pixels


TASKS: Mapping[str, Callable[..., tuple[dict[str, Any], bytes]]] = {
    "header": read_task,
    "image": _image,
    "picture header": picture.header_task,
    "raster header": raster.header_task,
    "raster image": raster.image_task,
    "mask": mask_task,
}


def perform(task: str, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """One task by its name; see `scansynth.dicom.child.Task`."""
    return TASKS[task](**arguments)
