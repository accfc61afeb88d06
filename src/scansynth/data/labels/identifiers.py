"""Columns of labels.csv that may identify a patient: by their names, by what stands in them, by the files' headers.

What is kept with a cohort travels with it. So a column is kept when it is asked for, or when it is harmless: few
different texts, or a measure in numbers. No note repeats a cell.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from scansynth.data.labels.table import plain_name
from scansynth.dicom.identifying import confidential
from scansynth.errors import CohortError

DIRECT = frozenset(
    {
        "name", "firstname", "lastname", "fullname", "surname", "forename", "givenname", "familyname", "maidenname",
        "birthdate", "dateofbirth", "birthday", "dob", "address", "street", "postcode", "zip", "zipcode", "phone",
        "telephone", "mobile", "fax", "email", "mail", "ssn", "socialsecuritynumber", "nhsnumber", "mrn",
        "medicalrecordnumber", "passport", "insurancenumber", "accession", "accessionno", "accnum", "file",
        "filename", "filepath", "folder", "examdate", "scandate", "visitdate", "dateofdeath", "url", "website",
    }
)  # fmt: skip
"""Names of columns that identify by themselves and are no DICOM keyword; in small letters and digits alone."""

_WORDS = frozenset(
    {"name", "date", "birth", "dob", "address", "phone", "email", "ssn", "mrn", "accession", "uid", "guid", "uuid",
     "initials", "datetime", "timestamp", "physician", "doctor", "radiologist", "operator", "technician", "comment",
     "comments", "remark", "remarks", "note", "notes"}
)  # fmt: skip
"""Words within a column's name that make it suspect."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FORMS: Mapping[str, re.Pattern[str]] = {
    "dates": re.compile(
        r"\d{4}([-/.])\d{1,2}\1\d{1,2}(\D.*)?|\d{1,2}([-/.])\d{1,2}\3(\d{2}|\d{4})(\D.*)?"
        r"|\d{1,2}[ .-]*[a-z]{3,9}[ .,-]+\d{2,4}|[a-z]{3,9} \d{1,2},? \d{4}",
        re.IGNORECASE,
    ),
    "times": re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?", re.IGNORECASE),
    "UIDs or network addresses": re.compile(r"\d+(\.\d+){3,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE),
    "e-mail addresses": re.compile(r"\S+@\S+\.\S+"),
    "web addresses or paths": re.compile(r"(https?|ftp|file)://.*|[a-z]:\\.*|/.*/.*", re.IGNORECASE),
    "telephone numbers": re.compile(r"\+\d[\d ()/-]{6,}\d|\(?0\d[\d()]*[ /-][\d /-]{4,}\d"),
    "names of persons": re.compile(r"[^\W\d]+(\^[^\W\d]*)+", re.UNICODE),
    "long numbers": re.compile(r"[+-]?\d{7,}|0\d{2,}"),
}
"""What a single cell may not look like."""

_DAY = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_FEW_TEXTS = 5
_SHORTEST = 3  # letters or digits of a word that tells anything
_LONG = 4  # digits of a number that, different in each patient, may be the patient's


