from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom.datadict import keyword_dict

from scansynth.data.labels.identifiers import different_for_each, named_in_headers, screen
from scansynth.data.labels.read import read_labels
from scansynth.dicom.identifying import confidential
from scansynth.errors import CohortError

PATIENTS = [f"P{n // 2}" for n in range(24)]


def kept(name: str, cells: Sequence[str], wanted: Sequence[str] = ()) -> bool:
    found, notes = screen({name: cells}, PATIENTS, wanted)
    assert bool(notes) != bool(found)  # what is not kept is said
    assert all(name in note and "\n" not in note for note in notes)
    assert not any(cell in note for note in notes for cell in cells if len(cell) > 2)
    return bool(found)


def few(n: int) -> str:
    return "AB"[n % 2]


SPELLINGS = (
    "PatientBirthDate", "patientBirthDate", "patient_birth_date", "Patient Birth Date", "PATIENT-BIRTH-DATE",
    "Patient's Birth Date", "AccessionNumber", "accession no", "StudyDate", "study.date", "StudyInstanceUID",
    "Study Instance UID", "Patient's Name", "PatientName", "ReferringPhysicianName", "OtherPatientIDs", "DOB", "e-mail",
    "MRN", "First Name", "InstitutionName", "DeviceSerialNumber", "StationName", "GPSLatitude", "SeriesInstanceUID",
    "(0010,0010)", "00100030", "0010|0030", "x00080050", "meta.PatientID", "dicom_PatientID", "tags PatientBirthDate2",
    "Geburtsdatum", "Patientenname", "Fallnummer", "PLZ", "Nom", "Pr\u00e9nom", "Date de naissance",
    "\u751f\u5e74\u6708\u65e5", "\u6c0f\u540d", "\uc131\uba85",
)  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_name_that_identifies_is_never_kept(name: str) -> None:
    cells = [few(n) for n in range(24)]
    assert not kept(name, cells)
    with pytest.raises(CohortError, match=r"may identify.*cohort\.attributes"):
        screen({name: cells}, PATIENTS, [name])


def test_every_attribute_of_the_profile_is_known_in_every_spelling() -> None:
    assert len(confidential()) > 600
    for keyword in ("PatientID", "PatientName", "StudyTime", "FrameOfReferenceUID", "OperatorsName", "PatientAddress"):
        assert confidential()[keyword.lower()]
    assert {"patientname", "patientsname"} <= confidential().keys()
    # of whom the image is made, not who it is: left to what stands in the column
    assert not {"patientage", "patientsex", "patientweight", "modality", "slicethickness"} & confidential().keys()
    assert "PatientAge" in keyword_dict


