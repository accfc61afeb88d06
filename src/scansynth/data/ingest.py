"""Ingest: source files and labels.csv in, one cohort out.

The cohort is made in a temporary folder and takes the old one's place at the very end. Names of source files
go to `private/linkage.csv` and nowhere else.
"""

from __future__ import annotations

import itertools
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scansynth.config import CohortSettings
from scansynth.console import Progress, silent
from scansynth.data.cohort.facts import cohort_facts
from scansynth.data.cohort.linkage import write_burned_in, write_duplicates, write_linkage, write_same_pictures
from scansynth.data.cohort.removed import write_removed
from scansynth.data.cohort.summary import IngestSummary, air_notes, dark_notes, source_notes, summarise
from scansynth.data.cohort.unite import unite
from scansynth.data.cohort.withdrawn import REASON, Withdrawn
from scansynth.data.imageset import IMAGES, SetWriter
from scansynth.data.labels.read import Labels, read_labels
from scansynth.data.roles import (
    check_key,
    inherited_roles,
    known_roles,
    merge_roles,
    one_role_a_group,
    with_aliases,
    write_roles,
)
from scansynth.data.scans.burned_in import TextSearch
from scansynth.data.scans.duplicates import settle_duplicates
from scansynth.data.scans.headers import find_headers
from scansynth.data.scans.join import Left, Scan, asked_roles, join, leave_withdrawn, strata
from scansynth.data.scans.made import made_images
from scansynth.data.scans.masks import LesionReader
from scansynth.data.scans.orientation import turn_of
from scansynth.data.scans.partial import PARTIAL, Became, Kept, Partial
from scansynth.data.split import Stratum, assign_roles, patients_needed
from scansynth.data.standing import ingest_inputs, ingest_settings, withdrawn_from
from scansynth.data.tensors import (
    ATTRIBUTE,
    EXCLUDED,
    CohortFacts,
    write_cohort,
)
from scansynth.data.transforms import one_thread, resize_mask, resized_spacing
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.dicom.deidentify import facts as source_facts
from scansynth.dicom.read import Limits
from scansynth.dicom.sandbox import DecodePool
from scansynth.errors import CohortError, StorageError
from scansynth.files import new_directory, sha256_json, write_csv
from scansynth.ledger import Role
from scansynth.stage import StageRecord, hash_outputs, versions, write_record
from scansynth.study import COHORT, Study

_DECODE_SECONDS = 30.0
_DECODE_BYTES = (1 << 29) + Limits().max_file_bytes


def ingest(study: Study, key: InstitutionKey, progress: Progress = silent) -> IngestSummary:
    """Makes the cohort of a study.

    Args:
        study: The study.
        key: The institution's key; the same for every study that shares patients.
        progress: Told how far the work is.

    Returns:
        What was made, what was left out and why, and warnings.

    Raises:
        ScansynthError: The sources make no cohort; the old cohort is as it was.
    """
    started = time.monotonic()
    check_key(study.cohort, key.fingerprint, "this study")
    inputs = ingest_inputs(study, key)
    with _pool(study) as pool, ExitStack() as stack:
        plan = _plan(study, key, pool, progress)
        folder = stack.enter_context(new_directory(study.cohort))
        search = TextSearch(study.config.cohort.burned_in)
        partial = stack.enter_context(_partial(plan, search, inputs))
        built = _build(plan, folder, partial, pool, search, progress)
        facts, cases, left, scans = built.facts, built.cases, built.left, built.scans
        roles = {case["patient"]: case["role"] for case in cases}
        record = StageRecord(
            stage="ingest",
            inputs=inputs,
            settings=ingest_settings(study),
            outputs=hash_outputs(folder, [path for path in folder.iterdir() if path.is_file()], built.digests),
            seed=study.config.seed,
            roles=tuple(sorted(set(roles.values()))),
            patients=tuple(sorted(roles)),
            seconds=time.monotonic() - started,
            versions=versions(),
        )
        write_record(folder, record)
        # before the cohort takes its place: a kill after that would leave a finished stage with the names of an old one
        write_linkage(study.linkage, key, scans, [item for item in left if item.reason != REASON])
    counts = {"cases": len(cases), "patients": len(roles), "left_out": len(left)}
    study.log("ingest", "written", **counts, **record.logged)
    new = sum(patient not in plan.known for patient in roles)
    return summarise(facts, cases, record.seconds, new, (*plan.notes, *built.notes))


