"""Every block of commands in README and docs is run, or says why it is not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import scansynth

import scansynth as package
from scansynth.config import UNFILLED, EvidenceSettings
from scansynth.files import read_csv, write_csv
from scansynth.pipeline import folders as loose

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
QUICK_START, TUTORIAL = "docs/quickstart.md", "docs/tutorial.md"
NOT_RUN = 19
"""Blocks that are marked as not run. Mark no more than must be."""

_BLOCK = re.compile(
    r"^(?:<!-- not run: (.+?) -->\n)?```(bash|sh|shell|console|python)\n(.*?)^```", re.DOTALL | re.MULTILINE
)
TINY = """
[generator.overrides.network]
width = 4
[generator.overrides.schedule]
epochs = 2
log_every_images = 100
grid_every_images = 200
[synthetic]
images = 40
[evidence]
draws = 20
"""


@dataclass(frozen=True)
class Block:
    """A block of commands, and why it is not run; empty: it is."""

    page: str
    language: str
    body: str
    why: str

    def lines(self) -> list[list[str]]:
        """Words of each command."""
        joined = self.body.replace("\\\n", " ").splitlines()
        return [words for line in joined if (words := shlex.split(line, comments=True))]


def blocks() -> list[Block]:
    return [
        Block(page.relative_to(ROOT).as_posix(), language, body, why)
        for page in PAGES
        for why, language, body in _BLOCK.findall(page.read_text(encoding="utf-8"))
    ]


def test_each_block_is_run_or_says_why_not() -> None:
    found = blocks()
    fences = sum(
        len(re.findall(r"^```(?:bash|sh|shell|console|python)$", page.read_text(encoding="utf-8"), re.MULTILINE))
        for page in PAGES
    )
    assert len(found) == fences, "no block is missed"
    assert sum(bool(one.why) for one in found) == NOT_RUN
    assert not [one for one in found if one.language == "python" and one.why], "Python needs no study"
    run = {one.page for one in found if one.language != "python" and not one.why}
    assert run == {QUICK_START, TUTORIAL}, "blocks of another page need their own order: run them below"


@pytest.mark.parametrize("block", [one for one in blocks() if one.language == "python"], ids=lambda one: one.page)
def test_python_runs(block: Block) -> None:
    source = str(Path(package.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", block.body], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


def commands_of(page: str) -> list[tuple[Block, list[str]]]:
    """Each command of a page that is run, with its block."""
    return [
        (one, words)
        for one in blocks()
        if one.page == page and one.language != "python" and not one.why
        for words in one.lines()
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with scans, fewer and smaller than those of the tutorial's first command, and a key of its own."""
    folder = tmp_path_factory.mktemp("place")
    key = folder / "institution.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    _, words = commands_of(TUTORIAL)[0]
    options = dict(zip(words[3::2], words[4::2], strict=True)) | {"--patients": "40", "--size": "32", "--seed": "5"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCANSYNTH_INSTITUTION_KEY", str(key))
        patch.setattr(loose, "EvidenceSettings", lambda: EvidenceSettings(draws=20, pairs=4))  # of folders, as TINY
        patch.chdir(folder)
        assert words[1:3] == ["phantom", "scans"]
        assert scansynth(*words[1:3], *(word for option in options.items() for word in option)) == 0
        yield folder


@pytest.fixture(scope="module")
def started(place: Path) -> list[list[str]]:
    """The commands of the quick start, each run in its order; only the settings of a tiny training are put between."""
    done = []
    for _, words in commands_of(QUICK_START):
        assert words[0] == "scansynth", words
        if "--labels-template" in words:
            (place / "labels.csv").unlink(missing_ok=True)
        if "their-images" in words and not (place / "their-images").exists():
            (place / "synthetic-png").rename(place / "their-images")
        if "train-list.csv" in words:
            write_train_list(place)
        assert scansynth(*words[1:]) == 0, words
        if words[1] == "init" and (place / "my-study").exists():
            settings = place / "my-study" / "study.toml"
            settings.write_text(re.sub(r"(?m)^size = \d+$", "size = 32", settings.read_text()) + TINY)
        done.append(words)
    return done


def test_the_quick_start_runs_as_it_stands(started: list[list[str]]) -> None:
    names = [words[1] for words in started]
    assert names == ["init", "init", "run", "run", "status", "export", "add-set", "audit"]


def test_the_tutorial_runs_as_it_stands(place: Path, started: list[list[str]]) -> None:
    """Its study is that of the quick start, made by the same commands; what follows is run here."""
    done = []
    for block, words in commands_of(TUTORIAL)[1:]:
        if words in started:
            done.append(words[1])
            continue
        if words[0] != "scansynth":
            subprocess.run(words, check=True, capture_output=True)
            continue
        if "--override" in words:
            fill_in_governance(place / "my-study" / "study.toml")
        shown = [str(released_file(place)) if word.endswith(".dcm") else word for word in words[1:]]
        assert scansynth(*shown) == (2 if "# refused" in block.body else 0), words
        assert (place / "my-release").exists() == ("release" in done or "--override" in words)
        if "# refused" not in block.body:
            done.append(words[1])
    assert done == ["init", "run", "run", "status", "report", "release", "verify", "whose", "journal"]


def fill_in_governance(settings: Path) -> None:
    """What a person writes."""
    settings.write_text(settings.read_text().replace(f'"{UNFILLED}: ', '"'))


def released_file(place: Path) -> Path:
    """The first image of the release: which ones are kept back is for the training to decide."""
    return min((place / "my-release" / "dicom").glob("??????.dcm"))


def write_train_list(place: Path) -> None:
    """Half of the patients as those that the images were made from."""
    rows = read_csv(place / "scans" / "labels.csv")
    patients = sorted({row["patient_id"] for row in rows})
    seen = set(patients[: len(patients) // 2])
    kept = ("path", "patient_id")
    listed = [
        {**{name: row[name] for name in kept}, "split": "train" if row["patient_id"] in seen else "held-out"}
        for row in rows
    ]
    write_csv(place / "train-list.csv", (*kept, "split"), listed)
