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


def study_inserting(study: Study, labels: tuple[str, ...], conditions: Mapping[str, str], into: str) -> Study:
    """The study as it would be with a set of lesions in such scans: `<set>-into-<scans>`.

    Raises:
        ConfigError: Labels or conditions are asked for.
    """
    own = study.config.synthetic
    if labels or conditions:
        raise ConfigError(
            "--into takes no label and no condition: it makes lesions of the positive label, of the size of train "
            "lesions and where these lie"
        )
    changes = {"labels": (), "asked": {}, "into": into, "name": f"{own.name}-into-{into}"[:41].rstrip("-")}
    return Study(study.folder, study.config.model_copy(update={"synthetic": own.model_copy(update=changes)}))


def with_count(study: Study, count: int | None) -> Study:
    """The study with so many images in its set; none: as many as it says."""
    if count is None:
        return study
    own = study.config.synthetic.model_copy(update={"images": count})
    return Study(study.folder, study.config.model_copy(update={"synthetic": own}))


def generate_asked(asked: Study, around: Surroundings) -> str:
    """Draws the set of a study as `study_asking` or `study_inserting` gives it, and returns its name.

    Raises:
        ScansynthError: As the stage generate.
    """
    run_stage(asked, "generate", around)
    return asked.config.synthetic.name