@dataclass(frozen=True)
class _Plan:
    """What is to be decoded, and all that is known before.

    Attributes:
        study: The study.
        key: The institution's key.
        modality: The study's Modality.
        labels: labels.csv; none in a cohort without.
        scans: Scans that make cases, patients and series together.
        left: Files left out so far.
        given: Roles that patients already have.
        known: Patients of an earlier ingest.
        files: Candidate files found; each image of a multi-frame file counts.
        notes: What the user should know of labels.csv and of whose the images are.
        withdrawn: Who may not be read.
    """

    study: Study
    key: InstitutionKey
    modality: str
    labels: Labels | None
    scans: Sequence[Scan]
    left: Sequence[Left]
    given: Mapping[str, Role]
    known: frozenset[str]
    files: int
    notes: tuple[str, ...]
    withdrawn: Withdrawn


def _plan(study: Study, key: InstitutionKey, pool: DecodePool, progress: Progress) -> _Plan:
    """Reads labels and headers, and refuses what can be refused before hours of decoding."""
    settings = study.config.cohort
    labels = None
    if settings.labels is not None:
        table = study.source(settings.labels)
        labels = read_labels(table, settings.known_labels, settings.unlabelled, settings.attributes)
    found = find_headers(study.source(settings.dicom), labels, settings, pool, progress)
    withdrawn = withdrawn_from(study)
    joined = leave_withdrawn(join(found, labels, settings, key), withdrawn)
    scans, copies, groups = settle_duplicates(joined.scans, pool)
    write_duplicates(study.linkage, key, groups, copies)
    _check_labels(settings, scans, [*joined.left, *copies])
    known = known_roles(study.cohort)
    other = None if settings.split_from is None else study.source(settings.split_from)
    given = merge_roles(asked_roles(scans), known, inherited_roles(other, key.fingerprint))
    given = with_aliases(given, {(scan.patient, scan.also) for scan in scans})
    _roles(study, strata(scans), given)
    # the images of one file stay together, so that it is read once
    of_file = {scan.case: key.case_id(scan.header.sop_instance_uid) for scan in scans}
    scans.sort(key=lambda scan: (scan.patient, scan.header.series_instance_uid, of_file[scan.case], scan.header.frame))
    notes = (*(labels.notes if labels else ()), *joined.notes)
    left = [*joined.left, *copies]
    return _Plan(
        study, key, joined.modality, labels, scans, left, given, frozenset(known), len(found), notes, withdrawn
    )


class _Built(NamedTuple):
    """What became of a plan: facts, rows of the table, files left out, scans kept, hashes of the set, notes."""

    facts: CohortFacts
    cases: list[dict[str, str]]
    left: list[Left]
    scans: list[Scan]
    digests: Mapping[str, str]
    notes: tuple[str, ...]


@contextmanager
def _partial(plan: _Plan, search: TextSearch, inputs: Mapping[str, str]) -> Iterator[Partial]:
    """What an interrupted ingest of the same had decoded; it stays after another interruption alone."""
    program = search.program.version if search.program else ""
    basis = sha256_json([dict(inputs), ingest_settings(plan.study), versions(), program])
    partial = Partial(plan.study.folder / PARTIAL, basis, plan.scans, plan.study.config.cohort.shape, search)
    try:
        yield partial
    except (CohortError, StorageError, OSError):  # a full disk needs the space
        partial.remove()
        raise
    partial.remove()


