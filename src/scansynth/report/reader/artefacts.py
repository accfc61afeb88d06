"""Artefacts of a closed reader study -> values for the page, with the images that misled most and none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.claims.claim import Claim
from scansynth.claims.judged import Judged
from scansynth.claims.rules import READER_RULES
from scansynth.data.imageset import ImageSet
from scansynth.data.tensors import Cohort, select_named
from scansynth.ledger import Use
from scansynth.report.artefacts import Values, own_claims, read_object, refusing
from scansynth.report.standing import has_readers
from scansynth.study import ANALYSIS, CLAIMS_FILE, MACHINE, PROBE, PROTOCOL, Study

AGAIN = "reader analyse"
"""The command that writes what is read here."""

EXAMPLES = 6
"""Images of a list that are pictured, at most."""

LISTS = ("synthetic_fooled_most", "synthetic_fooled_none", "real_fooled_most", "real_fooled_none")
"""Of analysis.json: images by how many readers they misled."""


@dataclass(frozen=True)
class Seen:
    """An image that readers saw.

    Attributes:
        image: uint16 (size, size).
        called_synthetic: Share of the readers who called it synthetic.
        answer: Mean of their answers, 1 (definitely real) to 6.
    """

    image: NDArray[np.uint16]
    called_synthetic: float
    answer: float


@dataclass(frozen=True)
class ReadersView:
    """A reader study that was closed and analysed.

    Attributes:
        protocol: What was fixed before reading began.
        probe: What was looked for before.
        machine: Result of a machine on the same images.
        analysis: Its result.
        judged: The verdict, and one claim.
        seen: Pictures of each list, at most `EXAMPLES`.
        listed: How many images stand in each list.
        pictured: Keyed hashes of the patients in the pictures.
        of_this_set: The readers saw the set that the rest of the page is of.
        saw: Digests of cohort and set as the readers saw them; of this set alone.
    """

    protocol: Values
    probe: Values
    machine: Values
    analysis: Values
    judged: Judged
    seen: Mapping[str, tuple[Seen, ...]]
    listed: Mapping[str, int]
    pictured: tuple[str, ...]
    of_this_set: bool
    saw: Mapping[str, str]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims."""
        return self.judged.claims


def read_readers(study: Study, cohort: Cohort | None, made: ImageSet | None) -> ReadersView | None:
    """The reader study of a study, or none where none was analysed.

    Args:
        study: The study.
        cohort: Its cohort.
        made: Its synthetic set; pictured only where it is the one that was read.

    Raises:
        EvidenceError: An artefact is damaged, or of another version of the rules.
        LedgerError: Pictures were asked of patients that may not be shown.
    """
    if not has_readers(study):
        return None
    protocol, probe, machine, analysis = (
        read_object(study.reader / name, "reader study", AGAIN) for name in (PROTOCOL, PROBE, MACHINE, ANALYSIS)
    )
    judged = own_claims(study.reader / CLAIMS_FILE, READER_RULES, "reader study", AGAIN)
    ours = protocol.get("synthetic_set") == study.config.synthetic.name
    with refusing(f"{ANALYSIS} of the reader study", AGAIN):
        rows = {name: [_row(row) for row in analysis["images"].get(name, [])] for name in LISTS}
    with refusing(f"{PROTOCOL} of the reader study", AGAIN):
        inputs = {str(name): str(digest) for name, digest in protocol["inputs"].items()}
        saw = {name: inputs[name] for name in ("cohort", "set") if ours and inputs.get(name)}
    wanted = [case for name in LISTS if name.startswith("real") for case, *_ in rows[name][:EXAMPLES]]
    found = select_named(cohort, Use.EXAMPLES, wanted) if cohort else None
    real = {case.case: image for case, image in zip(found.cases, found.planes, strict=True)} if found else {}
    synthetic = dict(zip((str(row["index"]) for row in made.rows), made.planes, strict=True)) if made and ours else {}
    return ReadersView(
        protocol=protocol,
        probe=probe,
        machine=machine,
        analysis=analysis,
        judged=judged,
        seen={name: _seen(rows[name][:EXAMPLES], real if name.startswith("real") else synthetic) for name in LISTS},
        listed={name: len(rows[name]) for name in LISTS},
        pictured=tuple(sorted(set(found.patients))) if found else (),
        of_this_set=ours,
        saw=saw,
    )


def _row(row: Mapping[str, Any]) -> tuple[str, float, float]:
    return str(row["case"]), float(row["called_synthetic"]), float(row["mean_answer"])


def _seen(rows: Sequence[tuple[str, float, float]], images: Mapping[str, NDArray[np.uint16]]) -> tuple[Seen, ...]:
    return tuple(Seen(images[case], called, answer) for case, called, answer in rows if case in images)
