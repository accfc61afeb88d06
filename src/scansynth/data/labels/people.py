"""Whose each image is: one person, one patient, however labels.csv and the files spell the number.

Two spellings of one person's number would make two patients, whose images may get two roles. So numbers are compared
in one form, and labels.csv is checked against the files. Taking two persons for one costs a little; taking one for two
breaks the ledger: where it cannot be told, it is the former, or a refusal, and it is said.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from scansynth.data.labels.read import LabelRow
from scansynth.data.labels.table import ERRORS, NO_VALUE, composed, plain_name, ungrouped
from scansynth.dicom.header import Header
from scansynth.errors import CohortError

_ROUNDED = re.compile(r"[+-]?\d+([.,]\d+)?E\+?\d+", re.IGNORECASE)
_WHOLE = re.compile(r"0*(\d+?)([.,]0+)?")
BIRTH_DATE = re.compile(r"\d{8}")
_MOST = 6  # rows that a note names
_FEW, _SHARE = 3, 0.05  # patients that may hold two persons by a slip of the pen; more are a habit


@dataclass(frozen=True)
class Person:
    """Whose an image is.

    Attributes:
        patient: The number in the one form in which numbers are compared; empty: unknown.
        also: Other forms under which another study may know the same person.
    """

    patient: str
    also: tuple[str, ...] = ()


@lru_cache(maxsize=1 << 12)
def same_person(patient_id: str) -> str:
    """A patient's number without what is lost or changed on the way through spreadsheets and archives.

    Upper case, composed Unicode of the compatible letters (NFKC), one kind of hyphen, single blanks and none around;
    of a whole number neither zeros before it, nor a decimal part of zeros, nor marks between its thousands. Empty when
    it is somebody's or a program's word for that.
    """
    text = unicodedata.normalize("NFKC", composed(patient_id)).upper().replace("\0", " ")
    text = "".join("-" if unicodedata.category(letter) == "Pd" else letter for letter in text)
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()
    text = text if _WHOLE.fullmatch(text) else ungrouped(text)
    whole = _WHOLE.fullmatch(text) if text.isascii() else None
    return "" if text.casefold() in NO_VALUE | ERRORS else whole[1] if whole else text


def persons(rows: Sequence[LabelRow | None], headers: Sequence[Header]) -> tuple[list[Person], tuple[str, ...]]:
    """Whose each image is, and what the user should know.

    Args:
        rows: Row of each image in labels.csv, none where there is none.
        headers: Of the images.

    Raises:
        CohortError: It cannot be told whose some images are; the message names the rows.
    """
    _refuse_rounded(rows)
    own = [same_person(header.patient_id) for header in headers]
    given = [same_person(row.patient_id) if row and row.patient_id else "" for row in rows]
    found, notes = _together(rows, own, given)
    notes += _spellings(rows, headers, found)
    people, more = _apart(rows, headers, found, [bool(one) for one in given])
    return people, tuple(notes + more)


def _refuse_rounded(rows: Iterable[LabelRow | None]) -> None:
    rounded = [row.row for row in rows if row and row.patient_id and _ROUNDED.fullmatch(row.patient_id)]
    if rounded:
        raise CohortError(
            f"labels.csv {_named(rounded)}: patient_id was rounded by a spreadsheet, as in 1.2E+10, and digits are "
            "lost; format the column as text and fill it in again"
        )


def _together(rows: Sequence[LabelRow | None], own: Sequence[str], given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The number of each image: of its row; else of another row of the same Patient ID; else of the file."""
    of_file: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, mine, said in zip(rows, own, given, strict=True):
        if row and mine and said:
            of_file[mine][said].append(row.row)
    empty = [(row.row if row else 0, mine) for row, mine, said in zip(rows, own, given, strict=True) if not said]
    torn = {mine: said for mine, said in of_file.items() if len(said) > 1}
    unclear = sorted(row for row, mine in empty if mine in torn)
    if unclear:
        others = sorted(
            numbers[0] for mine in {mine for _, mine in empty} & torn.keys() for numbers in torn[mine].values()
        )
        raise CohortError(
            f"labels.csv {_named(unclear)}: patient_id is empty, and according to {_named(others)} the Patient ID in "
            "the files belongs to different patients; fill in patient_id"
        )
    notes = []
    filled = [row for row, mine in empty if mine in of_file and next(iter(of_file[mine])) != mine]
    if filled:
        notes.append(
            f"{_many(filled)} without patient_id took it from other rows with the same Patient ID in the file "
            f"({_named(filled)})"
        )
    if torn:
        numbers = [numbers[0] for said in torn.values() for numbers in said.values()]
        notes.append(
            f"one Patient ID of the files stands for several patients of labels.csv, {len(torn)} times "
            f"({_named(numbers)} among them); labels.csv was believed: see that it does not make two patients of one "
            "person"
        )
    found = [
        said or (next(iter(of_file[mine])) if mine in of_file else mine) for mine, said in zip(own, given, strict=True)
    ]
    return found, notes


