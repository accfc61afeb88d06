"""The questions that claims answer together, and the one rule by which several claims come to one verdict.

The rule. A question is `refuted` when any of its claims is, by any judge; `shown` when all are; `not assessable` when
none could be assessed; else `not shown`. Where one claim is the question, as in the utility trial, its verdict is the
answer, and the others stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scansynth.claims.claim import Claim
from scansynth.statistics import Verdict


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        name: In claims.json, and of its section in the report.
        title: The question.
        families: Names of its claims begin with one of these.
        decisive: The claim that alone decides; empty where all do.
    """

    name: str
    title: str
    families: tuple[str, ...]
    decisive: str = ""

    def holds(self, claim: Claim) -> bool:
        """The claim is one of this question."""
        return claim.claim.partition(".")[0] in self.families


QUESTIONS: tuple[Question, ...] = (
    Question("realism", "Do the images look real?", ("fidelity",)),
    Question("variety", "Are they varied?", ("diversity",)),
    Question("copies", "Were they copied?", ("copies", "membership", "anonymity")),
    Question("groups", "Are all patient groups represented?", ("fairness",)),
    Question("traces", "Do processing traces reveal them?", ("telltales",)),
)
"""Of the audit, in the order of the report."""

HOUSE = Question("house", "What must stay in-house", ("house",))
"""Of files that are never released. No verdict of its own, and part of no other question's."""

UTILITY = Question("help", "Does it help?", ("utility",), "utility.gain")
READERS = Question("readers", "Can readers distinguish them?", ("reader",), "reader.indistinguishable")
EVERY_QUESTION: tuple[Question, ...] = (*QUESTIONS, UTILITY, READERS)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict of several, by the rule above."""
    found = set(verdicts)
    if Verdict.REFUTED in found:
        return Verdict.REFUTED
    if found <= {Verdict.NOT_ASSESSABLE}:
        return Verdict.NOT_ASSESSABLE
    return Verdict.SHOWN if found == {Verdict.SHOWN} else Verdict.NOT_SHOWN


def together(claims: Sequence[Claim]) -> Mapping[str, Verdict]:
    """The verdict of each question on which there is a claim, by its name, in the order of the report."""
    found = {}
    for question in EVERY_QUESTION:
        own = [claim for claim in claims if question.holds(claim)]
        if own:
            deciding = [claim for claim in own if claim.claim == question.decisive] if question.decisive else own
            found[question.name] = overall(claim.verdict for claim in deciding)
    return found
