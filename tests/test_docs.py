"""The documentation holds: what exists is documented, and what is documented exists."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from scansynth import study
from scansynth.claims.rules import CLAIMS, EVERY_RULE, RULE_VERSION, UTILITY_RULES
from scansynth.cli import app
from scansynth.config import CohortSettings, StudyConfig, known_keys, parse
from scansynth.data import imageset, tensors
from scansynth.data.labels.identifiers import DIRECT
from scansynth.data.labels.read import _KNOWN
from scansynth.data.permission import PERMITTED_AUGMENTATION
from scansynth.data.scans.duplicates import DIFFERENT, DISAGREEING, DUPLICATE
from scansynth.data.sets import COLUMNS, MANIFEST
from scansynth.dicom.deidentify import KEY_VARIABLE
from scansynth.dicom.header import quarantine
from scansynth.dicom.image_type import KINDS
from scansynth.gan import weights
from scansynth.gan.models.families import FAMILIES, complete
from scansynth.gan.watching import collapse, health
from scansynth.ledger import PERMITTED, Role
from scansynth.recipe import Change, Recipe, load_recipe, recipe_names
from scansynth.stage import RECORD
from scansynth.statistics import Verdict

ROOT = Path(__file__).parents[1]
DOCS, SOURCE = ROOT / "docs", ROOT / "src" / "scansynth"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
RESULTS = sorted((DOCS / "results").glob("*.json"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_ABSOLUTE = re.compile(r"(?<![\w.~<:/-])/(?:home|root|work|tmp|mnt|srv|opt|usr|var|Users|data)\b|\b[A-Z]:\\\w")
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b")
_HOST = re.compile(r"https?://([^/\s)\"'>]+)")
_HOSTS = {"keepachangelog.com", "semver.org", "toml.io", "www.apache.org", "archive.example"}
"""Public sites that a page may link to, and a name that nobody has (RFC 2606). No mirror and no registry: their names
tell where this was made."""


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its code blocks, where brackets and paths mean something else."""
    return _FENCE.sub("", text(page))


def rows(page: Path) -> dict[str, list[str]]:
    """Cells of every table row of a page, by the first cell without its code letters; the first row wins."""
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        for line in text(page).splitlines()
        if line.startswith("| ")
    ]
    return {row[0].strip("`"): row[1:] for row in reversed(cells) if row}


def shell_lines(page: Path) -> list[str]:
    """Lines of the page's shell blocks, comments cut off, continued lines joined."""
    blocks = [body for language, body in _FENCE.findall(text(page)) if language in {"bash", "sh", "shell", "console"}]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"\s+#.*", "", line).strip() for line in lines) if line]


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


