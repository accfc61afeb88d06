"""`study.toml`: every setting of a study, typed, with its unit and its default.

The file is read once, checked whole, and refused in one line when a key is unknown or ill-typed.
Settings are grouped by the stage that reads them, so that a change makes only that stage stale.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from scansynth.errors import ConfigError
from scansynth.ledger import Role

FORMAT = 2
"""Version of the study folder's layout; another number is refused."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Settings(BaseModel):
    """Base of all settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class RoleShares(Settings):
    """Shares of the patients, adding up to 1; see the ledger in `docs/evidence.md`."""

    train: Share = 0.5
    tune: Share = 0.1
    calibrate: Share = 0.1
    reserve: Share = 0.1
    test: Share = 0.2

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(sum(self.by_role().values()) - 1.0) > 1e-6:
            raise ValueError("the shares must add up to 1")
        if self.train == 0.0:
            raise ValueError("the share of train must not be 0")
        return self

    def by_role(self) -> dict[Role, float]:
        """Share of the patients for each role."""
        return {role: float(getattr(self, role.value)) for role in Role}


BurnedIn = Literal["leave out", "blacken", "keep"]
Side = Annotated[int, Field(ge=16, le=1024)]
"""Rows or columns of an image in pixels."""


class CohortSettings(Settings):
    """What `ingest` reads and how it prepares images."""

    dicom: str = Field(description="Folder with the scans; relative to the study folder, or absolute.")
    labels: str | None = Field(None, description="labels.csv; unset for an unlabelled cohort.")
    unlabelled: bool = Field(
        False, description="A cohort without labels; evidence that needs labels is not assessable."
    )
    positive: str | None = Field(None, description="The label that means a lesion is present.")
    known_labels: tuple[str, ...] = Field((), description="Labels that labels.csv may hold; empty: any.")
    attributes: tuple[str, ...] = Field(
        (), description="Columns of labels.csv kept with the cohort besides those that are harmless by themselves."
    )
    modality: str | None = Field(None, description="DICOM Modality kept, for example MR; unset: the most common.")
    view: Literal["chest", "patch", "any"] = Field(
        "any", description="What an image shows; determines which augmentations are permitted."
    )
    size: Side | tuple[Side, Side] = Field(
        256, description="Rows and columns of the images in pixels: one number for both, or [rows, columns]."
    )
    hu_window: tuple[float, float] = Field((-1000.0, 400.0), description="CT: Hounsfield units that map to -1 and 1.")
    percentiles: tuple[float, float] = Field((0.5, 99.5), description="Other modalities: per series, map to -1 and 1.")
    plane: Literal["axial", "coronal", "sagittal"] | None = Field(
        None,
        description="The only plane kept, by Image Orientation (Patient); unset: all, with a note when they differ.",
    )
    burned_in: BurnedIn = Field(
        "leave out",
        description="An image in whose pixels text is read: left out, its text blackened and the image read again, or "
        "kept.",
    )
    skip_unlisted: bool = Field(False, description="Leave out images without a row in labels.csv instead of refusing.")
    key: str | None = Field(
        None, description="The institution's key; unset: from the environment, else the user's configuration."
    )
    split_from: str | None = Field(None, description="Study from which patients keep their roles.")
    shares: RoleShares = RoleShares()
    max_pixels: int = Field(1 << 24, gt=0, description="Rows x Columns above which an image is left out.")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.hu_window[0] >= self.hu_window[1]:
            raise ValueError("hu_window must be increasing")
        if not 0.0 <= self.percentiles[0] < self.percentiles[1] <= 100.0:
            raise ValueError("percentiles must be increasing, between 0 and 100")
        if self.labels is None and not self.unlabelled:
            raise ValueError("give labels, or set unlabelled = true")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the images in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class GeneratorSettings(Settings):
    """What `train` does."""

    run: str = Field("main", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$", description="Name of the run: gan/<run>/.")
    recipe: str = Field("compact", description="A recipe of scansynth, or a path to a recipe's TOML file.")
    classes: tuple[str, ...] = Field((), description="Labels the generator sees; empty: the positive label.")
    conditions: tuple[str, ...] = Field((), description="To ask for later: diameter, place, columns of labels.csv.")
    masks: bool = Field(False, description="Make the lesion's mask with each image, in recipes that can: compact.")
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="Share of the train patients used to train the generator, chosen by the seed."
    )
    leave_out: tuple[str, ...] = Field((), description="A column of labels.csv and a value: who has it is left out.")
    start_from: str = Field("", description="Folder of a trained run, STUDY/gan/RUN, to start from; empty: chance.")
    freeze: int = Field(0, ge=0, description="Lowest layers of the discriminator that stay as start_from has them.")
    overrides: dict[str, Any] = Field(default_factory=dict, description="Recipe keys to override.")
    checkpoint_minutes: float = Field(5.0, gt=0, description="Maximum time between two checkpoints, minutes.")
    keep_checkpoints: int = Field(3, ge=3, description="Number of healthy checkpoints kept, besides the two newest.")

    @model_validator(mode="after")
    def _a_column_and_a_value(self) -> Self:
        if self.leave_out and (len(self.leave_out) != 2 or not all(self.leave_out)):
            raise ValueError('leave_out takes a column and a value, such as ["site", "north"]')
        if self.freeze and not self.start_from:
            raise ValueError("freeze keeps layers of start_from: name the run there, or take freeze out")
        return self

    @property
    def without(self) -> tuple[str, str]:
        """`leave_out` as column and value; both empty: no patient is left out."""
        return (self.leave_out[0], self.leave_out[1]) if self.leave_out else ("", "")


class SyntheticSettings(Settings):
    """What `generate` makes."""

    name: str = Field("main", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$", description="Name of the set: synthetic/<set>/.")
    images: int | None = Field(None, gt=0, description="Number; unset: as many as test images, at least 400.")
    labels: tuple[str, ...] = Field((), description="Labels, by turns; empty: all that the generator tells apart.")
    asked: dict[str, str] = Field(default_factory=dict, description='Conditions of the images, as diameter = "4-8".')
    into: Literal["", "clear"] = Field("", description="clear: put lesions into clear scans, for use inside the house.")


class EvidenceSettings(Settings):
    """What `audit` measures; the rules themselves are fixed in docs/evidence.md."""

    draws: int = Field(200, ge=20, description="Patient-disjoint splits behind each floor (real-vs-real reference).")
    level: Annotated[float, Field(gt=0.5, lt=1.0)] = Field(0.95, description="Confidence level of the intervals.")
    pairs: int = Field(12, ge=1, le=48, description="Number of nearest synthetic-training pairs shown.")
    encoder: Path | None = Field(
        None, description="Your own feature network as an ONNX file, a judge beside the two others."
    )


Arm = Literal[
    "real",
    "basic",
    "synthetic",
    "basic-synthetic",
    "duplicates",
    "nearest",
    "shuffled",
    "synthetic-only",
    "pretrained",
    "filtered",
    "copy-paste",
    "reserve",
]
"""One arm of the utility trial; see docs/utility.md."""

ARMS: tuple[Arm, ...] = get_args(Arm)
"""All of them."""


class UtilitySettings(Settings):
    """What `utility` tests; the rules themselves are fixed in docs/utility.md."""

    arms: tuple[Arm, ...] = Field(
        ("real", "basic", "synthetic", "basic-synthetic", "duplicates", "reserve"),
        description="Arms of the trial, the ways to train the detector.",
    )
    pairs: int = Field(5, ge=1, le=50, description="Number of generators, each with one detector per arm.")
    fractions: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        (1.0,), min_length=1, description="Shares of the train patients; each has its own generators."
    )
    ratios: tuple[Annotated[float, Field(ge=0.0, le=20.0)], ...] = Field(
        (1.0,), min_length=1, description="Synthetic images per real positive image; 0 is the arm basic itself."
    )
    classes: tuple[str, ...] = Field((), description="Labels of the synthetic images used; empty: the positive one.")
    network: Literal["auto", "small", "medium", "large"] = Field(
        "auto", description="Size of the detector; auto: small on a CPU, medium on a GPU."
    )
    lesions: Literal["auto", "on", "off"] = Field(
        "auto", description="Locate lesions, not only classify images; auto: when there are masks and whole images."
    )
    steps: int = Field(800, ge=10, description="Optimiser steps of every detector, the same in all arms.")
    batch: int = Field(32, ge=4, description="Batch size, half of it positive.")
    learning_rate: float = Field(2e-3, gt=0.0, description="Peak learning rate of the detector.")
    false_alarm_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.1, description="Share of negative calibrate images called positive, at which thresholds are set."
    )
    margin: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.05, description="Largest permitted rise of the false-alarm rate."
    )
    draws: int = Field(2000, ge=200, description="Bootstrap resamples of the patients.")
    external: tuple[str, ...] = Field(
        (), description="Other studies; the trained detectors are tested on their cohorts."
    )
    resample: bool = Field(False, description="Accept external images of another spacing or modality.")
    other_key: bool = Field(
        False, description="Accept external cohorts of another institution key: shared patients cannot be detected."
    )
    leave_out: str | None = Field(
        None, description="Column of labels.csv, such as site: train without each value in turn."
    )

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        for name in ("arms", "fractions", "ratios"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} lists a value twice")
        if self.ratios[0] == 0.0:
            raise ValueError("ratios must begin with a value above 0: it is used for the primary comparison")
        if not {"basic", "basic-synthetic"} <= set(self.arms):
            raise ValueError("arms must include basic and basic-synthetic: the primary comparison is between them")
        if self.batch % 2:
            raise ValueError("batch must be even: half of it is positive")
        return self

    @property
    def doses(self) -> tuple[float, ...]:
        """The ratios for which detectors are trained; 0 is the arm basic."""
        return tuple(ratio for ratio in self.ratios if ratio > 0.0)


DEVICE = "SCANSYNTH_DEVICE"
"""Environment variable that says where networks compute, in the words of `StudyConfig.device`."""

DEVICE_FORM = r"^(auto|cpu|cuda(:[0-9]+)?)$"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]  # words, or a name


class EngineSettings(Settings):
    """Where independent jobs run."""

    workers: int = Field(0, ge=0, description="Processes at a time; 0: one for each GPU, or for each core without one.")
    address: str = Field("", description='Empty: this machine; "local": Ray started here; else a Ray cluster.')


class ReaderSettings(Settings):
    """The blinded reader study; the rules themselves are fixed in docs/reader_statistics.md."""

    title: Text = Field("Reading study", description="Name shown to the readers.")
    readers: int = Field(5, ge=1, le=100, description="Number of readers invited.")
    against: Text | None = Field(None, description="Another audited set that the same readers read; unset: none.")
    images: int = Field(200, ge=8, description="Images, real and synthetic together, without repeats.")
    mix: Literal["hidden", "balanced"] = Field("hidden", description="hidden: 40% to 60% synthetic; balanced: half.")
    repeats: Annotated[float, Field(ge=0.0, le=0.5)] = Field(0.2, description="Share of the images shown twice.")
    practice: int = Field(10, ge=0, le=50, description="Practice images with feedback, before reading; not counted.")
    margin: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(0.1, description="Of equivalence: AUC within 0.5 +- this.")
    level: Annotated[float, Field(gt=0.5, lt=1.0)] = Field(0.95, description="Confidence level of the intervals.")
    question: Text | None = Field(None, description="A second question, answered no or yes; unset: not asked.")
    confidence: bool = Field(False, description="Ask for confidence in the second answer.")
    marks: Text | None = Field(None, description="Name of a finding that readers mark, say nodule; unset: no marks.")
    unaware: int = Field(0, ge=0, description="Images read for the finding alone, before readers are told; 0: none.")
    unaware_controls: int = Field(0, ge=0, description="Number of readers whose images of that part are all real.")
    finding: Text | None = Field(None, description="Label that the question asks for; unset: the positive label.")
    references: int = Field(0, ge=0, le=50, description="Real scans of train patients to look at beside each image.")
    comments: bool = Field(True, description="Offer a comment in free words to each image.")
    break_every: int = Field(40, ge=5, description="Number of images after which a break is suggested.")
    expiry_days: int = Field(60, ge=1, le=3650, description="Days after which an invitation expires.")


UNFILLED = "TO FILL IN"
"""How `init` begins what a person must write; see docs/release.md."""


class GovernanceSettings(Settings):
    """What a person must say before images may leave; other commands than `release` do not read it."""

    legal_basis: str = Field("", description="Legal basis for processing and releasing the images.")
    ethics_reference: str = Field("", description="Number of the ethics vote or waiver, and who gave it.")
    data_use_terms: str = Field("", description="Terms under which others may use the release.")
    licence: str = Field("", description="Licence of the release: SPDX identifier or URL.")
    intended_use: str = Field("", description="What the images are for.")
    excluded_use: str = Field("", description="What they must not be used for.")
    responsible_person: str = Field("", description="Who answers for the release, and how to reach them.")
    retention: str = Field("", description="How long study and release are kept, and what happens then.")


class TrackingSettings(Settings):
    """Experiment trackers besides the run's own log."""

    tensorboard: bool = Field(True, description="Event files in gan/<run>/tensorboard.")
    wandb: bool = Field(False, description="Weights & Biases, offline unless WANDB_MODE says otherwise.")
    real_images: bool = Field(
        False, description="Send images of real cases to the trackers; the terminal then says so."
    )


