"""What a trial declared before its first job, and what it did not do."""

from __future__ import annotations

from collections.abc import Sequence

from scansynth.report.artefacts import Values
from scansynth.report.figures.words import clean, count, number, setting
from scansynth.report.utility.artefacts import TrialView
from scansynth.report.utility.contrasts import ARM_WORDS, arm_name

_ROLES = ("train", "calibrate", "test", "reserve")


def declared(trial: TrialView) -> list[tuple[str, str]]:
    """The declaration, a line each.

    Raises:
        KeyError, TypeError, ValueError: It lacks something.
    """
    plan, terms = trial.plan, trial.analysis["terms"]
    settings, fit = plan["settings"], plan["fit"]
    rows = [
        ("SHA-256 of the declaration", clean(plan["sha256"])),
        ("arms", "; ".join(arm_name(str(arm)) for arm in settings["arms"])),
        ("generators, each with one detector per arm", number(int(settings["pairs"]))),
        ("detectors trained", number(len(plan["jobs"]))),
        ("shares of the training patients", _shares(settings["fractions"])),
        ("synthetic images per real image", setting(list(settings["ratios"]))),
        ("network of the detector", clean(fit["network"])),
        ("steps of training, the same for all", number(int(fit["steps"]))),
        ("images in a step, half with a lesion", number(int(fit["batch"]))),
        ("largest learning rate", number(float(fit["learning_rate"]))),
        ("lesions located", setting(bool(fit["lesions"]))),
        ("false alarms at which thresholds are set", f"{number(100.0 * float(terms['false_alarm_rate']))}%"),
        ("most that false alarms may rise", f"{number(100.0 * float(terms['margin']))} points"),
        ("resamples of the patients", number(int(terms["draws"]))),
        ("level of the intervals", f"{number(100.0 * float(terms['level']))}%"),
    ]
    rows += [(f"patients: {role}", _role(plan["roles"][role])) for role in _ROLES]
    return [*rows, ("synthetic sets", number(len(plan["sets"]))), ("seed", clean(plan["seed"]))]


def changed_since(trial: TrialView) -> str:
    """Settings of the analysis that differ from the declaration; empty where they agree."""
    terms, settings, block = trial.analysis["terms"], trial.plan["settings"], trial.analysis["blocks"][0]
    both = {
        "rate of false alarms": (terms["false_alarm_rate"], settings["false_alarm_rate"]),
        "margin": (terms["margin"], settings["margin"]),
        "resamples of the patients": (terms["draws"], settings["draws"]),
        "share of the patients": (block["fraction"], settings["fractions"][0]),
        "number of synthetic images": (block["ratio"], settings["ratios"][0]),
    }
    return ", ".join(name for name, (used, said) in both.items() if float(used) != float(said))


def _role(counts: Values) -> str:
    images, positive = int(counts["images"]), int(counts["positive"])
    return f"{number(int(counts['patients']))} ({count(images, 'image')}, {number(positive)} with a lesion)"


def _shares(fractions: Sequence[float]) -> str:
    return ", ".join(f"{number(100.0 * float(share))}%" for share in fractions)


def not_done(trial: TrialView) -> list[str]:
    """What the trial left out, one sentence each."""
    plan, block = trial.plan, trial.analysis["blocks"][0]
    settings = plan["settings"]
    rows = []
    absent = [arm_name(arm) for arm in ARM_WORDS if arm not in settings["arms"]]
    if absent:
        rows.append(f"Arms not run: {'; '.join(absent)}.")
    if sum(ratio > 0.0 for ratio in settings["ratios"]) < 2:
        rows.append("Only one number of synthetic images was tried; the effect of more or fewer is not known.")
    if len(settings["fractions"]) < 2:
        rows.append("Only one share of the training patients was tried; the gain with fewer is not known.")
    if not plan["fit"]["lesions"]:
        rows.append("Lesions were not located: the detectors say whether an image shows one, not where.")
    if not block["external"]:
        rows.append("No patients of another institution were included.")
    if not block["groups"]:
        rows.append("No patient groups were analysed.")
    if settings.get("leave_out") is None:
        rows.append("No site or scanner was held out of training for testing.")
    if any(row["gap"] is None for row in block["arms"]):
        rows.append("For some arms the training images were not scored, so their train-test gap is not known.")
    return [*rows, *(f"Noted in the declaration: {clean(note)}." for note in plan["notes"])]
