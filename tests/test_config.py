"""study.toml: typed, checked whole, refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from scansynth.config import FORMAT, RoleShares, StudyConfig, known_keys, load_config, parse, read_toml
from scansynth.errors import ConfigError
from scansynth.ledger import Role

LEAST: dict[str, Any] = {"cohort": {"dicom": "scans", "unlabelled": True}}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as fault:
        parse(StudyConfig, values, "study.toml")
    assert "\n" not in str(fault.value)
    return str(fault.value)


def test_the_least_study_has_all_defaults() -> None:
    config = parse(StudyConfig, LEAST, "study.toml")
    assert config.cohort.size == 256
    assert sum(config.cohort.shares.by_role().values()) == pytest.approx(1.0)
    assert set(config.cohort.shares.by_role()) == set(Role)


@pytest.mark.parametrize(
    ("key", "near"),
    [("cohort.positve", "cohort.positive"), ("generator.recpe", "generator.recipe"), ("sed", "seed")],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key: str, near: str) -> None:
    values: dict[str, Any] = {name: dict(table) for name, table in LEAST.items()}
    table, _, name = key.rpartition(".")
    (values.setdefault(table, {}) if table else values)[name] = 1
    message = refusal(values)
    assert key in message
    assert message.endswith(near)


@pytest.mark.parametrize(
    ("table", "values", "word"),
    [
        ("cohort", {"size": 15}, "cohort.size"),
        ("cohort", {"size": [64]}, "cohort.size"),
        ("cohort", {"size": [64, 2048]}, "cohort.size"),
        ("cohort", {"hu_window": [5, 5]}, "must be increasing"),
        ("cohort", {"percentiles": [99, 1]}, "must be increasing"),
        ("cohort", {"unlabelled": False}, "labels"),
        ("cohort", {"shares": {"train": 0.9}}, "add up to 1"),
        ("cohort", {"shares": {"train": 0.0, "tune": 0.6}}, "train must not be 0"),
        ("generator", {"run": "../outside"}, "generator.run"),
        ("generator", {"keep_checkpoints": 1}, "generator.keep_checkpoints"),
        ("generator", {"checkpoint_minutes": 0}, "generator.checkpoint_minutes"),
        ("synthetic", {"name": "a/b"}, "synthetic.name"),
        ("evidence", {"level": 1.0}, "evidence.level"),
        ("tracking", {"wandb": "perhaps"}, "tracking.wandb"),
    ],
)
def test_a_wrong_value_is_named(table: str, values: dict[str, Any], word: str) -> None:
    assert word in refusal({**LEAST, table: {**LEAST.get(table, {}), **values}})


def test_settings_do_not_change() -> None:
    config = parse(StudyConfig, LEAST, "study.toml")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1


def test_every_key_has_a_description() -> None:
    def walk(kind: type[BaseModel]) -> None:
        for name, field in kind.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                walk(field.annotation)
            else:
                assert field.description or kind is RoleShares, f"{kind.__name__}.{name}"

    walk(StudyConfig)
    assert {"seed", "cohort.dicom", "cohort.shares.train", "tracking.real_images"} <= set(known_keys(StudyConfig))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"format = 99\n", "format 99"),
        (b"name = ", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b"name = 'x'\n", "cohort"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=word) as fault:
        load_config(path)
    assert "\n" not in str(fault.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        read_toml(tmp_path / "study.toml")


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(f"format = {FORMAT}\nseed = 3\n[cohort]\ndicom = 'scans'\nunlabelled = true\n")
    assert load_config(path).seed == 3
