"""Lesion masks as labels.csv gives them: files of any known kind and boxes, several for an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scansynth.data.labels.lesions import Lesion, paint_box
from scansynth.data.scans.join import Scan
from scansynth.dicom.masks.target import Target
from scansynth.dicom.sandbox import Decoded, DecodePool
from scansynth.errors import CohortError, DicomError
from scansynth.study import Study

Mask = npt.NDArray[np.uint8]


class LesionReader:
    """Reads the lesions of scans, and keeps count of what is odd about them.

    Args:
        study: The study: a mask lies below its DICOM folder, or beside its labels.csv.
        pool: Confined processes of their own: others are busy with the images meanwhile.
    """

    def __init__(self, study: Study, pool: DecodePool) -> None:
        settings = study.config.cohort
        self._folders = [study.source(settings.dicom)]
        if settings.labels is not None:
            self._folders.append(study.source(settings.labels).parent)
        self._positive, self._pool = settings.positive, pool
        self._odd: Counter[str] = Counter()

    def masks(self, scans: Sequence[Scan]) -> Iterator[Mask | None]:
        """The lesions of each scan on the grid of its stored image, in order.

        Yields:
            (rows, columns) uint8, 0 or 1: the union of all lesions; none when the table gives none.

        Raises:
            CohortError: A mask is missing, cannot be read or does not fit its image.
        """
        files = [(scan, lesion) for scan in scans for lesion in _lesions(scan) if lesion.file is not None]
        jobs = ((self._find(lesion), _target(scan), lesion.part) for scan, lesion in files)
        read = self._pool.read_masks(jobs)
        for scan in scans:
            lesions = _lesions(scan)
            mask = np.zeros((scan.header.rows, scan.header.columns), np.uint8)
            for lesion in lesions:
                mask |= _usable(lesion, next(read)) if lesion.box is None else paint_box(
                    lesion.row, lesion.box, mask.shape
                )  # fmt: skip
            self._look(scan, mask, bool(lesions))
            yield mask if lesions else None

    def _find(self, lesion: Lesion) -> Path:
        name = lesion.file or ""
        path = next((folder / name for folder in self._folders if (folder / name).is_file()), None)
        if path is None:
            raise CohortError(
                f"labels.csv row {lesion.row}: there is no such mask in the DICOM folder; correct the path, or empty "
                "the cell"
            )
        return path

    def _look(self, scan: Scan, mask: Mask, given: bool) -> None:
        if self._positive is not None and scan.label != self._positive:
            return
        if given and not mask.any():
            self._odd["an empty mask"] += 1
        elif mask.all():
            self._odd["a mask that covers the whole image"] += 1
        elif np.count_nonzero(mask) * 2 > mask.size:
            self._odd["a mask that covers more than half of the image, as one in black on white does"] += 1
        elif not given and self._positive is not None:
            self._odd["no mask"] += 1

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the masks, a sentence each."""
        whose = "images" if self._positive is None else f"images labelled {self._positive}"
        return tuple(
            f"{count} {whose} have {what}: look at them, a detector of lesions would learn from it"
            for what, count in self._odd.items()
        )


def _lesions(scan: Scan) -> tuple[Lesion, ...]:
    return scan.row.lesions if scan.row else ()


def _target(scan: Scan) -> Target:
    header = scan.header
    return Target(
        rows=header.rows,
        columns=header.columns,
        name=scan.source.relative,
        sop_instance_uid=header.sop_instance_uid,
        position=header.position,
        orientation=header.orientation,
        spacing=header.pixel_spacing,
        frame=header.frame + 1 if header.frames > 1 else 0,
        frame_of_reference_uid=header.frame_of_reference_uid,
    )


def _usable(lesion: Lesion, found: Decoded | DicomError) -> Mask:
    if isinstance(found, DicomError):
        detail = f" ({found.detail})" if found.detail else ""
        raise CohortError(
            f"labels.csv row {lesion.row}: the mask cannot be used: {found.reason}{detail}; correct it, or empty the "
            "cell"
        )
    return np.asarray(found.values, np.uint8)
