"""Do files or pixels reveal the synthetic images? The claims `telltales.pixels` and `telltales.files`.

Pixels are judged as readers see them, by `metrics.telltales.as_readers_see`: the reader export must use the same
function. Findings in the images as stored are reported beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import Compared
from scansynth.audit.context import Context, at_most
from scansynth.claims.claim import Finding, not_assessable
from scansynth.claims.traces import FILES, PIXELS, Sides, assess
from scansynth.console import Progress
from scansynth.data.tensors import to_stored
from scansynth.dicom.header import Header
from scansynth.metrics import planted
from scansynth.metrics.telltales import LEAST_SIDE, TRACES, as_readers_see, header_features, trace_features
from scansynth.seeds import derive_seed

CLAIMS = NAMES = (PIXELS, FILES)

LEAST_PATIENTS = 30
MOST_IMAGES = 400
"""On each side; one image per patient. More would find nothing that 400 do not."""


def file_facts(header: Header, size: int) -> dict[str, Any]:
    """What a viewer or a file system shows of a DICOM file; explicit synthetic marks do not count as traces.

    Args:
        header: As `read_header` gave it.
        size: Of the file, in bytes.
    """
    spacing = header.pixel_spacing or (None, None)
    return {
        "file size": size,
        "header length": header.pixel_offset,
        "transfer syntax": header.transfer_syntax_uid,
        "rows": header.rows,
        "columns": header.columns,
        "bits allocated": header.bits_allocated,
        "bits stored": header.bits_stored,
        "signed": header.pixel_representation,
        "photometric interpretation": header.photometric_interpretation,
        "row spacing": spacing[0],
        "column spacing": spacing[1],
        "slope": header.rescale_slope,
        "intercept": header.rescale_intercept,
        "padding": None if header.padding is None else header.padding[0],
    }


def lack(compared: Compared) -> dict[str, str]:
    """Why a claim of this file cannot be assessed, for those that cannot."""
    missing = {}
    if not (compared.synthetic_files and compared.test_files):
        missing[FILES] = "There are no files of both sides to compare: a cohort keeps only the images."
    if compared.synthetic.shape[1] < LEAST_SIDE:
        missing[PIXELS] = f"The images are too small: at least {LEAST_SIDE} pixels a side are needed."
    if compared.test.patient_count < LEAST_PATIENTS:
        few = f"{compared.test.patient_count} patients have the role test, and {LEAST_PATIENTS} are needed."
        missing |= dict.fromkeys(NAMES, f"Too few real patients: {few}")
    return missing


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """The findings on tell-tales of pixels and of files."""
    compared = context.compared
    gathered: Mapping[str, Callable[[Context], Sides]] = {PIXELS: _pixels, FILES: _files}
    missing = {**lack(compared), **compared.withheld}
    n = {"synthetic images": len(compared.synthetic), "real patients": compared.test.patient_count}
    findings = []
    for place, (name, sides) in enumerate(gathered.items()):
        progress(place, len(gathered), name.partition(".")[2])
        if name in missing:
            findings.append(Finding(not_assessable(name, missing[name], n)))
        else:
            seed = derive_seed(context.seed, "evidence", name)
            findings.append(assess(name, sides(context), context.settings.level, seed))
    return tuple(findings)


def _chosen(context: Context) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of one test image of each patient, and of as many synthetic images: drawn, `MOST_IMAGES` at most.

    Equal numbers, since a classifier that learns from more images of a set finds more, whatever the set.
    """
    rng, test = context.rng("tell-tales"), context.compared.test
    shuffled = rng.permutation(len(test.cases))
    one_each = shuffled[np.unique(test.patients[shuffled], return_index=True)[1]]
    real = np.sort(rng.permutation(one_each)[:MOST_IMAGES])
    return real, at_most(len(context.compared.synthetic), len(real), rng)


def _pixels(context: Context) -> Sides:
    real, made = _chosen(context)
    reals = context.compared.test.images[real]
    both = np.concatenate([to_stored(reals), to_stored(context.compared.synthetic[made])])
    rng = context.rng("tell-tales", "what readers see")
    seen = trace_features(as_readers_see(both, rng))
    compressed = trace_features(as_readers_see(to_stored(planted.jpeg(reals)), rng))
    control = ("JPEG at quality 90", compressed)
    return Sides(TRACES, seen[: len(real)], seen[len(real) :], control, trace_features(both))


def _files(context: Context) -> Sides:
    compared = context.compared
    real, made = _chosen(context)
    rows = [{**compared.test_files[place], _MARK: False} for place in real]
    theirs = [{**compared.synthetic_files[place], _MARK: False} for place in made]
    # not in all of them: a trace without exception would be trivial to find
    marked = [{**row, _MARK: bool(place % _MARKED)} for place, row in enumerate(rows)]
    columns, names = header_features([*rows, *theirs, *marked])
    first, second = len(rows), len(rows) + len(theirs)
    control = (f"one more header element in {_MARKED - 1} of {_MARKED} files", columns[second:])
    return Sides(names, columns[:first], columns[first:second], control)


_MARK, _MARKED = "planted", 20