@functools.cache
def commands() -> dict[str, Any]:
    """Every command by its words, `reader create` for a command of a group."""
    found: dict[str, Any] = {}
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {word}": sub for word, sub in inner.items()}
    return found


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/reference.py, which stands outside of the package."""
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Commands


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_documented(name: str) -> None:
    found = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", text(DOCS / "commands.md"), re.DOTALL | re.MULTILINE)
    assert found, f"docs/commands.md has no heading for {name}; python docs/reference.py says what to add"
    for parameter in commands()[name].params:
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        for option in names:
            assert f"| `{option}` |" in found[1], f"{name} {option} is not documented; run: python docs/reference.py"


def test_no_command_is_documented_that_does_not_exist() -> None:
    headings = set(re.findall(r"^### ([\w -]+)$", text(DOCS / "commands.md"), re.MULTILINE))
    assert headings == commands().keys()


def unknown_in(line: str) -> str:
    """What is wrong with a `scansynth ...` line, empty when it parses."""
    words = shlex.split(line)
    grouped = " ".join(words[1:3]) in commands()
    name, rest = (" ".join(words[1:3]), words[3:]) if grouped else (words[1], words[2:])
    if name not in commands():
        return "" if name in {"--help", "COMMAND"} else f"no command {name}"
    options = {opt: parameter for parameter in commands()[name].params for opt in parameter.opts}
    required = {p.name for p in commands()[name].params if p.required}
    arguments = [p for p in commands()[name].params if p.param_type_name == "argument"]
    given, place = set(), 0
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            if word not in options and word != "--help":
                return f"{name} has no option {word}"
            if word in options:
                given.add(options[word].name)
                if not getattr(options[word], "is_flag", False) and not (rest and rest.pop(0)):
                    return f"{word} needs a value"
        else:
            if place == len(arguments):
                return f"{name} has no argument for {word}"
            given.add(arguments[place].name)
            place += 1
    lost = sorted(required - given)
    return f"{name} needs {', '.join(lost)}" if lost else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_exist(page: Path) -> None:
    for line in shell_lines(page):
        if re.match(r"(\.venv/bin/)?scansynth\b", line):
            assert not unknown_in(line), f"{page.name}: {line}: {unknown_in(line)}"
    for code in inline_code(page):
        if code.startswith("scansynth ") and len(shlex.split(code)) > 2:
            assert not unknown_in(code), f"{page.name}: {code}: {unknown_in(code)}"
        elif re.fullmatch(r"scansynth [a-z]+", code):
            assert code.split()[1] in commands(), f"{page.name}: {code}"


@pytest.mark.parametrize(
    "line",
    [
        "scansynth fly me",
        "scansynth run my-study --fast",
        "scansynth run",
        "scansynth init my-study",
        "scansynth run one two",
        "scansynth init my-study --dicom",
    ],
)
def test_the_command_check_can_fail(line: str) -> None:
    assert unknown_in(line)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "Makefile"], ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_and_scripts_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))
    code = [*shell_lines(page), *inline_code(page)] if page.suffix == ".md" else text(page).splitlines()
    for line in code:
        called = re.match(r"make ([a-z]+)\b", line)
        assert not called or called[1] in targets, f"{page.name}: {line}"
        script = re.search(r"python ((?:benchmarks|docs)/\w+\.py)(.*)", line)
        if script:
            assert (ROOT / script[1]).is_file(), f"{page.name}: {script[1]} is not there"
            for option in re.findall(r"(--[\w-]+)", script[2]):
                assert f'"{option}"' in text(ROOT / script[1]), f"{page.name}: {script[1]} has no {option}"


# Settings


def test_a_command_or_family_without_a_place_is_told_with_the_lines_to_add(reference: ModuleType) -> None:
    pages = {name: text(DOCS / name) for name in reference.PAGES}
    assert not reference.missing(pages)
    pages["commands.md"] = pages["commands.md"].replace("### demo\n", "")
    pages["configuration.md"] = pages["configuration.md"].replace("<!-- reference: family dcgan -->\n", "")
    told = reference.missing(pages)
    assert len(told) == 2
    assert "docs/commands.md lacks the lines: ### demo / <!-- reference: command demo -->" in told[0]
    assert "family `dcgan` / <!-- reference: family dcgan -->" in told[1]


@pytest.mark.parametrize("name", ["configuration.md", "commands.md", "architecture.md"])
def test_reference_tables_are_those_of_the_program(name: str, reference: ModuleType) -> None:
    page = text(DOCS / name)
    assert reference.rewrite(page) == page, "run: python docs/reference.py"


def leaves(model: Any) -> set[str]:
    keys = known_keys(model)
    return {key for key in keys if not any(other.startswith(f"{key}.") for other in keys)}


def at(value: Any, key: str) -> Any:
    for name in key.split("."):
        value = getattr(value, name)
    return value


def toml_value(cell: str) -> Any:
    """A default as the page shows it, read back as TOML."""
    return None if cell == "not set" else tomllib.loads(f"value = {cell.strip('`')}")["value"]


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("key", sorted(leaves(StudyConfig)))
def test_every_setting_is_documented_with_its_default(key: str) -> None:
    documented = rows(DOCS / "configuration.md")
    assert key in documented, f"{key} is not documented; run: python docs/reference.py"
    _kind, _unit, default, meaning = documented[key][:4]
    assert meaning, f"{key} has no meaning: give its field a description"
    if key == "cohort.dicom":
        assert default == "required"
        return
    # made by the model itself, not by the generator of the page
    bare = parse(StudyConfig, {"cohort": {"dicom": "scans", "unlabelled": True}}, "test")
    expected = False if key == "cohort.unlabelled" else at(bare, key)
    assert toml_value(default) == plain(expected)


FAMILY_TABLES = {"network", "loss"}
"""Tables of a recipe whose keys are the family's."""


