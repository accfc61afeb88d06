"""Sets of asked-for labels have a name of their own, and are what the settings would make."""

from __future__ import annotations

from pathlib import Path

import pytest

from scansynth.config import StudyConfig
from scansynth.errors import ConfigError
from scansynth.pipeline.asked import study_asking
from scansynth.study import Study


def _study() -> Study:
    return Study(Path("study"), StudyConfig.model_validate({"cohort": {"dicom": "x", "unlabelled": True}}))


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (("nodule",), "main-nodule"),
        (("Mass (large)", "clear"), "main-mass-large-clear"),
        (("x" * 80,), None),
        (("?",), None),
    ],
)
def test_the_set_is_named_after_its_labels(labels: tuple[str, ...], name: str | None) -> None:
    """A name that settings take, and the labels among them."""
    asked = study_asking(_study(), labels, {}).config
    assert asked.synthetic.labels == labels
    assert asked == StudyConfig.model_validate(asked.model_dump())
    assert name in (None, asked.synthetic.name)


def test_a_label_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="named twice"):
        study_asking(_study(), ("nodule", "nodule"), {})