class StudyConfig(Settings):
    """One study, as `study.toml` states it."""

    format: int = Field(FORMAT, description="Version of the study folder's layout.")
    name: str = Field("study", description="Title of the study, shown in the report.")
    seed: int = Field(0, ge=0, description="All random numbers derive from it.")
    device: str = Field(
        "auto",
        pattern=DEVICE_FORM,
        description="Where networks compute: auto (a GPU where there is one), cpu, cuda, or one GPU such as cuda:1.",
    )
    cohort: CohortSettings
    generator: GeneratorSettings = GeneratorSettings()
    synthetic: SyntheticSettings = SyntheticSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    utility: UtilitySettings = UtilitySettings()
    reader: ReaderSettings = ReaderSettings()
    engine: EngineSettings = EngineSettings()
    tracking: TrackingSettings = TrackingSettings()
    governance: GovernanceSettings = GovernanceSettings()


T = TypeVar("T", bound=Settings)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary.

    Raises:
        ConfigError: The file is missing, is not TOML or not UTF-8.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path.name} is not valid TOML: {fault}") from None
    except OSError as fault:
        raise ConfigError(f"{path} cannot be read: {fault.strerror}") from None


def parse(kind: type[T], values: dict[str, Any], origin: str) -> T:
    """Settings from a dictionary, or one line that names the faulty key.

    Args:
        kind: The settings' class.
        values: As read from TOML.
        origin: The file's name, for the message.

    Raises:
        ConfigError: A key is unknown (the nearest known one is named), missing or ill-typed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as fault:
        error = fault.errors()[0]
        key = ".".join(str(part) for part in error["loc"]) or "the file"
        if error["type"] != "extra_forbidden":
            raise ConfigError(f"{origin}: {key}: {error['msg'].removeprefix('Value error, ')}") from None
        near = difflib.get_close_matches(key, known_keys(kind), n=1, cutoff=0.0)
        hint = f"; the nearest known key is {near[0]}" if near else ""
        raise ConfigError(f"{origin}: unknown key {key}{hint}") from None


def known_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """All keys of a settings class, with dots between the levels."""
    keys = []
    for name, field in kind.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += known_keys(field.annotation, f"{prefix}{name}.")
    return keys


def load_config(path: Path) -> StudyConfig:
    """The settings in a `study.toml`.

    Raises:
        ConfigError: The file is missing, not TOML, of another version, or a key is wrong.
    """
    values = read_toml(path)
    found = values.get("format", FORMAT)
    if found != FORMAT:
        raise ConfigError(
            f"{path.name} has format {found!r}, and this scansynth reads format {FORMAT}; use the version that made "
            f"the study, or create it again with init"
        )
    return parse(StudyConfig, values, path.name)
