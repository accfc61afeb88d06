"""One image in several files: counted once; or, when the files hold different pictures, not at all.

A SOP Instance UID names one image for ever (PS3.3 C.12.1). Files that share one are compared by their decoded pixels:
a copy that was compressed, or whose header was touched, is the same image.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from scansynth.data.join import Left, Scan
from scansynth.dicom.sandbox import DecodePool
from scansynth.errors import DicomError

DUPLICATE = "duplicate"
DIFFERENT = "one UID for different images"
DISAGREEING = "duplicates that disagree"
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
        by_uid[scan.header.sop_instance_uid].append(scan)
    groups = [group for group in by_uid.values() if len(group) > 1]
    together = [scan for group in groups for scan in group]
    decoded = pool.decode_all((scan.source.path, scan.header) for scan in together)
    digests = {
        scan.source.relative: image if isinstance(image, DicomError) else pixel_digest(image.values)
        for scan, image in zip(together, decoded, strict=True)
    }
    left = [item for group in groups for item in _settle(group, digests)]
    out = {item.source.relative for item in left}
    return [scan for scan in scans if scan.source.relative not in out], left, groups


def _settle(group: Iterable[Scan], digests: dict[str, str | DicomError]) -> list[Left]:
    """Which files of one UID are left out, and why: all but one, or all."""
    left, good = [], []
    for scan in sorted(group, key=lambda scan: (scan.row is None, len(scan.source.relative), scan.source.relative)):
        found = digests[scan.source.relative]
        if isinstance(found, DicomError):
            left.append(Left(scan.source, found.reason, found.detail))
        else:
            good.append((scan, found))
    if len({digest for _, digest in good}) > 1:
        return [*left, *(Left(scan.source, DIFFERENT, _WHERE) for scan, _ in good)]
    if any(_said(scan) != _said(good[0][0]) for scan, _ in good):
        detail = f"their rows or patients differ; {_WHERE}"
        return [*left, *(Left(scan.source, DISAGREEING, detail) for scan, _ in good)]
    return [*left, *(Left(scan.source, DUPLICATE, f"the same image as another file; {_WHERE}") for scan, _ in good[1:])]


def _said(scan: Scan) -> object:
    """What is said of an image beside its pixels: whose it is, its label, its lesion, its role."""
    row = scan.row
    if row is not None:
        row = dataclasses.replace(row, row=0, path=None, sop_instance_uid=None, patient_id=None, attributes=None)
    return scan.patient, row


def pixel_digest(values: npt.NDArray[np.generic]) -> str:
    """SHA-256 of an image's size and values, as float32."""
    shape = "x".join(str(side) for side in values.shape)
    return hashlib.sha256(shape.encode() + np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()
