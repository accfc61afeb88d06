"""A new study: inspects the scans and the labels, and writes a `study.toml` with what it found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from scansynth.config import FORMAT, UNFILLED, CohortSettings, GovernanceSettings, StudyConfig, parse
from scansynth.data.labels.read import Labels, read_labels, same_label
from scansynth.data.scans.eligibility import commonest_modality
from scansynth.data.scans.headers import UNKNOWN, pictures_of
from scansynth.data.scans.sources import find_sources
from scansynth.dicom.read import Limits
from scansynth.dicom.sandbox import DecodePool, PictureJob, scan_all
from scansynth.errors import CohortError, DicomError, StudyError
from scansynth.files import write_text
from scansynth.recipe import Recipe, load_recipe
from scansynth.study import CONFIG, Study, is_study, open_study

_SAMPLE = 64  # files inspected for the defaults
_SIZES = (32, 64, 128, 256)
_NEGATIVE = frozenset({"0", "absent", "benign", "clear", "control", "healthy", "negative", "no", "none", "normal"})


@dataclass(frozen=True)
class Wishes:
    """The user's options; None: derived from the scans and labels.

    Attributes:
        dicom: Folder with the scans.
        labels: labels.csv, or none for an unlabelled cohort.
        recipe: Name of a recipe, or a path to one.
        split_from: Study whose patients keep their roles.
        view: chest, patch or any.
        size: Side of the images in pixels.
        positive: The label that means a lesion is present.
        name: Title of the study.
        seed: All random numbers derive from it.
        key: The institution's key; none: where it always stands.
        overrides: Recipe keys to override.
    """

    dicom: Path
    labels: Path | None
    recipe: str = "compact"
    split_from: Path | None = None
    view: str = "any"
    size: int | None = None
    positive: str | None = None
    name: str | None = None
    seed: int = 0
    key: Path | None = None
    overrides: dict[str, Any] | None = None


def create(folder: Path, wishes: Wishes, warn: Callable[[str], None] = lambda text: None) -> Study:
    """Writes `study.toml` into a new study folder.

    Args:
        folder: The study's.
        wishes: What the user asked for.
        warn: Told what was made of labels.csv that the user should know.

    Raises:
        StudyError: There is a study already.
        CohortError: No DICOM was found, or labels.csv is wrong.
        ConfigError: The recipe or an option is unknown.
        StorageError: The folder cannot be written.
    """
    if is_study(folder):
        raise StudyError(f"{folder} is already a study; edit its study.toml, or choose another folder")
    recipe = _check_wishes(folder, wishes)
    if wishes.split_from is not None:
        open_study(wishes.split_from)
    labels = None if wishes.labels is None else read_labels(wishes.labels)
    modality, side = _look(wishes.dicom, labels)
    known = _known_labels(labels, warn)
    _check_family(recipe)
    home = folder.resolve()
    values: dict[str, Any] = {
        "format": FORMAT,
        "name": wishes.name or home.name,
        "seed": wishes.seed,
        "cohort": {
            "dicom": _beside(wishes.dicom, home),
            **({"labels": _beside(wishes.labels, home)} if wishes.labels else {}),
            "unlabelled": wishes.labels is None,
            **({"positive": _positive(known, wishes.positive)} if known else {}),
            **({"known_labels": list(known)} if known else {}),
            "modality": modality,
            "view": wishes.view,
            "size": wishes.size or next((size for size in _SIZES if size >= side), _SIZES[-1]),
            **({"key": _beside(wishes.key, home)} if wishes.key else {}),
            **({"split_from": _beside(wishes.split_from, home)} if wishes.split_from else {}),
        },
        "generator": {
            "recipe": _recipe(wishes.recipe),
            **({"overrides": wishes.overrides} if wishes.overrides else {}),
        },
        "governance": _asked_of_a_person(),
    }
    parse(StudyConfig, values, CONFIG)
    write_text(home / CONFIG, _commented(values))
    (study := open_study(home)).log("init", "written")
    return study


def _check_wishes(folder: Path, wishes: Wishes) -> Recipe:
    """Checks that scans and labels exist and that the study is in its own folder; the recipe.

    Raises:
        ConfigError: There is no such recipe.
        CohortError: Scans or labels are not there.
        StudyError: The study would be in the folder of the scans.
    """
    if not wishes.dicom.is_dir():
        raise CohortError(f"there is no folder {wishes.dicom}; point --dicom at the folder with the scans")
    if wishes.labels is not None and not wishes.labels.is_file():
        raise CohortError(f"there is no file {wishes.labels}; point --labels at labels.csv")
    if wishes.dicom.resolve() == folder.resolve():
        raise StudyError("the study needs its own folder: choose one other than the folder of the scans")
    return load_recipe(wishes.recipe, wishes.overrides)


def _check_family(recipe: Recipe) -> None:
    """Checks that the recipe's family takes its settings; see `family_of`."""
    from scansynth.gan.models.families import family_of  # torch, for which no other refusal should wait

    family_of(recipe)


