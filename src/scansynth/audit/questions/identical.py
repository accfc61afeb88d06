"""Is a real image in the set: as a file, pixel for pixel, or re-encoded? The claim `copies.real_files`.

A re-encoded copy differs only in brightness, contrast, number of grey levels, compression or size. Images that were
shifted, mirrored, rotated or blended are left to the copy search.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scansynth.audit.compared import Compared, Images, Reals
from scansynth.audit.context import Context, at_most
from scansynth.claims.claim import Control, Finding, Measurement, decide, floor_of
from scansynth.console import Progress
from scansynth.data.transforms import resize
from scansynth.metrics import planted
from scansynth.metrics.ncc import average
from scansynth.statistics import Interval, Verdict

NAME = "copies.real_files"
CLAIMS = (NAME,)
CONTROL_IMAGES = 100

REAL_FILES = "synthetic images that are real files"
"""What the claim calls their number."""

ALIKE = 0.998
"""Correlation above which two images count as the same, unless two patients of the cohort reach more."""

NEEDED = 0.95
"""Share of re-encoded real images that must be recognised."""

_SIDE = 32  # pixels at which images are compared, or half their side: re-encoding changes are averaged out
_TILE = 512
_MOST = 2000  # real images among which the similarity of different patients is measured
_EXACT = 1.0 - 1e-6  # correlation of the same picture twice
_ONE_SCAN, _RARE = 0.9995, 0.05  # correlation of a re-encoded scan; share of images that may have such a duplicate

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """Which synthetic images are real ones.

    Attributes:
        same: Case of each that is a real file or has a real image's values, by the position of the synthetic image.
        reencoded: Case of each re-encoded real image, and the correlation, by position.
        limit: Correlation above which an image counts as re-encoded.
    """

    same: Mapping[int, str]
    reencoded: Mapping[int, tuple[str, float]]
    limit: float


def value_digests(images: NDArray[Any]) -> list[str]:
    """SHA-256 of each image's values, (n, side, side); empty for a constant image, which belongs to no patient."""
    return [
        "" if np.ptp(image) < 1e-6 else hashlib.sha256(np.ascontiguousarray(image, "<f4").tobytes()).hexdigest()
        for image in images
    ]


