"""The audit of images of any origin, by the command line: two folders, or a set added to a study."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from scansynth.audit import run as audit_run
from scansynth.audit.compared import Compared
from scansynth.audit.encoders import FIXED, Encoders, Judge
from scansynth.audit.folders import CAVEAT, ONE_PATIENT, TrainList, gather_loose, shared_patients
from scansynth.claims.judged import schema
from scansynth.cli import main
from scansynth.config import EvidenceSettings
from scansynth.data.elsewhere import foreign
from scansynth.data.elsewhere.foreign import Foreign, Scaling, read, survey
from scansynth.data.sets import load_set
from scansynth.data.tensors import load_cohort
from scansynth.dicom.sandbox import DecodePool
from scansynth.files import read_csv, read_json, sha256_file, write_csv
from scansynth.metrics.features import JUDGE_SEED, fit_scale, random_encoder
from scansynth.pipeline import folders as loose

Row = dict[str, str]
Run = Callable[..., tuple[int, str, str]]


QUICK = ("realism", "real files", "copies", "tell-tales")


def fixed_filters_alone(train: np.ndarray, cache: Path | None, onnx: Path | None) -> Encoders:
    encode = random_encoder(JUDGE_SEED)
    scale = fit_scale(encode(train))
    return Encoders((Judge(FIXED, lambda images: scale(encode(images))),), None)


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An institution key of the test's own, fewer draws, one judge, and the questions that files matter to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCANSYNTH_INSTITUTION_KEY", str(tmp_path_factory.mktemp("key") / "institution.key"))
        patch.setattr(loose, "EvidenceSettings", lambda: EvidenceSettings(draws=20, pairs=4))
        patch.setattr(audit_run, "CLAIM_GROUPS", tuple(m for m in audit_run.CLAIM_GROUPS if m.name in QUICK))
        patch.setattr(audit_run, "make_encoders", fixed_filters_alone)
        yield


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; exit code, standard output, standard error."""

    def start(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["scansynth", *map(str, arguments)])
            code = 0
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return start


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Runs a command that must refuse; its one line."""

    def start(*arguments: object) -> str:
        code, _, error = run(*arguments)
        assert code == 2
        lines = [line for line in error.splitlines() if line.startswith("scansynth:")]
        assert len(lines) == 1, error
        assert "Traceback" not in error
        return lines[0]

    return start


def phantom(folder: Path, patients: int, seed: int) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        words = ["scansynth", "phantom", folder, "--patients", patients, "--size", 32, "--seed", seed]
        patch.setattr(sys, "argv", [str(word) for word in words])
        main()
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images: 90 patients of four slices."""
    return phantom(tmp_path_factory.mktemp("real") / "scans", 90, 1)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of other patients, passed off as synthetic."""
    return phantom(tmp_path_factory.mktemp("others") / "scans", 20, 2)


@pytest.fixture(scope="module")
def pngs(tmp_path_factory: pytest.TempPathFactory, others: Path) -> Path:
    """The same as 8-bit PNG."""
    folder = tmp_path_factory.mktemp("png") / "made"
    folder.mkdir()
    for index, image in enumerate(decoded(others / "dicom")):
        Image.fromarray((image // 257).astype(np.uint8)).save(folder / f"{index:03d}.png")
    return folder


def decoded(folder: Path) -> np.ndarray:
    with DecodePool() as pool:
        found = survey(folder, "DIR", pool, None, True)
        return read(found, (32, 32), Scaling((-1000.0, 400.0), (0.5, 99.5)), pool, True).images


def train_rows(scans: Path, trained: int = 40) -> list[Row]:
    """Patients up to `trained` were seen by the generator."""
    return [
        {
            "path": row["path"].removeprefix("dicom/"),
            "patient_id": row["patient_id"],
            "split": "train" if int(row["patient_id"].split("-")[1]) <= trained else "held-out",
        }
        for row in read_csv(scans / "labels.csv")
    ]


def write_list(path: Path, rows: list[Row]) -> Path:
    write_csv(path, list(rows[0]), rows)
    return path


def claims_of(folder: Path) -> dict[str, dict[str, Any]]:
    rows = read_json(folder / "claims.json")
    jsonschema.validate(rows, schema())
    rows = rows["claims"]
    assert {row["claim"] for row in rows} == {name for part in audit_run.CLAIM_GROUPS for name in part.claims}
    return {row["claim"]: row for row in reversed(rows)}  # of several judges the first


def words_of(page: Path) -> str:
    text = re.sub(r"<style.*?</style>|<svg.*?</svg>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


# Two folders


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, scans: Path, others: Path) -> Path:
    """An audit with a train list, one real file and one damaged file among the synthetic ones."""
    folder = tmp_path_factory.mktemp("listed")
    shutil.copytree(others / "dicom", folder / "made")
    shutil.copy(scans / "dicom" / "PHANTOM-0003" / "01.dcm", folder / "made" / "innocent.dcm")
    (folder / "made" / "broken.dcm").write_bytes(b"x" * 300)
    (folder / "made" / "short.dcm").write_bytes((others / "dicom" / "PHANTOM-0001" / "01.dcm").read_bytes()[:-100])
    table = write_list(folder / "list.csv", train_rows(scans))
    with pytest.MonkeyPatch.context() as patch:
        words = ["--real", scans / "dicom", "--synthetic", folder / "made", "--out", folder / "out"]
        patch.setattr(sys, "argv", ["scansynth", "audit", *map(str, words), "--train-list", str(table)])
        main()
    return folder / "out"


def test_a_real_file_among_synthetic_ones_is_refuted_and_quarantined(listed: Path) -> None:
    claims = claims_of(listed)
    copies = claims["copies.real_files"]
    assert copies["verdict"] == "refuted"
    assert copies["n"]["synthetic images that are real files"] == 1
    assert copies["margin"] == 0
    assert all(control["passed"] for control in copies["control"])
    assert claims["fidelity.kid"]["verdict"] in {"shown", "not shown"}, claims["fidelity.kid"]["why"]
    row = read_csv(listed / "quarantine.csv")[0]
    assert (row["image"], row["nearest"], row["score"]) == ("innocent.dcm", "PHANTOM-0003/01.dcm", "1.0")
    assert list(row) == ["image", "nearest", "score", "p"]


def test_the_ledger_holds_without_a_study(listed: Path) -> None:
    claims = claims_of(listed)
    assert claims["fidelity.kid"]["n"]["real patients"] == 25  # half of the 50 held out
    record = read_json(listed / "stage.json")
    assert record["roles"] == ["calibrate", "test", "train"]
    assert len(record["patients"]) == 90
    for name in ("stage.json", "claims.json", "pairs.json", "index.html"):
        assert "PHANTOM-" not in (listed / name).read_text().replace('"synthetic": "PHANTOM-', ""), name
    for name, digest in record["outputs"].items():
        assert sha256_file(listed / name) == digest


def test_files_that_cannot_be_read_are_counted_with_their_reasons(listed: Path) -> None:
    rows = {row["path"]: (row["set"], row["reason"]) for row in read_csv(listed / "excluded.csv")}
    assert rows == {"broken.dcm": ("synthetic", "not DICOM"), "short.dcm": ("synthetic", "truncated")}
    page = words_of(listed / "index.html")
    assert "2 synthetic files were left out" in page
    assert "81 synthetic images beside 360 real images" in page
    assert "the training of their generator is not known" in page
    assert "listed in quarantine.csv" in page


def test_without_a_list_copies_are_not_assessable_and_the_rest_goes_on(
    scans: Path, pngs: Path, tmp_path: Path, run: Run
) -> None:
    code, out, error = run("audit", "--real", scans / "dicom", "--synthetic", pngs, "--out", tmp_path / "out")
    assert code == 0, error
    assert out.splitlines()[-1].startswith("next: open ")
    assert "quarantine.csv" not in out
    claims = claims_of(tmp_path / "out")
    assert claims["copies.flag_rate"]["verdict"] == "not assessable"
    assert "--train-list" in claims["copies.flag_rate"]["why"]
    assert claims["copies.real_files"]["verdict"] == "shown"
    assert claims["fidelity.kid"]["value"] is not None
    assert claims["fidelity.kid"]["n"]["real patients"] == 45  # by Patient ID; half of them set the scale
    assert "may have seen any real image" in claims["fidelity.kid"]["why"]
    assert "each counts as one patient" not in claims["fidelity.kid"]["why"]
    assert "of two kinds" in claims["telltales.files"]["why"]
    assert read_csv(tmp_path / "out" / "quarantine.csv") == []
    assert "PHANTOM-" not in (tmp_path / "out" / "claims.json").read_text()
    page = words_of(tmp_path / "out" / "index.html")
    for part in (
        "No list of training images was given",
        "Real files hold 12 bits and synthetic ones 8 bits",
        "One set is DICOM and the other PNG",
        "no copy search was made",
    ):
        assert part in page, part


def test_sets_of_other_sizes_are_brought_together_and_small_sets_not_assessed(
    scans: Path, pngs: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "made").mkdir()
    for index, path in enumerate(sorted(pngs.iterdir())[:30]):
        with Image.open(path) as image:
            larger = np.asarray(image).repeat(2, axis=0).repeat(2, axis=1)
        Image.fromarray(np.full_like(larger, 90) if index < 3 else larger).save(tmp_path / "made" / path.name)
    arguments = ("--real", scans / "dicom", "--synthetic", tmp_path / "made", "--out", tmp_path / "out")
    code, _, error = run("audit", *arguments)
    assert code == 0, error
    for name, claim in claims_of(tmp_path / "out").items():
        assert claim["verdict"] == ("shown" if name == "copies.real_files" else "not assessable")
        assert claim["n"]["constant synthetic images"] == 3
    page = words_of(tmp_path / "out" / "index.html")
    assert "The images differ in size (real: 32 pixels; synthetic: 64 pixels)" in page
    assert "All were resized to 32 × 32 pixels" in page
    assert "--out exists; choose a new folder" in run("audit", *arguments)[2]


def test_what_cannot_be_audited_is_one_line(
    scans: Path, pngs: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    real, out = scans / "dicom", tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "a.dcm").write_bytes(b"junk")
    (tmp_path / "junk" / "b.png").write_bytes(b"junk")
    assert "not both" in refused("audit", tmp_path, "--real", real, "--synthetic", pngs, "--out", out)
    assert "all of --real, --synthetic and --out" in refused("audit", "--real", real, "--synthetic", pngs)
    assert "give either STUDY" in refused("audit")
    for made, words in (
        (real, "the same folder"),
        (real / "PHANTOM-0001", "within the other"),
        (tmp_path / "empty", "--synthetic holds no file"),
        (tmp_path / "nowhere", "--synthetic is not a folder"),
        (tmp_path / "junk", "can be read (1 not DICOM, 1 not a picture)"),
    ):
        assert words in refused("audit", "--real", real, "--synthetic", made, "--out", out)
        assert not out.exists()
    assert "--out lies within" in refused("audit", "--real", real, "--synthetic", pngs, "--out", pngs / "out")
    (tmp_path / "again").symlink_to(real)
    assert "the same folder" in refused("audit", "--real", real, "--synthetic", tmp_path / "again", "--out", out)
    (tmp_path / "file").write_text("")
    assert "--out exists" in refused("audit", "--real", real, "--synthetic", pngs, "--out", tmp_path / "file")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    assert "--out exists" in refused("audit", "--real", real, "--synthetic", pngs, "--out", tmp_path / "broken")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.toml").write_text("")
    assert "is a study folder" in refused("audit", "--real", real, "--synthetic", tmp_path / "mine", "--out", out)
    rest = ("--real", real, "--synthetic", pngs, "--out", out, "--train-list")
    assert "cannot be read" in refused("audit", *rest, tmp_path / "nowhere.csv")
    (tmp_path / "bad.csv").write_bytes(b"path,patient_id,split\n\xff\xfe,1,train\n")
    assert "not a UTF-8 CSV file" in refused("audit", *rest, tmp_path / "bad.csv")
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [{**row, "site": "x"} for row in rows], "exactly the columns path, patient_id, split"),
        (lambda rows: [{**rows[0], "path": "gone.dcm"}, *rows[1:]], "row 2: there is no such file"),
        (lambda rows: [*rows, rows[0]], "row 362: the file is already in an earlier row"),
        (lambda rows: [{**rows[0], "split": "test"}, *rows[1:]], "row 2: split must be train or held-out"),
        (lambda rows: [{**rows[0], "patient_id": " "}, *rows[1:]], "row 2: patient_id is empty"),
        (lambda rows: [*rows[:3], {**rows[3], "split": "held-out"}, *rows[4:]], "row 5: the patient is in both splits"),
        (lambda rows: rows[5:], "5 real images have no row"),
        (lambda rows: rows[:0] or [{"a": "b"}], "columns path, patient_id, split"),
    ],
)
def test_a_wrong_train_list_is_one_line(
    change: Callable[[list[Row]], list[Row]],
    words: str,
    scans: Path,
    pngs: Path,
    tmp_path: Path,
    refused: Callable[..., str],
) -> None:
    table = write_list(tmp_path / "list.csv", change(train_rows(scans)))
    line = refused(
        "audit", "--real", scans / "dicom", "--synthetic", pngs, "--out", tmp_path / "out", "--train-list", table
    )
    assert words in line
    assert "PHANTOM" not in line
    assert not (tmp_path / "out").exists()


def gathered(real: Foreign, made: Foreign, listed: TrainList | None = None) -> Compared:
    return gather_loose(real, made, listed, 0)


def scanned(folder: Path, synthetic: bool = False) -> Foreign:
    with DecodePool() as pool:
        found = survey(folder, "DIR", pool, None, synthetic)
        return read(found, (32, 32), Scaling((-1000.0, 400.0), (0.5, 99.5)), pool, synthetic)


@pytest.fixture(scope="module")
def real(scans: Path) -> Foreign:
    return scanned(scans / "dicom")


@pytest.fixture(scope="module")
def drawn(pngs: Path) -> Foreign:
    return scanned(pngs, synthetic=True)


def test_patients_are_told_apart_by_patient_id_and_numbered(real: Foreign, drawn: Foreign) -> None:
    compared = gathered(real, drawn)
    cases = {case.case: case for part in (compared.train, compared.test) for case in part.cases}
    assert len({case.patient for case in cases.values()}) == 90
    for left, right in itertools.pairwise(sorted(cases)):
        same = compared.names[left].split("/")[0] == compared.names[right].split("/")[0]
        assert same == (cases[left].patient == cases[right].patient)
    assert not any("PHANTOM" in case.patient for case in cases.values())
    assert compared.caveat == CAVEAT
    # PNG files name nobody
    loose = gathered(drawn, real)
    assert loose.test.patient_count + loose.train.patient_count == 80
    assert "80 of 80 real files have no Patient ID" in loose.caveat


def test_one_patient_id_for_all_is_said_and_nothing_compared(real: Foreign, drawn: Foreign) -> None:
    same = dataclasses.replace(
        real, headers=tuple(dataclasses.replace(header, patient_id=" ANON ") for header in real.headers)
    )
    compared = gathered(same, drawn)
    assert ONE_PATIENT in compared.withheld["fidelity.kid"]
    assert "copies.real_files" not in compared.withheld
    files = [source.relative for source in real.sources]
    listed = TrainList({f: f.split("/")[0] for f in files}, frozenset({"PHANTOM-0001"}), "0" * 64)
    assert "fidelity.kid" not in gathered(same, drawn, listed).withheld
    assert shared_patients(same, listed) == 356  # as far as the files say, all are one patient's
    assert shared_patients(real, listed) == 0


def test_a_long_series_is_read_again_and_not_kept(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = next((scans / "dicom").iterdir())
    whole = scanned(one).images
    monkeypatch.setattr(foreign, "_HELD", 2 * 32 * 32)
    np.testing.assert_array_equal(scanned(one).images, whole)  # 1,024 pixels of each are all there are


def test_real_files_written_anew_are_found_and_named_at_the_end(
    scans: Path, pngs: Path, tmp_path: Path, run: Run
) -> None:
    made = tmp_path / "made"
    shutil.copytree(pngs, made)
    images = decoded(scans / "dicom")
    stretched = images[7].astype(np.float64)
    stretched = (stretched - stretched.min()) / np.ptp(stretched) * 200 + 20
    Image.fromarray(stretched.astype(np.uint8)).resize((80, 80), Image.Resampling.BICUBIC).save(made / "zz.png")
    code, out, error = run("audit", "--real", scans / "dicom", "--synthetic", made, "--out", tmp_path / "out")
    assert code == 0, error
    claim = claims_of(tmp_path / "out")["copies.real_files"]
    assert claim["verdict"] == "refuted"
    assert "1 re-encoded" in claim["why"]
    row = read_csv(tmp_path / "out" / "quarantine.csv")[0]
    assert (row["image"], row["nearest"]) == ("zz.png", sorted(real_names(scans))[7])
    assert 0.998 < float(row["score"]) < 1
    assert out.splitlines()[-2].startswith("inspect and withhold 1 image")
    assert str(tmp_path / "out" / "quarantine.csv") in out.splitlines()[-2]


def real_names(scans: Path) -> list[str]:
    return [path.relative_to(scans / "dicom").as_posix() for path in (scans / "dicom").rglob("*.dcm")]


def test_strange_names_and_links_stop_nothing(scans: Path, pngs: Path, tmp_path: Path, run: Run) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for index, path in enumerate(sorted(pngs.iterdir())[:12]):
        shutil.copy(os.fsencode(path), os.fsencode(made) + b"/n\xff\n,%d.png" % index)
    (made / "link.png").symlink_to(sorted(pngs.iterdir())[13])
    (made / "gone.png").symlink_to(tmp_path / "nowhere")
    (made / "loop").symlink_to(made)
    (made / "secret.png").symlink_to("/etc/passwd")
    code, _, error = run("audit", "--real", scans / "dicom", "--synthetic", made, "--out", tmp_path / "out")
    assert code == 0, error
    assert claims_of(tmp_path / "out")["copies.real_files"]["n"]["synthetic images"] == 13
    assert [row["reason"] for row in read_csv(tmp_path / "out" / "excluded.csv")] == ["not a picture"]


def test_what_differs_between_the_sets_is_said(scans: Path, tmp_path: Path, run: Run) -> None:
    made = tmp_path / "made"
    made.mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        values = rng.integers(0, 4096, (40, 32)).astype(np.uint16)
        Image.fromarray(values).save(made / f"{index}.png")
    Image.fromarray((values // 256).astype(np.uint8)).save(made / "8.png")
    _, _, error = run("audit", "--real", scans / "dicom", "--synthetic", made, "--out", tmp_path / "out")
    assert "darkest part of their range only (up to " in error
    assert "8 or 16 bits" in error
    assert "differ in size" in error


# Reading


def test_png_are_read_to_the_letter_and_hostile_ones_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    eight, sixteen = rng.integers(0, 256, (32, 32)).astype(np.uint8), rng.integers(0, 65536, (32, 32)).astype(np.uint16)
    Image.fromarray(eight).save(tmp_path / "a8.png")
    Image.fromarray(sixteen).save(tmp_path / "b16.png")
    Image.fromarray(np.full((32, 32), 77, np.uint8)).save(tmp_path / "c-flat.png")
    Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(tmp_path / "d-colour.png")
    Image.new("1", (32, 32)).save(tmp_path / "e-bit.png")
    whole = (tmp_path / "b16.png").read_bytes()
    (tmp_path / "f-short.png").write_bytes(whole[: len(whole) // 2])
    # a header that claims 65535 x 65535 pixels over the data of 32 x 32
    (tmp_path / "g-bomb.png").write_bytes(whole[:16] + b"\0\0\xff\xff\0\0\xff\xff" + whole[24:])
    (tmp_path / "h-empty.png").write_bytes(b"")
    (tmp_path / "i-woven.png").write_bytes(interlaced(eight))
    with DecodePool() as pool:
        found = survey(tmp_path, "DIR", pool, None, True)
        kept = read(found, (32, 32), Scaling((0.0, 1.0), (0.5, 99.5)), pool, True)
        scans = read(found, (32, 32), Scaling((0.0, 1.0), (0.5, 99.5)), pool, False)
    assert [source.relative for source in kept.sources] == ["a8.png", "b16.png", "c-flat.png", "i-woven.png"]
    assert np.array_equal(kept.images[0], eight.astype(np.uint16) * 257)
    assert np.array_equal(kept.images[1], sixteen)
    assert (kept.images[2] == 77 * 257).all()
    assert kept.pixels[2] == ""
    assert np.array_equal(kept.images[3], kept.images[0])
    assert {item.source.relative[0]: item.reason for item in scans.left} == {
        "c": "constant image",
        "d": "colour image",
        "e": "unsupported bit depth",
        "f": "truncated",
        "g": "too large",
        "h": "not a picture",
    }


def interlaced(image: np.ndarray) -> bytes:
    """An 8-bit PNG in Adam7 order (PNG, third edition, 8.1)."""
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    lines = [line for r, dr, c, dc in passes for line in image[r::dr, c::dc]]
    data = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 0, 0, 0, 1)
    pieces = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def test_masks_beside_dicom_are_no_images(scans: Path) -> None:
    with DecodePool() as pool:
        found = survey(scans, "DIR", pool, None, False)
    assert len(found.usable) == 360
    assert {item.reason for item in found.left} == {"picture beside DICOM"}


# A set added to a study


@pytest.fixture
def study(tmp_path: Path, scans: Path, run: Run) -> Path:
    folder = tmp_path / "study"
    code, _, error = run(
        "init", folder, "--dicom", scans, "--labels", scans / "labels.csv", "--size", 32, "--view", "chest"
    )
    assert code == 0, error
    (folder / "study.toml").write_text((folder / "study.toml").read_text() + "[evidence]\ndraws = 20\n")
    assert run("ingest", folder)[0] == 0
    return folder


def name_set(study: Path, name: str) -> None:
    text = (study / "study.toml").read_text()
    assert "[synthetic]" not in text
    (study / "study.toml").write_text(f'{text}\n[synthetic]\nname = "{name}"\n')


def test_an_added_set_is_audited_and_never_drawn_over(
    study: Path, scans: Path, pngs: Path, tmp_path: Path, run: Run, refused: Callable[..., str]
) -> None:
    code, out, error = run("add-set", study, pngs, "--name", "theirs")
    assert code == 0, error
    assert "wrote 80 images, nodule" in out
    assert 'name = "theirs"' in out
    rows = read_csv(study / "synthetic" / "theirs" / "cases.csv")
    made = load_set(study / "synthetic" / "theirs", load_cohort(study / "cohort").facts)
    with Image.open(pngs / "000.png") as image:
        assert np.array_equal(made.planes[0], np.asarray(image).astype(np.uint16) * 257)
    assert {row["label"] for row in rows} == {"nodule"}
    record = read_json(study / "synthetic" / "theirs" / "stage.json")
    assert (record["stage"], list(record["inputs"])) == ("add-set", ["files"])

    name_set(study, "theirs")
    assert run("audit", study)[0] == 0
    assert read_csv(study / "evidence" / "theirs" / "quarantine.csv") == []
    assert claims_of(study / "evidence" / "theirs")["fidelity.kid"]["value"] is not None
    before = sha256_file(study / "synthetic" / "theirs" / "set.json")
    assert run("run", study)[0] == 0
    assert not (study / "gan").exists()
    assert sha256_file(study / "synthetic" / "theirs" / "set.json") == before
    page = words_of(study / "report" / "index.html")
    assert "Its generator was trained elsewhere" in page
    assert "add-set" in page
    lines = {line.split()[0]: line for line in run("status", study)[1].splitlines()}
    assert {name: "done" in lines[name] for name in ("ingest", "add-set", "audit", "report")} == dict.fromkeys(
        ("ingest", "add-set", "audit", "report"), True
    )
    assert "train" not in lines
    assert "which is never overwritten" in refused("generate", study)

    text = (study / "study.toml").read_text()
    (study / "study.toml").write_text(re.sub(r"^seed = 0", "seed = 1", text, flags=re.MULTILINE))
    assert "stale" in run("status", study)[1]
    (study / "study.toml").write_text(text)
    assert "stale" not in run("status", study)[1]


def test_a_set_added_to_another_cohort_must_be_added_again(
    study: Path, pngs: Path, run: Run, refused: Callable[..., str]
) -> None:
    assert run("add-set", study, pngs, "--name", "theirs")[0] == 0
    name_set(study, "theirs")
    text = (study / "study.toml").read_text()
    assert "size = 32" in text
    (study / "study.toml").write_text(text.replace("size = 32", "size = 64"))
    line = refused("run", study)
    assert "add it again: scansynth add-set" in line
    assert run("add-set", study, pngs, "--name", "theirs")[0] == 0
    assert run("audit", study)[0] == 0


def test_a_file_of_the_cohort_in_an_added_set_is_refuted(
    study: Path, scans: Path, others: Path, tmp_path: Path, run: Run
) -> None:
    shutil.copytree(others / "dicom", tmp_path / "made")
    row = next(
        row for row in read_csv(study / "cohort" / "cases.csv") if (row["role"], row["label"]) == ("train", "nodule")
    )
    linkage = {line["case"]: line["file"] for line in read_csv(study / "private" / "linkage.csv")}
    shutil.copy(scans / linkage[row["id"]], tmp_path / "made" / "zz-secret-name.dcm")
    code, _, error = run("add-set", study, tmp_path / "made", "--name", "theirs", "--label", "nodule")
    assert code == 0, error
    name_set(study, "theirs")
    assert run("audit", study)[0] == 0
    evidence = study / "evidence" / "theirs"
    assert claims_of(evidence)["copies.real_files"]["verdict"] == "refuted"
    found = read_csv(evidence / "quarantine.csv")
    assert (found[0]["image"], found[0]["nearest"]) == ("000080", row["id"])
    for path in study.rglob("*"):
        if path.is_file() and "private" not in path.parts:
            assert b"zz-secret-name" not in path.read_bytes(), path
    names = {line["id"]: line["source"] for line in read_csv(study / "private" / "set-theirs.csv")}
    assert names["000080"] == "zz-secret-name.dcm"


def test_what_cannot_be_added_is_one_line(study: Path, pngs: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "lower-case letters" in refused("add-set", study, pngs, "--name", "../evil")
    assert "no such label; give --label one of clear, nodule" in refused(
        "add-set", study, pngs, "--name", "theirs", "--label", "fracture"
    )
    assert "DIR holds no file" in refused("add-set", study, tmp_path / "empty", "--name", "theirs")
    (study / "synthetic" / "main").mkdir(parents=True)
    assert "a set of the study's own generator" in refused("add-set", study, pngs, "--name", "main")
    assert not (study / "synthetic" / "theirs").exists()