@pytest.mark.parametrize(
    ("family", "key"), [(name, key) for name in FAMILIES for key in sorted(leaves(FAMILIES[name]))]
)
def test_every_key_of_a_family_is_documented_with_its_values(family: str, key: str) -> None:
    page = text(DOCS / "configuration.md").partition(f"loss of the family `{family}`")[2].partition("\n### ")[0]
    documented = {row.split("`")[1]: row for row in page.splitlines() if row[:3] == "| `"}
    assert key in documented, f"{key} is not documented; run: python docs/reference.py"
    cells = [cell.strip() for cell in documented[key].split(" | ")]
    table, _, name = key.partition(".")
    assert toml_value(cells[3]) == FAMILIES[family]().tables()[table][name]
    recipes = [complete(recipe) for recipe in map(load_recipe, recipe_names()) if recipe.family == family]
    assert recipes
    for cell, recipe in zip(cells[4:], recipes, strict=False):
        assert toml_value(cell) == getattr(recipe, table)[name], f"{key} in {recipe.name}"


@pytest.mark.parametrize("key", sorted(leaves(Recipe) - FAMILY_TABLES))
def test_every_recipe_key_is_documented_with_its_values(key: str) -> None:
    page = text(DOCS / "configuration.md")
    documented = {row.split("`")[1]: row for row in page.partition("## Recipes")[2].splitlines() if row[:3] == "| `"}
    assert key in documented, f"{key} is not documented; run: python docs/reference.py"
    cells = [cell.strip() for cell in documented[key].split(" | ")]
    bare = parse(Recipe, {"name": "x", "family": "dcgan", "about": "x"}, "test")
    if key in {"name", "family", "about"}:
        assert cells[3] == "required"
    else:
        assert toml_value(cells[3]) == plain(at(bare, key))
    for cell, name in zip(cells[4:], recipe_names(), strict=False):
        assert key == "about" or toml_value(cell) == plain(at(load_recipe(name), key)), f"{key} in {name}"