VALUES = {
    "dates": [f"19{40 + n}-07-12" for n in range(24)],
    "German dates": [f"12.7.19{40 + n}" for n in range(24)],
    "American dates": [f"7/12/{40 + n}" for n in range(24)],
    "written dates": [f"12 Jul 19{40 + n}" for n in range(24)],
    "DICOM dates": [f"19{40 + n}0712" for n in range(24)],
    "instants": [f"2020-01-{n + 1:02d}T10:00:00" for n in range(24)],
    "French dates": [f"{n + 1} f\u00e9vrier 2020" for n in range(24)],
    "Japanese dates": [f"2020\u5e743\u6708{n + 1}\u65e5" for n in range(24)],
    "Japanese dates by era": [f"S{30 + n}.4.3" for n in range(24)],
    "dates of a spreadsheet": ["4-May" if n % 2 else "01. Feb" for n in range(24)],
    "doctors": [("Dr. Berg", "Prof. Dr. Lind", "Frau Roy")[n % 3] for n in range(24)],
    "long numbers of a program": [f"{47110000 + n // 2}.0" for n in range(24)],
    "a grouped number of each patient": [f"104.{233 + n // 2}" for n in range(24)],
    "times": [f"10:{n:02d}:11" for n in range(24)],
    "UIDs": [f"1.2.840.{n}.77" for n in range(24)],
    "UUIDs": [f"{n:08x}-1234-4321-abcd-0123456789ab" for n in range(24)],
    "long numbers": [str(47110000 + n // 2) for n in range(24)],
    "numbers with zeros before them": [f"{n // 2:05d}" for n in range(24)],
    "a number of each patient": [str(4711 + n // 2) for n in range(24)],
    "mail": [f"p{n % 2}@example.org" for n in range(24)],
    "telephones": [f"+49 30 123 45{n:02d}" for n in range(24)],
    "telephones at home": [f"030 / 12 34 5{n:02d}" for n in range(24)],
    "names": ["Doe^John" if n % 2 else "Roe^Jane^A" for n in range(24)],
    "paths": ["/mnt/scans/a" for _ in range(24)],
    "a text for each patient": [f"HOSPITAL-{n // 2}" for n in range(24)],
    "free text": [f"finding {n}" for n in range(24)],
    "one date among words": ["seen 1", *["x"] * 22, "1956-07-12"],
}


@pytest.mark.parametrize("what", VALUES)
def test_values_that_identify_are_not_kept_under_any_name(what: str) -> None:
    assert not kept("harmless", VALUES[what])


HARMLESS = {
    "diameter_mm": [f"{n}.25" for n in range(24)],
    "volume": [str(100 + 37 * n) for n in range(24)],
    "density": [str(n // 2) for n in range(24)],
    "scientific": [f"{n}e-3" for n in range(24)],
    "signed": [str(-n) for n in range(24)],
    "sex": ["FM"[n % 2] for n in range(24)],
    "PatientAge": [str(40 + n) for n in range(24)],
    "scanner model": ["Avanto", "Skyra", "Signa HDxt"] * 8,
    "field": ["1.5", "3.0"] * 12,
    "year": [str(2010 + n % 5) for n in range(24)],
    "version": ["1.2.3", "1.2.4"] * 12,
    "empty": [""] * 24,
    "grade": ["2-3", "1/2", "4A"] * 8,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_measures_and_few_words_are_kept(name: str) -> None:
    assert kept(name, HARMLESS[name])


def test_wanted_columns_are_kept_unless_they_identify() -> None:
    texts = [f"finding {n}" for n in range(24)]
    assert kept("finding", texts, ["Finding"])
    assert kept("SeriesDescription", ["t1", "t2"] * 12, ["series description"])
    assert not kept("SeriesDescription", ["t1", "t2"] * 12)
    with pytest.raises(CohortError, match="no column finding"):
        screen({"x": texts}, PATIENTS, ["finding"])


def test_words_of_the_rows_own_header() -> None:
    """A column is found by what the files say, not by its form; chance and other people's names are not."""
    names = ["Doe^Amy", "Roe^Ben", "North^Eve", "Poe^Max"]
    cells = ["Amy Doe", "x", "x", "x"]
    rows = [
        ({"who": cell, "site": "north", "n": str(i)}, [name])
        for i, (cell, name) in enumerate(zip(cells, names, strict=True))
    ]
    assert named_in_headers(rows) == {"who"}
    assert named_in_headers(
        [({"nick": cell}, [name]) for cell, name in zip(["amy", "ben", "x", "y"], names, strict=True)]
    ) == {"nick"}
    assert named_in_headers([({"nick": "amy"}, [name]) for name in names]) == frozenset()
    assert named_in_headers([({"a": "12"}, ["PID-12"]), ({"a": "13"}, ["PID-13"])]) == frozenset()
    assert named_in_headers([({"a": "PID 12"}, ["PID-12"]), ({"a": "q"}, ["PID-13"])]) == {"a"}
    assert named_in_headers([({"a": "\u00c9ve"}, ["NORTH^EVE"])]) == {"a"}
    assert named_in_headers([]) == frozenset()


def test_dropped_columns_are_named_and_no_cell_is(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,label,PatientBirthDate,seen\na,nodule,19400712,2020-01-02\nb,clear,19410712,2020-01-03\n")
    found = read_labels(path)
    assert all(row.attributes == {} for row in found.rows)
    assert len(found.notes) == 2
    assert all(word in " ".join(found.notes) for word in ("PatientBirthDate", "seen"))
    assert not any("1940" in note or "2020" in note for note in found.notes)


@pytest.mark.parametrize("cell", ["MRI", "drusen", "Mr", "MS lesion", "2 marginal", "1.5", "ground glass", "T2"])
def test_words_like_titles_and_months_are_harmless(cell: str) -> None:
    assert kept("finding", [cell, "other"] * 12)


def test_percentages_are_measures() -> None:
    assert kept("share", [f"{n},5 %" for n in range(24)])


@pytest.mark.parametrize("label", ["2020-03-01", "01. Feb", "Berg^Anna", "12345678", "1.2.840.1.7", "Dr. Berg"])
def test_labels_that_look_like_identifiers_are_refused(tmp_path: Path, label: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\na,clear\nb,{label}\n")
    with pytest.raises(CohortError, match="labels look like") as refused:
        read_labels(table)
    assert label not in str(refused.value)
    assert read_labels(table, ["clear", label]).rows[1].label == label  # study.toml names it


def test_labels_that_are_codes_are_kept(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na,001\nb,4\nc,BI-RADS 4\nd,MS lesion\n")
    assert [row.label for row in read_labels(table).rows] == ["001", "4", "BI-RADS 4", "MS lesion"]


def test_a_number_of_each_patient_that_only_the_files_know() -> None:
    rows = [({"case": str(104233 + n // 2), "score": str(n % 7)}, f"P{n // 2}") for n in range(24)]
    assert different_for_each(rows) == {"case"}
    assert different_for_each([({"case": str(104233 + n)}, f"P{n // 2}") for n in range(24)]) == frozenset()