def _spellings(rows: Sequence[LabelRow | None], headers: Sequence[Header], found: Sequence[str]) -> list[str]:
    """A note when numbers that differ as written were taken for one."""
    written: dict[str, set[str]] = defaultdict(set)
    places: dict[str, list[int]] = defaultdict(list)
    for row, header, patient in zip(rows, headers, found, strict=True):
        for text in ((row.patient_id or "") if row else "", header.patient_id):
            if same_person(text) == patient and patient:
                written[patient].add(composed(text).strip(" \0"))
        places[patient] += [row.row] if row else []
    several = [patient for patient, texts in written.items() if len(texts) > 1]
    if not several:
        return []
    rows_named = sorted(row for patient in several for row in places[patient][:1])
    return [
        f"{len(several)} patient numbers are spelled in more than one way (case, zeros in front, a decimal part, "
        f"blanks or accents); each was taken for one patient"
        + (f" ({_named(rows_named)} among them)" if rows_named else "")
    ]


def _apart(
    rows: Sequence[LabelRow | None], headers: Sequence[Header], found: Sequence[str], given: Sequence[bool]
) -> tuple[list[Person], list[str]]:
    """Persons of one number told apart by their sites, or noted.

    Numbers that come from labels.csv are believed. Others are split where birth date, sex or name differ between sites
    and not within one; and where their issuers differ (PS3.3 C.7.1.1: a number is one person's within its issuer) and
    nothing says that the person is the same.

    Raises:
        CohortError: Many numbers of the files stand for several persons, and no site tells them apart.
    """
    of: dict[str, list[int]] = defaultdict(list)
    for place, patient in enumerate(found):
        of[patient].append(place)
    places = [same_person(_site(row, header)) for row, header in zip(rows, headers, strict=True)]
    issuers = [same_person(header.issuer) for header in headers]
    people = [
        Person(patient, (f"{patient}@{place}",) if patient and place else ())
        for patient, place in zip(found, places, strict=True)
    ]
    split, kept = [], []
    for patient, members in of.items():
        several = len({issuers[i] for i in members} - {""}) > 1 and not _alike([headers[i] for i in members])
        if not patient or not (several or _differ([headers[i] for i in members])):
            continue
        sites: Mapping[str, list[Header]] = defaultdict(list)
        for i in members:
            sites[places[i]].append(headers[i])
        if any(given[i] for i in members) or "" in sites or any(_differ(group) for group in sites.values()):
            kept.append(patient)
            continue
        split.append(patient)
        for i in members:
            people[i] = Person(f"{patient}@{places[i]}", (patient,))
    unknown = [
        patient
        for patient, members in of.items()
        if patient in kept and not any(given[i] for i in members) and _contradict([headers[i] for i in members])
    ]
    if len(unknown) > max(_FEW, _SHARE * len(of)):
        raise CohortError(
            f"{len(unknown)} of {len(of)} Patient IDs of the files stand for more than one person: birth date or sex "
            "differ; give each person a patient_id in labels.csv, or each image a site"
        )
    return people, _apart_notes(split, kept, rows, of)


def _apart_notes(
    split: Sequence[str], kept: Sequence[str], rows: Sequence[LabelRow | None], of: Mapping[str, Sequence[int]]
) -> list[str]:
    def where(patients: Sequence[str]) -> str:
        firsts = [next((row.row for i in of[one] if (row := rows[i])), 0) for one in patients]
        return f" ({_named(firsts)} among them)" if any(firsts) else ""

    notes = []
    if split:
        notes.append(
            f"{len(split)} Patient IDs stand for another person at each site, by birth date, sex, name or issuer"
            f"{where(split)}; they were taken apart by site"
        )
    if kept:
        notes.append(
            f"the files of {len(kept)} patients disagree on birth date, sex or name{where(kept)}: each was taken for "
            "one patient; are they several persons, give each a patient_id in labels.csv"
        )
    return notes


def _site(row: LabelRow | None, header: Header) -> str:
    return ((row.attributes or {}).get("site", "") if row else "") or header.issuer or header.institution


def _differ(headers: Sequence[Header]) -> bool:
    """Whether birth dates, sexes or names contradict each other; what is missing contradicts nothing."""
    names = {words for header in headers if (words := name_words(header.name))}
    return _contradict(headers) or any(one.isdisjoint(two) for one, two in itertools.combinations(names, 2))


def _alike(headers: Sequence[Header]) -> bool:
    """Whether all have the same birth date, or the same name of several words."""
    days = {header.birth_date for header in headers}
    names = {name_words(header.name) for header in headers}
    return (len(days) == 1 and days != {""}) or (len(names) == 1 and len(next(iter(names))) > 1)


def name_words(name: str) -> frozenset[str]:
    """Words of two letters or more of a person's name, without case and accents."""
    return frozenset(word for part in re.split(r"[\W_\d]+", name) if len(word := plain_name(part)) > 1)


def _contradict(headers: Sequence[Header]) -> bool:
    """Whether birth dates or sexes contradict each other."""
    days = {header.birth_date for header in headers if BIRTH_DATE.fullmatch(header.birth_date)}
    return len(days) > 1 or {"M", "F"} <= {header.sex for header in headers}


def _many(rows: Sequence[int]) -> str:
    return "1 row" if len(rows) == 1 else f"{len(rows)} rows"


def _named(numbers: Iterable[int]) -> str:
    """Rows by their numbers: "row 3", "rows 3, 5 and 9 more"."""
    rows = sorted({number for number in numbers if number})
    if not rows:
        return "no row"
    shown = ", ".join(map(str, rows[:_MOST]))
    more = f" and {len(rows) - _MOST} more" if len(rows) > _MOST else ""
    return f"row{'' if len(rows) == 1 else 's'} {shown}{more}"
