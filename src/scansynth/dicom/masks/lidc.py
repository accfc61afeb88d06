"""Nodules as the XML files of LIDC-IDRI give them: outlines by up to four readers.

An outline is the first pixel outside the nodule (10.1118/1.3528204, section II.C), so it does not belong to it. Readers
disagree: a pixel counts where at least half of the readers who outlined anything on the image put it inside.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from scansynth.dicom.masks.target import Mask, Target, fill_polygon, need_single
from scansynth.errors import DicomError

_CORNERS = 3
_Outlines = list[tuple[str, bool, npt.NDArray[np.float64]]]


def read_lidc(path: Path, target: Target, part: str | None) -> Mask:
    """The nodules of one image, by the majority of readers.

    Raises:
        DicomError: The file is no LIDC reading, or an outline leaves the image.
    """
    need_single(target, "LIDC XML")
    if part is not None:
        raise DicomError("no such part", "LIDC XML has no parts; empty the cell mask_part")
    votes, readers = np.zeros(target.shape, np.int32), 0
    for session in _open(path, path.stat().st_mtime_ns):
        outlines = [(adds, edge) for uid, adds, edge in session if uid == target.sop_instance_uid]
        if outlines:
            readers += 1
            votes += _reading(outlines, target)
    return (2 * votes >= max(readers, 1)).astype(np.uint8) & (votes > 0)


def _reading(outlines: list[tuple[bool, npt.NDArray[np.float64]]], target: Target) -> npt.NDArray[np.bool_]:
    """What one reader put inside a nodule; outlines marked as no inclusion are holes."""
    nodule, holes = np.zeros(target.shape, np.bool_), np.zeros(target.shape, np.bool_)
    for adds, edge in outlines:
        columns, rows = edge.astype(int).T
        if min(columns.min(), rows.min()) < 0 or columns.max() >= target.columns or rows.max() >= target.rows:
            raise DicomError("an outline that leaves the image", "is it the reading of another scan?")
        line = np.zeros(target.shape, np.bool_)
        line[rows, columns] = True
        within = fill_polygon(edge, target.shape) & ~line if len(edge) >= _CORNERS else line
        (nodule if adds else holes).__ior__(within if within.any() else line)
    return nodule & ~holes


@lru_cache(maxsize=2)
def _open(path: Path, _changed: int) -> tuple[_Outlines, ...]:
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError:
        raise DicomError("not XML", "the file is damaged") from None
    sessions = [node for node in root.iter() if _name(node) == "readingSession"]
    if not sessions:
        raise DicomError("not an LIDC reading", "it must hold readingSession elements")
    return tuple(_session(session) for session in sessions)


def _session(session: ElementTree.Element) -> _Outlines:
    found: _Outlines = []
    for nodule in (node for node in session if _name(node) == "unblindedReadNodule"):
        for roi in (node for node in nodule if _name(node) == "roi"):
            said = {_name(node): (node.text or "").strip() for node in roi}
            edge = [[int(point.text or "") for point in node] for node in roi if _name(node) == "edgeMap"]
            if edge:
                adds = said.get("inclusion", "TRUE").upper() != "FALSE"
                found.append((said.get("imageSOP_UID", ""), adds, np.array(edge, np.float64)))
    return found


def _name(node: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return node.tag.rpartition("}")[2]
