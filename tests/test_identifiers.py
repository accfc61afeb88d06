"""Identifiers planted in a hundred places of the sources are found nowhere in what any stage writes or says."""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from burned import with_text
from command_line import scansynth
from PIL import Image, PngImagePlugin
from planted import DAY, MARK, UID, Planter, npz_of, plant, spoiled, traces, traces_below
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from releasable_study import write_keys
from scans import write_labels

from scansynth.data.scans.tesseract import find_tesseract
from scansynth.files import read_csv, read_json
from scansynth.phantom.cohort import write_phantom_cohort
from scansynth.reader.marks import Mark, written
from scansynth.reader.server.database import open_database
from scansynth.reader.server.served import Part, open_worklist
from scansynth.reader.server.store import Answer, lock_answer
from scansynth.study import Study, open_study

SETTINGS = """
[cohort.shares]
train = 0.46
tune = 0.04
calibrate = 0.04
reserve = 0.0
test = 0.46
[generator.overrides.network]
width = 4
[generator.overrides.schedule]
epochs = 3
log_every_images = 40
grid_every_images = 40
[synthetic]
images = 40
[evidence]
draws = 20
[tracking]
wandb = true
real_images = true
"""


@dataclass(frozen=True)
class Chain:
    """What the whole chain left: a folder of its own for sources, work, home and temporary files, and what was said."""

    place: Path
    planter: Planter
    said: bytes

    @property
    def study(self) -> Path:
        return self.place / "work" / "study"


