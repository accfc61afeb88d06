"""Every block of commands in README and docs is run, or says why it is not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import scansynth

import scansynth as package
from scansynth.files import read_csv, write_csv

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
NOT_RUN = 18
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
    assert run == {"docs/quickstart.md"}, "blocks of another page need their own order: run them below"


@pytest.mark.parametrize("block", [one for one in blocks() if one.language == "python"], ids=lambda one: one.page)
def test_python_runs(block: Block) -> None:
    source = str(Path(package.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", block.body], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with scans, as the quick start has them, and a key of its own."""
    key = tmp_path / "institution.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    monkeypatch.setenv("SCANSYNTH_INSTITUTION_KEY", str(key))
    monkeypatch.chdir(tmp_path)
    assert scansynth("phantom", "scans", "--patients", 40, "--size", 32, "--seed", 5) == 0
    return tmp_path


def test_the_quick_start_runs_as_it_stands(place: Path) -> None:
    """Each line in its order; only the settings of a tiny training are put in between."""
    done = []
    for block in blocks():
        if block.page != "docs/quickstart.md" or block.why:
            continue
        for words in block.lines():
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
            done.append(words[1])
    assert done == ["init", "init", "run", "run", "status", "export", "add-set", "audit"]


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
