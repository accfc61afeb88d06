import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest

from scansynth.data.labels.numbers import one_number
from scansynth.data.labels.people import persons, same_person
from scansynth.data.labels.read import LabelRow
from scansynth.dicom.header import Header
from scansynth.errors import CohortError


def header(patient_id: str, birth_date: str = "", sex: str = "", institution: str = "", **more: object) -> Header:
    """A header that says whose it is, and nothing else that matters here."""
    fields: dict[str, object] = dict.fromkeys(Header.__dataclass_fields__, 0)
    uids = dict.fromkeys(("sop_class_uid", "sop_instance_uid", "series_instance_uid"), "1.2.3")
    said: dict[str, Any] = {"patient_id": patient_id, "birth_date": birth_date, "sex": sex, "institution": institution}
    said |= {"issuer": "", "name": "", "other_ids": (), **more}
    return Header(**{**fields, **uids, **said})  # type: ignore[arg-type]


def patients(*pairs: tuple[str | None, Header], sites: Sequence[str] = ()) -> tuple[list[str], str]:
    """Patients of rows (patient_id of the table, header), and the notes in one text."""
    rows = [
        LabelRow(number, "x", None, "nodule", given, attributes={"site": site} if site else {})
        for number, ((given, _), site) in enumerate(zip(pairs, sites or [""] * len(pairs), strict=True), start=2)
    ]
    people, notes = persons(rows, [header for _, header in pairs])
    assert all("\n" not in note for note in notes)
    return [person.patient for person in people], " | ".join(notes)


SAME = {
    "000123": ["123", " 123 ", "123.0", "123,00", "0123", "\uff11\uff12\uff13", "123\0"],
    "1234": ["1,234", "1.234", "1 234", "1\u202f234", "1\u2019234", "01234"],
    "12345678": ["12.345.678", "12 345 678"],
    "P7": ["p7", "P7 ", "\u00a0P7", "P7\u200b", "\uff30\uff17"],
    "AB-12": ["ab\u201312", "AB\u201012"],
    "\u00c5 \u00e9": [unicodedata.normalize("NFD", "\u00c5 \u00e9"), "\u00e5  \u00c9"],
}


@pytest.mark.parametrize("first", SAME)
def test_one_person_in_every_spelling(first: str) -> None:
    assert {same_person(other) for other in SAME[first]} == {same_person(first)}


def test_what_must_stay_apart() -> None:
    different = ["P7", "P07", "P-7", "P 7", "7", "70", "1.5", "15", "10", "1", "0", "LIDC-IDRI-0001", "LIDC-IDRI-001"]
    assert len({same_person(one) for one in different}) == len(different)
    assert same_person("LIDC-IDRI-0001") == "LIDC-IDRI-0001"  # and its hash is the one that it always had
    assert [same_person(word) for word in ("nan", "NaN", " ", "None", "N/A", "<NA>")] == [""] * 6
    nobody = ("unknown", "Unbekannt", "k.A.", "?", "#REF!", "#WERT!", "\u4e0d\u660e", "-")
    assert {same_person(word) for word in nobody} == {""}
    assert len({same_person(one) for one in ("1.2345", "12.345", "1.23.456", "0.123")}) == 4
    assert same_person("000") == "0"


@pytest.mark.parametrize(
    ("filed", "typed"), [("000123", "123"), ("000123", "123.0"), ("P7", "p7"), ("A\u00e9", "Ae\u0301")]
)
def test_half_of_the_rows_in_another_spelling(filed: str, typed: str) -> None:
    found, notes = patients((typed, header(filed)), (None, header(filed)), ("nan", header(filed + " ")))
    assert len(set(found)) == 1
    assert ("spelled in more than one way" in notes) == (typed != "Ae\u0301")
    assert filed not in notes


def test_empty_rows_take_the_number_of_the_others() -> None:
    found, notes = patients(("S-1", header("77")), (None, header("77")), ("S-2", header("78")), (None, header("79")))
    assert found == ["S-1", "S-1", "S-2", "79"]
    assert "1 row without patient_id" in notes
    assert "row 3" in notes


def test_what_cannot_be_told_is_refused_with_its_rows() -> None:
    with pytest.raises(CohortError, match=r"row 4: patient_id is empty.*rows 2, 3"):
        patients(("A", header("77")), ("B", header("77")), (None, header("77")))
    with pytest.raises(CohortError, match=r"row 3: patient_id was rounded"):
        patients(("1", header("1")), ("1.23457E+11", header("123456789012")))


def test_labels_csv_is_believed_and_it_is_said() -> None:
    found, notes = patients(("A", header("ANON")), ("B", header("ANON")), ("A", header("ANON")))
    assert found == ["A", "B", "A"]
    assert "stands for several patients" in notes
    assert "rows 2, 3" in notes
    grouped, notes = patients(("A", header("x1")), ("A", header("x2")))
    assert (grouped, notes) == (["A", "A"], "")


