"""An audit of two image folders, without a study: roles from a list of training images, or without one."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.questions import telltales
from scansynth.claims.rules import RULES
from scansynth.claims.traces import FILES
from scansynth.data.elsewhere.foreign import PICTURES, Foreign, printable
from scansynth.data.split import Stratum, assign_roles
from scansynth.data.tensors import Case, to_signed
from scansynth.dicom.header import Header
from scansynth.dicom.raster import RasterHeader
from scansynth.errors import CohortError
from scansynth.files import read_csv, sha256_file, sha256_json
from scansynth.ledger import PERMITTED, Role, Use, check
from scansynth.seeds import generator

COLUMNS = ("path", "patient_id", "split")
TRAIN, HELD_OUT = "train", "held-out"

NO_LIST = (
    "No list of training images was given (--train-list), so it is not known which real images the generator saw, and "
    "copies cannot be assessed."
)

_ALWAYS = "copies.real_files"
_NEED_LIST = tuple(
    name for name, rule in RULES.items() if {Use.COPY_SEARCH, Use.MEMBERSHIP} & set(rule.uses) and name != _ALWAYS
)

CAVEAT = "No list of training images was given: the generator may have seen any real image, which favours the set."
"""Added to every claim where the training images are not known."""

FILES_AS_PATIENTS = (
    "{} of {} real files have no Patient ID, and each counts as one patient; where several show one patient, "
    "intervals are too narrow."
)
"""The same, where images stand in for patients."""

ONE_PATIENT = (
    "All real files carry the same Patient ID, so patients cannot be compared. Give the patients with --train-list."
)


@dataclass(frozen=True)
class TrainList:
    """Which real images a generator was trained on.

    Attributes:
        patients: Patient of each listed file, by its path relative to the folder of real images.
        train: Patients that the generator saw.
        sha256: Of the list.
    """

    patients: Mapping[str, str]
    train: frozenset[str]
    sha256: str


def read_train_list(path: Path, files: Sequence[str]) -> TrainList:
    """A checked list; messages name rows, never a cell, which may hold a patient's name.

    Args:
        path: CSV with the columns of `COLUMNS`.
        files: Paths of the files in the folder of real images.

    Raises:
        CohortError: The list is missing, has other columns, or a row is wrong.
    """
    try:
        rows = read_csv(path)
    except OSError:
        raise CohortError("--train-list cannot be read; give a CSV file with path, patient_id, split") from None
    except (UnicodeDecodeError, csv.Error):
        raise CohortError("the train list is not a UTF-8 CSV file; save it as one") from None
    if not rows:
        raise CohortError("the train list has no rows; give one for each real image: path, patient_id, split")
    if set(rows[0]) != set(COLUMNS):
        raise CohortError("the train list must have exactly the columns path, patient_id, split; correct it")
    known, patients, splits = set(files), dict[str, str](), dict[str, str]()
    for number, row in enumerate(rows, start=2):
        if any(value is None for value in row.values()):
            raise CohortError(f"train list row {number} lacks a cell; fill in path, patient_id and split")
        file, patient, split = (row[column].strip() for column in COLUMNS)
        file = file.replace("\\", "/").removeprefix("./")
        if file not in known:
            raise CohortError(f"train list row {number}: there is no such file below --real; correct the path")
        if file in patients:
            raise CohortError(f"train list row {number}: the file is already in an earlier row; remove one of them")
        if not patient:
            raise CohortError(f"train list row {number}: patient_id is empty; give each image its patient")
        if split not in {TRAIN, HELD_OUT}:
            raise CohortError(f"train list row {number}: split must be {TRAIN} or {HELD_OUT}; correct it")
        if splits.setdefault(patient, split) != split:
            raise CohortError(f"train list row {number}: the patient is in both splits; give a patient one split")
        patients[file] = patient
    train = frozenset(patient for patient, split in splits.items() if split == TRAIN)
    return TrainList(patients, train, sha256_file(path))


def check_listed(listed: TrainList, real: Sequence[str]) -> None:
    """Checks that every readable real image is in the list.

    Raises:
        CohortError: One is not: the generator may have seen it.
    """
    missing = sum(file not in listed.patients for file in real)
    if missing:
        raise CohortError(f"{missing} real images have no row in the train list; add the rows, or move the files away")


def gather_loose(real: Foreign, synthetic: Foreign, listed: TrainList | None, seed: int) -> Compared:
    """Compared from two folders.

    With a list, patients that the generator saw have the role train, and the held-out ones are divided by the seed,
    half to calibrate and half to test. Without one, patients are identified by their DICOM Patient ID, and a file
    without one counts as a patient: half of them, by the seed, set the scale of the features, in place of the role
    train; the others serve as test.

    Args:
        real: Real images.
        synthetic: Synthetic images of the same size.
        listed: The list of training images; None: copies cannot be assessed.
        seed: Of the roles.
    """
    files = [source.relative for source in real.sources]
    ids = patients_of(real, listed)
    # numbers in random order: neither a patient's name nor a position in the folder can be read from one
    distinct = sorted(set(ids))
    drawn = generator(seed, "patients").permutation(len(distinct))
    numbers = {name: f"{int(place) + 1:06d}" for name, place in zip(distinct, drawn, strict=True)}
    roles = _roles(numbers, listed, seed)
    cases = _cases(real, ids, numbers, roles)
    return Compared(
        files=tuple(printable(source.relative) for source in synthetic.sources),
        synthetic=to_signed(synthetic.images),
        labels=("",),
        view="any",
        unlabelled=False,
        train=_reals(real, cases, Use.COPY_SEARCH),
        calibrate=_reals(real, cases, Use.COPY_THRESHOLD),
        test=_reals(real, cases, Use.REALISM),
        inputs={
            "real images": sha256_json(sorted(real.files)),
            "synthetic images": sha256_json(sorted(synthetic.files)),
            **({"train list": listed.sha256} if listed else {}),
        },
        same_files=_same_files(real, synthetic),
        withheld=_withheld(real, synthetic, listed),
        caveat="" if listed else _caveat(ids),
        synthetic_files=_file_facts(synthetic, range(len(synthetic.sources))),
        test_files=_file_facts(real, [case.index for case in cases if case.role in PERMITTED[Use.REALISM]]),
        names={case.case: printable(file) for case, file in zip(cases, files, strict=True)},
    )


def patients_of(real: Foreign, listed: TrainList | None) -> list[str]:
    """Patient of each real image: by the train list, else the DICOM Patient ID, else one per file.

    The result stays in this process: patients are numbered before anything is written.
    """
    if listed:
        return [listed.patients[source.relative] for source in real.sources]
    found = []
    for source, header in zip(real.sources, real.headers, strict=True):
        patient = header.patient_id.strip() if isinstance(header, Header) else ""
        found.append(f"{_BY_ID}{patient}" if patient else f"{_BY_FILE}{source.relative}")
    return found


_BY_ID, _BY_FILE = "id ", "file "  # so that a file cannot be taken for the patient of its name


def nameless(ids: Sequence[str]) -> int:
    """How many images count as one patient each because they have no Patient ID."""
    return sum(name.startswith(_BY_FILE) for name in ids)


def shared_patients(real: Foreign, listed: TrainList) -> int:
    """Number of held-out images whose DICOM Patient ID an image of the train list's `train` carries too."""
    known: dict[str, set[str]] = {}
    for source, header in zip(real.sources, real.headers, strict=True):
        if isinstance(header, Header) and header.patient_id.strip():
            known.setdefault(header.patient_id.strip(), set()).add(source.relative)
    seen = {file for file, patient in listed.patients.items() if patient in listed.train}
    return sum(len(files - seen) for files in known.values() if files & seen)


