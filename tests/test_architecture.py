"""The house holds: floors, fences, and folders that stay small."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "scansynth"

# From the top down. Folders on one floor never import each other: they meet through files in the study folder.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"__main__"}),
    frozenset({"cli"}),
    frozenset({"commands"}),
    frozenset({"pipeline"}),
    frozenset({"release"}),
    frozenset({"report"}),
    frozenset({"utility", "reader", "audit", "gan"}),
    frozenset({"claims"}),
    frozenset({"data", "phantom"}),
    frozenset({"metrics", "learning"}),
    frozenset({"study", "stage"}),
    frozenset({"dicom"}),
    frozenset(
        {
            "config",
            "recipe",
            "ledger",
            "files",
            "seeds",
            "console",
            "statistics",
            "engine",
            "errors",
            "scansynth",
        }
    ),
)
GROUND = FLOORS[-1]
MOST_LINES, MOST_FUNCTION_LINES, MOST_NAMES = 400, 50, 28
LONG_FUNCTIONS = {("gan/training_loop.py", "train_attempt")}
"""The declared exception: the training loop is one straight function."""

FENCES = {
    "pydicom": {"dicom"},
    "highdicom": {"dicom"},
    "pynetdicom": {"dicom"},
    "httpx": {"dicom"},
    "nibabel": {"dicom"},
    "dicomanonymizer": {"dicom"},
    "fastapi": {"reader"},
    "ray": {"engine"},
    "matplotlib": {"report"},
    "wandb": {"learning"},
    "rich": {"console"},
    "typer": {"cli", "commands"},
    "sqlalchemy": {"reader"},
    "uvicorn": {"reader"},
    "cryptography": {"reader", "release"},
    "tomlkit": {"pipeline"},
}
"""Libraries that one folder alone may import."""

FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return "scansynth" if parts == ("__init__",) else parts[0]


def floor(name: str) -> int:
    for height, names in enumerate(FLOORS):
        if name in names:
            return height
    raise AssertionError(f"{name} stands on no floor; give it one in FLOORS")


@functools.cache
def imports(path: Path) -> list[tuple[str, ...]]:
    """Modules that a file imports when it is loaded or run; not those for type checkers alone."""
    found: list[tuple[str, ...]] = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            module = tuple((node.module or "").split("."))
            found += [(*module, alias.name) for alias in node.names] if module == ("scansynth",) else [module]
    return found


def test_imports_point_down() -> None:
    wrong = []
    for path in FILES:
        here, name = room(path), path.relative_to(SOURCE).as_posix()
        for module in imports(path):
            if module[0] != "scansynth":
                allowed = FENCES.get(module[0])
                if allowed is not None and here not in allowed:
                    wrong.append(f"{name}: {module[0]} may be imported by {allowed} alone")
                continue
            there = module[1] if len(module) > 1 and not module[1].startswith("__") else "scansynth"
            same = there == here or (floor(here) == floor(there) and here in GROUND)
            if not same and floor(there) <= floor(here):
                wrong.append(f"{name} must not import {there}: it is not on a lower floor")
    assert not wrong, "\n".join(wrong)


def test_no_import_circles() -> None:
    modules = {".".join(("scansynth", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in FILES}
    edges = {name: {".".join(module) for module in imports(path)} & modules.keys() for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for after in sorted(edges[name]):
                visit(after, (*trail, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


def test_files_and_functions_stay_small() -> None:
    wrong = []
    for path in FILES:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(SOURCE).as_posix()
        if text.count("\n") > MOST_LINES:
            wrong.append(f"{name} has {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (name, node.name) not in LONG_FUNCTIONS:
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    wrong.append(f"{name}: {node.name} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_folders_are_three_levels_deep_at_most() -> None:
    assert all(len(path.relative_to(SOURCE).parts) <= 3 for path in FILES)


def test_the_top_level_fits_one_look() -> None:
    names = [path.name for path in SOURCE.iterdir() if not path.name.startswith(("_", "."))]
    assert len(names) <= MOST_NAMES, sorted(names)


def test_nothing_that_executes_on_load() -> None:
    forbidden = {"pickle", "dill", "joblib", "shelve", "marshal"}
    for path in FILES:
        names = {module[0] for module in imports(path)}
        assert not names & forbidden, path
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<!safetensors\.)torch\.(load|save)\b", text), path
        assert "allow_pickle=True" not in text, path