def pictures(images: NDArray[Any]) -> Floats:
    """Small images normalised for brightness and contrast: unit vectors (n, at most 1024), 0 for a constant image."""
    side = min(_SIDE, images.shape[1] // 2)
    small = average(images, side).reshape(len(images), -1).astype(np.float64)
    small -= small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    return np.asarray(small / np.where(length > 1e-6, length, np.inf), dtype=np.float32)


def nearest(queries: Floats, references: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Position of the most correlated reference for each query, and the correlation, (n,) each; computed in tiles."""
    places, highest = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.float32)
    for start in range(0, len(queries), _TILE):
        product = queries[start : start + _TILE] @ references.T
        places[start : start + _TILE] = product.argmax(axis=1)
        highest[start : start + _TILE] = product.max(axis=1)
    return places, highest


def likeness_of_patients(pictured: Floats, patients: NDArray[Any]) -> float:
    """The highest correlation between images of two different patients, (n, d).

    Repeated images do not count, nor does a scan stored twice, once re-encoded, as long as such pairs are rare:
    where many patients correlate that highly, the correlation is genuine.
    """
    highest = np.zeros(len(pictured))
    for start in range(0, len(pictured), _TILE):
        product = pictured[start : start + _TILE] @ pictured.T
        product[patients[start : start + _TILE, None] == patients[None, :]] = 0.0
        product[product >= _EXACT] = 0.0
        highest[start : start + _TILE] = product.max(axis=1, initial=0.0)
    twice = highest >= _ONE_SCAN
    return float(highest[~twice if twice.mean() <= _RARE else slice(None)].max(initial=0.0))


def search(compared: Compared, rng: np.random.Generator) -> Found:
    """Real images among the synthetic ones.

    By file hash where it is known, by the values at the common size and scale, and by the small image.

    Args:
        compared: What is looked at.
        rng: Subsamples the real images among which patients are compared, where there are very many.
    """
    parts = _parts(compared)
    cases = [case.case for part in parts for case in part.cases]
    if not cases:
        return Found(dict(compared.same_files), {}, ALIKE)
    known: dict[str, str] = {}
    for digest, case in zip((d for part in parts for d in value_digests(part.images)), cases, strict=True):
        known.setdefault(digest, case)
    digests = value_digests(compared.synthetic)
    same = {place: known[digest] for place, digest in enumerate(digests) if digest and digest in known}
    same |= compared.same_files
    real = np.concatenate([pictures(part.images) for part in parts])
    patients = np.concatenate([part.patients for part in parts])
    kept = at_most(len(real), _MOST, rng)
    alike = likeness_of_patients(real[kept], patients[kept])
    # where patients are very similar, the most similar pair of a new set may exceed that of the cohort by chance
    limit = ALIKE if alike < ALIKE else (1.0 + alike) / 2.0
    places, scores = nearest(pictures(compared.synthetic), real)
    reencoded = {
        place: (cases[places[place]], float(scores[place]))
        for place in np.flatnonzero(scores > limit).tolist()
        if place not in same
    }
    return Found(dict(sorted(same.items())), reencoded, limit)


def _parts(compared: Compared) -> tuple[Reals, ...]:
    """All real images that the audit may see."""
    return tuple(part for part in (compared.train, compared.calibrate, compared.test) if part.cases)


def in_eight_bits(images: Images) -> Images:
    """Each image stretched to 0..255 and rounded, as saved for display."""
    low = images.min(axis=(1, 2), keepdims=True)
    reach = np.maximum(images.max(axis=(1, 2), keepdims=True) - low, 1e-6)
    return np.asarray(np.rint((images - low) / reach * 255.0) / 127.5 - 1.0, dtype=np.float32)


def resized(images: Images) -> Images:
    """Each image enlarged 1.5 times and resized back, as files of another size are."""
    large = ndimage.zoom(images, (1.0, 1.5, 1.5), order=3, mode="nearest", grid_mode=True)
    return np.stack([resize(np.clip(image, -1.0, 1.0), (images.shape[1], images.shape[2])) for image in large])


REWRITTEN: Mapping[str, Callable[[Images], Images]] = {
    "real image in 8 bits with stretched contrast": in_eight_bits,
    "real image as JPEG at quality 90": planted.jpeg,
    "real image enlarged 1.5 times": resized,
}


def _controls(compared: Compared, limit: float, rng: np.random.Generator) -> tuple[Control, ...]:
    """Share of real images recognised when inserted unchanged and re-encoded."""
    parts = _parts(compared)
    each = max(1, CONTROL_IMAGES // len(parts))
    drawn = np.concatenate([part.images[at_most(len(part.images), each, rng)] for part in parts])
    drawn = drawn[np.ptp(drawn, axis=(1, 2)) >= 1e-6]
    if not len(drawn):
        return (Control("real image", 0.0, 1.0),)
    known = {digest for part in parts for digest in value_digests(part.images)}
    found = [Control("real image", float(np.mean([d in known for d in value_digests(drawn)])), 1.0)]
    real = np.concatenate([pictures(part.images) for part in parts])
    for name, change in REWRITTEN.items():
        _, scores = nearest(pictures(change(drawn)), real)
        found.append(Control(name, float(np.mean(scores > limit)), NEEDED))
    return tuple(found)


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The claim on real images among the synthetic ones."""
    compared, rng = context.compared, context.rng("real files")
    found = search(compared, rng)
    progress(1, 2, "planted")
    controls = _controls(compared, found.limit, rng) if _parts(compared) else ()
    reals = sum(len(part.cases) for part in _parts(compared))
    made, count = len(compared.synthetic), len(found.same) + len(found.reencoded)
    share = count / made
    measured = Measurement(
        value=share,
        # no sampling: every image was examined
        interval=Interval(share, share),
        level=context.settings.level,
        floor=floor_of("real images that duplicate another real image", np.array([_repeated(compared)])),
        # an exact match stands, whatever a control says about re-encoded ones
        control=controls[:1] if found.same else controls,
        margin=0.0,
        n={"synthetic images": made, "real images": reals, REAL_FILES: count},
    )
    figures = {"limit": found.limit, "recognised": {control.name: control.found for control in controls}}
    return (Finding(decide(NAME, measured, _why(found, made, reals)), figures, _rows(compared, found)),)


def _repeated(compared: Compared) -> float:
    digests = [digest for part in _parts(compared) for digest in value_digests(part.images) if digest]
    return 1.0 - len(set(digests)) / max(len(digests), 1)


def _why(found: Found, made: int, reals: int) -> Mapping[Verdict, str]:
    kinds = [f"{len(found.same)} with identical file or pixels"] if found.same else []
    kinds += (
        [f"{len(found.reencoded)} re-encoded (brightness, grey levels, compression or size)"] if found.reencoded else []
    )
    return {
        Verdict.SHOWN: f"None of the {made} synthetic images is one of the {reals} real ones or a re-encoded "
        "copy of one.",
        Verdict.REFUTED: f"{len(found.same) + len(found.reencoded)} of {made} synthetic images are real ones: "
        f"{', '.join(kinds)}. Do not release the set.",
    }


def _rows(compared: Compared, found: Found) -> tuple[Mapping[str, Any], ...]:
    """Rows of quarantine.csv: identical images first, then by similarity."""
    same = [(place, case, 1.0) for place, case in found.same.items()]
    reencoded = sorted(((place, *what) for place, what in found.reencoded.items()), key=lambda row: -row[2])
    return tuple(
        {"image": compared.files[place], "nearest": case, "score": round(score, 4), "p": ""}
        for place, case, score in (*same, *reencoded)
    )