def test_two_persons_of_one_number_are_taken_apart_by_site() -> None:
    north, south = header("1", "19400101", "F", "North"), header("1", "19500101", "M", "South")
    for sites in ((), ("a", "b", "a")):
        found, notes = patients((None, north), (None, south), (None, north), sites=sites)
        assert found[0] == found[2] != found[1]
        assert "another person at each site" in notes
        assert not any(word in notes for word in ("1940", "1950", "North"))
    people, _ = persons([None, None], [north, south])
    assert [person.also for person in people] == [("1",), ("1",)]


def test_two_persons_without_a_site_are_kept_as_one_or_refused() -> None:
    slip = [(None, header(str(n), "19400101")) for n in range(30)]
    found, notes = patients(*slip, (None, header("3", "19400102")))
    assert found.count("3") == 2
    assert "1 patients disagree on birth date, sex or name" in notes
    assert "row 5" in notes
    habit = [(None, header(str(n), f"19{40 + n}0101")) for n in range(10)]
    other = [(None, header(str(n), f"19{60 + n}0101")) for n in range(10)]
    with pytest.raises(CohortError, match=r"10 of 10 Patient IDs.*give each person a patient_id"):
        patients(*habit, *other)
    # numbers of labels.csv are believed; what is missing or no date contradicts nothing
    found, notes = patients(("A", header("1", "19400101")), ("A", header("1", "19500101")))
    assert found == ["A", "A"]
    assert "disagree" in notes
    assert (
        patients((None, header("1", "")), (None, header("1", "19400101", "O")), (None, header("1", "", "F")))[1] == ""
    )


def test_nobody_is_nobody() -> None:
    found, _ = patients((None, header("")), ("nan", header("NaN")), (None, header(" \0")))
    assert found == ["", "", ""]


@pytest.mark.parametrize("said", [("Berg^Anna", "Lind^Jan"), ("", "")])
def test_one_number_of_two_issuers_is_two_persons(said: tuple[str, str]) -> None:
    pairs = [(None, header("7", issuer=where, name=name)) for where, name in zip("AB", said, strict=True)]
    found, notes = patients(*pairs)
    assert len(set(found)) == 2
    assert "another person at each site" in notes
    assert "Berg" not in notes
    same = [(None, header("7", issuer=where, name="Berg^Anna^M", birth_date="19500102")) for where in "AB"]
    assert len(set(patients(*same)[0])) == 1
    given = [("7", header("7", issuer=where, name=name)) for where, name in zip("AB", said, strict=True)]
    assert len(set(patients(*given)[0])) == 1  # labels.csv is believed


def test_names_that_share_a_word_are_one_person() -> None:
    married = [
        (None, header("7", institution=where, name=name)) for where, name in (("A", "Berg^Anna"), ("B", "ROY^ANNA"))
    ]
    assert len(set(patients(*married)[0])) == 1
    other = [
        (None, header("7", institution=where, name=name)) for where, name in (("A", "Berg^Anna"), ("B", "Roy^Jan"))
    ]
    assert len(set(patients(*other)[0])) == 2


def one(*headers: Header, given: str | None = None) -> list[str]:
    """Patients after numbers of one person were brought together."""
    rows = [LabelRow(number, "x", None, "nodule", given and given + str(number)) for number in range(len(headers))]
    people, notes = one_number(persons(rows, headers)[0], rows, headers)
    found = [person.patient for person in people]
    assert bool(notes) == any(
        person.patient != same_person(own.patient_id) for person, own in zip(people, headers, strict=True) if not given
    )
    assert not any("Berg" in note for note in notes)
    return found


def test_two_numbers_of_one_person_are_one() -> None:
    facts = {"birth_date": "19500102", "name": "Berg^Anna"}
    assert one(header("A1", **facts), header("77", **facts)) == ["77", "77"]
    assert one(header("A1"), header("77", other_ids=("a1", "x"))) == ["77", "77"]
    assert one(header("A1", **facts), header("77", **facts), given="G") == ["G0", "G1"]
    assert one(header("A1", sex="M", **facts), header("77", sex="F", **facts)) == ["A1", "77"]
    assert one(header("A1", name="Berg"), header("77", name="Berg")) == ["A1", "77"]
    assert one(header("A1", name="Berg^Anna"), header("77", name="Berg^Anna")) == ["A1", "77"]
    # a name and birth date of so many stand for nobody
    assert one(*(header(number, **facts) for number in "ABCD")) == list("ABCD")


def test_another_study_knows_the_person_by_either_number() -> None:
    facts = {"birth_date": "19500102", "name": "Berg^Anna"}
    headers = [header("A1", **facts), header("77", **facts)]
    rows = [None, None]
    people, _ = one_number(persons(rows, headers)[0], rows, headers)
    assert {name for person in people for name in (person.patient, *person.also)} == {"77", "A1"}
