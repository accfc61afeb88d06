"""A study folder: names, journal, lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scansynth.errors import ConfigError, StudyError
from scansynth.files import read_json_lines
from scansynth.study import Study, open_study

TOML = "[cohort]\ndicom = '../scans'\nunlabelled = true\n[generator]\nrun = 'first'\n"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.toml").write_text(TOML)
    return open_study(folder)


def test_every_artefact_has_its_own_place_inside_the_study(study: Study) -> None:
    places = [study.cohort, study.linkage, study.run(), study.synthetic(), study.evidence(), study.report]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(study.folder) for place in places)
    assert (study.run(), study.run("b")) == (study.folder / "gan/first", study.folder / "gan/b")
    assert study.source("../scans") == study.folder.parent / "scans"
    assert study.source("/scans") == Path("/scans")


def test_no_study_and_a_wrong_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="scansynth init"):
        open_study(tmp_path)
    (tmp_path / "study.toml").write_text("format = 3\n")
    with pytest.raises(ConfigError, match="format 3"):
        open_study(tmp_path)


def test_the_journal_keeps_every_line_in_order(study: Study) -> None:
    for number in range(3):
        study.log("train", "written", number=number)
    rows = read_json_lines(study.journal)
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert all(row["stage"] == "train" and row["time"].endswith("+00:00") for row in rows)


LOCK = """
import sys
from pathlib import Path
from scansynth.errors import StudyError
from scansynth.study import open_study
try:
    with open_study(Path(sys.argv[1])).lock():
        print("taken")
except StudyError as fault:
    print(fault)
"""


def test_a_second_process_is_refused_until_the_first_one_ends(study: Study) -> None:
    def other() -> str:
        command = [sys.executable, "-c", LOCK, str(study.folder)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with study.lock():
        assert "another scansynth command is running" in other()
    assert other() == "taken"
    with pytest.raises(ValueError, match="planted"), study.lock():
        raise ValueError("planted")
    with study.lock():
        pass
