"""The one table of what an augmenter may do to an image, and what a search for copies must look for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from scansynth.metrics.ncc import Flip


@dataclass(frozen=True)
class Permission:
    """What an augmenter may do to a real image and still show a possible patient, and how a copy may be mirrored.

    Attributes:
        flip_left_right: Mirror left and right.
        flip_up_down: Mirror up and down.
        rotation_degrees: Largest rotation in either direction.
        intensity: Shift or stretch grey levels.
        searched: Mirror images in which a search for copies looks. They hold all that augmentation may make, and
            more: an image that was mirrored against the rules is still a copy.
        reasons: Why each refused or limited thing is so, by the attribute's name.
    """

    flip_left_right: bool
    flip_up_down: bool
    rotation_degrees: float
    intensity: bool
    searched: tuple[Flip, ...]
    reasons: Mapping[str, str]

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of images (n, rows, columns) along which they may be mirrored."""
        return (1,) * self.flip_up_down + (2,) * self.flip_left_right


_GREY = {
    "CT": "Hounsfield units are physical: a shift or stretch turns one tissue into another",
    "MR": "grey-level shifts and stretches change the contrast that the reading rests on; the published work "
    "holds them invalid for clinical images",
    "": "grey-level shifts and stretches change what a clinical image says",
}


def _chest(modality: str) -> Permission:
    return Permission(
        flip_left_right=False,
        flip_up_down=False,
        rotation_degrees=5.0,
        intensity=False,
        searched=(Flip.NONE, Flip.LEFT_RIGHT),
        reasons={
            "flip_left_right": "laterality: in a mirrored chest the heart lies on the wrong side",
            "flip_up_down": "no patient is scanned front to back: the spine would lie in front",
            "rotation_degrees": "patients lie straight to within a few degrees",
            "intensity": _GREY[modality],
        },
    )


def _patch(modality: str) -> Permission:
    return Permission(
        flip_left_right=True,
        flip_up_down=True,
        rotation_degrees=15.0,
        intensity=False,
        searched=tuple(Flip),
        reasons={
            "rotation_degrees": "a larger rotation would bring the padding of the corners into the image",
            "intensity": _GREY[modality],
        },
    )


def _any(modality: str) -> Permission:
    return Permission(
        flip_left_right=False,
        flip_up_down=False,
        rotation_degrees=5.0,
        intensity=False,
        searched=tuple(Flip),
        reasons={
            "flip_left_right": "the view is not known, so laterality may matter; set cohort.view",
            "flip_up_down": "the view is not known, so up and down may matter; set cohort.view",
            "rotation_degrees": "the view is not known, so only slight rotations are safe; set cohort.view",
            "intensity": _GREY[modality],
        },
    )


PERMITTED_AUGMENTATION: Mapping[tuple[str, str], Permission] = MappingProxyType(
    {
        (modality, view): rule(modality)
        for modality in ("MR", "CT", "")
        for view, rule in (("chest", _chest), ("patch", _patch), ("any", _any))
    }
)
"""The one table, by (Modality, view); the Modality "" stands for every other one. Every augmenter and every search
for copies obeys it."""


def permission(modality: str, view: str) -> Permission:
    """What an augmenter may do to images of this Modality and view, and what a search looks for.

    Args:
        modality: DICOM Modality, for example MR.
        view: chest, patch or any, as `study.toml` says.
    """
    known = modality if (modality, view) in PERMITTED_AUGMENTATION else ""
    return PERMITTED_AUGMENTATION[known, view]
