"""What Image Type (0008,0008) says an image is, when it is no slice as it was taken (PS3.3 C.7.6.1.1.2).

Beside the standard's values, values 3 and above are the makers' own. They are compared word by word, so that
`CT_SOM5 MPR`, `CSA MPR`, `MPR` and `CURVED_MPR` are one thing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from functools import lru_cache

LOCALIZER, PROJECTION, REFORMATTED = "localizer", "projection", "reformatted"
SCREENSHOT, PAGE, MOSAIC = "screenshot", "protocol or dose page", "mosaic"

KINDS = (SCREENSHOT, PAGE, LOCALIZER, PROJECTION, REFORMATTED, MOSAIC)
"""Every answer of `kind_of`, the ones whose pixels may name a patient first."""

WITH_TEXT = frozenset({SCREENSHOT, PAGE})
"""Kinds with text in the pixels: a person must look at them before they may be used."""

_WORDS = {
    # GE "VXTL STATE": what a viewer showed; Siemens POSDISP: where slices lie, drawn over an image
    SCREENSHOT: "SCREEN PRINTSCREEN SNAPSHOT CAPTURE CAPTURED PHOTO TERARECON VXTL POSDISP",
    # Siemens PROT, PATPROT, "CSA REPORT", "CSA RESULT", "CSA BLACK IMAGE", EVIDENCE; GE and Canon DOSE and SUMMARY
    # pages; Philips "DOSE INFO", EXAMCARD
    PAGE: "PROT PATPROT DOSE REPORT RESULT RESULTS SUMMARY EVIDENCE EXAMCARD BLACKIMAGE AVECTOR PATIENTINFO "
    "PATIENTDATA EXAMINFO STUDYINFO TEXT GRAPH GRAPHIC GRAPHICS CHART PLOT HISTOGRAM CURVE WORKSHEET",
    # Siemens TOPOGRAM, GE SCOUT and 3PLANELOC, Philips SURVIEW and SURVEY, Canon SCANO and SCANOSCOPE, PILOT
    LOCALIZER: "TOPO SURVIEW SURVEY SCANO PLANSCAN PILOT LOC PLANELOC",
    # GE PJN; AIP, the average of a slab
    PROJECTION: "PROJECTION PJN AIP CINEMATIC "
    "MIP MIPS MINIP MINP MNIP MAXIP MAXIMIP MEANIP AVIP AVEIP AVGIP AVERAGEIP TMIP RAYSUM "
    "MAXIMUMINTENSITY MINIMUMINTENSITY MEANINTENSITY MAXINTENSITY MININTENSITY VRT VR SSD VOLREN ENDOSCOPY "
    "FLYTHROUGH",
    REFORMATTED: "MPR MPRS MPRTHICK MPVR CPR CURVED CURVEDMPR RESAMPLED CSAPARALLEL CSARADIAL PARALLELRANGE "
    "RADIALRANGE PANORAMIC PASTED STITCHED COMPOSED",
    MOSAIC: "MOSAIC MONTAGE COLLAGE CONTACTSHEET",
}
_KIND_OF_WORD = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_ENDINGS = {"MIP": PROJECTION, "MPR": REFORMATTED}
"""Of words that stand together with another: `THINMIP`."""

_STEMS = {
    "SCREENS": SCREENSHOT, "SCREENDUMP": SCREENSHOT, "SCREENCAP": SCREENSHOT, "SCREENGRAB": SCREENSHOT,
    "PROTOCOL": PAGE, "PROTOKOLL": PAGE, "DOSEINFO": PAGE, "DOSEREP": PAGE, "DOSEPAGE": PAGE, "DOSESUM": PAGE,
    "DOSIS": PAGE, "LOCALIZER": LOCALIZER, "LOCALISER": LOCALIZER, "LOKALIS": LOCALIZER, "SCOUT": LOCALIZER,
    "TOPOGRAM": LOCALIZER, "SCANOGRAM": LOCALIZER, "SCANOSCOPE": LOCALIZER, "RENDER": PROJECTION,
    "REFORMAT": REFORMATTED, "MULTIPLANAR": REFORMATTED,
}  # fmt: skip
"""What a word may hold in any place: plurals, other languages and words that are written together."""

_LOW_DOSE = frozenset({"LOWDOSE", "ULTRALOWDOSE", "HALFDOSE", "FULLDOSE"})
"""How a slice was taken."""

_DERIVED = {
    "3D": PROJECTION,
    "RECON3D": PROJECTION,
    "3DRECON": PROJECTION,
    "3DVIEW": PROJECTION,
    "SYNAPSE3D": PROJECTION,
    "SURFACE": PROJECTION,
    "OBLIQUE": REFORMATTED,
}
"""Words that name a rendering or a reformat in a derived image alone: an original one may be taken so."""


def kind_of(image_type: Iterable[str]) -> str | None:
    """One of `KINDS`, or none for a slice as it was taken.

    Args:
        image_type: Values of Image Type, and of Volume Based Calculation Technique (0008,9207), which says the same
            with values of its own (PS3.3 C.8.16.2.1.4).
    """
    return _kind(tuple(image_type))


@lru_cache(maxsize=1024)
def _kind(image_type: tuple[str, ...]) -> str | None:
    """The images of a series say the same."""
    values = [value.upper() for value in image_type]
    derived = "DERIVED" in values[:1] or "SECONDARY" in values[1:2]
    found = {kind for value in values for kind in _kinds(value, derived)}
    return next((kind for kind in KINDS if kind in found), None)


def _kinds(value: str, derived: bool) -> set[str]:
    """What one value says, by its words, by two neighbours written apart, and by all of them together."""
    words = re.findall(r"[A-Z0-9]+", value)
    # "MIP5MM" and "3DVR" hold a word of letters alone; "DIS3D" holds none that says anything
    letters = set(re.findall(r"[A-Z]+", re.sub(r"3D", "0", value)))
    joined = {first + second for first, second in itertools.pairwise(words)} | {"".join(words)}
    spoken = joined | set(words) | letters
    found = {
        _KIND_OF_WORD[word] for word in spoken if word in _KIND_OF_WORD and not (word == "DOSE" and joined & _LOW_DOSE)
    }
    found |= {kind for word in letters for ending, kind in _ENDINGS.items() if word.endswith(ending)}
    found |= {kind for word in spoken for stem, kind in _STEMS.items() if stem in word}
    if derived:
        found |= {_DERIVED[word] for word in words if word in _DERIVED}
    if words[:1] == ["CT"] and words[-1:] == ["TOP"]:  # Siemens: "CT_SOM5 TOP"
        found.add(LOCALIZER)
    return found