def _caveat(ids: Sequence[str]) -> str:
    alone = nameless(ids)
    return f"{CAVEAT} {FILES_AS_PATIENTS.format(alone, len(ids))}" if alone else CAVEAT


def _cases(
    real: Foreign, ids: Sequence[str], numbers: Mapping[str, str], roles: Mapping[str, Role]
) -> tuple[Case, ...]:
    """A case for each real file, with no attributes except the file's side in pixels."""
    return tuple(
        Case(
            index,
            f"{index:06d}",
            numbers[name],
            roles[numbers[name]],
            "",
            -1.0,
            1.0,
            (1.0, 1.0),
            {},
            source_side=max(header.rows, header.columns),
        )
        for index, (name, header) in enumerate(zip(ids, real.headers, strict=True))
    )


def _withheld(real: Foreign, synthetic: Foreign, listed: TrainList | None) -> dict[str, str]:
    """Claims that cannot be asked of these folders, and why."""
    withheld = {} if listed else dict.fromkeys(_NEED_LIST, NO_LIST)
    if len(real.sources) > 1 and len(set(patients_of(real, listed))) == 1:
        withheld |= dict.fromkeys((name for name in RULES if name not in {*_NEED_LIST, _ALWAYS}), ONE_PATIENT)
    if (real.modality == PICTURES) != (synthetic.modality == PICTURES):
        withheld[FILES] = "One set is DICOM and the other pictures: the files are of two kinds, whatever they show."
    return withheld


def _file_facts(foreign: Foreign, places: Iterable[int]) -> tuple[Mapping[str, Any], ...]:
    """File facts of some files of a folder."""
    facts: list[Mapping[str, Any]] = []
    for place in places:
        header, size = foreign.headers[place], foreign.sources[place].size
        facts.append(
            {"file size": size, **asdict(header)}
            if isinstance(header, RasterHeader)
            else telltales.file_facts(header, size)
        )
    return tuple(facts)


def _roles(numbers: Mapping[str, str], listed: TrainList | None, seed: int) -> dict[str, Role]:
    """Role of each patient, by number."""
    fixed = {numbers[name]: Role.TRAIN for name in numbers if listed and name in listed.train}
    free = {number: Stratum(("",)) for number in sorted(numbers.values()) if number not in fixed}
    first = Role.CALIBRATE if listed else Role.TRAIN
    if len(free) < 2:
        return {**fixed, **dict.fromkeys(free, Role.TEST)}
    return {**fixed, **assign_roles(free, {first: 0.5, Role.TEST: 0.5}, seed, {})}


def _reals(real: Foreign, cases: Sequence[Case], use: Use) -> Reals:
    """The images that a use may see, as the ledger says."""
    chosen = tuple(case for case in cases if case.role in PERMITTED[use])
    check(use, frozenset(case.role for case in chosen))
    return Reals(chosen, to_signed(np.array(real.images[[case.index for case in chosen]], np.uint16)))


def _same_files(real: Foreign, synthetic: Foreign) -> dict[int, str]:
    """Synthetic images that are real ones: the same file, or the same values before any change of size."""
    known: dict[str, str] = {}
    for index in reversed(range(len(real.files))):
        known |= {digest: f"{index:06d}" for digest in (real.files[index], real.pixels[index]) if digest}
    pairs = enumerate(zip(synthetic.files, synthetic.pixels, strict=True))
    return {
        place: known.get(file) or known[pixels] for place, (file, pixels) in pairs if file in known or pixels in known
    }
