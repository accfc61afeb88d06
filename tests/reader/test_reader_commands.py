"""A whole reader study at the command line: created, read through the server, closed, analysed; and refusals."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import browsers
from study_factory import make_study

from scansynth.claims.judged import read_claims
from scansynth.cli import main
from scansynth.data.tensors import to_signed, to_stored
from scansynth.dicom.deidentify import KEY_VARIABLE
from scansynth.files import read_csv, read_json, sha256_file
from scansynth.metrics import planted
from scansynth.reader.server.app import create_app
from scansynth.reader.server.worklist import mark_served
from scansynth.stage import read_record
from scansynth.statistics import Verdict
from scansynth.study import Study, open_study

IMAGES = 50
"""20 to 30 of either kind: the probe found the JPEG below in 40 of 40 draws, and with 25 images in 37."""

SETTINGS = f'[reader]\nreaders = 3\nimages = {IMAGES}\npractice = 2\ntitle = "Chest MR"\n'


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "config" / "institution.key"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command; what it says on stdout, or its refusal."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["scansynth", *map(str, arguments)])
        with contextlib.suppress(SystemExit):
            main()
            return capsys.readouterr().out
        told = capsys.readouterr().err
        lines = [line for line in told.splitlines() if line.startswith("scansynth:")]
        assert len(lines) == 1, told
        assert "Traceback" not in told
        return lines[0]

    return run


def small_study(folder: Path, **changes: object) -> Study:
    study = make_study(folder, **changes)  # type: ignore[arg-type]
    path = study.folder / "study.toml"
    path.write_text(path.read_text() + SETTINGS)
    return open_study(study.folder)


def test_a_study_from_invitations_to_the_verdict(tmp_path: Path, command: Callable[..., str]) -> None:
    study = small_study(tmp_path / "study")
    said = command("reader", "create", study.folder, "--address", "https://reading.example/")
    tokens = dict(re.findall(r"(r\d\d)  https://reading\.example/i/([\w-]{43})\n", said))
    assert set(tokens) == {"r01", "r02", "r03"}
    assert said.splitlines()[-1].startswith(f"next: scansynth reader serve {study.folder}")
    worklist = study.reader / "worklist"
    assert "was not served" in command("reader", "status", study.folder)
    app = create_app(worklist)
    with browsers(app, 3) as opened:
        for answer, (browser, token) in enumerate(zip(opened, tokens.values(), strict=True), start=2):
            browser.begin(token)
            assert browser.change("POST", "/api/screen", {"seen": answer != 3}).status_code == 200
            assert browser.read_on(answer=answer)["phase"] == "done"
    mark_served(worklist, app.state.service.clock())
    said = command("reader", "status", study.folder)
    assert "r01  finished    practice 2/2, images 60/60; screen: both squares seen in the only sitting" in said
    assert "r02  finished    practice 2/2, images 60/60; screen: not both squares seen in 1 of 1 sitting" in said
    assert "3 of 3 readers have finished" in said
    assert "was served" in command("reader", "create", study.folder, "--replace")
    said = command("reader", "close", study.folder)
    assert f"next: scansynth report {study.folder}" in said
    rows = read_csv(study.reader / "readings.csv")
    assert len(rows) == 3 * (IMAGES + 10)
    assert {(row["reader"], row["answer"]) for row in rows} == {("r01", "2"), ("r02", "3"), ("r03", "4")}
    values = read_json(study.reader / "analysis.json")
    assert values["primary"]["auc"] == pytest.approx(0.5)
    assert "not a person" in values["machine"]["reader"]
    assert [row["reader"] for row in values["readers"]] == ["r01", "r02", "r03"]
    assert values["closing"]["unfinished"] == {}
    (claim,) = read_claims(study.reader / "claims.json")
    # three readers who gave one answer to everything show nothing, whatever their AUC
    assert claim.verdict is Verdict.NOT_ASSESSABLE
    assert (study.reader / "readings.imrmc").read_text().count("\n") > 3 * IMAGES
    record = read_record(study.reader)
    assert record is not None
    assert record.outputs["readings.csv"] == sha256_file(study.reader / "readings.csv")
    assert record.roles == ("test", "train")

    path = study.reader / "readings.csv"
    before = path.read_text()
    path.write_text(before.replace("r01", "r09"))
    assert "readings were changed after the study was closed" in command("reader", "analyse", study.folder)
    path.write_text(before)
    assert f"next: scansynth report {study.folder}" in command("reader", "analyse", study.folder)


def test_refusals_say_what_to_do(tmp_path: Path, command: Callable[..., str]) -> None:
    study = small_study(tmp_path / "study", change=lambda made: to_stored(planted.jpeg(to_signed(made), 75)))
    assert "--override-name NAME" in command("reader", "create", study.folder)
    assert "needs a name and a reason" in command("reader", "create", study.folder, "--override-name", "A. Person")
    assert "not closed; run: scansynth reader close" in command("reader", "analyse", study.folder)
    assert "reader create" in command("reader", "close", study.folder)
    assert "reader create" in command("reader", "serve", study.folder)
    inside = study.folder / "key"
    override = ("--override-name", "A. Person", "--override-reason", "a test")
    said = command("reader", "create", study.folder, "--seal", inside, *override)
    assert "must not be in the study folder" in said
    assert not study.reader.exists()
    said = command("reader", "create", study.folder, *override)
    assert f"next: scansynth reader serve {study.folder}" in said
    kept = read_json(study.reader / "protocol.json")["override"]
    assert (kept["name"], kept["reason"]) == ("A. Person", "a test")
    assert "does not say how readers connect" in command("reader", "create", study.folder, "--address", "host:8765")
    assert "There is no reader r77" in command("reader", "code", study.folder, "r77")
    code = command("reader", "code", study.folder, "r02").splitlines()[0].rpartition(" ")[2]
    with browsers(create_app(study.reader / "worklist")) as (browser,):
        assert browser.post("/resume", data={"code": code}).status_code in {200, 303}
        assert browser.state()["phase"] == "practice"


def test_readers_come_and_go_by_command(tmp_path: Path, command: Callable[..., str]) -> None:
    study = small_study(tmp_path / "study")
    command("reader", "create", study.folder)
    assert "--reason" in command("reader", "withdraw", study.folder, "r02", "--yes")
    assert "those who read are r01, r02, r03" in command(
        "reader", "withdraw", study.folder, "r07", "--reason", "none", "--yes"
    )
    assert "does not say how readers connect" in command(
        "reader", "add", study.folder, "--reason", "more", "--address", "host", "--yes"
    )
    said = command("reader", "add", study.folder, "--reason", "more", "--address", "https://reading.example", "--yes")
    (token,) = re.findall(r"r04  https://reading\.example/i/([\w-]{43})\n", said)
    said = command("reader", "replace", study.folder, "r02", "--reason", "on leave", "--yes")
    assert re.search(r"r05  http://127\.0\.0\.1:8765/i/[\w-]{43}\n", said)
    assert f"next: stop the server and start it again: scansynth reader serve {study.folder}" in said
    assert [row["kind"] for row in read_json(study.reader / "amendments.json")] == ["added", "withdrawn"]
    with browsers(create_app(study.reader / "worklist")) as (browser,):
        browser.begin(token)
        assert browser.state()["phase"] == "practice"
    said = command("reader", "status", study.folder)
    assert "r02  withdrawn   practice 0/2, images 0/60; screen: not checked yet" in said
    assert "r03  not begun" in said
    assert "r04  practice" in said
    assert "nothing to set aside" in command(
        "reader", "set-aside", study.folder, "--name", "A. Head", "--reason", "a test"
    )
    assert "r02 was withdrawn" in command("reader", "code", study.folder, "r02", "--yes")


def test_teaching_is_made_served_and_never_closed(tmp_path: Path, command: Callable[..., str]) -> None:
    study = small_study(tmp_path / "study")
    assert "does not say how readers connect" in command(
        "reader", "teach", study.folder, "--address", "reading.example"
    )
    said = command(
        "reader", "teach", study.folder, "--images", 6, "--people", 2, "--address", "https://reading.example"
    )
    tokens = re.findall(r"  (r\d\d)  https://reading\.example/i/[\w-]{43}\n", said)
    assert tokens == ["r01", "r02"]
    worklist = study.teaching / "worklist"
    assert said.splitlines()[-1].startswith(f"next: scansynth reader serve {worklist}")
    assert not study.reader.exists(), "it is no reader study"
    command("reader", "create", study.folder, "--address", "https://reading.example")
    assert "are for teaching" in command("reader", "close", study.folder, "--worklist", worklist)
    assert "already exist" in command("reader", "teach", study.folder)
