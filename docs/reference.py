"""Writes the tables of docs/configuration.md, docs/commands.md and docs/architecture.md from the program itself.

    python docs/reference.py

What stands between `<!-- reference: ... -->` and `<!-- end of reference -->` is replaced; all other text is written by
hand and stays. `tests/test_docs.py` fails while a page differs from what this would write. A command or a family that
has no place in a page yet is named, with the lines to add.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from scansynth.cli import app
from scansynth.config import RoleShares, StudyConfig
from scansynth.gan.models.families import FAMILIES, complete
from scansynth.recipe import Recipe, load_recipe, recipe_names

FOLDER = Path(__file__).parent
PAGES = ("configuration.md", "commands.md", "architecture.md", "library.md")
SOURCE = FOLDER.parent / "src" / "scansynth"
BLOCK = re.compile(r"(<!-- reference: (\w+)((?: [\w.-]+)*) -->\n).*?(<!-- end of reference -->)", re.DOTALL)

UNITS = {
    "format": "version",
    "seed": "-",
    "cohort.size": "pixels",
    "cohort.hu_window": "Hounsfield units",
    "cohort.percentiles": "percent",
    "cohort.max_pixels": "pixels",
    "cohort.shares.train": "share of patients",
    "cohort.shares.tune": "share of patients",
    "cohort.shares.calibrate": "share of patients",
    "cohort.shares.reserve": "share of patients",
    "cohort.shares.test": "share of patients",
    "generator.checkpoint_minutes": "minutes",
    "generator.keep_checkpoints": "checkpoints",
    "synthetic.images": "images",
    "evidence.draws": "draws",
    "evidence.level": "share",
    "evidence.pairs": "pairs",
    "generator.fraction": "share of patients",
    "generator.freeze": "layers",
    "utility.pairs": "generators",
    "utility.fractions": "shares of patients",
    "utility.ratios": "images for one",
    "utility.steps": "steps",
    "utility.batch": "images",
    "utility.learning_rate": "-",
    "utility.false_alarm_rate": "share of images",
    "utility.margin": "share of images",
    "utility.draws": "draws",
    "reader.readers": "readers",
    "reader.images": "images",
    "reader.repeats": "share of images",
    "reader.references": "images",
    "reader.unaware": "images",
    "reader.unaware_controls": "readers",
    "reader.practice": "images",
    "reader.margin": "AUC",
    "reader.level": "share",
    "reader.break_every": "images",
    "reader.expiry_days": "days",
    "engine.workers": "processes",
    "network.noise": "numbers",
    "network.width": "channels",
    "network.window": "pixels",
    "loss.real_target": "probability",
    "loss.fake_target": "probability",
    "loss.generator_target": "probability",
    "loss.penalty": "-",
    "loss.penalty_every": "rounds",
    "loss.sureness": "probability",
    "loss.follow": "share a round",
    "loss.dense": "-",
    "loss.rate": "-",
    "network.latent": "numbers",
    "network.style": "numbers",
    "network.grain": "channels",
    "network.most": "channels",
    "optimiser.learning_rate": "-",
    "optimiser.betas": "-",
    "replay.capacity": "images",
    "replay.share": "share of a batch",
    "augmentation.rotation_degrees": "degrees",
    "ema.half_life_images": "images",
    "collapse.most_changes": "changes",
    "choice.every_images": "images",
    "choice.patience": "looks",
    "schedule.epochs": "epochs",
    "schedule.batch": "images",
    "schedule.log_every_images": "images",
    "schedule.grid_every_images": "images",
    "schedule.healthy_every_images": "images",
}
"""Unit of every number; the models do not carry it. A number without a unit is refused."""

_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
_BOUNDS = {"ge": "at least", "gt": "over", "le": "at most", "lt": "under"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell is escaped, and a name in angle brackets is no HTML."""
    cells = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def value(given: Any) -> str:
    """A value as TOML has it, in code letters."""
    if given is None:
        return "not set"
    if isinstance(given, enum.Enum):
        given = given.value
    if isinstance(given, bool):
        return f"`{str(given).lower()}`"
    if isinstance(given, tuple | list):
        return "`[" + ", ".join(value(item).strip("`") for item in given) + "]`"
    if isinstance(given, dict):
        return "`{}`" if not given else f"`{given}`"
    return f'`"{given}"`' if isinstance(given, str | Path) else f"`{given}`"


