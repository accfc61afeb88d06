import csv
import os
import shutil
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from scansynth.config import StudyConfig
from scansynth.data.imageset import open_set
from scansynth.data.ingest import ingest
from scansynth.data.scans.partial import PARTIAL
from scansynth.data.standing import ingest_inputs, ingest_settings
from scansynth.data.tensors import Cohort, load_cohort, to_signed
from scansynth.data.transforms import from_window
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import CohortError, StorageError, StudyError
from scansynth.files import read_csv, sha256_file
from scansynth.ledger import Role
from scansynth.stage import read_record
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)
Factory = Callable[..., Path]


def study_of(folder: Path, dicom: Path, **settings: Any) -> Study:
    """A study of `dicom`, with its labels.csv when there is one."""
    labels = dicom / "labels.csv"
    values = {"dicom": str(dicom), "size": 32, "labels": str(labels) if labels.exists() else None, **settings}
    return Study(folder, StudyConfig.model_validate({"cohort": values}))


def roles_of(cohort: Cohort) -> dict[str, Role]:
    """Role of each patient; fails when one has two."""
    roles = defaultdict(set)
    for case in cohort.cases:
        roles[case.patient].add(case.role)
    assert all(len(found) == 1 for found in roles.values())
    return {patient: found.pop() for patient, found in roles.items()}


