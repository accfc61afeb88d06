"""Patients that share a picture become one, so that no picture has two roles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scansynth.console import Progress, silent
from scansynth.data.cohort.twins import LARGEST, MOST_IMAGES, SHARE, Pictures, Twins, find_twins
from scansynth.data.grouping import grouped
from scansynth.data.imageset import ImageSet, as_planes
from scansynth.data.scans.join import Scan
from scansynth.data.tensors import load_cohort

Rows = Sequence[tuple[Scan, Mapping[str, str]]]


@dataclass(frozen=True)
class United:
    """A cohort's rows with one patient for all who share a picture.

    Attributes:
        rows: Scans and their rows of cases.csv.
        groups: First member of the group of each patient who shares a picture, also of those of another study.
        listed: For the owner: two files, or a file and a case of another study, and how alike they are.
        notes: What the user should know.
    """

    rows: Rows
    groups: Mapping[str, str]
    listed: tuple[tuple[str, str, float], ...]
    notes: tuple[str, ...]


def unite(rows: Rows, images: Path, other: Path | None, progress: Progress = silent) -> United:
    """Looks for pictures that patients share, and makes those patients one.

    Args:
        rows: Scans and their rows of cases.csv, in the images' order.
        images: The cohort's `images.npy`.
        other: Cohort of the study with which roles are shared.
        progress: Told how far the work is.
    """
    patients = [scan.patient for scan, _ in rows]
    own = Pictures(as_planes(np.load(images, mmap_mode="r")), [row["pixels"] for _, row in rows], patients)
    known = None if other is None else load_cohort(other).images
    cases = () if known is None else known.rows
    theirs = None if known is None else _pictures(known)
    nobodys = _nobodys(own)
    found = find_twins(own, theirs, progress)
    twins = _without(found, own, nobodys)
    everyone = [*patients, *(case["patient"] for case in cases)]
    groups = grouped((everyone[twin.first], everyone[twin.second]) for twin in twins.pairs)
    united = [
        (
            replace(scan, patient=groups.get(scan.patient, scan.patient)),
            {**row, "patient": groups.get(scan.patient, scan.patient)},
        )
        for scan, row in rows
    ]
    names = [*(scan.source.relative for scan, _ in rows), *(f"case {case['id']}" for case in cases)]
    listed = tuple((names[twin.first], names[twin.second], twin.score) for twin in found.pairs)
    labels = [*(scan.label for scan, _ in rows), *(case["label"] for case in cases)]
    notes = [*_notes(twins, groups, len(rows), labels), *_crowd_notes(own, nobodys)]
    return United(united, groups, listed, tuple(notes))


def _nobodys(own: Pictures) -> frozenset[str]:
    """Digests of pictures under so many patients that these cannot be one person: test images, blank slices, pages."""
    sharing: dict[str, set[str]] = defaultdict(set)
    for digest, patient in zip(own.digests, own.patients, strict=True):
        sharing[digest].add(patient)
    most = max(LARGEST, SHARE * len(set(own.patients)))
    return frozenset(digest for digest, patients in sharing.items() if digest and len(patients) > most)


def _without(twins: Twins, own: Pictures, nobodys: frozenset[str]) -> Twins:
    """The twins but for pairs of pictures that are nobody's: those make no two patients one."""
    places = {place for place, digest in enumerate(own.digests) if digest in nobodys}
    return replace(twins, pairs=tuple(twin for twin in twins.pairs if not {twin.first, twin.second} & places))


def _crowd_notes(own: Pictures, nobodys: frozenset[str]) -> list[str]:
    """That some pictures are nobody's own, which makes training and test images alike."""
    if not nobodys:
        return []
    patients = {patient for digest, patient in zip(own.digests, own.patients, strict=True) if digest in nobodys}
    images = sum(digest in nobodys for digest in own.digests)
    what = "one picture" if len(nobodys) == 1 else f"{len(nobodys)} pictures"
    return [
        f"{images} images of {len(patients)} patients show {what}, under more patients than one person can be: "
        "training and test images are the same, so trust no figure; remove them (private/same_pictures.csv names them)"
    ]


def _pictures(known: ImageSet) -> Pictures:
    digests = [case.get("pixels", "") for case in known.rows]
    return Pictures(known.planes, digests, [case["patient"] for case in known.rows])


def _notes(twins: Twins, groups: Mapping[str, str], own: int, labels: Sequence[str]) -> list[str]:
    """What was found, and what could not be looked for."""
    notes = []
    if twins.pairs:
        equal = len({twin.second for twin in twins.pairs if twin.equal})
        near = len({twin.second for twin in twins.pairs if not twin.equal})
        kinds = [f"{equal} images have the very pixels of another patient's image"] if equal else []
        kinds += [f"{near} are another patient's image but for grey scale, noise, shift or mirror"] if near else []
        elsewhere = " or of the study of split_from" if any(twin.second >= own for twin in twins.pairs) else ""
        several = len(set(groups.values()))
        notes.append(
            f"{'; '.join(kinds)}: {len(groups)} patients of this study{elsewhere} were taken for {several} "
            "(private/same_pictures.csv names the files)"
        )
        torn = sum(labels[twin.first] != labels[twin.second] for twin in twins.pairs)
        if torn:
            notes.append(f"{torn} pairs of such images have two different labels; look at them")
    if not twins.searched and own > MOST_IMAGES:
        notes.append(f"copies of a picture that differ in their pixels were not looked for among {own:,} images")
    elif twins.searched and twins.limit is None:
        notes.append(
            "the images of different patients are so much alike that changed copies under two patients cannot be told; "
            "only equal pixels were looked for"
        )
    return notes
