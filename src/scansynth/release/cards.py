"""Model card and data card: what a release is, in a page each, with the figures of the evidence.

What a machine cannot know says "not provided": a person must write it. The sections of the model card are those of
Mitchell et al. 2019 (arXiv 1810.03993).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scansynth import __version__
from scansynth.claims.claim import Claim, sensible
from scansynth.claims.questions import EVERY_QUESTION, HOUSE
from scansynth.data.sets import LABEL_SEPARATOR
from scansynth.ledger import Role
from scansynth.release.candidate import Candidate
from scansynth.release.manifest import BUNDLE, CHECKLISTS, DICOM, ONNX, TABLE, Manifest
from scansynth.stage import read_record
from scansynth.statistics import Verdict

DATA_CARD, MODEL_CARD = "DATA_CARD.md", "MODEL_CARD.md"
NOT_PROVIDED = "not provided"

EXPLANATION = (
    "Every image was drawn by a generative adversarial network that learned from real images; none shows a patient. "
    "Each DICOM file says so: Synthetic Data (0008,001C) is YES."
)


def data_card(candidate: Candidate, about: Manifest) -> str:
    """The card of the images, Markdown."""
    facts, governance = candidate.cohort.facts, candidate.study.config.governance
    labels = [row["label"].replace(LABEL_SEPARATOR, " or ") for row in candidate.leaving]
    counts = ", ".join(f"{labels.count(label)} {label or 'without a label'}" for label in sorted(set(labels)))
    masks = sum(bool(row["mask"]) for row in candidate.leaving)
    return _page(
        f"# Data card: synthetic images of {plain(about.study)}",
        *_notices(about, candidate),
        EXPLANATION,
        "## What it is",
        _table(
            ("images", f"{len(labels)}: {counts}"),
            ("kept back", f"{about.kept_back} images that were real files or too close to one"),
            ("form", f"DICOM in `{DICOM}/`, listed in `{TABLE}`; {masks} with a lesion as DICOM SEG"),
            ("size", f"{facts.shape[0]} x {facts.shape[1]} pixels of {_spacing(facts.spacing)} mm"),
            ("modality", facts.modality),
            ("plane", facts.plane or NOT_PROVIDED),
            ("drawn with", f"weights `{about.weights_sha256}`, seed {about.drawing.seed}"),
            ("made", f"{about.made}, scansynth {__version__}"),
        ),
        "## What it is modelled on",
        _cohort(candidate),
        "## What was shown of it",
        _verdicts(candidate),
        "Every claim with interval, floor, control and inputs: `evidence/claims.json`; in words: `report/index.html`.",
        "## Use",
        _table(
            ("intended use", governance.intended_use),
            ("excluded use", governance.excluded_use),
            ("terms", governance.data_use_terms),
            ("licence", governance.licence),
            ("legal basis", governance.legal_basis),
            ("ethics", governance.ethics_reference),
            ("responsible", governance.responsible_person),
            ("kept for", governance.retention),
        ),
        f"Reporting checklists (CLAIM, the FDA's scorecard, STANDING Together, TEHDAS2): [{CHECKLISTS}]({CHECKLISTS}).",
        "## What a person must add",
        _lacking(
            "how patients were selected for the cohort, and who is missing in it",
            "who labelled the real images, and how far they agreed",
            "known artefacts in the synthetic images, as a radiologist saw them",
            "where errors in the set are to be reported, and how it will be maintained",
        ),
    )


def model_card(candidate: Candidate, about: Manifest) -> str:
    """The card of the generator, Markdown."""
    facts, governance = candidate.source.facts, candidate.study.config.governance
    run = read_record(candidate.source.folder)
    return _page(
        f"# Model card: the generator of {plain(about.study)}",
        *_notices(about, candidate),
        "## Model details",
        _table(
            ("kind", f"generator of a generative adversarial network, family {facts.family}, recipe {facts.recipe}"),
            ("files", "`generator/generator.safetensors` (weights), `generator/generator.json` (what it takes)"),
            ("as ONNX", f"`{ONNX}`, {_as_onnx(about)}"),
            ("as a MONAI Bundle", f"`{BUNDLE}/`, see `{BUNDLE}/docs/README.md`"),
            ("weights", f"SHA-256 `{facts.weights_sha256}`"),
            ("output", f"{facts.channels} x {facts.shape[0]} x {facts.shape[1]} pixels"),
            ("labels", ", ".join(facts.classes) or "none"),
            ("trained on", f"{facts.images:,} images seen, repeats counted; ended {facts.level}"),
            *_started(candidate),
            ("training took", f"{run.seconds / 3600.0:.1f} hours" if run and run.seconds else NOT_PROVIDED),
            ("made with", f"scansynth {__version__}"),
            ("responsible", governance.responsible_person),
            ("licence", governance.licence),
        ),
        "## Intended use",
        _table(("intended", governance.intended_use), ("excluded", governance.excluded_use)),
        "It is not a medical device, and nothing that it draws may guide the care of a patient.",
        "## Training data",
        _cohort(candidate),
        "## Evaluation",
        f"On the set of {len(candidate.made.files)} images of which {about.images} are released:",
        _verdicts(candidate),
        "## Privacy",
        "Whoever has the generator can draw as many images as they like, and search them for training patients; with "
        "the seed of the set, also those that were kept back. The "
        f"claims `copies.*` and `membership.*` are of the set; attacks on the weights themselves: {NOT_PROVIDED}. "
        "Discriminator, encoders and checkpoints are not released.",
        f"Reporting checklists (CLAIM, the FDA's scorecard, STANDING Together, TEHDAS2): [{CHECKLISTS}]({CHECKLISTS}).",
        "## What a person must add",
        _lacking(
            "ethical considerations of the use that is intended",
            "validation by readers or by a clinical outcome, beyond what is listed above",
            "energy used in training",
        ),
    )


def _started(candidate: Candidate) -> Iterable[tuple[str, str]]:
    """The run whose weights the training was started from; nothing where it began from chance."""
    began = candidate.source.started_from
    if began:
        yield (
            "started from",
            f"weights `{began['weights_sha256']}` of {'this' if began['own_cohort'] else 'another'} cohort, recipe "
            f"{began['recipe']}, {began['images']:,} images seen; {began['frozen_layers']} layers of the discriminator "
            f"left as they were; roles of its patients: {began['roles']}",
        )


def _as_onnx(about: Manifest) -> str:
    """Whether the file was compared with the weights."""
    if about.onnx_apart is None:
        return "not compared with the weights: onnxruntime was not installed"
    return f"whose images differ by {about.onnx_apart:.1g} at most from those of the weights, in [-1, 1]"


def _notices(about: Manifest, candidate: Candidate) -> Iterable[str]:
    """What every card says first: who overruled what, and which refuted claims were let pass."""
    if about.override is not None:
        against = "; ".join(plain(text) for text in about.override["against"])
        yield (
            f"> **Released against the gate** by {plain(about.override['by'])}, who gave as the reason: "
            f"{plain(about.override['reason'])}. The gate's reasons: {against}."
        )
    if about.refuted:
        yield (
            f"> **Refuted, and released by a policy of {plain(about.decided_by)}:** {', '.join(about.refuted)}. "
            "See below what that means."
        )


def _cohort(candidate: Candidate) -> str:
    cases, facts = candidate.cohort.cases, candidate.cohort.facts
    people = {role: len({case.patient for case in cases if case.role is role}) for role in Role}
    told = ", ".join(f"{role.value} {count}" for role, count in people.items())
    return (
        f"{len(cases)} real {facts.modality} images of {sum(people.values())} patients of one study, each in one "
        f"role ({told}). The generator saw the role train alone. The real images are not released."
    )


def _verdicts(candidate: Candidate) -> str:
    """The questions with their verdicts, then each refuted claim in full."""
    judged = candidate.evidence.judged
    rows = []
    for question in EVERY_QUESTION:
        if question.name in judged.verdicts:
            own = [claim for claim in judged.claims if question.holds(claim)]
            counts = [(sum(claim.verdict is one for claim in own), one.value) for one in Verdict]
            tally = ", ".join(f"{count} {word}" for count, word in counts if count)
            rows.append((question.title, f"**{judged.verdicts[question.name].value}** ({tally})"))
    bad = [_line(claim) for claim in judged.claims if claim.verdict is Verdict.REFUTED and not HOUSE.holds(claim)]
    return "\n".join([_table(*rows), *(["", "Refuted:", "", *bad] if bad else [])])


def _line(claim: Claim) -> str:
    whose = ", ".join(part for part in (claim.judge, claim.attribute) if part)
    value = "" if claim.value is None else f", {sensible(claim.value)} {claim.unit}"
    ends = "" if claim.interval is None else f" ({sensible(claim.interval.low)} to {sensible(claim.interval.high)})"
    return f"- `{claim.claim}`{f' by {plain(whose)}' if whose else ''}{value}{ends}: {plain(claim.why)}"


def _spacing(spacing: Sequence[float]) -> str:
    return " x ".join(f"{step:.3g}" for step in spacing)


def _lacking(*what: str) -> str:
    return "\n".join(f"- {text}: {NOT_PROVIDED}" for text in what)


def _table(*rows: tuple[str, object]) -> str:
    lines = [f"| {plain(name)} | {plain(value) or NOT_PROVIDED} |" for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def plain(value: object) -> str:
    """Text that stays within its cell, and is no markup of HTML."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _page(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"