def run(place: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A command in a process of its own, whose home and temporary folder are searched afterwards."""
    home = place / "home"
    own = {
        "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"), "TMPDIR": str(place / "tmp"), "WANDB_MODE": "offline",
    }  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "SCANSYNTH"))}
    return subprocess.run(
        [sys.executable, "-m", "scansynth.cli", *arguments],
        cwd=work, env={**environment, **own}, capture_output=True, check=False,
    )  # fmt: skip


def _sources(scans: Path, planter: Planter) -> None:
    """A phantom cohort with words planted in its files, their names, its table, and in files beside them."""
    write_phantom_cohort(scans, patients=40, size=32, seed=5)
    rows = []
    numbers: dict[str, str] = {}
    for count, row in enumerate(read_csv(scans / "labels.csv")):
        path = scans / row["path"]
        patient = numbers.setdefault(row["patient_id"], planter.word(f"patient {row['patient_id']}"))
        moved = scans / planter.word("name of a folder") / f"{count}-{planter.word('name of a file')}.dcm"
        moved.parent.mkdir(exist_ok=True)
        plant(path, planter, count)
        shutil.move(path, moved)
        mask = ""
        if row["mask"]:
            mask = f"{count}-{planter.word('name of a mask')}.png"
            texts = PngImagePlugin.PngInfo()
            texts.add_text("Author", planter.word("text of a mask"))
            texts.add_text("Comment", planter.word("packed text of a mask"), zip=True)
            with Image.open(scans / row["mask"]) as image:
                image.save(scans / mask, pnginfo=texts)
        rows.append(
            {
                "path": moved.relative_to(scans).as_posix(), "patient_id": patient, "label": row["label"], "mask": mask,
                "PatientName": planter.word("column of a name"), "Referrer": f"{planter.word('free column')}-{count}",
                "accession no": planter.word("column of a number"), "seen on": "1937-12-04",
                "note": planter.word("column of notes"), "Same as header": planter.word("PatientAddress"),
            }
        )  # fmt: skip
    write_labels(scans / "labels.csv", rows)
    for left in ("dicom", "masks"):
        shutil.rmtree(scans / left, ignore_errors=True)
    _beside(scans, scans / rows[0]["path"], planter)


def _beside(scans: Path, first: Path, planter: Planter) -> None:
    """Files that make no case: refused, flagged, captured, truncated, burned in, a DICOMDIR, notes."""
    odd = scans / planter.word("folder of odd files")
    odd.mkdir()
    spoiled(first, odd, planter)
    for name, keyword, value in (
        ("flagged", "BurnedInAnnotation", "YES"),
        ("capture", "SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
        ("screen", "ImageType", ["DERIVED", "SECONDARY", "SCREENSHOT"]),
    ):
        dataset = pydicom.dcmread(first)
        setattr(dataset, keyword, value)
        dataset.SOPInstanceUID = f"{UID}.3.{len(name)}"
        dataset.save_as(odd / f"{planter.word(f'name of a {name} file')}.dcm")
    dataset = pydicom.dcmread(first)
    segment, region = Dataset(), Dataset()
    segment.SegmentLabel, segment.SegmentDescription = planter.word("SegmentLabel"), planter.word("SegmentDescription")
    region.ROIName, region.ROIDescription = planter.word("ROIName"), planter.word("ROIDescription")
    dataset.Modality, dataset.SegmentSequence, dataset.SOPInstanceUID = "SEG", Sequence([segment]), f"{UID}.3.1"
    dataset.StructureSetROISequence = Sequence([region])
    dataset.save_as(odd / f"{planter.word('name of a segmentation')}.dcm")
    data = first.read_bytes()
    (odd / f"{planter.word('name of a truncated file')}.dcm").write_bytes(data[: len(data) // 2])
    (odd / f"{planter.word('name of a file that is no DICOM')}.dcm").write_text(planter.word("no DICOM"))
    (scans / "DICOMDIR").write_bytes(data.replace(b"PHANTOM", planter.word("DICOMDIR").encode()[:7]))
    (scans / "notes.txt").write_text(planter.word("notes beside the scans"))
    dataset = pydicom.dcmread(first)
    text = with_text(dataset.pixel_array.repeat(8, 0).repeat(8, 1).astype("float32"), f"{MARK} {DAY}", (4, 4), 20)
    dataset.Rows, dataset.Columns = text.shape
    dataset.PixelData, dataset.SOPInstanceUID = text.astype("<u2").tobytes(), f"{UID}.4"
    dataset.save_as(odd / f"{planter.word('burned in')}.dcm")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    place = tmp_path_factory.mktemp("chain")
    planter = Planter()
    for name in ("work", "home", "tmp"):
        (place / name).mkdir()
    _sources(place / "scans", planter)
    # paths of the sources stand in study.toml and nowhere else, so even the folder above has a word in its name
    named = place / planter.word("folder above the scans")
    named.mkdir()
    (place / "scans").rename(named / "scans")
    scans = os.path.relpath(named / "scans", place / "work")
    said = b""
    table = f"{scans}/labels.csv"
    for command in (
        ("init", "study", "--dicom", scans, "--labels", table, "--view", "chest", "--size", "32"),
        ("run", "study"),
    ):
        done = run(place, place / "work", *command)
        assert done.returncode == 0, (command, done.stderr.decode()[-3000:])
        said += done.stdout + done.stderr
        if command[0] == "init":
            settings = place / "work" / "study" / "study.toml"
            text = settings.read_text().replace("[cohort]\n", "[cohort]\nskip_unlisted = true\n")
            settings.write_text(text + SETTINGS)
    return Chain(place, planter, said)


def test_words_were_planted_in_many_places_and_read(chain: Chain) -> None:
    assert len(chain.planter.places) >= 100
    sources = traces_below(chain.place, but=frozenset({"work", "home", "tmp"}))
    seen = set().union(*sources.values())
    short = {"OverlayData", "private bytes", "group length", "packed text of a mask", "DICOMDIR"}  # cut or encoded
    missed = {place for place, word in chain.planter.places.items() if word not in seen} - short
    assert not {place for place in missed if not place.startswith("a ")}, missed
    cases = read_csv(chain.study / "cohort" / "cases.csv")
    assert len(cases) == 160, "the files with the words are the cohort"
    excluded = read_json(chain.study / "cohort" / "cohort.json")["excluded"]
    assert sum(excluded.values()) >= 15, excluded
    assert read_json(chain.study / "report" / "stage.json")["outputs"]
    assert list((chain.study / "gan" / "main" / "wandb").rglob("*.wandb")), "the tracker was at work"


def test_no_planted_word_is_written_outside_private(chain: Chain) -> None:
    permitted = frozenset({"private", "study.toml"})
    assert traces_below(chain.study, but=permitted) == {}
    assert MARK in (chain.study / "private" / "linkage.csv").read_text()


@pytest.mark.parametrize("place", ["home", "tmp"])
def test_no_planted_word_is_left_in_the_users_folders(chain: Chain, place: str) -> None:
    assert traces_below(chain.place / place) == {}


def test_no_planted_word_is_said(chain: Chain) -> None:
    assert b"images of 40 patients" in chain.said
    assert traces(chain.said) == set()


def test_text_in_the_pixels_keeps_the_file_out(chain: Chain) -> None:
    reasons = read_json(chain.study / "cohort" / "cohort.json")["excluded"]
    assert {"burned-in annotation", "secondary capture", "screenshot"} <= reasons.keys()
    said = read_json(chain.study / "cohort" / "cohort.json")["text_search"]
    assert ("not searched" in said) == (find_tesseract() is None)


REFUSED = (
    ("path", "{word}/none.dcm"), ("role", "{word}"), ("mask", "{word}.png"), ("sop_instance_uid", UID + ".1.1"),
)  # fmt: skip


@pytest.mark.parametrize(("column", "value"), REFUSED, ids=[column for column, _ in REFUSED])
def test_refusals_do_not_repeat_a_cell(
    chain: Chain,
    tmp_path: Path,
    column: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scans = next(chain.place.glob(f"{MARK}*")) / "scans"
    rows = read_csv(scans / "labels.csv")[:40]
    rows[3][column] = value.format(word=f"{MARK}999")
    write_labels(tmp_path / "labels.csv", rows)
    shutil.copytree(chain.study, tmp_path / "study", ignore=shutil.ignore_patterns("gan", "synthetic", "report"))
    settings = tmp_path / "study" / "study.toml"
    lines = [
        f'dicom = "{scans}"' if line.startswith("dicom") else
        f'labels = "{tmp_path}/labels.csv"' if line.startswith("labels") else line
        for line in settings.read_text().splitlines()
    ]  # fmt: skip
    settings.write_text("\n".join(lines))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(chain.place / "home" / "config"))
    assert scansynth("ingest", tmp_path / "study") == 2
    said = capsys.readouterr()
    assert traces(f"{said.out}{said.err}".encode()) == set()
    assert "Traceback" not in said.err


def test_other_commands_do_not_say_a_word_either(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(chain.place / "home" / "config"))
    monkeypatch.chdir(chain.study.parent)
    assert scansynth("status", "study") == 0
    assert scansynth("export", "study", "main", "--out", tmp_path / "out") == 0
    assert scansynth("withdraw", "study", f"{MARK}999", "--yes") == 2
    said = capsys.readouterr()
    assert traces(f"{said.out}{said.err}".encode()) == set()
    assert traces_below(tmp_path / "out") == {}


def test_no_planted_word_leaves_with_a_signed_release(chain: Chain) -> None:
    work = chain.place / "work"
    shutil.copytree(chain.study, work / "further")
    settings = work / "further" / "study.toml"
    settings.write_text(settings.read_text().replace("TO FILL IN", "As a person wrote"))
    signing, _ = write_keys(work, 1)
    why = ("--override", "a test of what is written", "--by", "a test")
    done = run(chain.place, work, "release", "further", "--out", "release", "--png", "--sign", signing.name, *why)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert traces(done.stdout + done.stderr) == set()
    names = {path.name for path in (work / "release").iterdir()}
    assert {"model.sig", "ro-crate-metadata.json", "register.json", "croissant.json", "report", "dicom"} <= names
    assert traces_below(work / "release") == {}
    assert traces_below(work / "further", but=frozenset({"private", "study.toml"})) == {}


READING = """
[reader]
readers = 2
images = 20
mix = "balanced"
practice = 2
marks = "nodule"
unaware = 8
question = "Is there a nodule?"
references = 2
"""


def _read(study: Study) -> None:
    """Locks an answer of every kind at each place: marks, words, a share."""
    served = open_worklist(study.reader / "worklist")
    with contextlib.closing(open_database(study.reader / "worklist", served.worklist)) as database:
        for reader, order in served.orders.items():
            for number, place in enumerate(order.places):
                part = order.part(number)
                marks = written([Mark(9.0, 12.0, 3.0, 4)] if part in (Part.PRACTICE, Part.READING) else [])
                second = None if part.asks or part is Part.UNAWARE else 1
                answer = Answer(
                    2 if part.asks else 1 + number % 6, second, None, 3.0, 0.0, 0, False, f"{reader}-{number:06d}",
                    "a comment", marks=marks, percent=30 if part is Part.SUSPECTED else None,
                )  # fmt: skip
                lock_answer(database, order, place.item, answer, "2026-11-27T12:00:00.000+00:00")


def test_no_planted_word_is_in_what_a_reader_study_writes(chain: Chain) -> None:
    """First part, marks, words and references: worklist, database, exports, analysis, report, and two compared."""
    work = chain.place / "work"
    why = ("--override-name", "a test", "--override-reason", "what is written is searched")
    said = b""
    for name in ("read-one", "read-two"):
        study = Path(shutil.copytree(chain.study, work / name))
        with (study / "study.toml").open("a") as settings:
            settings.write(READING)
        for command in (("create", name, *why), ("close", name), ("analyse", name)):
            if command[0] == "close":
                _read(open_study(study))
            done = run(
                chain.place, work, "reader", *command, *(("--seal", f"{name}.seal") if command[0] != "analyse" else ())
            )
            assert done.returncode == 0, (command, done.stderr.decode()[-3000:])
            said += done.stdout + done.stderr
        done = run(chain.place, work, "report", name)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        said += done.stdout + done.stderr
        names = {path.name for path in (study / "reader").rglob("*") if path.is_file()}
        assert {"readings.csv", "unaware.csv", "said.csv", "marks.csv", "analysis.json"} <= names
        assert "a comment" in (study / "reader" / "readings.csv").read_text(), "the answers are there"
        assert traces_below(study, but=frozenset({"private", "study.toml"})) == {}
    done = run(chain.place, work, "reader", "compare", "read-one", "read-two", "--out", "compared.json")
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert traces(said + done.stdout + done.stderr + (work / "compared.json").read_bytes()) == set()


@pytest.mark.parametrize(
    "data",
    [
        b"x" + MARK.encode() + b"042y",
        MARK.encode("utf-16-le"),
        MARK.encode("utf-16-be"),
        *(base64.b64encode(b"a" * shift + MARK.encode() + b"042 and more") for shift in range(3)),
        gzip.compress(MARK.encode()),
        npz_of(MARK),
        b"<img src='data:image/png;base64," + base64.b64encode(gzip.compress(os.urandom(99) + MARK.encode())) + b"'>",
        UID.encode(),
        b'"' + DAY.encode() + b'"',
    ],
    ids=["plain", "utf-16-le", "utf-16-be", "base64-0", "base64-1", "base64-2", "gzip", "npz", "page", "uid", "date"],
)
def test_the_search_can_fail(data: bytes, tmp_path: Path) -> None:
    assert traces(data)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(data)
    assert traces_below(tmp_path).keys() == {"deep/file"}
    (tmp_path / "deep" / "file").write_bytes(b"nothing of that kind 3.19371204 119371204 and 19371204.5x"[:36])
    assert traces_below(tmp_path) == {}


def test_a_word_in_a_name_is_found(tmp_path: Path) -> None:
    (tmp_path / f"{MARK}001.txt").touch()
    assert traces_below(tmp_path)