def kind(annotation: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if origin is Annotated:
        return kind(inner[0])
    if origin is Literal and len(inner) == 1:
        return f"{value(inner[0])}, no other"
    if origin is Literal:
        return "one of " + ", ".join(value(item) for item in inner)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "one of " + ", ".join(value(item) for item in annotation)
    if origin in {Union, types.UnionType}:
        return " or ".join(kind(item) for item in inner if item is not type(None))
    if origin is tuple:
        if isinstance(inner[0], type) and issubclass(inner[0], enum.Enum):
            return "list of " + ", ".join(value(item) for item in inner[0])
        return f"list of {kind(inner[0])}s" if Ellipsis in inner else f"{len(inner)} {kind(inner[0])}s"
    if origin is list:
        return f"{kind(inner[0])}, as often as you like"
    if origin is dict:
        return "table"
    raise TypeError(f"no words for the type {annotation}")


def bounds(field: FieldInfo) -> str:
    """The limits of a field in words, empty when there are none."""
    found = [
        f"{words} {given}"
        for rule in field.metadata
        for name, words in _BOUNDS.items()
        if (given := getattr(rule, name, None)) is not None
    ]
    patterns = [f"form `{given}`" for rule in field.metadata if (given := getattr(rule, "pattern", None))]
    return ", ".join(found + patterns)


def unit(key: str, field: FieldInfo) -> str:
    """The unit of a number; a dash for what is none.

    Raises:
        SystemExit: The key is a number and has no unit in `UNITS`.
    """
    if "number" in kind(field.annotation) and key not in UNITS:
        raise SystemExit(f"{key} is a number and has no unit; add a line for it to UNITS in docs/reference.py")
    return UNITS.get(key, "-")


def fields(model: type[BaseModel], prefix: str) -> list[tuple[str, FieldInfo]]:
    """The keys of one table of settings, without the tables within it."""
    return [
        (prefix + name, field)
        for name, field in model.model_fields.items()
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    ]


def part(model: type[BaseModel], place: str) -> tuple[type[BaseModel], str]:
    """The model of a table such as `cohort.shares`, and the prefix of its keys.

    Raises:
        KeyError: There is no such table.
    """
    for name in filter(None, place.split(".")):
        inner = model.model_fields[name].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            raise KeyError(f"{place} is no table of settings")
        model = inner
    return model, f"{place}." if place else ""


def meaning(model: type[BaseModel], key: str, field: FieldInfo) -> str:
    """What a key means, as the model says it."""
    if model is RoleShares:
        return f"Share of the patients that get the role {key.rpartition('.')[2]}."
    return field.description or ""


def type_words(field: FieldInfo) -> str:
    """Type and limits of a field in words."""
    limits = bounds(field)
    return kind(field.annotation) + (f", {limits}" if limits else "")


def default(field: FieldInfo) -> str:
    """A field's default."""
    return "required" if field.is_required() else value(field.get_default(call_default_factory=True))


def settings_table(place: str) -> str:
    """The table of one part of `study.toml`; the empty name stands for its top."""
    model, prefix = part(StudyConfig, place)
    rows = [
        (f"`{key}`", type_words(field), unit(key, field), default(field), meaning(model, key, field))
        for key, field in fields(model, prefix)
    ]
    return table(("key", "type", "unit", "default", "meaning"), rows)


def recipe_table(place: str) -> str:
    """The table of one part of a recipe, with the value of each recipe that comes with scansynth."""
    model, prefix = part(Recipe, place)
    keys = [(key, field) for key, field in fields(model, prefix) if kind(field.annotation) != "table"]
    return values_table(model, keys, [load_recipe(name) for name in recipe_names()])


def family_table(name: str) -> str:
    """The settings of a family of networks, with the value of each recipe of that family."""
    family = FAMILIES[name]
    keys = [
        (key, field)
        for place in family.model_fields
        for model, prefix in (part(family, place),)
        for key, field in fields(model, prefix)
    ]
    recipes = [complete(recipe) for recipe in map(load_recipe, recipe_names()) if recipe.family == name]
    return values_table(family, keys, recipes)


def values_table(model: type[BaseModel], keys: Sequence[tuple[str, FieldInfo]], recipes: Sequence[Recipe]) -> str:
    """Keys of recipes, with the value of each recipe."""

    def of(recipe: Recipe, key: str) -> str:
        found: Any = recipe
        for name in key.split("."):
            found = found[name] if isinstance(found, dict) else getattr(found, name)
        return "see above" if key == "about" else value(found)

    rows = [
        (f"`{key}`", type_words(field), unit(key, field), default(field), *(of(recipe, key) for recipe in recipes),
         meaning(model, key, field))
        for key, field in keys
    ]  # fmt: skip
    head = ("key", "type", "unit", "default", *(f"in `{recipe.name}`" for recipe in recipes), "meaning")
    return table(head, rows)


def recipes_table(_place: str) -> str:
    """The recipes that come with scansynth."""
    return table(("recipe", "what it is"), [(f"`{name}`", load_recipe(name).about) for name in recipe_names()])


def commands() -> dict[str, Any]:
    """Every command by its words, `reader create` for a command of a group."""
    found: dict[str, Any] = {}
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {word}": sub for word, sub in inner.items()}
    return found


def command_table(name: str) -> str:
    """One command: what it does, how it is called, its arguments and options."""
    command = commands()[name]
    hints = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    call, rows = [f"scansynth {name}"], []
    for parameter in command.params:
        words, info = kind(hints[parameter.name]), get_args(hints[parameter.name])[-1]
        limits = [
            f"{text} {given}" for text, given in (("at least", info.min), ("at most", info.max)) if given is not None
        ]
        argument = parameter.param_type_name == "argument"
        shown = (parameter.metavar or parameter.name.upper()) if argument else parameter.opts[0]
        flag = words == "true or false"
        call.append(shown if argument else f"{shown}" if flag else f"{shown} ...")
        if not parameter.required:
            call[-1] = f"[{call[-1]}]"
        start = "required" if parameter.required else "off" if flag else value(parameter.default)
        form = "switch" if flag else ", ".join([words, *limits])
        # A shell needs no quotes, unlike TOML.
        rows.append((f"`{shown}`", form.replace('"', ""), start.replace('"', ""), parameter.help or ""))
    text = f"{command.help}\n\n```text\n{' '.join(call)}\n```\n"
    return text + ("\n" + table(("argument or option", "type", "default", "meaning"), rows) if rows else "")


def about(path: Path) -> str:
    """What a file or folder says of itself: the first sentence of its docstring."""
    source = path / "__init__.py" if path.is_dir() else path
    words = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.?!])\s", " ".join(words.partition("\n\n")[0].split()))[0].rstrip(".")


