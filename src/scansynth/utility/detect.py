"""A finished detector at work on new scans: scores, pictures of where it looks, and DICOM of these. Research only.

Scans are read in confined processes, as everywhere. The pictures show patients: they are written to the user's folder
and nowhere else, and nothing of the scans' headers goes into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from scansynth.console import Progress, silent
from scansynth.data.elsewhere.foreign import Foreign, Scaling, Survey, printable, read, reasons_in_words, survey
from scansynth.dicom.capture import RESEARCH_ONLY, CaptureFacts, write_capture
from scansynth.dicom.modules import derive_uid
from scansynth.dicom.sandbox import DecodePool
from scansynth.dicom.write import Uids
from scansynth.errors import CohortError, ConfigError, StudyError
from scansynth.files import new_directory, sha256_json, write_csv, write_json, write_part
from scansynth.learning.device import Device, pick_device
from scansynth.stage import read_record
from scansynth.study import CANDIDATES, SCORES, Study
from scansynth.utility.detector.detector import DetectorFacts, Scored, draw_maps, load_detector, score_images
from scansynth.utility.detector.overlay import draw_overlay, occlusion_map, png_bytes
from scansynth.utility.standing import read_plan
from scansynth.utility.statistics.calibration import tempered

EXCLUDED, FACTS = "excluded.csv", "detect.json"
COLUMNS = ("file", "score", "probability", "above_threshold", "overlay", "dicom")
_OPTION = "--dicom"
_NEAR, _FAR = 1.1, 2.0  # ratios of the length that an image shows: noted above the one, refused above the other
_MAP_SCALE = 2.0  # fall of the logit that gets an occlusion map's full colour: the odds fall to an eighth


@dataclass(frozen=True)
class Detections:
    """What was found.

    Attributes:
        images: Scans scored.
        above: Those whose score reaches the threshold.
        left: Files left out, by reason.
        notes: What the user should know, a sentence each.
        detector: Name of the job that trained the detector.
    """

    images: int
    above: int
    left: Mapping[str, int]
    notes: tuple[str, ...]
    detector: str


def detect(
    study: Study,
    dicom: Path,
    out: Path,
    pool: DecodePool,
    arm: str = "basic",
    progress: Progress = silent,
    *,
    pictures: bool = True,
) -> Detections:
    """Scores scans with a detector of the study's trial.

    Args:
        study: A study whose trial has run.
        dicom: Folder with the scans; they may be of anybody.
        out: New folder for the result.
        pool: The confined processes that read the files.
        arm: Which detector: of this arm, on all train patients, of the first pair.
        progress: Told how far the work is.
        pictures: Draw where the detector looks, as PNG and DICOM.

    Raises:
        StudyError: The trial has not run, or the result's folder is taken.
        ConfigError: The trial has no such arm.
        CohortError: The folder holds no usable scan, or its scans show something else than those that the
            detector learned from.
    """
    if out.exists() or out.is_symlink():
        raise StudyError("--out exists; choose a new folder, or remove the old result first")
    if not dicom.is_dir():
        raise CohortError(f"{_OPTION} is not a folder; give the folder with the scans")
    device = pick_device()
    job = pick_job(study, arm)
    network, known = load_detector(job, device)
    found = survey(dicom, _OPTION, pool, known.modality, False, progress)
    notes = _fits(found, known)
    scaling = Scaling(study.config.cohort.hu_window, study.config.cohort.percentiles)
    scans = read(found, known.shape, scaling, pool, False, progress)
    if not len(scans.images):
        raise CohortError(f"no scan of {_OPTION} can be used ({reasons_in_words(scans)}); look at them with a viewer")
    scored = score_images(network, scans.images, device)
    with new_directory(out) as folder:
        rows = _rows(scans, scored, known)
        if pictures:
            _draw(folder, scans, scored, rows, network, known, device, progress)
        write_csv(folder / SCORES, COLUMNS, rows)
        _write_rest(folder, scans, scored, known, job.name, notes)
    above = int(np.sum(scored.scores >= known.threshold))
    study.log("detect", "written", inputs=_digest(job), images=len(rows), above=above)
    return Detections(len(rows), above, scans.reasons, notes, job.name)


def _digest(job: Path) -> dict[str, str]:
    """What the journal says of the detector."""
    record = read_record(job)
    return {"job": record.digest if record else ""}


def pick_job(study: Study, arm: str) -> Path:
    """Folder of the detector of an arm: the largest share of the train patients, the first ratio and pair.

    Raises:
        StudyError: The trial has not run.
        ConfigError: The trial has no such arm.
    """
    jobs: list[dict[str, Any]] = [job for job in read_plan(study)["jobs"] if not job["left_out"][0]]
    mine = [job for job in jobs if job["arm"] == arm and job["pair"] == 0]
    if not mine:
        known = ", ".join(dict.fromkeys(job["arm"] for job in jobs))
        raise ConfigError(f"the trial has no arm {arm}; choose one of {known}")
    best = max(mine, key=lambda job: job["fraction"])  # the first of equals
    folder = study.jobs / str(best["name"])
    if not folder.is_dir():
        raise StudyError(f"the detector {folder.name} is not trained yet; run: scansynth utility {study.folder}")
    record = read_record(folder)
    made = record and sha256_json({"inputs": record.inputs, "settings": record.settings, "seed": record.seed})
    if made != best["identity"]:
        raise StudyError(
            f"the detector {folder.name} is of an earlier trial than the declared one; run: scansynth utility "
            f"{study.folder}"
        )
    return folder


def _fits(found: Survey, known: DetectorFacts) -> tuple[str, ...]:
    """Whether the scans show as much of a body as the images that the detector learned from.

    Raises:
        CohortError: They show something else, such as a whole slice where the cohort has patches.
    """
    if found.modality != known.modality:
        raise CohortError(
            f"the scans are {found.modality}, but the detector learned from {known.modality}; give scans of that kind"
        )
    ours = max(step * side for step, side in zip(known.spacing, known.shape, strict=True))
    if found.reach is None:
        return (
            "the scans do not state their pixel spacing, so their field of view cannot be compared with the training's",
        )
    ratio = found.reach / ours
    words = f"the scans show {found.reach:.0f} mm and the images that the detector learned from {ours:.0f} mm"
    if not 1.0 / _FAR <= ratio <= _FAR:
        raise CohortError(f"{words}; give scans of the same field of view, or crops of them")
    if not 1.0 / _NEAR <= ratio <= _NEAR:
        return (f"{words}: a lesion of the same size looks larger or smaller to it",)
    return ()


def _rows(scans: Foreign, scored: Scored, known: DetectorFacts) -> list[dict[str, object]]:
    """One row of the table for each scan."""
    probabilities = tempered(scored.scores, known.temperature)
    return [
        {
            "file": printable(source.relative),
            "score": f"{score:.6g}",
            "probability": f"{probability:.4f}",
            "above_threshold": int(score >= known.threshold),
            "overlay": "",
            "dicom": "",
        }
        for source, score, probability in zip(scans.sources, scored.scores, probabilities, strict=True)
    ]


def _draw(
    folder: Path,
    scans: Foreign,
    scored: Scored,
    rows: list[dict[str, object]],
    network: nn.Module,
    known: DetectorFacts,
    device: Device,
    progress: Progress,
) -> None:
    """Writes a picture of each scan as PNG and as DICOM, and puts their names into the rows."""
    what = "map of the lesion detector" if known.lesions else "places whose covering lowers the score"
    study_uid = derive_uid("detect", known.weights_sha256, *scans.files)
    for place, (image, row) in enumerate(zip(scans.images, rows, strict=True)):
        seen, top = _map(network, image, known, device)
        call = "at or above" if row["above_threshold"] else "below"
        said = f"score {float(scored.scores[place]):.3f}, {call} the threshold {known.threshold:.3f}"
        picture = draw_overlay(image, seen, top, (said, f"red: {what}"))
        row["overlay"], row["dicom"] = f"overlays/{place + 1:06d}.png", f"dicom/{place + 1:06d}.dcm"
        write_part(folder / str(row["overlay"]), png_bytes(picture))
        instance = derive_uid("detect", known.weights_sha256, scans.files[place], place)
        uids = Uids(study_uid, derive_uid(study_uid, "series"), instance, derive_uid(study_uid, "frame"))
        made = f"detector weights SHA-256 {known.weights_sha256}; {what} over the image"
        facts = CaptureFacts(uids, place + 1, made, said, f"{RESEARCH_ONLY} detector")
        write_capture(folder / str(row["dicom"]), picture, facts)
        progress(place + 1, len(rows), "drawing")


def _map(
    network: nn.Module, image: NDArray[np.uint16], known: DetectorFacts, device: Device
) -> tuple[NDArray[np.float32], float]:
    """The map of one scan, and its value of full colour."""
    if known.lesions:
        return draw_maps(network, image[None], device)[0], 1.0
    return occlusion_map(network, image, device), _MAP_SCALE


def _write_rest(
    folder: Path, scans: Foreign, scored: Scored, known: DetectorFacts, job: str, notes: tuple[str, ...]
) -> None:
    """Candidates, files left out, and what made all this."""
    if scored.candidates is not None:
        rows = [
            {
                "file": printable(source.relative),
                "row": f"{candidate.row:.2f}",
                "column": f"{candidate.column:.2f}",
                "score": f"{candidate.score:.6g}",
            }
            for source, candidates in zip(scans.sources, scored.candidates, strict=True)
            for candidate in candidates
        ]
        write_csv(folder / CANDIDATES, ("file", "row", "column", "score"), rows)
    left = [
        {"path": printable(item.source.relative), "reason": item.reason, "detail": item.detail} for item in scans.left
    ]
    write_csv(folder / EXCLUDED, ("path", "reason", "detail"), left)
    write_json(
        folder / FACTS,
        {
            "warning": RESEARCH_ONLY,
            "detector": job,
            "arm": known.arm,
            "weights_sha256": known.weights_sha256,
            "threshold": known.threshold,
            "false_alarm_rate": known.false_alarm_rate,
            "temperature": known.temperature,
            "shape": list(known.shape),
            "images": len(scans.images),
            "notes": list(notes),
        },
    )