def _look(folder: Path, labels: Labels | None) -> tuple[str, int]:
    """The most common modality, and the median longer side in pixels, of a sample of files.

    Raises:
        CohortError: None of them is a usable image.
    """
    sources = find_sources(folder)
    chosen = sources[:: max(1, len(sources) // _SAMPLE)]
    found = list(scan_all([source.path for source in chosen], Limits(), 1))
    headers = [result for result in found if not isinstance(result, DicomError)]
    modality = commonest_modality(headers)
    if modality is None and (listed := pictures_of(folder, labels)):
        jobs = [PictureJob(source.path, source.relative, UNKNOWN, row.spacing, "axial") for row, source in listed]
        with DecodePool(1) as pool:
            pictures = pool.scan_pictures(jobs[:: max(1, len(jobs) // _SAMPLE)], Limits())
            headers = [result for result in pictures if not isinstance(result, DicomError)]
        modality = UNKNOWN if headers else None
    if modality is None:
        reasons = Counter(result.reason for result in found if isinstance(result, DicomError))
        detail = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
        raise CohortError(f"no usable DICOM image was found in {folder}{detail}; point --dicom at the folder of scans")
    sides = sorted(max(header.rows, header.columns) for header in headers if header.modality == modality)
    return modality, sides[len(sides) // 2]


def _known_labels(labels: Labels | None, warn: Callable[[str], None]) -> tuple[str, ...]:
    """The labels of labels.csv, sorted; what was made of the table is told."""
    if labels is None:
        return ()
    for note in labels.notes:
        warn(note)
    return tuple(sorted({row.label for row in labels.rows}))


def _positive(known: Sequence[str], asked: str | None) -> str:
    """The label that means a lesion: as given, or the only one that does not mean its absence.

    Raises:
        CohortError: It does not occur, or is ambiguous.
    """
    if asked is not None:
        found = asked if asked in known else next((one for one in known if same_label(one) == same_label(asked)), None)
        if found is None:
            raise CohortError(f"no row has the label {asked}; the labels are {', '.join(known)}")
        return found
    candidates = [label for label in known if label.lower() not in _NEGATIVE]
    if len(candidates) != 1:
        raise CohortError(f"it is not clear which label means a lesion; add --positive with one of {', '.join(known)}")
    return candidates[0]


def _asked_of_a_person() -> dict[str, str]:
    """The keys of the governance, each with what a person must write there."""
    fields = GovernanceSettings.model_fields.items()
    return {name: f"{UNFILLED}: {str(field.description).rstrip('.')}" for name, field in fields}


def _recipe(name: str) -> str:
    """A recipe as `study.toml` keeps it: a name, or a path that does not depend on where a command is run."""
    return str(Path(name).resolve()) if name.endswith(".toml") else name


def _beside(path: Path, home: Path) -> str:
    """A path as `study.toml` keeps it: relative where both lie in one place, so that they can move together."""
    full = path.resolve()
    return os.path.relpath(full, home) if full.is_relative_to(home.parent) else str(full)


def _commented(values: dict[str, Any]) -> str:
    """The settings as TOML, each explained."""
    document = tomlkit.document()
    document.add(tomlkit.comment("A scansynth study. Every key, with its unit and its default: docs/configuration.md"))
    for key, value in values.items():
        if not isinstance(value, dict):
            _add(document, key, value, StudyConfig.model_fields[key].description)
    cohort = tomlkit.table()
    for key, value in values["cohort"].items():
        _add(cohort, key, value, CohortSettings.model_fields[key].description)
    document["cohort"] = cohort
    document["generator"] = values["generator"]
    document.add(tomlkit.comment("Read by scansynth release alone, which refuses until a person has written it"))
    document["governance"] = values["governance"]
    return tomlkit.dumps(document)


def _add(table: Any, key: str, value: Any, about: str | None) -> None:
    """One key with its explanation in the line above."""
    if about:
        table.add(tomlkit.comment(about))
    table.add(key, value)