def test_no_key_is_documented_that_does_not_exist() -> None:
    keys = {key for key in rows(DOCS / "configuration.md") if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", key)}
    assert keys <= leaves(StudyConfig) | leaves(Recipe) | {key for kind in FAMILIES.values() for key in leaves(kind)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_keys_named_in_pages_exist(page: Path) -> None:
    known = {key for kind in (StudyConfig, Recipe, *FAMILIES.values()) for key in known_keys(kind)}
    tables = {key.split(".")[0] for key in known if "." in key} - {"evidence"}  # claims have such names too
    for code in inline_code(page):
        found = re.match(r"([a-z_]+(?:\.[a-z_]+)+)(?= = |$)", code)
        if found and found[1].split(".")[0] in tables and not found[1].endswith((".json", ".csv", ".safetensors")):
            assert found[1] in known | set(EVERY_RULE), f"{page.name}: {code}"  # claims have such names too
    for language, body in _FENCE.findall(text(page)):
        if language == "toml":
            values = tomllib.loads(body)
            cohort = {"dicom": "scans", "labels": "labels.csv", **values.pop("cohort", {})}
            config = parse(StudyConfig, {"cohort": cohort, **values}, page.name)
            complete(load_recipe(config.generator.recipe, config.generator.overrides))


def test_labels_columns_and_environment_are_documented() -> None:
    documented = text(DOCS / "quickstart.md")
    for column in sorted(_KNOWN | {"site", "x", "y", "width", "height"}):
        assert f"`{column}`" in documented, column
    named = re.search(r"identifies a person, such as (.*?), is not kept", documented.replace("\n", " "))
    assert named
    assert set(re.findall(r"`(\w+)`", named[1])) <= DIRECT
    assert {KEY_VARIABLE, "WANDB_MODE", "XDG_CONFIG_HOME"} <= rows(DOCS / "configuration.md").keys()


def messages() -> str:
    """Every text of the source, one a line, values as braces."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_refusals_are_quoted_as_the_program_gives_them() -> None:
    section = text(DOCS / "quickstart.md").partition("## When it refuses")[2]
    phrases = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(phrases) > 10
    said = messages()
    for phrase in phrases:
        for part in phrase.split(", or "):
            assert part in said, f"no refusal says: {part}"


# Evidence, roles, artefacts


@pytest.mark.parametrize("claim", UTILITY_RULES)
def test_every_claim_of_the_trial_is_explained(claim: str) -> None:
    assert claim in rows(DOCS / "utility.md"), f"{claim} is not explained in docs/utility.md"


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_has_its_rules(claim: str) -> None:
    assert re.search(rf"^## {re.escape(claim)}\b", text(DOCS / "evidence.md"), re.MULTILINE)
    assert f"`{claim.partition('.')[0]}.*`" in text(ROOT / "README.md")


def test_evidence_page_states_version_verdicts_and_roles() -> None:
    page = text(DOCS / "evidence.md")
    assert f"rule version {RULE_VERSION}**" in page
    documented = rows(DOCS / "evidence.md")
    assert {verdict.value for verdict in Verdict} <= documented.keys()
    for role, share in CohortSettings(dicom="x", unlabelled=True).shares.by_role().items():
        assert documented[role.value][0] == f"{share:.0%}"


def test_every_use_is_documented_with_its_roles() -> None:
    documented = rows(DOCS / "architecture.md")
    for use, roles in PERMITTED.items():
        assert documented[use.value][0] == ", ".join(sorted(roles)), use
    assert frozenset().union(*PERMITTED.values()) == set(Role)


def test_every_artefact_stands_in_the_study_folder() -> None:
    page = text(DOCS / "architecture.md")
    folder = page.partition("## The study folder")[2].partition("## Who reads whom")[0]
    names = [
        imageset.IMAGES, imageset.MASKS, imageset.TABLE, imageset.FACTS, tensors.EXCLUDED, tensors.ROLES, tensors.FACTS,
        study.WEIGHTS, weights.FACTS, study.RUN, MANIFEST, RECORD, study.PAGE,
        study.CONFIG, "journal.jsonl", "linkage.csv", "log.jsonl", "alarms.jsonl", study.CLAIMS_FILE, study.PAIRS,
        study.BEHIND, study.QUARANTINE,
    ]  # fmt: skip
    for name in names:
        assert name in folder, f"{name} is missing in docs/architecture.md"
    assert f"{MANIFEST}            {', '.join(COLUMNS)}" in folder


def reasons(tree: ast.Module) -> set[str]:
    """Short reasons that a module gives: the first text of each `DicomError`, the second of each `Left`."""
    named = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        place = {"DicomError": 0, "Left": 1}.get(node.func.id)
        if place is None or len(node.args) <= place:
            continue
        given = node.args[place]
        choices = [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]
        for choice in choices:
            value = named.get(choice.id, choice) if isinstance(choice, ast.Name) else choice
            if isinstance(value, ast.Constant):
                found.add(str(value.value))
    return found


def test_every_reason_for_leaving_a_file_out_is_documented() -> None:
    page = text(DOCS / "dicom.md").partition("## What is left out")[2].partition("\n## ")[0]
    writing = {"write", "write_seg", "phantom_write", "capture", "modules", "released"}
    files = [path for path in (SOURCE / "dicom").glob("*.py") if path.stem not in writing]
    files += (SOURCE / "data").rglob("*.py")
    found = set().union(*(reasons(ast.parse(text(path))) for path in files)) | {
        *KINDS,
        DUPLICATE,
        DIFFERENT,
        DISAGREEING,
    }
    suspect = inspect.getsource(quarantine).partition('"""')[2].partition('"""')[2]
    found |= set(re.findall(r'return "([^"]+)"', suspect))
    assert {"truncated", "constant image", "localizer", "screenshot", "not in labels.csv"} <= found, "nothing is found"
    assert not {reason for reason in found if f"`{reason}`" not in page}


@pytest.mark.parametrize("view", ["chest", "patch", "any"])
def test_augmentation_table_is_the_programs(view: str) -> None:
    left_right, up_down, rotation, intensity = rows(DOCS / "training.md")[view]
    for (_, other), permitted in PERMITTED_AUGMENTATION.items():
        if other == view:
            assert left_right.startswith("yes") == permitted.flip_left_right
            assert up_down.startswith("yes") == permitted.flip_up_down
            assert rotation == f"{permitted.rotation_degrees:g} degrees"
            assert intensity.startswith("yes") == permitted.intensity


def test_the_rules_of_a_collapse_are_the_programs() -> None:
    page, documented = text(DOCS / "training.md"), rows(DOCS / "training.md")
    assert {level.value for level in health.Level} <= documented.keys()
    assert {change.value for change in Change} <= documented.keys()
    for name in collapse.STATISTICS:
        fixed = [f"{health.CRITICAL[name]:g}"] if name in health.CRITICAL else []
        limits = [*fixed, "chance"] if name in health.WATCHED else fixed
        assert documented[name][1] == ("; and ".join(limits) or "none")
        assert ("collapse" in documented[name][2]) == (name in health.CRITICAL)
    assert documented["balance"][1].startswith(f"{health.BALANCE_CHANGE:g} times")
    reached = " and ".join(", ".join(f"{health.ARMED_AT * x:.2f}" for x in health.CRITICAL.values()).rsplit(", ", 1))
    assert f"{health.ARMED_AT} times their fixed limits ({reached})" in page.replace("\n", " ")
    assert f"the {collapse.NULL_QUANTILE:.1%} quantile" in page
    assert f"{collapse.NULL_QUANTILE * len(health.WATCHED):.1%} of the evaluations" in page


# Links, results, privacy, pages


def headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_images_exist(page: Path) -> None:
    for target in _LINK.findall(prose(page)):
        if re.match(r"https?://", target):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), f"{page.name} points to {target}, which is not there"
        if anchor:
            assert anchor in headings(file), f"{page.name} points to {target}, and there is no such heading"


def test_every_page_is_in_the_navigation() -> None:
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    navigation = text(ROOT / "mkdocs.yml").partition("nav:")[2]
    assert set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)) == pages


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.name)
def test_results_name_command_and_machine(result: Path) -> None:
    found = json.loads(text(result))
    assert found["command"], result.name
    assert found["machine"], result.name
    assert result.name in rows(DOCS / "results" / "README.md"), f"describe {result.name} in docs/results/README.md"


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.name)
def test_make_bench_runs_the_command_of_each_result(result: Path) -> None:
    command = json.loads(text(result))["command"]
    bench = re.search(r"^bench:.*\n((?:\t.*\n)+)", text(ROOT / "Makefile"), re.MULTILINE)
    assert bench
    made = bench[1].replace("$(RUN)/", "").replace("\t", "").splitlines()
    # what needs real scans is no part of `make bench`, and its whole command stands in the table
    assert command in made or f"`{command}`" in rows(DOCS / "results" / "README.md")[result.name][1]
    assert f"--out docs/results/{result.name}" in command


def test_described_results_exist() -> None:
    described = {name for name in rows(DOCS / "results" / "README.md") if name.endswith(".json")}
    assert described == {result.name for result in RESULTS}


def test_figures_in_the_readme_are_those_of_the_results() -> None:
    found = json.loads(text(DOCS / "results" / "phantom_difficulty.json"))
    low, high = found["auc_range"]
    assert f"{found['auc_mean']:.2f} ({low:.2f} to {high:.2f} over three phantoms)" in text(ROOT / "README.md")
    assert len(found["runs"]) == 3


def test_speeds_in_the_readme_are_those_measured() -> None:
    ratio = json.loads(text(DOCS / "results" / "train_throughput.json"))["ratio"]
    words = f"{ratio['median']:.2f} times as fast ({ratio['least']:.2f} to {ratio['greatest']:.2f})"
    assert words in text(ROOT / "README.md")
    rates = json.loads(text(DOCS / "results" / "ingest.json"))["files_per_second_at_4n"]
    one, each = (rates["ours"] / rates[side] for side in ("monai", "monai_workers"))
    assert f"{one:.2f} times one MONAI process, {each:.2f} of a MONAI worker" in text(ROOT / "README.md")


def test_verdicts_in_the_readme_are_those_of_the_run() -> None:
    measured = json.loads(text(DOCS / "results" / "real_studies.json"))["studies"]["lidc-patches"]
    (row,) = (line for line in text(ROOT / "README.md").splitlines() if line.startswith("| `dcgan` on "))
    assert f"on {measured['train_images']} public lung CT patches" in row
    for words, questions in (
        (r"realism and variety `([\w ]+)`", {"fidelity", "diversity"}),
        (r"no closer to training images than unknown patients are \(`([\w ]+)`\)", {"copies"}),
    ):
        told = re.search(words, row)
        assert told, words
        found = {claim["verdict"] for claim in measured["claims"] if claim["claim"].split(".")[0] in questions}
        assert found == {told[1]}, "what the README says, and no other verdict"


@pytest.mark.parametrize("page", [*PAGES, *RESULTS, ROOT / "mkdocs.yml"], ids=lambda page: str(page.relative_to(ROOT)))
def test_no_machine_and_no_person_is_named(page: Path) -> None:
    written = text(page)
    for kind in (_ABSOLUTE, _MAIL):
        assert not kind.search(written), f"{page.name}: {kind.search(written)}"
    assert {host.lower() for host in _HOST.findall(written)} <= _HOSTS, page.name


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (_ABSOLUTE, "see /home/ann/study"),
        (_ABSOLUTE, "C:\\scans"),
        (_MAIL, "ask ann@example.org"),
        (_HOST, "pip install -i https://mirror.example.org/simple x"),
    ],
)
def test_the_privacy_check_can_fail(kind: re.Pattern[str], line: str) -> None:
    assert kind.search(line)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="zensical is not installed; it comes with the extra docs")
    work = tmp_path_factory.mktemp("docs")
    shutil.copytree(DOCS, work / "docs")
    shutil.copy(ROOT / "mkdocs.yml", work)
    done = built(work)
    assert done.returncode == 0, done.stderr
    return work / "site"


def built(work: Path) -> subprocess.CompletedProcess[str]:
    """Builds the pages of a folder, as `make docs` does."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=work, capture_output=True, text=True, check=False, timeout=300)


def test_a_link_to_nowhere_stops_the_build(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="zensical is not installed; it comes with the extra docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Title\n\n[somewhere](nowhere.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: x\nvalidation:\n  links: warn\n")
    assert built(tmp_path).returncode != 0


def test_make_docs_is_strict() -> None:
    line = next(line for line in text(ROOT / "Makefile").splitlines() if "zensical build" in line)
    assert "--strict" in line
    assert "--quiet" not in line, "--quiet hides the warnings that --strict counts"


def test_pages_build_and_ask_nothing_of_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(list(DOCS.rglob("*.md")))
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?https?:|<link\b[^>]*\bhref=[\"']?https?:|@import"
    )
    for page in pages:
        assert not loads.search(text(page)), page.name
    assert not (site / "reference.py").exists()


_WRITTEN = {".py", ".html", ".js", ".css", ".toml", ".json"}
BANNED = (
    *("forger", "forgers", "inspector", "inspectors", "court", "courts", "hearing", "hearings", "exhibit", "exhibits"),
    *("desk", "desks", "roof", "roofs", "room", "rooms", "weigh", "weighs", "weighed", "weighing"),
)


def test_no_metaphor_of_old_comes_back() -> None:
    """Metaphors that once named modules and networks: say folder, generator, discriminator, audit, worklist."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    sources = [path for path in (ROOT / "src" / "scansynth").rglob("*") if path.suffix in _WRITTEN]
    banned = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in (*pages, *sources)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in banned.finditer(line)
    ]
    assert found == []
