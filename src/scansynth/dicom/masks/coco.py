"""Lesions as COCO JSON: polygons, run lengths and boxes of the images that it names by their files."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from scansynth.dicom.masks.target import Floats, Mask, Target, check_size, choose, fill_polygon, need_single
from scansynth.errors import DicomError

_MOST = 1 << 26  # bytes of JSON
_CORNERS = 3


def read_coco(path: Path, target: Target, part: str | None) -> Mask:
    """The union of an image's annotations of one category.

    Raises:
        DicomError: The file is no COCO, does not know the image, or several categories occur and none is named.
    """
    need_single(target, "COCO")
    found = _open(path, path.stat().st_mtime_ns)
    image = _image(found, target)
    check_size((int(image["height"]), int(image["width"])), target)
    names = {int(item["id"]): str(item.get("name", "")) for item in found.get("categories", [])}
    of_image = [item for item in found["annotations"] if item["image_id"] == image["id"]]
    used = {int(item.get("category_id", 0)) for item in found["annotations"]}
    chosen = choose({number: names.get(number, str(number)) for number in used}, part)
    mask = np.zeros(target.shape, np.uint8)
    for item in of_image:
        if int(item.get("category_id", 0)) in chosen:
            mask |= _paint(item, target)
    return mask


@lru_cache(maxsize=2)
def _open(path: Path, _changed: int) -> dict[str, Any]:
    if path.stat().st_size > _MOST:
        raise DicomError("too large", f"the limit is {_MOST} bytes")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise DicomError(
            "not JSON", "give the mask as PNG, NIfTI, DICOM SEG, RTSTRUCT, LIDC XML or COCO JSON"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in ("images", "annotations")):
        raise DicomError("not COCO", "it must hold images and annotations")
    return found


def _image(found: dict[str, Any], target: Target) -> dict[str, Any]:
    """The entry of an image: by its path, else by its name, else by its name without the ending."""
    path = PurePosixPath(target.name)
    entries = [(PurePosixPath(str(item["file_name"]).replace("\\", "/")), item) for item in found["images"]]
    for part in ("parts", "name", "stem"):
        alike = [item for name, item in entries if getattr(name, part) == getattr(path, part)]
        if len(alike) == 1:
            entry: dict[str, Any] = alike[0]
            return entry
        if alike:
            break
    raise DicomError(
        "an image that it does not know" if not alike else "several images of one name",
        "file_name must be the image's path as in labels.csv",
    )


def _paint(item: dict[str, Any], target: Target) -> Mask:
    """One annotation."""
    form = item.get("segmentation")
    if isinstance(form, dict):
        return _run_lengths(form, target)
    mask = np.zeros(target.shape, np.bool_)
    if form:
        for polygon in form:
            # COCO counts from the corner of the first pixel, not from its centre
            corners: Floats = np.array(polygon, np.float64).reshape(-1, 2) - 0.5
            if len(corners) >= _CORNERS:
                mask |= fill_polygon(corners, target.shape)
    elif item.get("bbox"):
        x, y, width, height = (float(value) for value in item["bbox"])
        mask[int(np.floor(y)) : int(np.ceil(y + height)), int(np.floor(x)) : int(np.ceil(x + width))] = True
    return mask.astype(np.uint8)


def _run_lengths(form: dict[str, Any], target: Target) -> Mask:
    """Runs of 0 and 1 by turns, column after column."""
    height, width = (int(side) for side in form["size"])
    check_size((height, width), target)
    counts = form["counts"]
    runs = _unpacked(counts) if isinstance(counts, str) else [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise DicomError("damaged run lengths", "they do not add up to the image's pixels")
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    return np.ascontiguousarray(flat.reshape(width, height).T.astype(np.uint8))


def _unpacked(text: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character, from the third run on the change to the last but one."""
    runs: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            if place >= len(text):
                raise DicomError("damaged run lengths", "they end early")
            bits = ord(text[place]) - 48
            value |= (bits & 0x1F) << shift
            more, shift, place = bool(bits & 0x20), shift + 5, place + 1
            if not more and bits & 0x10:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs
