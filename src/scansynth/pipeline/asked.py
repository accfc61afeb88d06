"""Images of asked-for labels: a set of its own beside the one that is judged."""

from __future__ import annotations

import re

from scansynth.errors import ConfigError
from scansynth.pipeline.stages import Surroundings, run_stage
from scansynth.study import Study


def study_of_labels(study: Study, labels: tuple[str, ...]) -> Study:
    """The study as it would be with a set of these labels: `<set>-<labels>`, so that no other set is overwritten.

    Raises:
        ConfigError: A label is named twice.
    """
    if len(set(labels)) < len(labels):
        raise ConfigError("a label is named twice: give each --label once")
    words = "-".join(re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "label" for label in labels)
    own = study.config.synthetic
    asked = own.model_copy(update={"labels": labels, "name": f"{own.name}-{words}"[:41].rstrip("-")})
    return Study(study.folder, study.config.model_copy(update={"synthetic": asked}))


def generate_labels(study: Study, labels: tuple[str, ...], around: Surroundings) -> str:
    """Draws a set of these labels, and returns its name.

    Raises:
        ScansynthError: As the stage generate.
    """
    asked = study_of_labels(study, labels)
    run_stage(asked, "generate", around)
    return asked.config.synthetic.name
