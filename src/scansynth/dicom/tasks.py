"""What a confined child process does for its parent: read a header, decode an image, or read a lesion's mask.

One program for all, so that the same children serve a whole ingest and start once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scansynth.dicom import picture, raster
from scansynth.dicom.header import Header
from scansynth.dicom.masks.read import mask_task
from scansynth.dicom.pixels import decode_task
from scansynth.dicom.read import read_task


def _image(path: str, header: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The image of a DICOM file, or of one that stands in its place."""
    kind = str(header["transfer_syntax_uid"])
    if kind in picture.PICTURE_KINDS or kind.startswith(picture.NIFTI):
        return picture.image_task(path, Header.from_values(header))
    return decode_task(path, header)


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