def screen(
    columns: Mapping[str, Sequence[str]], patients: Sequence[str], wanted: Collection[str], free: Collection[str] = ()
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Which columns may be kept, and a note for those that may not.

    Args:
        columns: Cells of each column, a cell a row.
        patients: Whose each row is; empty where the table does not say.
        wanted: Names of columns that the user asks to keep, in any spelling; empty: all that are harmless.
        free: Columns with any number of different texts.

    Raises:
        CohortError: A wanted column is not there, or identifies a patient.
    """
    asked = {plain_name(name) for name in wanted}
    names = {plain_name(name) for name in columns}
    if missing := sorted(name for name in wanted if plain_name(name) not in names):
        raise CohortError(f"labels.csv has no column {missing[0]}; correct cohort.attributes in study.toml")
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, cells in columns.items():
        filled = [(cell, patient) for cell, patient in zip(cells, patients, strict=True) if cell]
        sure = _identifies(name) or _looks_like([cell for cell, _ in filled])
        if sure and (plain_name(name) in asked or name in free):
            raise CohortError(
                f"labels.csv: the column {name} may identify a patient ({sure}) and would be kept with the cohort; "
                "remove it from cohort.attributes, or change its contents"
            )
        reason = sure
        if not reason and plain_name(name) not in asked and name not in free:
            reason = _suspect(name) or _too_many(filled)
        if reason:
            reasons[reason].append(name)
    dropped = {name for found in reasons.values() for name in found}
    return frozenset(columns) - dropped, tuple(_note(found, reason) for reason, found in reasons.items())


def _note(names: Sequence[str], reason: str) -> str:
    one = len(names) == 1
    advice = "" if reason == _BY_NAME or "look like" in reason else "; to keep, name in cohort.attributes"
    return f"the column{'' if one else 's'} {', '.join(names)} {'is' if one else 'are'} not kept: {reason}{advice}"


_BY_NAME = "such a column identifies a patient"


def _identifies(name: str) -> str:
    plain = plain_name(name)
    return _BY_NAME if plain in DIRECT or confidential().get(plain, False) else ""


def _suspect(name: str) -> str:
    """Why a name may stand for something identifying."""
    if plain_name(name) in confidential():
        return "PS3.15 table E.1-1 removes such an attribute"
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return "its name may stand for an identifier" if _WORDS & set(words) else ""


def _looks_like(cells: Sequence[str]) -> str:
    """What some cell looks like, among what identifies."""
    for what, form in _FORMS.items():
        if any(form.fullmatch(cell) for cell in cells):
            return f"its values look like {what}"
    days = sum(_DAY.fullmatch(cell) is not None for cell in cells)
    return "its values look like dates" if days and 2 * days >= len(cells) else ""


def _too_many(filled: Sequence[tuple[str, str]]) -> str:
    """Why the values may tell patients apart: as many texts as patients, or a long number of each patient."""
    values = {cell for cell, _ in filled}
    of_patient: dict[str, set[str]] = defaultdict(set)
    for cell, patient in filled:
        of_patient[patient].add(cell)
    people = len(of_patient) if "" not in of_patient else len(filled)
    numeric = all(_NUMBER.fullmatch(cell) for cell in values)
    if not numeric:
        few = len(values) <= max(_FEW_TEXTS, people // 10) and (len(values) < people or people < 3)
        return "" if few else "it holds many different texts"
    whole = all(cell.isdigit() and len(cell) >= _LONG for cell in values)
    apart = "" not in of_patient and all(len(found) == 1 for found in of_patient.values())
    if whole and apart and len(values) == people >= _FEW_TEXTS:
        return "it holds a different long number for each patient"
    return ""


def named_in_headers(rows: Sequence[tuple[Mapping[str, str], Collection[str]]]) -> frozenset[str]:
    """Columns whose cells repeat what the row's own file says of its patient: a name, a number, a date.

    Several words of a name are enough in one row. One word or number may stand there by chance: then it takes half of
    the column's rows, or two of them with different words.

    Args:
        rows: Attributes of a row, and the identifying values of its file's header, as they stand there.
    """
    filled: Counter[str] = Counter()
    hits: dict[str, list[frozenset[str]]] = defaultdict(list)
    for attributes, secrets in rows:
        known = [words for words in map(_words, secrets) if words]
        for name, cell in attributes.items():
            filled[name] += 1
            words = _words(cell)
            if words and any(_repeats(words, secret) for secret in known):
                hits[name].append(words)
    return frozenset(
        name
        for name, found in hits.items()
        if any(len(words) > 1 for words in found) or 2 * len(found) >= filled[name] or len(set(found)) > 1
    )


def _repeats(words: frozenset[str], secret: frozenset[str]) -> bool:
    """Whether a cell's words stand in a header's value: all of a number, or a part of a name."""
    if words == secret:
        return len(words) > 1 or len(next(iter(words))) >= _SHORTEST
    return words < secret and all(word.isalpha() and len(word) >= _SHORTEST for word in words)


def _words(text: str) -> frozenset[str]:
    """Words and numbers, without case and accents."""
    return frozenset(filter(None, map(plain_name, re.split(r"[\W_]+", text))))
