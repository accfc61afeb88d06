"""What a newcomer may give to the commands of the reader study and cannot be: one line, and nothing is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import browsers
from study_factory import make_study, small
from typer.testing import CliRunner
from worklist_factory import make_worklist

from scansynth.cli import app
from scansynth.commands.reader import links_begin_with
from scansynth.dicom.deidentify import KEY_VARIABLE
from scansynth.errors import ReaderError, ScansynthError
from scansynth.reader.create import create
from scansynth.reader.server.app import create_app
from scansynth.reader.server.serve import Address, serve
from scansynth.study import Study, open_study


def refused(*words: object) -> str:
    told = CliRunner().invoke(app, ["reader", *map(str, words)])
    assert isinstance(told.exception, ScansynthError), told.output
    assert "\n" not in str(told.exception)
    return str(told.exception)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("refusals") / "study")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('title = " "', "reader.title: String should have at least 1 character"),
        (f'title = "{"x" * 501}"', "reader.title: String should have at most 500 characters"),
        ('question = ""', "reader.question: String should have at least 1 character"),
        ('marks = "  "', "reader.marks: String should have at least 1 character"),
        ('against = ""', "reader.against: String should have at least 1 character"),
        ("expiry_days = 999999999", "reader.expiry_days: Input should be less than or equal to 3650"),
        ("confidence = true", "reader.confidence is asked of the second answer; set reader.question"),
        ("unaware_controls = 2", "reader.unaware_controls is about the first part; set reader.unaware"),
        ('finding = "nodule"', "reader.finding is what the question asks for; set reader.question"),
        ('finding = "cyst"\nquestion = "Is it?"', "which is no label of the cohort; give one of mass, nodule"),
    ],
)
def test_settings_about_nothing_are_not_passed_over(whole: Study, settings: str, told: str) -> None:
    text = whole.config_file.read_text()
    whole.config_file.write_text(f"{text}[reader]\nimages = 50\nreaders = 3\n{settings}\n")
    try:
        assert told in refused("create", whole.folder)
    finally:
        whole.config_file.write_text(text)
    assert not whole.reader.exists()


@pytest.mark.parametrize(
    "address",
    ["", " ", "http://", "https://", "https://a b", "ftp://x", "https://x\ny", "https://name@x", "javascript:alert(1)"],
)
def test_an_address_that_cannot_begin_a_link_is_refused(address: str) -> None:
    with pytest.raises(ReaderError, match="cannot begin a link"):
        links_begin_with(address)


def test_an_address_without_a_scheme_is_told_what_it_lacks_and_others_begin_links() -> None:
    with pytest.raises(ReaderError, match=r"give https://reading\.example:8443/study or http://"):
        links_begin_with("reading.example:8443/study")
    for good in ("https://reading.example", "HTTP://10.0.0.5:8765", "http://[::1]:8765", "https://x.example/a/b"):
        assert links_begin_with(good + "/") == good
    assert links_begin_with(None) == "http://127.0.0.1:8765"


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (Address(proxies=("nonsense",)), "--proxy nonsense is no address"),
        (Address(proxies=("10.0.0.5", "*")), "--proxy [*] is no address"),
        (Address(names=("https://reading.example/",)), "is no host name; give it alone"),
        (Address(certificate=Path("nowhere.pem"), key=Path("nowhere.key")), "there is no file nowhere.pem"),
    ],
)
def test_what_would_match_nothing_is_not_served(tmp_path: Path, where: Address, told: str) -> None:
    kit = make_worklist(tmp_path / "worklist")
    with pytest.raises(ReaderError, match=told):
        serve(kit.folder, where)


@pytest.mark.parametrize("command", ["serve", "status"])
def test_a_folder_or_file_without_a_worklist_is_named(tmp_path: Path, command: str) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for place in (tmp_path, tmp_path / "nowhere", file):
        assert f"{place} holds no worklist.json" in refused(command, place)


def test_a_new_code_for_a_seat_that_was_begun_asks_first(tmp_path: Path) -> None:
    kit = make_worklist(tmp_path / "worklist", count=3, practice=1)

    def code(reader: str, said: str) -> str:
        told = CliRunner().invoke(app, ["reader", "code", str(kit.folder), reader], input=said)
        assert told.exit_code == 0, told.output
        return told.output

    with browsers(create_app(kit.folder)) as (browser,):
        browser.begin(kit.tokens["r01"])  # and has answered nothing
        told = code("r01", "n\n")
        assert "r01 has begun and locked 0 answers" in told
        assert "nothing was changed" in told
        assert browser.lock(browser.state()["item"]["id"], 3).status_code == 200
        assert "locked 1 answer;" in code("r01", "n\n")
        assert "personal code of r01" in code("r01", "y\n")
        assert browser.get("/api/state").status_code == 401  # signed out, as was said
    assert "Make a new code" not in code("r02", "")
    assert "r02 has begun" in code("r02", "n\n")  # by the code that was just sent


def test_a_reader_without_a_name_is_not_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that a script left empty added a reader once, where one was to be withdrawn."""
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "institution.key"))
    study = make_study(tmp_path / "study")
    create(study, small())
    before = (study.reader / "worklist" / "worklist.json").read_bytes()
    for command in ("withdraw", "replace"):
        assert "those who read are r01, r02, r03" in refused(command, study.folder, "", "--reason", "x", "--yes")
    assert (study.reader / "worklist" / "worklist.json").read_bytes() == before
    assert not (open_study(study.folder).reader / "amendments.json").exists()
