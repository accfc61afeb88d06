"""A reader study of the fake study: protocol, probe and readings made up, and concluded by the real function."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import numpy as np

from scansynth.claims.claim import Control, Finding, Measurement, decide, floor_of
from scansynth.claims.traces import PIXELS
from scansynth.config import ReaderSettings
from scansynth.data.imageset import open_set
from scansynth.data.tensors import cases_for, load_cohort
from scansynth.files import sha256_file, write_bytes, write_csv, write_json
from scansynth.ledger import Use
from scansynth.reader.conclude import conclude
from scansynth.reader.machine import MachineReading
from scansynth.reader.probe import Override, Probed
from scansynth.reader.protocol import SCALE, Fixed, presets, second_question, write_up
from scansynth.reader.server.invitations import expiry
from scansynth.reader.server.worklist import Display, Worklist, replace_worklist
from scansynth.reader.statistics.analysis import Analysis
from scansynth.reader.statistics.readings import Reading, write_readings
from scansynth.reader.statistics.said import SCREEN_COLUMNS, Said, write_said
from scansynth.reader.statistics.simulation import World, readings
from scansynth.stage import StageRecord, write_record
from scansynth.statistics import Interval, Verdict
from scansynth.study import (
    CLOSING,
    MACHINE,
    PROBE,
    PROTOCOL,
    READINGS,
    SAID,
    SCREENS,
    SEALED,
    UNAWARE,
    WORKLIST_FOLDER,
    Study,
)

NOW = datetime.datetime(2026, 11, 24, 9, 30, tzinfo=datetime.UTC)
LATER = "2026-11-26T16:05:00+00:00"
WORLDS = {
    "distinguishable": World(0.82, 0.04),
    "equivalent within the margin": World(0.5, 0.0),
    "inconclusive": World(0.54, 0.12),
}
READERS = 6


def probed(verdict: Verdict = Verdict.SHOWN) -> Probed:
    """What the probe may say."""
    control = Control("planted", 1.0, 0.9)
    value = 0.93 if verdict is Verdict.REFUTED else 0.52
    floor = floor_of("halves", np.full(9, 0.5))
    measured = Measurement(value, Interval(value - 0.05, value + 0.05), 0.95, floor, (control,), 0.6, {})
    why = dict.fromkeys(Verdict, "Sizes and traces of coding leave the answer open.")
    why[Verdict.REFUTED] = "A step between grey values tells synthetic from real images."
    figures: dict[str, Any] = {"p": 0.31, "by_model": {"trees": value}, "traces": {"gaps between grey values": value}}
    return Probed(Finding(decide(PIXELS, measured, why, verdict), figures), "")


def answers_of(study: Study, world: World, readers: int, images: int, seed: int, cut: int) -> list[Reading]:
    """Locked answers of all readers; the last one stops `cut` answers before the end."""
    test = {case.patient: case for case in cases_for(load_cohort(study.cohort), Use.READER_STUDY)}
    made = [row["index"] for row in open_set(study.synthetic()).rows]
    half = images // 2
    given, truth = readings(world, readers, half, images - half, np.random.default_rng([seed, readers]))
    reals = list(test.values())[: images - half]
    assert len(reals) == images - half
    assert len(made) >= half
    shown = [("", name, "nodule") for name in made[:half]] + [(case.patient, case.case, case.label) for case in reals]
    found = []
    for number, own in enumerate(given):
        reader, rng = f"r{number + 1:02d}", np.random.default_rng([seed, number])
        order = rng.permutation(images).tolist()
        sequence = [(image, False) for image in order] + [(image, True) for image in order[: images // 5]]
        if number == readers - 1 and cut:
            sequence = sequence[:-cut]
        for position, (image, again) in enumerate(sequence, start=1):
            patient, case, label = shown[image]
            item = f"{reader}-{image:03d}"
            answer = int(np.clip(own[image] + rng.integers(-1, 2), 1, 6)) if again else int(own[image])
            found.append(
                Reading(
                    reader, f"{item}-again" if again else item, position, bool(truth[image]), label, case, patient,
                    item if again else "", answer, 1 + int(rng.random() < 0.7), None,
                    float(rng.gamma(6, 1.2) * (1.4 - 0.5 * position / images)), 0.2, 1,
                    (NOW + datetime.timedelta(seconds=60 * position)).isoformat(),
                )
            )  # fmt: skip
    return found


def said_by(readers: int) -> list[Said]:
    """What readers said before they were told; the last is a control, and every other one noticed something."""
    return [
        Said(f"r{number + 1:02d}", number == readers - 1, number % 2 == 0, True, 10 * number, "Odd vessels <b>", LATER)
        for number in range(readers)
    ]


def make_readers(
    study: Study,
    outcome: str = "distinguishable",
    *,
    readers: int = READERS,
    images: int = 100,
    seed: int = 1,
    cut: int = 0,
    probe: Verdict = Verdict.SHOWN,
    override: Override | None = None,
    unaware: int = 0,
) -> tuple[Study, Analysis]:
    """Writes the folder of a closed reader study and concludes it."""
    settings = ReaderSettings(title="Lungs", readers=readers, images=images, practice=4, question="Is there a nodule?",
                              unaware=unaware, unaware_controls=1 if unaware else 0)  # fmt: skip
    study = replace(study, config=study.config.model_copy(update={"reader": settings}))
    folder, judged = study.reader, probed(probe)
    folder.mkdir()
    facts = load_cohort(study.cohort).facts
    write_bytes(folder / SEALED, b"sealed")
    write_json(folder / PROBE, judged.as_json(override))
    fixed = Fixed(
        "5" * 32, images, images // 5, facts.labels, {}, study.config.synthetic.name, "c" * 64,
        sha256_file(folder / SEALED), sha256_file(folder / PROBE), "e" * 64, judged.as_json(override)["override"],
    )  # fmt: skip
    write_json(folder / PROTOCOL, write_up(settings, fixed, NOW))
    display = Display(*facts.shape, facts.low, facts.high, "HU", facts.spacing)
    worklist = Worklist(
        "5" * 32, settings.title, sha256_file(folder / PROTOCOL), expiry(NOW, 60.0), display, presets(facts), SCALE,
        second_question(settings), settings.break_every, "a" * 64, (),
    )  # fmt: skip
    (folder / WORKLIST_FOLDER).mkdir()
    replace_worklist(folder / WORKLIST_FOLDER, worklist)
    write_record(folder, StageRecord("reader create", {}, {}, {}, study.config.seed, ("test", "train"), ("x",)))
    given = answers_of(study, WORLDS[outcome], readers, images, seed, cut)
    write_readings(folder / READINGS, given)
    machine = MachineReading(0.91, Interval(0.84, 0.97), 0.95, 1.0, images)
    write_json(folder / MACHINE, machine.as_json())
    asked = images + images // 5
    unfinished = {f"r{readers:02d}": (asked - cut, asked)} if cut else {}
    rows = [{"reader": f"r{n + 1:02d}", "good": 2, "poor": n % 2, "last": 1} for n in range(readers)]
    write_csv(folder / SCREENS, SCREEN_COLUMNS, rows)
    left = [READINGS, MACHINE, PROTOCOL, SCREENS]
    if unaware:
        left += [UNAWARE, SAID]
        first = [replace(one, answer=7 - one.answer) for one in given if one.position <= unaware and not one.repeat_of]
        write_readings(folder / UNAWARE, first)
        write_said(folder / SAID, said_by(readers))
    hashes = {f"{name.partition('.')[0]}_sha256": sha256_file(folder / name) for name in left}
    chain = {"rows": len(given), "sha256": "d" * 64}
    told = {"closed": LATER, "unfinished": unfinished, "amendments": [], "set_aside": []}
    write_json(folder / CLOSING, {**told, **hashes, "chain": chain})
    return study, conclude(study)
