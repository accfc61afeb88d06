"""The five questions of the audit in plain sentences.

The sentence names what is refuted; where nothing is, what is open. The verdicts stand in claims.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scansynth.claims.claim import Claim
from scansynth.claims.judged import Judged
from scansynth.claims.questions import QUESTIONS, Question
from scansynth.report.figures.words import clean, count
from scansynth.statistics import Verdict

_NAMED = 3
"""Most findings named in a sentence; the others are counted."""

_NUMBERS = {2: "two", 3: "three"}


@dataclass(frozen=True)
class Wording:
    """How a question is answered.

    Attributes:
        aim: What a verdict on it is about: "shown: that the images look real".
        bad: Opens the sentence when something is refuted.
        good: The sentence when everything is shown.
    """

    aim: str
    bad: str
    good: str


WORDINGS: Mapping[str, Wording] = {
    "realism": Wording(
        "that they look real",
        "No",
        "Yes, as far as was measured: they could not be distinguished from scans of new patients.",
    ),
    "variety": Wording("that they are varied", "No", "Yes, as far as was measured: they vary as real patients do."),
    "copies": Wording(
        "that nobody was copied",
        "There are signs of it",
        "No sign of it was found; this does not prove anonymity.",
    ),
    "groups": Wording(
        "that all groups are represented", "Not all are represented alike", "Yes, all groups that were assessed."
    ),
    "traces": Wording("that no traces reveal them", "Yes", "No: none of the traces that were looked for reveals them."),
}
"""Of every question of the audit."""


@dataclass(frozen=True)
class Words:
    """A claim in words.

    Attributes:
        short: Names it within a sentence.
        refuted: What it means when refuted, as a clause.
        about: What its figure is, in a sentence.
    """

    short: str
    refuted: str
    about: str


_TELL = "AUC: how often in 100 the synthetic image of a real and synthetic pair is identified; 50 is guessing."
_WHO = "AUC: how often in 100 the training patient is identified when paired with another patient; 50 is guessing."

WORDS: Mapping[str, Words] = {
    "fidelity.kid": Words(
        "the distance of the whole set from new patients",
        "the set as a whole differs from scans of new patients",
        "KID: a distance between two sets of images; 0 where they cannot be distinguished.",
    ),
    "fidelity.c2st_features": Words(
        "the simple classifier", "a simple classifier distinguishes the images from real ones", _TELL
    ),
    "fidelity.c2st_pixels": Words(
        "the neural network", "a neural network distinguishes the images from real ones", _TELL
    ),
    "fidelity.c2st_native": Words(
        "the network at the native size of the scans",
        "a neural network distinguishes them at the native size of the scans",
        _TELL,
    ),
    "fidelity.precision": Words(
        "how near each image lies to real patients",
        "some images resemble no real patient",
        "Precision: the share of synthetic images with a real patient close by; 1 is what new patients would give.",
    ),
    "fidelity.density": Words(
        "how many real patients are near each image",
        "images lie where real patients are rare",
        "Density: how many real patients are close to a synthetic image; 1 is what new patients would give.",
    ),
    "diversity.pair_distance": Words(
        "the typical difference between images",
        "the images differ less from each other than real patients do",
        "The median difference between two images; 1 is that between two real patients.",
    ),
    "diversity.near_pairs": Words(
        "the most similar pairs",
        "the most similar images are too similar",
        "The difference within the most similar pairs, one in twenty; 1 is as much as among real patients.",
    ),
    "diversity.nearest": Words(
        "the nearest neighbours within the set",
        "images have closer neighbours in the set than real patients have",
        "Distance from an image to the most similar one in the set; 1 is that among real patients.",
    ),
    "diversity.vendi": Words(
        "the number of distinct images",
        "there are fewer distinct images than the same number of real patients would give",
        "Vendi score: the number of distinct images; 1 is that of the same number of real patients.",
    ),
    "diversity.coverage": Words(
        "how many kinds of patients are covered",
        "some kinds of patients are not covered",
        "Coverage: the share of real patients with a synthetic image close by; 1 is what new patients would give.",
    ),
    "diversity.recall": Words(
        "how many real patients lie within its spread",
        "some real patients lie outside the spread of the set",
        "Recall: the share of real patients within the spread of the set; 1 is what new patients would give.",
    ),
    "copies.real_files": Words(
        "real images in the set",
        "real images are among the synthetic ones",
        "Every synthetic image is compared with all real ones, including re-encoded and resized copies.",
    ),
    "copies.flag_rate": Words(
        "the search for copies",
        "more images are close to a training image than chance allows",
        "The share of synthetic images closer to a training image than nearly all scans of patients never trained on.",
    ),
    "membership.distance": Words(
        "membership inference from closeness",
        "closeness to the set reveals who was a training patient",
        _WHO,
    ),
    "anonymity.singling_out": Words(
        "singling out",
        "what the set says fits training patients alone more often than other people",
        "How many more of the training patients than of others are the only one whom a synthetic image describes.",
    ),
    "anonymity.linkability": Words(
        "linking two parts of a scan",
        "the set links two parts of a training patient’s scan more often than of other people’s",
        "How many more of the training patients than of others have two halves that lead to the same synthetic image.",
    ),
    "anonymity.inference": Words(
        "inferring what was hidden",
        "the set tells the hidden part of training patients’ scans more often than of other people’s",
        "For how many more of the training patients than of others the set tells the hidden half of the scan.",
    ),
    "fairness.share": Words(
        "how often groups appear",
        "groups appear too often or too rarely",
        "How many times too often or too rarely the group most out of proportion appears; 1 is in proportion.",
    ),
    "fairness.coverage": Words(
        "how well groups are covered",
        "the set covers a group less than all patients",
        "The share of a group with a synthetic image close by, for the worst group; 1 is as for all patients.",
    ),
    "fairness.kid": Words(
        "how real each group looks",
        "the images of a group are further from real than chance allows",
        "KID: a distance between two sets of images, less what chance gives, for the worst group; 0 is none.",
    ),
    "fairness.flag_rate": Words(
        "how often groups are copied",
        "images of a group are more often too close to a training image",
        "How much more often a group’s images are too close to a training image than the others, for the worst group.",
    ),
    "fairness.lesion_size": Words(
        "the smallest and the largest lesions",
        "the smallest or the largest lesions appear too rarely",
        "How much rarer the smallest or the largest lesions are in the set than among the training patients.",
    ),
    "telltales.pixels": Words("traces in the pixels", "traces in the pixels distinguish them from real images", _TELL),
    "telltales.files": Words(
        "sizes and headers of files", "sizes or headers of the files distinguish them from real files", _TELL
    ),
    "house.discriminator": Words(
        "membership inference from the discriminator",
        "the discriminator’s score reveals who was a training patient",
        _WHO,
    ),
    "house.encoders": Words(
        "membership inference from the encoders", "the encoders reveal who was a training patient", _WHO
    ),
}
"""Of every claim; a test holds that none is missing."""


@dataclass(frozen=True)
class Answer:
    """A question with its claims, and what follows.

    Attributes:
        question: Which.
        claims: All of it, in the order of the rules, with the number that each has on the page.
        verdict: Of all together.
        sentence: The answer.
        disagreement: Where the judges differ; empty where they do not.
    """

    question: Question
    claims: tuple[tuple[int, Claim], ...]
    verdict: Verdict
    sentence: str
    disagreement: str

    @property
    def tally(self) -> list[tuple[Verdict, int]]:
        """Number of claims per verdict."""
        found = [(verdict, sum(claim.verdict is verdict for _, claim in self.claims)) for verdict in Verdict]
        return [(verdict, amount) for verdict, amount in found if amount]


def answers(found: Judged) -> tuple[Answer, ...]:
    """Every question of the audit answered; numbers of claims begin at 1."""
    numbered = list(enumerate(found.claims, start=1))
    return tuple(
        _answer(
            question,
            tuple(row for row in numbered if question.holds(row[1])),
            found.verdicts.get(question.name, Verdict.NOT_ASSESSABLE),
        )
        for question in QUESTIONS
    )


def spoken(found: Judged) -> tuple[str, ...]:
    """A line for each question, as the command line says it."""
    return tuple(
        " ".join(filter(None, (answer.question.title, f"[{answer.verdict}]", answer.sentence, answer.disagreement)))
        for answer in answers(found)
    )


def _answer(question: Question, rows: tuple[tuple[int, Claim], ...], verdict: Verdict) -> Answer:
    claims = [claim for _, claim in rows]
    sentence = _sentence(WORDINGS[question.name], claims, verdict)
    return Answer(question, rows, verdict, sentence, disagreement(claims))


def _sentence(wording: Wording, claims: Sequence[Claim], verdict: Verdict) -> str:
    if not claims:
        return "This was not assessed. Run audit again."
    if verdict is Verdict.SHOWN:
        return wording.good
    if verdict is Verdict.REFUTED:
        return f"{wording.bad}: {_listed(_parts(claims, Verdict.REFUTED, 'refuted'))}."
    if verdict is Verdict.NOT_ASSESSABLE:
        reasons = {clean(claim.why) for claim in claims}
        return f"This could not be assessed. {reasons.pop() if len(reasons) == 1 else 'The reasons stand with each.'}"
    return _open(claims)


def _open(claims: Sequence[Claim]) -> str:
    """What is open where nothing is refuted and not everything is shown."""
    parts = []
    undecided = _parts(claims, Verdict.NOT_SHOWN, "short")
    if undecided:
        parts.append(f"the data are inconclusive on {_listed(undecided)}")
    unasked = sum(claim.verdict is Verdict.NOT_ASSESSABLE for claim in claims)
    if unasked:
        parts.append(f"{count(unasked, 'claim')} could not be assessed")
    shown = sum(claim.verdict is Verdict.SHOWN for claim in claims)
    rest = f"; {count(shown, 'claim is', 'claims are')} shown" if shown else ""
    return f"Not settled: {'; '.join(parts)}{rest}."


def _parts(claims: Sequence[Claim], verdict: Verdict, field: str) -> list[str]:
    """Each claim of a verdict once, with the attributes of which it holds."""
    found: dict[str, list[str]] = {}
    for claim in claims:
        if claim.verdict is verdict:
            attributes = found.setdefault(claim.claim, [])
            if claim.attribute and claim.attribute not in attributes:
                attributes.append(claim.attribute)
    return [
        getattr(WORDS[name], field) + (f" (by {_listed([clean(item) for item in attributes])})" if attributes else "")
        for name, attributes in found.items()
    ]


def _listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 2 more`."""
    named = list(parts[:_NAMED])
    if len(parts) > _NAMED:
        named.append(f"{len(parts) - _NAMED} more")
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def disagreement(claims: Sequence[Claim]) -> str:
    """The claims on which judges came to different verdicts, in a sentence; or nothing."""
    by_claim: dict[tuple[str, str], dict[str, Verdict]] = {}
    for claim in claims:
        if claim.judge and claim.verdict is not Verdict.NOT_ASSESSABLE:
            by_claim.setdefault((claim.claim, claim.attribute), {})[claim.judge] = claim.verdict
    differ = {key: found for key, found in by_claim.items() if len(set(found.values())) > 1}
    if not differ:
        return ""
    judges = {judge for found in by_claim.values() for judge in found}
    ways = _NUMBERS.get(len(judges), str(len(judges)))
    parts = []
    for (name, attribute), found in differ.items():
        told = "; ".join(f"{clean(judge)}: {verdict.value}" for judge, verdict in found.items())
        parts.append(WORDS[name].short + (f" by {clean(attribute)}" if attribute else "") + f" ({told})")
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"The {ways} feature encoders disagree on {listed}."
