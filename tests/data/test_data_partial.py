"""An ingest that was interrupted goes on where it stopped, and gives what an uninterrupted one gives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacked import outputs
from in_process import InProcessPool
from PIL import Image

from scansynth.config import StudyConfig
from scansynth.data import ingest as stage
from scansynth.data.scans.burned_in import TextSearch
from scansynth.data.scans.partial import PARTIAL
from scansynth.data.scans.tesseract import SCALES, Tesseract
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import CohortError
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)


class Half(Tesseract):
    """Reads text in every second spot that it is shown, whatever stands there."""

    def letters(self, pictures: Any, scale: int = SCALES[0]) -> list[tuple[int, int]]:
        return [(9, 9) if float(picture.mean()) % 2 < 1 else (0, 0) for picture in pictures]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were decoded, in order."""
    found: list[Path] = []

    class Watched(InProcessPool):
        def decode_all(self, jobs: Iterable[Any], *, text: bool = False) -> Iterator[Any]:
            def told() -> Iterator[Any]:
                for job in jobs:
                    found.append(job[0])
                    yield job

            return super().decode_all(told(), text=text)

    monkeypatch.setattr(stage, "DecodePool", Watched)
    monkeypatch.setattr(stage, "TextSearch", lambda wish: TextSearch(wish, Half("", "1")))
    return found


@pytest.fixture
def scans(tmp_path: Path, tiny_dicom_folder: Callable[..., Path]) -> Path:
    """24 scans of 12 patients, each with a mask."""
    folder = tiny_dicom_folder(columns=lambda number: {"mask": f"mask{number}.png"})
    for number in range(24):
        Image.fromarray(np.eye(32, dtype=np.uint8) * 255).save(folder / f"mask{number}.png")
    return folder


def study_of(folder: Path, scans: Path, **settings: Any) -> Study:
    values = {"dicom": str(scans), "size": 32, "labels": str(scans / "labels.csv"), **settings}
    return Study(folder, StudyConfig.model_validate({"cohort": values}))


def interrupted_at(done: int, note: str = "decoding") -> Callable[..., None]:
    def progress(now: int, _total: int, words: str = "") -> None:
        if (now, words) == (done, note):
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("done", [1, 9, 24])
def test_it_goes_on_and_gives_the_same(tmp_path: Path, scans: Path, decoded: list[Path], done: int) -> None:
    stage.ingest(study_of(tmp_path / "whole", scans), KEY)
    every = len(decoded)
    decoded.clear()
    study = study_of(tmp_path / "broken off", scans)
    with pytest.raises(KeyboardInterrupt):
        stage.ingest(study, KEY, interrupted_at(done))
    decoded.clear()
    summary = stage.ingest(study, KEY)
    assert outputs(study.folder) == outputs(tmp_path / "whole")
    assert len(decoded) <= every - done + 4  # a series that was not complete begins again
    assert any("taken over from an ingest that was interrupted" in note for note in summary.warnings) == (done > 4)
    assert not (study.folder / PARTIAL).exists()


def test_it_is_interrupted_twice_and_among_the_pictures_of_two_patients(
    tmp_path: Path, scans: Path, decoded: list[Path]
) -> None:
    stage.ingest(study_of(tmp_path / "whole", scans), KEY)
    study = study_of(tmp_path / "broken off", scans)
    for stop in (interrupted_at(7), interrupted_at(15), interrupted_at(24, "same pictures")):
        with pytest.raises(KeyboardInterrupt):
            stage.ingest(study, KEY, stop)
    decoded.clear()
    stage.ingest(study, KEY)
    assert decoded == []
    assert outputs(study.folder) == outputs(tmp_path / "whole")


def _touch(scans: Path, folder: Path) -> None:
    path = next(scans.glob("p7/i1"))
    found = path.stat()
    path.write_bytes(path.read_bytes())  # the same size and time, another time of change
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _alter_image(scans: Path, folder: Path) -> None:
    with (folder / "images.npy").open("r+b") as stream:
        stream.seek(300)
        stream.write(b"\0\1\2\3")


def _cut_images(scans: Path, folder: Path) -> None:
    os.truncate(folder / "images.npy", 3000)


def _cut_lines(scans: Path, folder: Path) -> None:
    lines = folder / "decoded.jsonl"
    os.truncate(lines, lines.stat().st_size - 20)


def _other_basis(scans: Path, folder: Path) -> None:
    lines = (folder / "decoded.jsonl").read_text().splitlines()
    (folder / "decoded.jsonl").write_text("\n".join([json.dumps({"basis": "0" * 64}), *lines[1:]]) + "\n")


def _nonsense(scans: Path, folder: Path) -> None:
    with (folder / "decoded.jsonl").open("r+") as stream:
        stream.readline()
        stream.seek(stream.tell())
        stream.truncate()
        stream.write('{"scans": 7}\n[]\nnot JSON\n')


@pytest.mark.parametrize(
    "fault", [_touch, _alter_image, _cut_images, _cut_lines, _other_basis, _nonsense], ids=lambda one: one.__name__
)
def test_what_is_not_as_it_was_is_decoded_anew(
    tmp_path: Path, scans: Path, decoded: list[Path], fault: Callable[[Path, Path], None]
) -> None:
    study = study_of(tmp_path / "broken off", scans)
    with pytest.raises(KeyboardInterrupt):
        stage.ingest(study, KEY, interrupted_at(20))
    fault(scans, study.folder / PARTIAL)
    decoded.clear()
    stage.ingest(study, KEY)
    assert len(decoded) >= 6
    stage.ingest(study_of(tmp_path / "whole", scans), KEY)
    assert outputs(study.folder) == outputs(tmp_path / "whole")


@pytest.mark.parametrize("settings", [{"size": 48}, {"percentiles": [1.0, 99.0]}, {"burned_in": "keep"}])
def test_other_settings_begin_anew(tmp_path: Path, scans: Path, decoded: list[Path], settings: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        stage.ingest(study_of(tmp_path / "study", scans), KEY, interrupted_at(24))
    decoded.clear()
    stage.ingest(study_of(tmp_path / "study", scans, **settings), KEY)
    assert len(decoded) == 24
    stage.ingest(study_of(tmp_path / "whole", scans, **settings), KEY)
    assert outputs(tmp_path / "study") == outputs(tmp_path / "whole")


def test_no_name_stands_there_and_a_refusal_leaves_nothing(tmp_path: Path, scans: Path, decoded: list[Path]) -> None:
    study = study_of(tmp_path / "study", scans)
    with pytest.raises(KeyboardInterrupt):
        stage.ingest(study, KEY, interrupted_at(20))
    said = (study.folder / PARTIAL / "decoded.jsonl").read_text()
    assert said.count("\n") > 5
    assert not any(word in said for word in (".dcm", "PID", "1.2.", str(scans)))
    (scans / "mask11.png").unlink()
    with pytest.raises(CohortError):
        stage.ingest(study, KEY)
    assert not (study.folder / PARTIAL).exists()