def _build(
    plan: _Plan, folder: Path, partial: Partial, pool: DecodePool, search: TextSearch, progress: Progress
) -> _Built:
    """Decodes the scans and writes every file of the cohort but the record."""
    study, key = plan.study, plan.key
    writer, rows, faults, notes = _write_images(plan, partial, pool, search, progress)
    left = [*plan.left, *faults]
    write_burned_in(study.linkage, key, search.listed, left)
    _check_labels(study.config.cohort, [scan for scan, _ in rows], left)
    split_from = study.config.cohort.split_from
    split = None if split_from is None else study.source(split_from) / COHORT
    with one_thread():
        united = unite(rows, partial.folder / IMAGES, split, progress)
    write_same_pictures(study.linkage, key, united.listed)
    scans = [scan for scan, _ in united.rows]
    given = one_role_a_group(plan.given, united.groups)
    roles = _roles(study, strata(scans), given)  # again: a patient may have lost every image, or be another one
    cases = [{**row, "role": roles[scan.patient].value} for scan, row in united.rows]
    facts = cohort_facts(study.config.cohort, plan.modality, plan.files, key.fingerprint, scans, cases, left)
    facts = replace(facts, text_search=search.sentence())
    writer.move(folder)
    made = write_cohort(writer, folder, facts, cases)
    _write_excluded(folder, key, left)
    write_removed(folder, scans, left, search)
    members = {patient: roles[first] for patient, first in united.groups.items() if first in roles}
    write_roles(folder, {**given, **roles, **members}, united.groups)
    found = source_notes([scan.header for scan in scans])
    found += dark_notes([scan.header for scan in scans], np.load(folder / IMAGES, mmap_mode="r"))
    return _Built(facts, cases, left, scans, made.files, (*united.notes, *found, *notes, search.note()))


def _pool(study: Study) -> DecodePool:
    """What reads the files: processes of this machine, or of a cluster."""
    if study.config.engine.address:
        from scansynth.dicom.machines import ClusterPool  # noqa: PLC0415 (few have a cluster)

        return ClusterPool(study.config.engine, _DECODE_BYTES, _DECODE_SECONDS)
    return DecodePool(_workers(), _DECODE_BYTES, _DECODE_SECONDS)


def _workers() -> int:
    """Processes that decode: one for each core that this process may use."""
    return max(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 1)


def _check_labels(settings: CohortSettings, scans: Sequence[Scan], left: Iterable[Left]) -> None:
    """Refuses a cohort whose labels can answer no question."""
    if not scans:
        reasons = Counter(item.reason for item in left).most_common()
        told = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise CohortError(
            f"no image is left ({told}): docs/dicom.md says what each reason means; check the files with a viewer, and "
            "private/ for files that share a UID"
        )
    present = sorted({scan.label for scan in scans})
    if settings.unlabelled:
        return
    if len(present) < 2:
        raise CohortError(
            "all images have one label, and evidence on labels needs two; add images of another label, or make the "
            "study with --unlabelled"
        )
    if settings.positive is not None and settings.positive not in present:
        raise CohortError(
            f"no image has the positive label of study.toml; the labels are {', '.join(present)}: "
            "set cohort.positive to one of them"
        )


def _roles(study: Study, patients: Mapping[str, Stratum], given: Mapping[str, Role]) -> dict[str, Role]:
    """The role of each patient; all train when an unlabelled cohort is too small to share out."""
    settings = study.config.cohort
    shares = settings.shares.by_role()
    if settings.unlabelled and len(patients) < patients_needed(shares):
        return {patient: given.get(patient, Role.TRAIN) for patient in patients}
    roles = assign_roles(patients, shares, study.config.seed, given)
    if Role.TRAIN not in roles.values():
        raise CohortError("no patient has the role train, so nothing can be trained; give one of them that role")
    return roles