def house(_: str) -> str:
    """The listing of the top level, floor by floor, as `tests/test_architecture.py` holds it."""
    sys.path.insert(0, str(FOLDER.parent / "tests"))
    from test_architecture import FLOORS  # noqa: PLC0415

    lines = ["src/scansynth/"]
    for floor in FLOORS:
        lines.append(f"  {'-' * 74}")
        for name in sorted(floor - {"scansynth"}):
            folder = SOURCE / name
            path = folder if folder.is_dir() else folder.with_suffix(".py")
            lines.append(f"  {name + ('/' if path.is_dir() else '.py'):<18}{about(path)}")
    return "```text\n" + "\n".join(lines) + "\n```\n"


def files(_: str) -> str:
    """Every folder with its files, and what each says of itself."""
    parts = []
    for folder in sorted({path.parent for path in SOURCE.rglob("__init__.py")} - {SOURCE}):
        rows = [
            (f"`{path.stem}`", about(path).replace("|", "\\|"))
            for path in sorted(folder.glob("*.py"))
            if path.stem != "__init__"
        ]
        head = f"### `{folder.relative_to(SOURCE).as_posix()}/`\n\n{about(folder)}.\n"
        parts.append(head + ("\n" + table(("file", "what it is"), rows) if rows else ""))
    return "\n".join(parts)


def library(_: str) -> str:
    """Every public function and class of metrics and statistics, with its docstring."""
    paths = [SOURCE / "statistics.py", *sorted((SOURCE / "metrics").glob("*.py"))]
    return "\n".join(module(path) for path in paths if path.stem != "__init__")


def module(path: Path) -> str:
    """One module as a section."""
    name = ".".join(("scansynth", *path.relative_to(SOURCE).with_suffix("").parts))
    parts = [f"## `{name}`\n\n{about(path)}.\n"]
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if public and (words := ast.get_docstring(node)):
            parts.append(f"### {node.name}\n\n```text\n{signature(node)}\n\n{words}\n```\n")
    return "\n".join(parts)


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """How it is called."""
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){result}"


WRITERS: dict[str, Callable[[str], str]] = {
    "settings": settings_table,
    "recipes": recipes_table,
    "recipe": recipe_table,
    "family": family_table,
    "command": command_table,
    "house": house,
    "files": files,
    "library": library,
}


def rewrite(text: str) -> str:
    """A page with every block written again."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{WRITERS[found[2]](found[3].strip())}\n{found[4]}", text)


def missing(pages: Mapping[str, str]) -> list[str]:
    """Commands and families that no page has a place for yet, each with the lines to add."""
    lines = {
        "commands.md": [f"### {name}|<!-- reference: command {name} -->" for name in commands()],
        "configuration.md": [
            f"### network and loss of the family `{name}`|<!-- reference: family {name} -->" for name in FAMILIES
        ],
    }
    return [
        f"docs/{page} lacks the lines: {line.replace('|', ' / ')} / <!-- end of reference -->"
        for page, wanted in lines.items()
        for line in wanted
        if not all(f"{part}\n" in pages[page] for part in line.split("|"))
    ]


def main() -> None:
    """Rewrites the pages; ends with exit code 1 where a place for a command or a family is missing."""
    pages = {name: rewrite((FOLDER / name).read_text(encoding="utf-8")) for name in PAGES}
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    if lacking := missing(pages):
        raise SystemExit("\n".join([*lacking, "add them, then run: python docs/reference.py"]))


if __name__ == "__main__":
    main()
