"""What a confined child process does for its parent: read a header, decode an image, or read a lesion's mask.

One program for all, so that the same children serve a whole ingest and start once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scansynth.dicom.counts import Counts
from scansynth.dicom.header import Header
from scansynth.dicom.pixels import decode_with_hash
from scansynth.dicom.read import read_task
from scansynth.dicom.text import text_places

Answered = tuple[dict[str, Any], bytes]


def _image(path: str, header: Mapping[str, Any], text: bool = False) -> Answered:
    """The image of a DICOM file, or of one that stands in its place, and where text may stand in it.

    Whole numbers go out as int16, with how often each occurs; others as float32.
    """
    known = Header.from_values(header)
    if known.transfer_syntax_uid.startswith("1."):  # the others are words
        values, digest = decode_with_hash(path, known)
    else:
        from scansynth.dicom import picture  # noqa: PLC0415 (as below)

        values, digest = picture.decode_with_hash(path, known)
    value: dict[str, Any] = {"sha256": digest}
    if text:
        value["text"] = text_places(values.astype(np.float32, copy=False))
    if values.dtype != np.int16:
        return value, values.astype("<f4", copy=False).tobytes()
    counts = Counts.of(values)
    value |= {"least": counts.least, "bins": len(counts.often)}
    return value, values.astype("<i2", copy=False).tobytes() + counts.often.astype("<u4").tobytes()


def _elsewhere(module: str, function: str) -> Callable[..., Answered]:
    """A task that few cohorts need: what it imports costs a child a third of its start, so it waits until then."""

    def task(**arguments: Any) -> Answered:
        found: Callable[..., Answered] = getattr(importlib.import_module(f"scansynth.dicom.{module}"), function)
        return found(**arguments)

    return task


TASKS: Mapping[str, Callable[..., Answered]] = {
    "header": read_task,
    "image": _image,
    "picture header": _elsewhere("picture", "header_task"),
    "raster header": _elsewhere("raster", "header_task"),
    "raster image": _elsewhere("raster", "image_task"),
    "mask": _elsewhere("masks.read", "mask_task"),
}


def perform(task: str, **arguments: Any) -> Answered:
    """One task by its name; see `scansynth.dicom.child.Task`."""
    return TASKS[task](**arguments)
