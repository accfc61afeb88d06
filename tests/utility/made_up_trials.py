"""Trials of made-up detectors; `benchmarks/utility_error_rates.py` holds the model, and runs 2,000 of each case."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from scansynth.utility.statistics.outcomes import Block, Scored

with pytest.MonkeyPatch.context() as patch:  # benchmarks import each other as scripts of one folder do
    patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    simulation = importlib.import_module("utility_error_rates")

ARMS = ("real", "basic", "synthetic", "basic-synthetic", "duplicates", "reserve")
LARGE = replace(simulation.BIG, calibrate=400, test=400)
NULL = {"reserve": 1.2}
GAIN = {"synthetic": 0.3, "basic-synthetic": 0.8, "reserve": 1.2}


def block(gains: dict, detectors: object = LARGE, arms: tuple = ARMS, seed: int = 0) -> Block:
    """A trial with probabilities and case names; gains of arms that are not named are none."""
    made = detectors.trial(arms, [gains.get(arm, 0.0) for arm in arms], np.random.default_rng(seed))
    parts = {
        name: replace(
            part,
            scores=expit(2.0 * part.scores - 2.0),
            patients=part.patients.astype(np.str_),
            cases=np.array([f"{name}{k:05d}" for k in range(len(part.positive))]),
        )
        for name, part in (("calibrate", made.calibrate), ("test", made.test))
    }
    return replace(made, **parts)


def with_train(trial: Block, sharper: float) -> Block:
    """Train scores like those of other patients, with lesions `sharper` above."""
    part, train = trial.calibrate, {}
    for place, arm in enumerate(trial.arms):
        for pair in range(trial.pairs):
            scores = part.scores[place, pair] + sharper * part.positive
            train[arm, pair] = Scored(part.cases, np.char.add("l", part.patients), part.positive, scores)
    return replace(trial, train=train)
