"""Cards, Croissant, RO-Crate and bill of materials of a release, read by their own programs."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import mlcroissant
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from releasable_study import CLEAN, UNSEARCHED, make_releasable, put_evidence, put_real
from rocrate.rocrate import ROCrate

from scansynth.claims.rules import RULES
from scansynth.config import GovernanceSettings
from scansynth.files import read_csv, read_json, sha256_file
from scansynth.release.bill import installed
from scansynth.release.cards import DATA_CARD, MODEL_CARD, NOT_PROVIDED
from scansynth.release.checklists import checklists
from scansynth.release.manifest import CHECKLISTS, MANIFEST, listing
from scansynth.release.package import Override, Released, Wishes, release
from scansynth.release.policy import Policy
from scansynth.statistics import Verdict


def test_croissant_is_accepted_and_gives_the_table(released: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = mlcroissant.Dataset(jsonld=released / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    assert not found.metadata.ctx.issues.warnings, found.metadata.ctx.issues.report()
    assert "not standard" not in caplog.text
    rows = list(found.records("images"))
    assert len(rows) == 38
    table = {row["file"]: row for row in read_csv(released / "images.csv")}
    for row in rows:
        values = {name.removeprefix("images/"): value for name, value in row.items()}
        assert values["sop_instance_uid"].decode() == table[values["file"].decode()]["sop_instance_uid"]


def test_croissant_says_that_the_data_are_synthetic(released: Path) -> None:
    said = read_json(released / "croissant.json")
    assert said["conformsTo"][0].endswith("/croissant/1.1")
    assert said["rai:hasSyntheticData"] is True
    assert "adversarial" in said["rai:syntheticDataExplanation"]
    assert {"prov:wasDerivedFrom", "prov:wasGeneratedBy"} <= said.keys()
    assert said["distribution"][0]["sha256"] == sha256_file(released / "images.csv")


def test_the_crate_is_read_and_holds_every_file(released: Path) -> None:
    found = ROCrate(released)
    names = {entity.id for entity in found.data_entities}
    assert names == {*listing(released), MANIFEST} - {"ro-crate-metadata.json"}
    root = found.root_dataset
    for needed in ("name", "description", "datePublished", "license"):  # RO-Crate 1.1, section "Root Data Entity"
        assert root.get(needed), needed
    assert root["license"].id == "#licence"
    for entity in found.data_entities:
        if entity.id != MANIFEST:
            assert entity["sha256"] == sha256_file(released / entity.id)
    drawing = found.get("#drawing")
    assert drawing["object"].id == "generator/generator.safetensors"
    ids = [item["@id"] for item in read_json(released / "ro-crate-metadata.json")["@graph"]]
    assert len(ids) == len(set(ids))


def test_each_term_of_the_crate_is_of_its_context_or_added_to_it(released: Path) -> None:
    """RO-Crate 1.1, "Extending RO-Crate"; a term that no context defines is lost to every reader of JSON-LD."""
    said = read_json(released / "ro-crate-metadata.json")
    context, added = said["@context"]
    assert context == "https://w3id.org/ro/crate/1.1/context"
    known = json.loads((resources.files("rocrate") / "data" / "ro-crate.jsonld").read_text())["@context"]
    assert added == {"sha256": known["sha256"].replace("http:", "https:")}, "1.1 lacks it, 1.2 has it"
    used = {key for item in said["@graph"] for key in item if not key.startswith("@")}
    assert used <= known.keys()


def test_the_crate_is_accepted_by_the_validator(released: Path) -> None:
    """By rocrate-validator, which does not install beside scansynth: `pipx install roc-validator`."""
    program = shutil.which("rocrate-validator")
    if program is None:
        pytest.skip("rocrate-validator is not on the path; it needs an environment of its own")
    command = [program, "-y", "validate", "-p", "ro-crate-1.1", "-l", "required", "--offline", "--no-paging"]
    done = subprocess.run([*command, "-v", str(released)], capture_output=True, text=True, check=False)
    if "not available in the HTTP cache" in done.stdout:
        pytest.skip("rocrate-validator lacks the context; run: rocrate-validator cache warm -p ro-crate-1.1")
    assert done.returncode == 0, done.stdout


def test_the_bill_fits_its_schema_and_names_what_is_installed(released: Path) -> None:
    text = (released / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace('"library"', '"book"')) is not None
    parts = {part["name"]: part for part in json.loads(text)["components"]}
    assert {"torch", "numpy", "pydicom", "generator"} <= parts.keys()
    assert not {"pytest", "ruff"} & parts.keys(), "extras are not needed to run"
    assert parts["generator"]["hashes"][0]["content"] == sha256_file(released / "generator" / "generator.safetensors")
    assert "scansynth" not in installed("scansynth")


@pytest.mark.parametrize("card", [DATA_CARD, MODEL_CARD])
def test_a_card_states_use_verdicts_and_what_a_person_must_add(released: Path, card: str) -> None:
    text = (released / card).read_text()
    for key in ("intended_use", "excluded_use", "licence", "responsible_person"):
        assert f"as written by a person: {key}" in text
    assert "Do the images look real? | **shown**" in text
    assert text.count(NOT_PROVIDED) >= 3
    assert "Released against the gate" not in text
    assert "Refuted" not in text
    assert sha256_file(released / "generator" / "generator.safetensors") in text


def test_the_data_card_states_all_of_the_governance(released: Path) -> None:
    text = (released / DATA_CARD).read_text()
    assert all(f"as written by a person: {key}" in text for key in GovernanceSettings.model_fields)
    assert "| kept back | 2 images" in text


def test_the_checklists_are_filled_and_linked(released: Path) -> None:
    text = (released / CHECKLISTS).read_text()
    lists = checklists()
    in_evidence = {claim["claim"] for claim in read_json(released / "evidence" / "claims.json")["claims"]}
    assert [len(one.items) for one in lists] == [44, 7, 18, 17]
    for one in lists:
        part = text.split(f"## {one.name}\n")[1].split("\n## ")[0]
        rows = [line for line in part.splitlines() if line.startswith("| ")][2:]
        assert len(rows) == len(one.items)
        for item, row in zip(one.items, rows, strict=True):
            untold = not item.answer and not any(name.startswith(item.claims or ("?",)) for name in in_evidence)
            assert (NOT_PROVIDED in row) == untold, row
    assert [item.number for item in lists[0].items] == [str(number) for number in range(1, 45)]
    parts = {"1.1": "abcdef", "1.2": "abc", "1.3": "abcdef", "1.4": "abc"}
    assert [item.number for item in lists[2].items] == [part + one for part, ones in parts.items() for one in ones]
    assert "as written by a person: intended_use" in text
    assert "[`copies.flag_rate`](report/index.html#claim-" in text
    page = (released / "report" / "index.html").read_text()
    links = re.findall(r"\]\(([^)#]+)(?:#([\w-]+))?\)", text)
    assert len(links) > 40
    for place, anchor in links:
        assert (released / place).exists(), place
        assert not anchor or f'id="{anchor}"' in page
    for claim, number in re.findall(r"\[`([\w.]+)`\]\(report/index.html#claim-(\d+)\)", text):
        table = page.split(f'id="claim-{number}"')[1].split("</table>")[0]
        assert html.escape(RULES[claim].question, quote=False) in html.unescape(table), claim


@pytest.mark.parametrize("card", [DATA_CARD, MODEL_CARD])
def test_the_cards_name_the_checklists(released: Path, card: str) -> None:
    assert f"]({CHECKLISTS})" in (released / card).read_text()


def test_an_override_and_what_a_policy_let_pass_stand_on_every_card(tmp_path: Path) -> None:
    study = make_releasable(tmp_path / "study", images=8)
    put_real(study, removed=(CLEAN, UNSEARCHED))
    put_evidence(study, {"telltales.pixels": Verdict.REFUTED})
    policy = Policy(refuted=("telltales.pixels",), decided_by="the <b>board</b> | of us")
    done = release(study, Wishes(tmp_path / "out", policy, Override("A. Person", "looked at\neach image")))
    assert isinstance(done, Released)
    for card in (DATA_CARD, MODEL_CARD):
        text = (tmp_path / "out" / card).read_text()
        assert "**Released against the gate** by A. Person, who gave as the reason: looked at each image." in text
        assert "not searched: Tesseract is not installed" in text
        assert "by a policy of the &lt;b>board&lt;/b> \\| of us:** telltales.pixels" in text
        assert "- `telltales.pixels`" in text
