"""Names of attributes that identify, as DICOM lists them (PS3.15 table E.1-1), in any spelling."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as profile
from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag
from pydicom.tag import Tag

_DIRECT_VR = frozenset({"PN", "DA", "DT", "TM", "UI"})
_DIRECT = re.compile(r"^GPS|(Names?|IDs?|Identifier|Number|Numbers|Address|Information|Birth\w*|Locator)(Trial)?$")
# What the Retain Patient Characteristics Option keeps (PS3.15 E.3.6): what subgroups are made of
_CHARACTERISTICS = frozenset(
    {"Allergies", "EthnicGroup", "PatientAge", "PatientSex", "PatientSexNeutered", "PatientSize", "PatientWeight",
     "PregnancyStatus", "PreMedication", "SmokingStatus", "SpecialNeeds", "PatientState", "EthnicGroupCodeSequence"}
)  # fmt: skip
_TAG = re.compile(r"\W*x?([0-9a-f]{4})[\W_]*([0-9a-f]{4})\W*", re.IGNORECASE)
_TOO_GENERAL = frozenset({"Arbitrary", "MAC"})
"""Keywords of the table that are common words or abbreviations in other tables, and identify nobody there."""


def keyword_of_tag(written: str) -> str:
    """The keyword of an attribute by its tag, as tools write it: (0010,0020), 0010|0020, x00100020; else empty."""
    tag = _TAG.fullmatch(written)
    return keyword_for_tag(int(tag[1] + tag[2], 16)) if tag else ""


@functools.cache
def confidential() -> Mapping[str, bool]:
    """Keyword and name of each attribute to be removed, in small letters and digits alone.

    Returns:
        By name: whether it identifies by itself (a name, a date, a number, a UID), so that no wish keeps it.
    """
    found: dict[str, bool] = {}
    for pair in profile.ALL_TAGS:
        tag = Tag(*pair[:2])
        keyword = keyword_for_tag(tag)
        if len(pair) != 2 or not keyword or keyword in _CHARACTERISTICS | _TOO_GENERAL:
            continue
        direct = dictionary_VR(tag) in _DIRECT_VR or _DIRECT.search(keyword) is not None
        for name in (keyword, dictionary_description(tag)):
            found[re.sub(r"[^a-z0-9]", "", name.lower())] = direct
    return found
