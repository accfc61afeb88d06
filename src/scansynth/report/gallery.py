"""The gallery: every synthetic image beside the training image most like it, a page at a time. Never released."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from scansynth.console import Progress, silent
from scansynth.data.imageset import ImageSet
from scansynth.data.sets import LABEL_SEPARATOR, load_set
from scansynth.data.tensors import Selection, load_cohort, select
from scansynth.errors import StudyError
from scansynth.files import new_directory, read_csv, write_text
from scansynth.ledger import Use
from scansynth.metrics.ncc import Flip, Nearest
from scansynth.metrics.search import open_search
from scansynth.report.figures.pictures import single
from scansynth.report.figures.words import clean
from scansynth.report.render import style, template
from scansynth.report.source import Source
from scansynth.report.standing import under_way
from scansynth.study import PAGE, QUARANTINE, Study

FOLDER = "gallery"
PAIRS_A_PAGE = 24

_SCRIPT = """document.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const words = {ArrowLeft: "Previous", ArrowRight: "Next", Home: "First", End: "Last"}[event.key];
  const link = words && [...document.querySelectorAll(".pages a")].find(one => one.textContent === words);
  if (link) { event.preventDefault(); location.href = link.href; }
});"""
"""Pages by keys; the page's policy allows this script alone, by its hash."""


@dataclass(frozen=True)
class Pairs:
    """What is shown.

    Attributes:
        made: The synthetic set.
        reals: Training images.
        nearest: Of each synthetic image.
        order: Places of the synthetic images, the most alike first.
        kept_back: Ids of images that never leave.
    """

    made: ImageSet
    reals: Selection
    nearest: Nearest
    order: Sequence[int]
    kept_back: frozenset[str]


def write_gallery(study: Study, progress: Progress = silent) -> Path:
    """Writes `report/gallery/`, beside the report, and returns its first page.

    Args:
        study: The study; cohort, set and report are there. Its lock is held.
        progress: Told of the search.

    Raises:
        StudyError: A reader study is under way, whose images it would show.
        CohortError: Cohort or set is missing or damaged, or nobody has the role train.
    """
    if under_way(study):
        raise StudyError("a reader study is under way, and the gallery shows its images; close it first")
    cohort = load_cohort(study.cohort)
    made, reals = load_set(study.synthetic(), cohort.facts), select(cohort, Use.PICTURES)
    if not len(made) or not reals.cases:
        raise StudyError("a gallery needs synthetic images and patients of the role train")
    search = open_search(reals.planes, (Flip.NONE,))
    nearest = search.nearest(made.planes, progress)
    order = [int(place) for place in np.argsort(-nearest.score, kind="stable")]
    path = study.evidence() / QUARANTINE
    kept_back = frozenset(row["image"] for row in read_csv(path)) if path.is_file() else frozenset[str]()
    pairs = Pairs(made, reals, nearest, order, kept_back)
    pages = -(-len(order) // PAIRS_A_PAGE)
    with new_directory(study.report / FOLDER) as folder:
        for page in range(1, pages + 1):
            write_text(folder / page_name(page), _page(study, pairs, page, pages))
    return study.report / FOLDER / page_name(1)


def page_name(page: int) -> str:
    """File of a page; pages count from 1."""
    return PAGE if page == 1 else f"page-{page}.html"


def _page(study: Study, pairs: Pairs, page: int, pages: int) -> str:
    first = (page - 1) * PAIRS_A_PAGE
    shown = pairs.order[first : first + PAIRS_A_PAGE]
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    names = {"first": 1, "prev": page - 1, "next": page + 1, "last": pages}
    return template("gallery.html").render(
        name=clean(study.config.name),
        css=style(),
        script=Markup(_SCRIPT),
        script_hash=Markup(f"sha256-{digest}"),
        page=page,
        pages=pages,
        first=first + 1,
        last=first + len(shown),
        total=len(pairs.order),
        links={name: page_name(number) for name, number in names.items()},
        source=Source(
            f"cohort/ and synthetic/{clean(study.config.synthetic.name)}/", "scansynth report STUDY --gallery"
        ),
        pairs=[_pair(pairs, place) for place in shown],
    )


def _pair(pairs: Pairs, place: int) -> Mapping[str, Any]:
    row, nearest = pairs.made.rows[place], int(pairs.nearest.index[place])
    real = pairs.reals.cases[nearest].label
    return {
        "id": clean(row["id"]),
        "label": clean(row["label"].replace(LABEL_SEPARATOR, " or ")),
        "real_label": clean(real),
        "likeness": f"{pairs.nearest.score[place]:.2f}",
        "kept_back": row["id"] in pairs.kept_back,
        "synthetic": single(pairs.made.planes[place]),
        "real": single(pairs.reals.planes[nearest]),
    }
