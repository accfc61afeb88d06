"""One image in several files: counted once; or, when the files hold different pictures, not at all.

A SOP Instance UID names one image for ever (PS3.3 C.12.1). Files that share one are compared by their decoded pixels:
a copy that was compressed, or whose header was touched, is the same image.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from scansynth.data.scans.join import Left, Scan
from scansynth.dicom.header import Header
from scansynth.dicom.sandbox import DecodePool
from scansynth.errors import DicomError

DUPLICATE = "duplicate"
DIFFERENT = "one UID for different images"
DISAGREEING = "duplicates that disagree"
_INT16 = 1 << 15
_OFF_COSINE, _OFF_MM, _OFF_SPACING = 0.02, 0.1, 0.005
"""How far two writers of one image may round its orientation, its position (mm) and its spacing (mm)."""
_WHERE = "private/duplicates.csv names the files"


def settle_duplicates(scans: Sequence[Scan], pool: DecodePool) -> tuple[list[Scan], list[Left], list[list[Scan]]]:
    """Every image once.

    Args:
        scans: Scans that would make cases, some with the same SOP Instance UID.
        pool: The confined processes, which decode those.

    Returns:
        The scans to keep, in their order; the files left out; and the groups of files that share a UID.
    """
    by_uid: dict[str, list[Scan]] = defaultdict(list)
    for scan in scans:
        by_uid[scan.header.image_uid].append(scan)
    groups = [group for group in by_uid.values() if len(group) > 1]
    together = [scan for group in groups for scan in group]
    decoded = pool.decode_all((scan.source.path, scan.header) for scan in together)
    digests = {
        _place(scan): image if isinstance(image, DicomError) else pixel_digest(image.values)
        for scan, image in zip(together, decoded, strict=True)
    }
    out = dict(pair for group in groups for pair in _settle(group, digests))
    return [scan for scan in scans if _place(scan) not in out], list(out.values()), groups


_Place = tuple[str, int]


def _place(scan: Scan) -> _Place:
    """Which image of which file."""
    return scan.source.relative, scan.header.frame


def _settle(group: Iterable[Scan], digests: dict[_Place, str | DicomError]) -> list[tuple[_Place, Left]]:
    """Which files of one image are left out, and why: all but one, or all."""
    left: list[tuple[_Place, Left]] = []
    good: list[tuple[Scan, str]] = []
    for scan in sorted(group, key=_order):
        found = digests[_place(scan)]
        if isinstance(found, DicomError):
            left.append((_place(scan), Left(scan.source, found.reason, found.detail, scan.patient)))
        else:
            good.append((scan, found))
    if len({digest for _, digest in good}) > 1:
        out, reason, detail = good, DIFFERENT, _WHERE
    elif any(_said(scan) != _said(good[0][0]) for scan, _ in good):
        out, reason, detail = good, DISAGREEING, f"their rows or patients differ; {_WHERE}"
    elif any(_elsewhere(one.header, two.header) for (one, _), (two, _) in itertools.combinations(good, 2)):
        out, reason, detail = good, DISAGREEING, f"their orientation, position or spacing differs; {_WHERE}"
    else:
        out, reason, detail = good[1:], DUPLICATE, f"the same image as another file; {_WHERE}"
    return [*left, *((_place(scan), Left(scan.source, reason, detail, scan.patient)) for scan, _ in out)]


def _order(scan: Scan) -> tuple[bool, bool, int, str]:
    """The file that says most of the image comes first, then the shortest name."""
    return scan.row is None, scan.header.orientation is None, len(scan.source.relative), scan.source.relative


def _said(scan: Scan) -> object:
    """What is said of an image beside its pixels: whose it is, its label, its lesion, its role."""
    row = scan.row
    if row is not None:
        row = dataclasses.replace(row, row=0, path=None, sop_instance_uid=None, patient_id=None, attributes=None)
    return scan.patient, row


def _elsewhere(one: Header, two: Header) -> bool:
    """Whether two headers say different things of where an image lies; what is missing says nothing."""
    pairs = (
        (one.orientation, two.orientation, _OFF_COSINE),
        (one.position, two.position, _OFF_MM),
        (one.pixel_spacing, two.pixel_spacing, _OFF_SPACING),
    )
    return any(
        abs(first - second) > most
        for known, other, most in pairs
        if known is not None and other is not None
        for first, second in zip(known, other, strict=True)
    )


def pixel_digest(values: npt.NDArray[np.generic]) -> str:
    """SHA-256 of an image's size and values: as int16 where they are whole numbers that fit, else as float32."""
    kind = "<f4"
    if values.dtype == np.int16 or (np.abs(values).max() < _INT16 and np.array_equal(values, values.astype(np.int16))):
        kind = "<i2"
    shape = "x".join(str(side) for side in values.shape) + kind
    return hashlib.sha256(shape.encode() + np.ascontiguousarray(values, kind).tobytes()).hexdigest()
