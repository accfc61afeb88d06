"""Images of asked-for labels and conditions: a set of its own beside the one that is judged."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scansynth.errors import ConfigError
from scansynth.pipeline.stages import Surroundings, run_stage
from scansynth.study import Study


def study_asking(study: Study, labels: tuple[str, ...], conditions: Mapping[str, str]) -> Study:
    """The study as it would be with a set of these: `<set>-<labels>-<conditions>`, so that no other is overwritten.

    Raises:
        ConfigError: A label is named twice.
    """
    if len(set(labels)) < len(labels):
        raise ConfigError("a label is named twice: give each --label once")
    texts = (*labels, *(f"{name} {text}" for name, text in conditions.items()))
    words = "-".join(re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "label" for text in texts)
    own = study.config.synthetic
    name = f"{own.name}-{words}"[:41].rstrip("-")
    asked = own.model_copy(update={"labels": labels or own.labels, "asked": dict(conditions), "name": name})
    return Study(study.folder, study.config.model_copy(update={"synthetic": asked}))


def generate_asked(study: Study, labels: tuple[str, ...], conditions: Mapping[str, str], around: Surroundings) -> str:
    """Draws a set of these labels under these conditions, and returns its name.

    Raises:
        ScansynthError: As the stage generate.
    """
    asked = study_asking(study, labels, conditions)
    run_stage(asked, "generate", around)
    return asked.config.synthetic.name
