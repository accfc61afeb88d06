"""The audit of two image folders without a study. Evidence and page go into one new folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from scansynth.audit.compared import Compared
from scansynth.audit.folders import (
    CAVEAT,
    FILES_AS_PATIENTS,
    ONE_PATIENT,
    TrainList,
    check_listed,
    gather_loose,
    nameless,
    patients_of,
    read_train_list,
    shared_patients,
)
from scansynth.audit.run import judge_compared
from scansynth.claims.claim import Claim
from scansynth.config import CohortSettings, EngineSettings, EvidenceSettings
from scansynth.console import Progress
from scansynth.data.elsewhere.foreign import (
    DARK,
    PICTURES,
    Foreign,
    Scaling,
    Survey,
    printable,
    read,
    reading_pool,
    reasons_in_words,
    survey,
)
from scansynth.data.tensors import CohortFacts
from scansynth.errors import CohortError
from scansynth.files import new_directory, write_csv
from scansynth.ledger import Role
from scansynth.pipeline.places import REAL, SYNTHETIC, Places
from scansynth.report.collect import Loose
from scansynth.report.folders import write_loose_page

SEED = 0
"""Seed of such an audit; fixed, so that verdicts cannot be selected by seed."""

LEAST_SIDE, MOST_SIDE = 32, 256
"""Range of sides at which sets are compared, pixels: below it there is too little detail; above it memory grows."""

EXCLUDED = "excluded.csv"
_DEFAULTS = CohortSettings(dicom="none", unlabelled=True)


def audit_folders(
    folders: Places, bar: Callable[[str], AbstractContextManager[Progress]], say: Callable[[str], None]
) -> tuple[Claim, ...]:
    """Audits synthetic images against real ones; writes evidence and page.

    Args:
        folders: What is audited.
        bar: Opens a progress bar with a title.
        say: Prints a line for the user.

    Raises:
        CohortError: A folder holds no usable image, or the train list is wrong.
        StudyError: The folders overlap, or the result's folder exists.
        StorageError: The result cannot be written.
    """
    with reading_pool() as pool, bar("reading images") as progress:
        real = survey(folders.real, REAL, pool, None, False, progress)
        modality = None if real.modality == PICTURES else real.modality
        synthetic = survey(folders.synthetic, SYNTHETIC, pool, modality, True, progress)
        listed = _listed(folders.train_list, real)
        side = _side(real, synthetic)
        scaling = Scaling(_DEFAULTS.hu_window, _DEFAULTS.percentiles)
        reals = _some(read(real, (side, side), scaling, pool, False, progress), REAL)
        made = _some(read(synthetic, (side, side), scaling, pool, True, progress), SYNTHETIC)
    compared = gather_loose(reals, made, listed, SEED)
    settings = EvidenceSettings()
    notes = _notes(real, synthetic, reals, made, listed, side)
    for note in notes:
        say(note)
    loose = Loose(notes, _words(compared, side), _uses(listed), COMMAND)
    with new_directory(folders.out) as out:
        with bar("auditing") as progress:
            # no encoder is cached: the result may be shared, and a network trained on real scans may not
            claims = judge_compared(compared, out, settings, SEED, progress, engine=EngineSettings())
        _write_excluded(out, reals, made)
        write_loose_page(out, compared, _facts(real, reals, side), loose, settings, SEED)
    return claims


_NEAR = 0.9  # fields of view within 10% of each other count as equal

COMMAND = "scansynth audit --real REAL --synthetic SYNTHETIC --out NEW    # and --train-list, where one was given"


def _listed(path: Path | None, real: Survey) -> TrainList | None:
    """The train list, if there is one, with every readable real image in it."""
    if path is None:
        return None
    files = [source.relative for source, _ in real.usable]
    listed = read_train_list(path, [*files, *(item.source.relative for item in real.left)])
    check_listed(listed, files)
    return listed


def _side(real: Survey, synthetic: Survey) -> int:
    """The side at which both sets are compared, pixels: of each the commonest longest side, the smaller of the two."""
    side = min(real.side, synthetic.side, MOST_SIDE)
    if side < LEAST_SIDE:
        raise CohortError(
            f"the images have {side} pixels on a side; at least {LEAST_SIDE} are needed; give larger images"
        )
    return side


def _some(foreign: Foreign, option: str) -> Foreign:
    """The images, when there are any."""
    if not len(foreign.images):
        words = reasons_in_words(foreign)
        raise CohortError(f"no image of {option} can be used ({words}); check the files with a viewer")
    return foreign


def _notes(
    real: Survey, synthetic: Survey, reals: Foreign, made: Foreign, listed: TrainList | None, side: int
) -> tuple[str, ...]:
    """What was done to make the sets comparable."""
    notes = _of_patients(reals, listed)
    resized = real.shapes > 1 or synthetic.shapes > 1 or {real.side, synthetic.side} != {side}
    if resized:
        notes.append(
            f"The images differ in size (real: {_sizes(real)}; synthetic: {_sizes(synthetic)}) or are larger than "
            f"{MOST_SIDE} pixels. All were resized to {side} × {side} pixels; finer detail was not assessed."
        )
    if real.bits != synthetic.bits:
        notes.append(
            f"Real files hold {_bits(real)} and synthetic ones {_bits(synthetic)}. That alone can distinguish them; "
            f"grey values were brought to one scale."
        )
    if real.reach and synthetic.reach and not _NEAR < synthetic.reach / real.reach < 1.0 / _NEAR:
        notes.append(
            f"By their pixel spacing, real images show {real.reach:.0f} mm and synthetic ones "
            f"{synthetic.reach:.0f} mm. They were compared without rescaling: a difference of scale counts against "
            f"the set."
        )
    notes += [
        f"The {name} pictures use the darkest part of their range only (up to {foreign.images.max():,} of 65,535). "
        "Grey values were used as they are; if they are 12 bits stored in 16, rescale them to the full range."
        for name, foreign in (("real", reals), ("synthetic", made))
        if foreign.modality == PICTURES and foreign.images.max() < DARK
    ]
    if PICTURES in {real.modality, synthetic.modality} and real.modality != synthetic.modality:
        notes.append(
            "One set is DICOM and the other PNG, JPEG or TIFF. A picture has no units: its whole range was taken for "
            "the range of the DICOM images, which is right only if it was written with the same window."
        )
    notes += [
        f"{count} {name} files were left out: {reasons_in_words(foreign)}. They are listed in {EXCLUDED}."
        for name, foreign in (("real", reals), ("synthetic", made))
        if (count := len(foreign.left))
    ]
    return tuple(notes)


def _of_patients(reals: Foreign, listed: TrainList | None) -> list[str]:
    """How patients were identified, and what is not known about training."""
    if listed:
        shared = shared_patients(reals, listed)
        return [SHARED.format(shared)] if shared else []
    ids = patients_of(reals, None)
    notes = [CAVEAT]
    if len(set(ids)) == 1 and len(ids) > 1:
        return [*notes, ONE_PATIENT]
    alone = nameless(ids)
    return [*notes, FILES_AS_PATIENTS.format(alone, len(ids))] if alone else notes


SHARED = (
    "{} held-out real images carry the Patient ID of a training image. If they are the same people, copies of them "
    "count as chance: correct the train list."
)


def _sizes(found: Survey) -> str:
    return f"{found.shapes} sizes, most often {found.side} pixels" if found.shapes > 1 else f"{found.side} pixels"


def _bits(found: Survey) -> str:
    return " or ".join(str(bits) for bits in found.bits) + " bits"


def _words(compared: Compared, side: int) -> str:
    """The real images in one sentence."""
    parts = (compared.train, compared.calibrate, compared.test)
    images = sum(len(part.cases) for part in parts)
    return f"{images} real images, {side} × {side} pixels, each patient in one role."


def _uses(listed: TrainList | None) -> dict[Role, str]:
    """Uses of the roles where the training images are not known."""
    if listed:
        return {Role.TRAIN: "trained the generator, by the train list; searched for copies"}
    return {Role.TRAIN: "half of the patients, chosen by the seed: they set the scale of the features"}


def _facts(found: Survey, reals: Foreign, side: int) -> CohortFacts:
    """Cohort facts for the page; unknown facts of loose files are neutral."""
    low, high = _DEFAULTS.hu_window if found.modality == "CT" else (0.0, 1.0)
    return CohortFacts(
        modality=found.modality,
        sop_class_uid="",
        shape=(side, side),
        view="any",
        labels=("",),
        positive=None,
        unlabelled=False,
        files_found=found.found,
        excluded=reals.reasons,
        low=low,
        high=high,
        spacing=(1.0, 1.0),
        bits_stored=max(found.bits),
        signed=False,
        rescale_slope=1.0,
        rescale_intercept=0.0,
        key_fingerprint="",
    )


def _write_excluded(out: Path, reals: Foreign, made: Foreign) -> None:
    """Files left out, with the reason of each."""
    rows = [
        {"set": name, "path": printable(item.source.relative), "reason": item.reason, "detail": item.detail}
        for name, foreign in (("real", reals), ("synthetic", made))
        for item in foreign.left
    ]
    write_csv(out / EXCLUDED, ("set", "path", "reason", "detail"), rows)