def _write_images(
    plan: _Plan, partial: Partial, pool: DecodePool, search: TextSearch, progress: Progress
) -> tuple[SetWriter, list[tuple[Scan, dict[str, str]]], list[Left], tuple[str, ...]]:
    """Decodes every scan into a set in the folder of `partial`; its table without roles, faults, and notes."""
    settings, masked = plan.study.config.cohort, plan.labels is not None and plan.labels.masked
    rows: list[tuple[Scan, dict[str, str]]] = []
    faults: list[Left] = []
    airless = 0
    with (
        SetWriter(partial.folder, settings.shape, masked=masked, keep=partial.images) as writer,
        DecodePool(1, _DECODE_BYTES, _DECODE_SECONDS) as readers,
    ):
        reader = LesionReader(plan.study, readers)
        lesions = reader.masks(plan.scans) if masked else itertools.repeat(None)
        rest = plan.scans[len(partial.before) :]
        new = partial.recorded(zip(rest, _decoded(plan, rest, pool, search, writer), strict=True), writer.images)
        every = zip(itertools.chain(partial.before, new), plan.scans, lesions, strict=False)
        for done, (became, scan, mask) in enumerate(every, start=1):
            progress(done, len(plan.scans), "decoding")
            if isinstance(became, Left):
                faults.append(became)
                continue
            airless += became.airless
            turned = None if mask is None else turn_of(scan.header).apply(mask)
            writer.append_mask(None if turned is None else resize_mask(turned, settings.shape))
            rows.append((scan, _case_row(scan, became, settings.shape, plan.key)))
    chests = plan.modality == "CT" and settings.view == "chest"
    taken = len(partial.before)
    again = (f"{taken} images were taken over from an ingest that was interrupted",) if taken else ()
    return writer, rows, faults, (*again, *air_notes(chests * airless), *reader.notes)


def _decoded(
    plan: _Plan, scans: Sequence[Scan], pool: DecodePool, search: TextSearch, writer: SetWriter
) -> Iterator[Became]:
    """What becomes of each scan; an image that is kept stands in the set by then."""
    jobs = ((scan.source.path, scan.header) for scan in scans)
    decoded = zip(scans, pool.decode_all(jobs, text=search.program is not None), strict=True)
    for made in made_images(search.search(decoded), plan.modality, plan.study.config.cohort):
        if isinstance(made, Left):
            yield made
            continue
        pixels = plan.key.pixel_key(made.pixels)
        if pixels in plan.withdrawn.pixels:
            yield Left(made.scan.source, REASON, "the picture of a withdrawn patient", made.scan.patient)
            continue
        writer.append_image(made.image)
        yield Kept(made.low, made.high, made.source_sha256, made.airless, pixels, zlib.crc32(made.image.tobytes()))


def _case_row(scan: Scan, kept: Kept, shape: tuple[int, int], key: InstitutionKey) -> dict[str, str]:
    """A row of cases.csv, but for the role."""
    header = scan.header
    if header.pixel_spacing is None:
        raise ValueError("a scan without pixel spacing was let through")
    turn = turn_of(header)
    spacing = resized_spacing(turn.pair((header.rows, header.columns)), turn.pair(header.pixel_spacing), shape)
    attributes = {**source_facts(header), **((scan.row.attributes if scan.row else None) or {})}
    return {
        "id": scan.case,
        "patient": scan.patient,
        "label": scan.label,
        "low": repr(kept.low),
        "high": repr(kept.high),
        "spacing_row": f"{spacing[0]:.9g}",
        "spacing_col": f"{spacing[1]:.9g}",
        "sop": key.keyed_uid(header.image_uid),
        "source_sha256": kept.source_sha256,
        "source_side": str(max(header.rows, header.columns)),
        "pixels": kept.pixels,
        **{ATTRIBUTE + name: value for name, value in attributes.items() if value},
    }


def _write_excluded(folder: Path, key: InstitutionKey, left: Sequence[Left]) -> None:
    """Writes excluded.csv."""
    rows = [{"key": key.file_key(item.source.relative), "reason": item.reason, "detail": item.detail} for item in left]
    write_csv(folder / EXCLUDED, ("key", "reason", "detail"), sorted(rows, key=lambda row: row["key"]))
