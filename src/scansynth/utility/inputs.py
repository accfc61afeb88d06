"""What the jobs of a trial read: the cohort, and synthetic sets that are checked before any job is declared."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scansynth.data.fractions import NOBODY, Without, train_part
from scansynth.data.tensors import Cohort
from scansynth.study import Study
from scansynth.utility.arms import reads_set
from scansynth.utility.job import pair_seed
from scansynth.utility.provenance import check_set

SetsOf = Callable[[float, int, Without], Sequence[Path]]
"""Folders of the synthetic sets of a share of the train patients and a pair, whose generators saw all of them or all
without some."""


class Inputs:
    """What each job reads; a set is checked once for each share, pair, and group that is left out."""

    def __init__(self, study: Study, cohort: Cohort, digest: str, sets: SetsOf) -> None:
        self._study, self._cohort, self._digest, self._sets = study, cohort, digest, sets
        self._checked: dict[tuple[float, int, Without], tuple[tuple[str, ...], str]] = {}
        self.used: dict[str, dict[str, Any]] = {}
        """What is known of each set that is read, by name."""

    def of(self, arm: str, fraction: float, pair: int, without: Without = NOBODY) -> tuple[tuple[str, ...], str]:
        """Folders of the sets that a job reads, and the digests of all its inputs as JSON.

        Raises:
            LedgerError: A set's generator saw others than it may.
            StudyError: A set is missing.
        """
        if not reads_set(arm):
            return (), json.dumps({"cohort": self._digest})
        key = (fraction, pair, without)
        if key not in self._checked:
            self._checked[key] = self._check(*key)
        return self._checked[key]

    def _check(self, fraction: float, pair: int, without: Without) -> tuple[tuple[str, ...], str]:
        folders = self._sets(fraction, pair, without)
        subset = train_part(self._cohort, fraction, pair_seed(self._study.config.seed, pair), without)
        origins = {folder.name: check_set(self._study, self._cohort, folder, subset) for folder in folders}
        self.used |= {name: asdict(origin) for name, origin in origins.items()}
        digests = {f"set {name}": origin.digest for name, origin in origins.items()}
        return tuple(str(folder) for folder in folders), json.dumps({"cohort": self._digest, **digests})