def snapshot(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def test_a_cohort_end_to_end(tmp_path: Path, tiny_dicom_folder: Factory) -> None:
    dicom = tiny_dicom_folder(columns=lambda n: {"site": "AB"[n % 2], "Density": n})
    study = study_of(tmp_path / "study", dicom, positive="nodule")
    told: list[tuple[object, ...]] = []
    summary = ingest(study, KEY, lambda *facts: told.append(facts))
    cohort = load_cohort(study.cohort)
    assert (summary.cases, summary.patients, summary.new_patients) == (24, 12, 12)
    assert (24, 24, "decoding") in told
    assert told[-1] == (24, 24, "same pictures")
    assert (cohort.facts.modality, cohort.facts.labels, cohort.facts.positive) == ("MR", ("clear", "nodule"), "nodule")
    assert (cohort.facts.bits_stored, cohort.facts.signed, cohort.facts.spacing) == (12, False, (1.5, 1.5))
    assert set(roles_of(cohort).values()) == set(Role)
    assert summary.patients_by_role["train"] == 6
    assert cohort.cases[0].attributes.keys() >= {"sex", "age_band", "manufacturer", "site", "density"}
    images = open_set(study.cohort).planes
    assert isinstance(images, np.memmap)
    assert (images.shape, images.dtype) == ((24, 32, 32), np.uint16)
    assert not (study.cohort / "masks.npy").exists()

    linkage = read_csv(study.linkage / "linkage.csv")
    source = {row["case"]: dicom / row["file"] for row in linkage}
    rows = {row["id"]: row for row in read_csv(study.cohort / "cases.csv")}
    for case in cohort.cases:
        stored = pydicom.dcmread(source[case.case]).pixel_array
        back = from_window(to_signed(images[case.index]), case.low, case.high)
        assert np.abs(back - stored.clip(case.low, case.high)).max() < 0.6 * (case.high - case.low) / 65535 + 1e-3
        assert rows[case.case]["source_sha256"] == sha256_file(source[case.case])
        assert case.source_side == max(stored.shape)
        assert rows[case.case]["sop"].startswith("2.25.")
    series = defaultdict(set)
    for case in cohort.cases:
        series[case.patient].add((case.low, case.high))
    assert all(len(windows) == 1 for windows in series.values())
    assert len(set.union(*series.values())) > 6


def test_nothing_identifying_leaves_the_linkage_table(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(name="JONES_scans", patients=6)
    (dicom / "p0" / "SMITH^JOHN.dcm").write_bytes(b"no DICOM at all")
    odd = os.fsdecode(b"M\xfcller")  # a name that is not UTF-8
    (dicom / odd).write_bytes(b"no DICOM either")
    study = study_of(tmp_path / "study", dicom)
    ingest(study, KEY)
    assert b"M\xfcller" in (study.linkage / "linkage.csv").read_bytes()
    planted = [b"PID-", b"ller", b"Planted", b"SMITH", b"JONES", b"/i0", b"p0/"]
    planted += [str(pydicom.dcmread(dicom / "p0/i0").SOPInstanceUID).encode()]
    for path in study.folder.rglob("*"):
        if path.is_file() and path.name != "linkage.csv":
            assert not [word for word in planted if word in path.read_bytes()], path.name
    assert stat.S_IMODE(study.linkage.stat().st_mode) == 0o700
    assert stat.S_IMODE((study.linkage / "linkage.csv").stat().st_mode) == 0o600
    linkage = (study.linkage / "linkage.csv").read_text(errors="surrogateescape").splitlines()
    keys = {row["key"] for row in read_csv(study.cohort / "excluded.csv")}
    assert {line.split(",", 3)[3] for line in linkage if line.split(",")[0] in keys} == {odd, "p0/SMITH^JOHN.dcm"}


def test_staleness_follows_sources_labels_and_settings(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(patients=5)
    study = study_of(tmp_path / "study", dicom)
    ingest(study, KEY)
    record = read_record(study.cohort)
    assert record is not None
    assert record.differs(ingest_inputs(study, KEY), ingest_settings(study)) == []
    assert record.outputs.keys() == {
        "images.npy",
        "set.json",
        "cases.csv",
        "excluded.csv",
        "roles.csv",
        "cohort.json",
        "deidentification.csv",
    }
    os.utime(dicom / "p0" / "i0", ns=(1, 1))
    assert record.differs(ingest_inputs(study, KEY), ingest_settings(study)) == ["dicom folder"]
    (dicom / "labels.csv").write_text((dicom / "labels.csv").read_text() + "\n")
    assert "labels.csv" in record.differs(ingest_inputs(study, KEY), ingest_settings(study))
    other = study_of(study.folder, dicom, size=64)
    assert "setting size" in record.differs(ingest_inputs(other, KEY), ingest_settings(other))
    moved = shutil.copytree(dicom, tmp_path / "elsewhere", copy_function=shutil.copy2)
    there = study_of(study.folder, moved)
    assert ingest_inputs(there, KEY) == ingest_inputs(study, KEY)


def test_ct_window_masks_and_boxes(
    tmp_path: Path, write_dicom: Any, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(modality="CT", images=1, shape=(48, 64))
    pixels = np.full((48, 64), 24)
    pixels[10:20, 30:50] = 2024
    rows = read_csv(dicom / "labels.csv")
    for number, row in enumerate(rows):
        pixels[0, 0] = 24 + number  # no two patients have the same picture
        write_dicom(dicom / row["path"], pixels, "CT", PatientID=row["path"], PixelSpacing=[0.5, 0.5])
        row |= {"mask": "", "x": "", "y": "", "width": "", "height": ""}
    lesion = np.zeros((48, 64), np.uint8)
    lesion[10:20, 30:50] = 255
    (dicom / "masks").mkdir()
    Image.fromarray(lesion).save(dicom / "masks" / "m.png")
    rows[0]["mask"] = "masks/m.png"
    rows[1] |= {"x": "30", "y": "10", "width": "20", "height": "10"}
    write(dicom / "labels.csv", rows)
    study = study_of(tmp_path / "study", dicom)
    ingest(study, KEY)
    cohort = load_cohort(study.cohort)
    images, masks = open_set(study.cohort).planes, np.load(study.cohort / "masks.npy")
    assert masks.shape == images.shape
    assert {(case.low, case.high, case.spacing) for case in cohort.cases} == {(-1000.0, 400.0, (1.0, 1.0))}
    signed = to_signed(images)
    assert signed[:, :4].max() == -1.0  # padded: 48 rows become 24 of 32
    assert (signed[:, 10, 20] == 1.0).all()  # 1000 HU
    given = masks.sum(axis=(1, 2))
    assert sorted(given)[:-2] == [0] * 10
    marked = masks[given > 0]
    assert (marked[0] == marked[1]).all()
    assert (marked[0] == (signed[0] > 0)).mean() > 0.97


def test_growing_keeps_roles_also_of_patients_that_come_back(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    small = tiny_dicom_folder(name="small", patients=10, images=1)
    large = tiny_dicom_folder(name="large", patients=24, images=1)
    gone = tiny_dicom_folder(name="gone", patients=14, first=10, images=1)
    folder = tmp_path / "study"
    ingest(study_of(folder, small), KEY)
    first = roles_of(load_cohort(folder / "cohort"))
    ingest(study_of(folder, gone), KEY)
    assert not roles_of(load_cohort(folder / "cohort")).keys() & first.keys()
    summary = ingest(study_of(folder, large), KEY)
    third = roles_of(load_cohort(folder / "cohort"))
    assert summary.new_patients == 0
    assert {patient: third[patient] for patient in first} == first
    assert all(abs(list(third.values()).count(role) - share * 24) <= 2 for role, share in SHARES.items())


SHARES = StudyConfig.model_validate({"cohort": {"dicom": "x", "unlabelled": True}}).cohort.shares.by_role()


def test_split_from_takes_roles_over(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> None:
    one = study_of(tmp_path / "one", tiny_dicom_folder(name="a", patients=12, images=1))
    ingest(one, KEY)
    scans = tiny_dicom_folder(name="b", patients=16, first=6, images=1)
    two = study_of(tmp_path / "two", scans, split_from=str(one.folder))
    ingest(two, KEY)
    before, after = roles_of(load_cohort(one.cohort)), roles_of(load_cohort(two.cohort))
    both = before.keys() & after.keys()
    assert len(both) == 6
    assert all(before[patient] == after[patient] for patient in both)
    with pytest.raises(StudyError, match=r"split_from.*another institution key"):
        ingest(study_of(tmp_path / "three", scans, split_from=str(one.folder)), InstitutionKey(b"q" * 32))
    with pytest.raises(StudyError, match="this study was made with another institution key"):
        ingest(one, InstitutionKey(b"q" * 32))
    with pytest.raises(StudyError, match="has no cohort"):
        ingest(study_of(tmp_path / "three", scans, split_from=str(tmp_path / "none")), KEY)
    # a study split on its own first cannot be tied to the other afterwards
    alone = study_of(
        tmp_path / "alone", scans, shares={"train": 0.2, "test": 0.8, "tune": 0, "calibrate": 0, "reserve": 0}
    )
    ingest(alone, KEY)
    with pytest.raises(CohortError, match="one role in this study and another"):
        ingest(study_of(tmp_path / "alone", scans, split_from=str(one.folder)), KEY)


def test_roles_in_labels_csv(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> None:
    dicom = tiny_dicom_folder(columns=lambda n: {"role": "test" if n < 4 else ""})
    study = study_of(tmp_path / "study", dicom)
    ingest(study, KEY)
    roles = roles_of(load_cohort(study.cohort))
    assert all(roles[KEY.patient_hash(f"PID-{number}")] == Role.TEST for number in range(4))
    rows = read_csv(dicom / "labels.csv")
    rows[1]["role"] = "train"
    write(dicom / "labels.csv", rows)
    with pytest.raises(CohortError, match=r"row 3: row 2 .* the role test"):
        ingest(study, KEY)
    rows[0]["role"] = "train"
    write(dicom / "labels.csv", rows)
    with pytest.raises(CohortError, match=r"row 2: the patient already has the role test"):
        ingest(study, KEY)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_leaves_the_old_cohort(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None, fault: Any
) -> None:
    folder = tmp_path / "study"
    ingest(study_of(folder, tiny_dicom_folder(name="a", patients=6)), KEY)
    before = snapshot(folder / "cohort")

    def stop(done: int, total: int, note: str = "") -> None:
        if (note, done) == ("decoding", 5):
            raise fault

    with pytest.raises((KeyboardInterrupt, StorageError)):
        ingest(study_of(folder, tiny_dicom_folder(name="b", patients=8)), KEY, stop)
    assert snapshot(folder / "cohort") == before
    partial = [PARTIAL] if fault is KeyboardInterrupt else []
    kept = ["cohort", "journal.end.json", "journal.jsonl", "private"]
    assert sorted(path.name for path in folder.iterdir()) == [*partial, *kept]


def test_each_reason_for_leaving_out(
    tmp_path: Path, tiny_dicom_folder: Factory, write_dicom: Any, in_process: None
) -> None:
    dicom = tiny_dicom_folder(patients=6)
    noise = np.random.default_rng(0).integers(0, 999, (32, 32))
    bad = {
        "ct": ("other modality", {"modality": "CT"}),
        "us": ("ultrasound", {"modality": "US"}),
        "sc": ("secondary capture", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}),
        "burned": ("burned-in annotation", {"BurnedInAnnotation": "YES"}),
        "screen": ("screenshot", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
        "scout": ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        "mip": ("projection", {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}),
        "space": ("no pixel spacing", {"PixelSpacing": None}),
        "nobody": ("no patient ID", {"PatientID": " "}),
    }
    for name, (_, attributes) in bad.items():
        write_dicom(dicom / "bad" / name, noise, **attributes)
    write_dicom(dicom / "bad" / "flat", np.full((32, 32), 7))
    write_dicom(dicom / "bad" / "thin", noise[:4])
    write_dicom(dicom / "bad" / "unlisted", noise)
    whole = (dicom / "p0" / "i0").read_bytes()
    (dicom / "bad" / "cut").write_bytes(whole[:-100])
    (dicom / "bad" / "text").write_bytes(b"hello")
    (dicom / "bad" / ".hidden").write_bytes(whole)
    (dicom / "bad" / "DICOMDIR").write_bytes(whole)
    rows = read_csv(dicom / "labels.csv")
    rows += [{"path": f"bad/{name}", "label": "clear"} for name in (*bad, "flat", "thin", "cut")]
    write(dicom / "labels.csv", rows)
    with pytest.raises(CohortError, match=r"1 MR images have no row.*skip_unlisted"):
        ingest(study_of(tmp_path / "study", dicom), KEY)
    summary = ingest(study_of(tmp_path / "study", dicom, skip_unlisted=True), KEY)
    expected = {reason: 1 for reason, _ in bad.values()}
    expected |= dict.fromkeys(["constant image", "too small", "not in labels.csv", "truncated", "not DICOM"], 1)
    assert dict(summary.facts.excluded) == expected
    assert (summary.cases, summary.facts.files_found) == (12, 12 + len(expected))
    assert len(read_csv(tmp_path / "study" / "cohort" / "excluded.csv")) == len(expected)


def test_a_chest_ct_without_air_is_noted_and_one_beyond_bone_left_out(
    tmp_path: Path, write_dicom: Any, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(modality="CT", images=1)
    pixels = np.linspace(24, 1924, 1024).reshape(32, 32).astype(int)  # -1000 to 900 HU
    for number in range(12):
        intercept = {0: 0, 1: 0, 2: 9000}.get(number, -1024)
        pixels[0, 0] = 24 + number  # no two patients have the same picture
        write_dicom(dicom / f"p{number}/i0", pixels, "CT", PatientID=f"PID-{number}", RescaleIntercept=intercept)
    summary = ingest(study_of(tmp_path / "study", dicom, view="chest"), KEY)
    assert dict(summary.facts.excluded) == {"no Hounsfield units": 1}
    assert [note for note in summary.warnings if note.startswith("2 chest images hold almost no air")]
    summary = ingest(study_of(tmp_path / "study", dicom, view="patch"), KEY)
    assert not [note for note in summary.warnings if "air" in note]


def test_refusals(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> None:
    study = tmp_path / "study"
    one = tiny_dicom_folder(name="one", labels=lambda number: "nodule")
    with pytest.raises(CohortError, match=r"one label.*--unlabelled"):
        ingest(study_of(study, one), KEY)
    few = tiny_dicom_folder(name="few", patients=4)
    with pytest.raises(CohortError, match=r"4 patients.*at least 5"):
        ingest(study_of(study, few), KEY)
    with pytest.raises(CohortError, match=r"labels are clear, nodule"):
        ingest(study_of(study, few, positive="tumour"), KEY)
    with pytest.raises(CohortError, match=r"set cohort\.modality"):
        ingest(study_of(study, few, modality="PT"), KEY)
    (tmp_path / "none").mkdir()
    with pytest.raises(CohortError, match="holds no file"):
        ingest(study_of(study, tmp_path / "none", unlabelled=True), KEY)
    (tmp_path / "none" / "x").write_bytes(b"text")
    with pytest.raises(CohortError, match="no DICOM image was found among 1 files"):
        ingest(study_of(study, tmp_path / "none", unlabelled=True), KEY)
    with pytest.raises(CohortError, match="does not exist"):
        ingest(study_of(study, tmp_path / "nowhere", unlabelled=True), KEY)
    (few / "study.toml").touch()
    with pytest.raises(CohortError, match="is a study folder"):
        ingest(study_of(study, few), KEY)
    assert not study.exists()


def test_labels_by_uid_and_contradictions(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> None:
    dicom = tiny_dicom_folder(patients=6, images=1)
    rows = read_csv(dicom / "labels.csv")
    uids = [pydicom.dcmread(dicom / row["path"]).SOPInstanceUID for row in rows]
    by_uid = [{"sop_instance_uid": uid, "label": row["label"]} for uid, row in zip(uids, rows, strict=True)]
    write(dicom / "labels.csv", by_uid)
    assert ingest(study_of(tmp_path / "study", dicom), KEY).cases == 6
    write(dicom / "labels.csv", [{**by_uid[0], "path": "p1/i0"}, *by_uid[2:]])
    with pytest.raises(CohortError, match=r"row 2: the file has another SOP"):
        ingest(study_of(tmp_path / "study", dicom), KEY)
    write(
        dicom / "labels.csv",
        [{"path": "p0/i0", "sop_instance_uid": "", "label": "clear"}, *({"path": "", **row} for row in by_uid)],
    )
    with pytest.raises(CohortError, match=r"rows 2 and 3 name the same image"):
        ingest(study_of(tmp_path / "study", dicom), KEY)


def test_masks_that_do_not_fit_are_refused(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> None:
    dicom = tiny_dicom_folder(patients=5, images=1)
    good = read_csv(dicom / "labels.csv")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(dicom / "small.png")
    (dicom / "no.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    for name, words in (
        ("small.png", "8 x 8"),
        ("no.png", "cannot be used: bad header|cannot be used: truncated"),
        ("gone.png", "no such mask"),
    ):
        write(dicom / "labels.csv", [{**row, "mask": name if i == 2 else ""} for i, row in enumerate(good)])
        with pytest.raises(CohortError, match=rf"row 4: .*{words}"):
            ingest(study_of(tmp_path / "study", dicom), KEY)
    box = {"x": 30, "y": 1, "width": 5, "height": 5}
    write(dicom / "labels.csv", [{**row, **(box if i == 2 else {})} for i, row in enumerate(good)])
    with pytest.raises(CohortError, match=r"row 4: the box extends beyond"):
        ingest(study_of(tmp_path / "study", dicom), KEY)


def with_the_same_picture(dicom: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Gives each second file the pixels of the first; all else stays its own."""
    for first, second in pairs:
        dataset = pydicom.dcmread(dicom / second)
        dataset.PixelData = pydicom.dcmread(dicom / first).PixelData
        dataset.save_as(dicom / second)


def test_one_picture_has_one_role(tmp_path: Path, tiny_dicom_folder: Factory, in_process: None) -> None:
    dicom = tiny_dicom_folder(patients=20)
    with_the_same_picture(dicom, [(f"p{n}/i0", f"p{n + 10}/i1") for n in range(10)])
    study = study_of(tmp_path / "study", dicom)
    summary = ingest(study, KEY)
    assert (summary.cases, summary.patients) == (40, 10)
    assert any("20 patients of this study were taken for 10" in warning for warning in summary.warnings)
    cohort = load_cohort(study.cohort)
    source = {row["case"]: row["file"].split("/")[0] for row in read_csv(study.linkage / "linkage.csv")}
    role = {source[case.case]: case.role for case in cohort.cases}
    assert all(role[f"p{n}"] == role[f"p{n + 10}"] for n in range(10))
    listed = read_csv(study.linkage / "same_pictures.csv")
    assert {(row["file"], row["same as"]) for row in listed} == {
        tuple(sorted((f"p{n}/i0", f"p{n + 10}/i1"), key=lambda name: order(cohort, study, name))) for n in range(10)
    }
    for path in study.cohort.iterdir():
        assert b"p13/" not in path.read_bytes()
    # both names keep the role, whoever of the two comes back, also in another study
    rest = tiny_dicom_folder(name="rest", patients=14, first=10)
    ingest(study_of(tmp_path / "study", rest), KEY)
    assert {roles_of(load_cohort(study.cohort))[KEY.patient_hash(f"PID-{n}")] for n in (12,)} == {role["p12"]}


def order(cohort: Cohort, study: Study, name: str) -> int:
    case = {row["file"]: row["case"] for row in read_csv(study.linkage / "linkage.csv")}[name]
    return next(found.index for found in cohort.cases if found.case == case)


def test_a_picture_of_another_study_keeps_its_role(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    one = study_of(tmp_path / "one", tiny_dicom_folder(name="a", patients=12, images=1))
    ingest(one, KEY)
    scans = tiny_dicom_folder(name="b", patients=12, first=50, images=1)
    shutil.copytree(tmp_path / "a", scans / "other", dirs_exist_ok=True)
    with_the_same_picture(scans, [(f"other/p{n}/i0", f"p{50 + n}/i0") for n in range(6)])
    shutil.rmtree(scans / "other")
    two = study_of(tmp_path / "two", scans, split_from=str(one.folder), size=64)
    summary = ingest(two, KEY)
    before = roles_of(load_cohort(one.cohort))
    source = {row["case"]: row["file"] for row in read_csv(two.linkage / "linkage.csv")}
    after = {source[case.case]: case.role for case in load_cohort(two.cohort).cases}
    assert all(after[f"p{50 + n}/i0"] == before[KEY.patient_hash(f"PID-{n}")] for n in range(6))
    assert any("or of the study of split_from" in warning for warning in summary.warnings)
    # two patients of two roles there cannot be one here
    strangers = {role: f"PID-{n}" for n in range(12) if (role := before[KEY.patient_hash(f"PID-{n}")])}
    assert len(strangers) > 1
    first, second = (next(n for n in range(12) if f"PID-{n}" == name) for name in list(strangers.values())[:2])
    torn = tiny_dicom_folder(name="c", patients=12, first=70)
    shutil.copytree(tmp_path / "a", torn / "other")
    with_the_same_picture(torn, [(f"other/p{first}/i0", "p70/i0"), (f"other/p{second}/i0", "p70/i1")])
    shutil.rmtree(torn / "other")
    with pytest.raises(CohortError, match=r"same picture have the roles .* already \(private/same_pictures.csv"):
        ingest(study_of(tmp_path / "three", torn, split_from=str(one.folder)), KEY)
    assert len(read_csv(tmp_path / "three" / "private" / "same_pictures.csv")) == 2


def test_a_page_that_all_patients_share_is_no_patient(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(patients=12)
    with_the_same_picture(dicom, [("p0/i0", f"p{n}/i0") for n in range(1, 12)])
    summary = ingest(study_of(tmp_path / "study", dicom), KEY)
    assert summary.patients == 12
    note = next(note for note in summary.warnings if "12 images of 12 patients show one picture" in note)
    assert "trust no figure" in note
    assert (tmp_path / "study" / "private" / "same_pictures.csv").exists()


def test_columns_that_repeat_the_header_are_not_kept(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(
        patients=6, images=1, columns=lambda n: {"who": ["planted person", "x"][n % 2], "side": "lr"[n % 2]}
    )
    study = study_of(tmp_path / "study", dicom)
    summary = ingest(study, KEY)
    assert any("the column who of labels.csv repeat" in warning for warning in summary.warnings)
    names = {name for case in load_cohort(study.cohort).cases for name in case.attributes}
    assert "side" in names
    assert "who" not in names
    rows = read_csv(dicom / "labels.csv")
    write(dicom / "labels.csv", [{**row, "label": "Person, planted" if i else "x"} for i, row in enumerate(rows)])
    with pytest.raises(CohortError, match="labels repeat what the files say"):
        ingest(study_of(tmp_path / "study", dicom), KEY)


def test_patients_of_labels_csv_group_across_dicom_ids(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None
) -> None:
    dicom = tiny_dicom_folder(patients=12, columns=lambda n: {"patient_id": f"group {n // 2}"})
    summary = ingest(study_of(tmp_path / "study", dicom), KEY)
    assert (summary.patients, summary.cases) == (6, 24)
    roles_of(load_cohort(tmp_path / "study" / "cohort"))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.real
def test_real_chest_mr(tmp_path: Path, shared_data: Path) -> None:
    study = study_of(tmp_path / "study", shared_data / "chest-mr", unlabelled=True, view="chest", size=64)
    summary = ingest(study, KEY)
    assert (summary.cases, sum(summary.facts.excluded.values()), summary.patients) == (160, 3, 3)
    assert summary.patients_by_role["train"] == 3
    assert any("not assessable" in warning for warning in summary.warnings)
    signed = to_signed(open_set(study.cohort).planes)
    assert signed.shape == (160, 64, 64)
    assert -1.0 <= signed.min() < -0.9 < 0.9 < signed.max() <= 1.0
    assert not any(b"d045f565" in path.read_bytes() for path in study.cohort.iterdir())


@pytest.mark.real
def test_real_patches_and_slices_share_one_split(tmp_path: Path, shared_data: Path, in_process: None) -> None:
    studies = []
    for name, size in (("lidc-patches", 64), ("lidc-slices", 32)):
        rows = read_csv(shared_data / name / "labels.csv")
        patients = sorted({row["patient_id"] for row in rows})[:60]
        rows = [row for row in rows if row["patient_id"] in patients]
        rows = [row for row in rows if row["label"] == "nodule"][:75] + [
            row for row in rows if row["label"] == "clear"
        ][:75]
        for row in rows:
            for file in filter(None, (row["path"], row.get("mask", ""))):
                (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(shared_data / name / file, tmp_path / name / file)
        write(tmp_path / name / "labels.csv", rows)
        other = {"split_from": str(studies[-1].folder)} if studies else {}
        studies.append(study_of(tmp_path / f"{name}-study", tmp_path / name, size=size, positive="nodule", **other))
        summary = ingest(studies[-1], KEY)
        assert summary.cases == len(rows)
        assert not summary.facts.excluded
        assert (summary.facts.low, summary.facts.high) == (-1000.0, 400.0)
    patches, slices = (load_cohort(study.cohort) for study in studies)
    masks = np.load(studies[0].cohort / "masks.npy")
    assert [bool(mask.any()) for mask in masks] == [case.label == "nodule" for case in patches.cases]
    first, second = roles_of(patches), roles_of(slices)
    both = first.keys() & second.keys()
    assert len(both) > 10
    assert all(first[patient] == second[patient] for patient in both)


def test_names_are_written_before_the_cohort_takes_its_place(
    tmp_path: Path, tiny_dicom_folder: Factory, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed there, the stage is not done, and the next run writes both again."""
    study = study_of(tmp_path / "study", tiny_dicom_folder(patients=5))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scansynth.data.ingest.write_linkage", killed)
    with pytest.raises(KeyboardInterrupt):
        ingest(study, KEY)
    assert read_record(study.cohort) is None
