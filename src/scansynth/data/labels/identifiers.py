"""Columns of labels.csv that may identify a patient: by their names, by what stands in them, by the files' headers.

What is kept with a cohort travels with it. So a column is kept when it is asked for, or when it is harmless: few
different texts, or a measure in numbers. No note repeats a cell.
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from scansynth.data.labels.table import plain_name, ungrouped
from scansynth.dicom.identifying import confidential, keyword_of_tag
from scansynth.errors import CohortError

DIRECT = frozenset(
    {
        "name", "firstname", "lastname", "fullname", "surname", "forename", "givenname", "familyname", "maidenname",
        "birthdate", "dateofbirth", "birthday", "dob", "address", "street", "postcode", "zip", "zipcode", "phone",
        "telephone", "mobile", "fax", "email", "mail", "ssn", "socialsecuritynumber", "nhsnumber", "mrn",
        "medicalrecordnumber", "passport", "insurancenumber", "accession", "accessionno", "accnum", "file",
        "filename", "filepath", "folder", "examdate", "scandate", "visitdate", "dateofdeath", "url", "website",
        "caseno", "casenumber", "chartno", "chartnumber",
        # German
        "vorname", "nachname", "patientenname", "patientname", "patientennummer", "patientenid", "patnr", "patientennr",
        "fallnummer", "fallnr", "geburtsdatum", "geburtstag", "gebdat", "gebdatum", "datum", "untersuchungsdatum",
        "anschrift", "adresse", "strasse", "straße", "plz", "postleitzahl", "ort", "wohnort", "telefon", "handy",
        "zuweiser", "arzt", "versichertennummer", "krankenkassennummer", "auftragsnummer",
        # French
        "nom", "prenom", "nompatient", "nomdupatient", "datedenaissance", "datenaissance", "naissance", "dateexamen",
        "numerodossier", "numdossier", "nodossier", "ipp", "nss", "codepostal", "ville", "medecin", "courriel",
        # Spanish, Portuguese, Italian, Dutch
        "nombre", "apellido", "apellidos", "fechanacimiento", "fechadenacimiento", "nome", "cognome", "sobrenome",
        "datanascimento", "datadinascita", "codicefiscale", "dni", "nif", "cpf", "voornaam", "achternaam",
        "geboortedatum", "bsn",
        # Japanese, Chinese, Korean
        "氏名", "名前", "患者名", "患者氏名", "患者番号", "患者id", "生年月日", "検査日", "住所", "電話番号", "姓名",
        "出生日期", "病历号", "住院号", "身份证号", "检查日期", "성명", "이름", "환자번호", "생년월일",
    }
)  # fmt: skip
"""Names of columns that identify by themselves and are no DICOM keyword; in small letters and digits alone."""

_NUMBERS_OF_PATIENTS = frozenset({"patientid", "patientnumber", "patientno", "studyid", "accessionnumber"})

_WORDS = frozenset(
    {"name", "date", "birth", "dob", "address", "phone", "email", "ssn", "mrn", "accession", "uid", "guid", "uuid",
     "initials", "datetime", "timestamp", "physician", "doctor", "radiologist", "operator", "technician", "comment",
     "comments", "remark", "remarks", "note", "notes"}
)  # fmt: skip
"""Words within a column's name that make it suspect."""

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)? ?%?")
_LONG_NAME = 8  # letters of a DICOM name that tells something at the end of another name
_MONTH = "(jan|feb|mar|mär|mrz|apr|mai|may|jun|jul|aug|sep|sept|okt|oct|nov|dez|dec|fév|avr|juin|juil|août|déc)"
_FORMS: Mapping[str, re.Pattern[str]] = {
    "dates": re.compile(
        r"\d{4}([-/.])\d{1,2}\1\d{1,2}(\D.*)?|\d{1,2}([-/.])\d{1,2}\3(\d{2}|\d{4})(\D.*)?"
        r"|\d{1,2}(st|nd|rd|th|er|º)?[ .-]*(de )?[^\W\d]{3,10}[ .,-]+(de )?\d{2,4}"
        r"|[^\W\d]{3,10}\.? \d{1,2},? \d{4}"
        # what a spreadsheet makes of 1-2
        rf"|\d{{1,2}}[ .-]+{_MONTH}\.?|{_MONTH}[ .-]+\d{{1,2}}"
        # Japanese and Chinese, by the era too
        r"|(\d{4}|[MTSHR昭平令大明]\D{0,2}\d{1,2}|\D\D元)年\d{1,2}月(\d{1,2}日)?|[MTSHR]\d{1,2}\.\d{1,2}\.\d{1,2}",
        re.IGNORECASE,
    ),
    "times": re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?", re.IGNORECASE),
    "UIDs or network addresses": re.compile(r"\d+(\.\d+){3,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE),
    "e-mail addresses": re.compile(r"\S+@\S+\.\S+"),
    "web addresses or paths": re.compile(r"(https?|ftp|file)://.*|[a-z]:\\.*|/.*/.*", re.IGNORECASE),
    "telephone numbers": re.compile(r"\+\d[\d ()/-]{6,}\d|\(?0\d[\d()]*[ /-][\d /-]{4,}\d"),
    "names of persons": re.compile(r"[^\W\d]+(\^[^\W\d]*)+", re.UNICODE),
    "persons with a title": re.compile(
        r"((prof|dr|mr|mrs|ms|sr|sra|dott|dra)\. ?|(prof|dr|herr|frau|mme|mlle|miss) )+(med\.? )?[^\W\d].*",
        re.IGNORECASE,
    ),
    "long numbers": re.compile(r"[+-]?\d{7,}(\.0+)?|0\d{2,}"),
}
"""What a single cell may not look like."""

_OF_LABELS = (
    "dates", "UIDs or network addresses", "e-mail addresses", "names of persons", "persons with a title", "long numbers"
)  # fmt: skip
_CODE = re.compile(r"\d{1,6}")  # 001, a label as some tables write it
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
    """Why a name alone identifies: a word for it, or a DICOM keyword or tag, also after a prefix that tools write."""
    plain, keyword = plain_name(name), plain_name(keyword_of_tag(name))
    known = [one for one, direct in confidential().items() if direct and len(one) >= _LONG_NAME]
    after = any(plain.rstrip("0123456789").endswith(one) for one in (*known, *_NUMBERS_OF_PATIENTS))
    return _BY_NAME if after or {plain, keyword} & _direct_names() or _direct(plain) or _direct(keyword) else ""


@functools.cache
def _direct_names() -> frozenset[str]:
    """`DIRECT` in the form of `plain_name`, which takes some letters apart."""
    return frozenset(map(plain_name, DIRECT))


def _direct(plain: str) -> bool:
    return confidential().get(plain, False)


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


def check_labels(name: str, labels: Collection[str]) -> None:
    """Passes when no label looks like something that identifies, or like a date that a spreadsheet made of it.

    Raises:
        CohortError: One does.
    """
    for what in _OF_LABELS:
        if any(_FORMS[what].fullmatch(label) and not _CODE.fullmatch(label) for label in labels):
            raise CohortError(
                f"{name}: labels look like {what}; give labels that say what an image shows, or, where a spreadsheet "
                "changed them, format the column as text and fill it in again"
            )


def different_for_each(rows: Sequence[tuple[Mapping[str, str], str]]) -> frozenset[str]:
    """Columns that hold a different long number for each patient.

    Args:
        rows: Attributes of a row, and whose it is.
    """
    columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for attributes, patient in rows:
        for name, cell in attributes.items():
            columns[name].append((cell, patient))
    return frozenset(name for name, filled in columns.items() if _numbers_of_patients(filled))


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
    return "it holds a different long number for each patient" if _numbers_of_patients(filled) else ""


def _numbers_of_patients(filled: Sequence[tuple[str, str]]) -> bool:
    """Whether the cells are whole numbers of four digits or more, one for each patient."""
    of_patient: dict[str, set[str]] = defaultdict(set)
    for cell, patient in filled:
        of_patient[patient].add(re.sub(r"\.0+$", "", ungrouped(cell)))
    values = {cell for found in of_patient.values() for cell in found}
    whole = all(cell.isdigit() and len(cell) >= _LONG for cell in values)
    apart = "" not in of_patient and all(len(found) == 1 for found in of_patient.values())
    return whole and apart and len(values) == len(of_patient) >= _FEW_TEXTS


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
