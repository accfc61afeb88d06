"""The page that goes out with a release: no real image, and of the synthetic ones only those that leave."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from scansynth.data.imageset import ImageSet
from scansynth.report.collect import GRID_LABELS, GRID_SIDE, Findings, GridPair, SetView, TrainingView, collect
from scansynth.report.render import render
from scansynth.seeds import generator
from scansynth.study import Study


def public_page(study: Study, made: ImageSet, leaving: Collection[str]) -> str:
    """The page as HTML.

    Pictures of the training go too: they were drawn before anybody looked for copies of real images in them.

    Args:
        study: The study.
        made: Its synthetic set.
        leaving: Ids of the images that are released.

    Raises:
        ScansynthError: See `collect`.
    """
    return render(without_real(collect(study), made, leaving))


def without_real(findings: Findings, made: ImageSet, leaving: Collection[str]) -> Findings:
    """Findings without any picture of a real image, or of a synthetic one that is kept back."""
    trial, readers, evidence = findings.trial, findings.readers, findings.evidence
    return replace(
        findings,
        training=None if findings.training is None else _plain(findings.training),
        synthetic=_grids(findings, made, leaving),
        evidence=None if evidence is None else replace(evidence, pairs=(), pairs_listed=0),
        trial=None if trial is None else replace(trial, caught=(), missed=(), changed=(0, 0), pictured=()),
        readers=None
        if readers is None
        else replace(
            readers, seen=dict.fromkeys(readers.seen, ()), listed=dict.fromkeys(readers.listed, 0), pictured=()
        ),
        pictured=(),
        public=True,
    )


def _plain(training: TrainingView) -> TrainingView:
    return replace(training, grids=(), real=None)


def _grids(findings: Findings, made: ImageSet, leaving: Collection[str]) -> SetView:
    """Grids of released images, one for each label."""
    rows = [(place, row["label"]) for place, row in enumerate(made.rows) if row["id"] in leaving]
    labels = {label: sum(one == label for _, one in rows) for label in sorted({label for _, label in rows})}
    grids = []
    for label in list(labels)[:GRID_LABELS]:
        own = np.array([place for place, one in rows if one == label])
        draw = generator(findings.study.config.seed, "public report", label)
        shown = draw.choice(own, size=min(GRID_SIDE**2, len(own)), replace=False)
        masks = None if made.masks is None else made.masks[shown]
        grids.append(GridPair(label, None, made.planes[shown], 0, len(own), None, masks))
    return SetView(findings.study.config.synthetic.name, len(rows), labels, tuple(grids))
