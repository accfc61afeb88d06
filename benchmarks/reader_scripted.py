"""A whole reader study read by scripts in a real browser: first part, marks and two sets, on five screens.

    python benchmarks/reader_scripted.py --out docs/results/reader_scripted.json [--pictures DIR]

Makes a study of drawn images with masks and a second set, serves it from a process of its own, and lets five readers
read all of it in headless browsers, as people do: in Chromium at 1280 x 800, on a tablet upright and lying by touch,
and at 3840 x 2160, and in Firefox at 1280 x 800. The server is killed while the first of them reads, and started again.
The script knows the lesions from the sealed truth. Readers mark five to seven of eight lesions of real images, one of
eight in the own set, and set some false marks: a difference that the verdict on marks must find. Then the study is
closed and analysed, and what comes out is compared with what the readers did: every answer, every mark with its
confidence, the areas that follow from them by counting pairs, the first part, the comparison of the sets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

_TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "reader")]

from browser import chromium, firefox  # noqa: E402
from page_kit import SMALL, UPRIGHT, WIDE, Device, begin, device  # noqa: E402
from serving import start_server  # noqa: E402
from study_factory import LABELS, discs, make_study, small  # noqa: E402
from test_reader_sets import with_another  # noqa: E402

from scansynth.dicom.deidentify import KEY_VARIABLE  # noqa: E402
from scansynth.files import read_csv, read_json, write_json  # noqa: E402
from scansynth.reader.close import close  # noqa: E402
from scansynth.reader.conclude import conclude  # noqa: E402
from scansynth.reader.create import create  # noqa: E402
from scansynth.reader.marks import read as read_marks  # noqa: E402
from scansynth.reader.seal import load_key, unseal  # noqa: E402
from scansynth.reader.server.served import Part, open_worklist  # noqa: E402
from scansynth.reader.statistics.localisation import OWN  # noqa: E402
from scansynth.reader.statistics.readings import read_readings  # noqa: E402
from scansynth.reader.truth import Entry, Truth, from_json  # noqa: E402
from scansynth.study import ANALYSIS, CLAIMS_FILE, READINGS, SAID, UNAWARE, Study  # noqa: E402

SIDE, UNAWARE_IMAGES, IMAGES, PRACTICE, PATIENTS = 48, 8, 100, 2, 80
SCREENS: Mapping[str, tuple[str, tuple[int, int], bool]] = {
    "r01": ("chromium", WIDE, False),
    "r02": ("chromium", UPRIGHT, True),
    "r03": ("chromium", (3840, 2160), False),
    "r04": ("chromium", SMALL, True),
    "r05": ("firefox", WIDE, False),
}
"""Of each reader: the browser, its size in CSS pixels, and whether it is touched."""

FARTHEST = 1.0
"""Pixels by which a mark may lie beside the place that was pointed at."""

CORNER = (3.0, 3.0)
"""Row and column of a false mark: no drawn lesion reaches it."""

FOUND: Mapping[str, tuple[int, int]] = {"r01": (7, 1), "r02": (6, 1), "r03": (5, 1), "r04": (7, 1), "r05": (6, 1)}
"""Of eight lesions, how many each reader marks: of the study's own set the second number, of others the first."""

FALSE: Mapping[str, int] = {"r01": 1, "r02": 2, "r03": 2, "r04": 1, "r05": 1}
"""Of eight images without a lesion, in how many each reader sets a false mark."""

Point = tuple[float, float, int]
"""Row, column and confidence of a mark."""


def made_study(folder: Path) -> Study:
    """A study with masks, and a second set with masks."""
    study = make_study(folder, patients=PATIENTS, masks=True, set_masks=True)
    return with_another(study, masks=discs(60, LABELS, 1, SIDE))


def opened_truth(study: Study, seal: Path) -> Truth:
    """What the readers' script knows, and no reader."""
    protocol = read_json(study.reader / "protocol.json")
    sealed = (study.reader / "sealed.bin").read_bytes()
    return from_json(unseal(sealed, load_key(seal), protocol["study"], protocol["commitment"]), protocol["study"])


def to_mark(reader: str, truth: Truth) -> dict[str, list[Point]]:
    """What a reader marks in each image, by item.

    Images of a kind, with a lesion or without, are numbered, and have a difficulty from 0 to 7 by their number: what
    one reader misses, a reader who marks fewer misses, too.
    """
    images = {(entry.arm, bool(truth.lesions[entry.buffer]), entry.case) for entry in truth.entries}
    number: dict[tuple[int, bool, str], int] = {}
    for arm, bears in {image[:2] for image in images}:
        cases = sorted(case for *kind, case in images if kind == [arm, bears])
        number |= {(arm, bears, case): place for place, case in enumerate(cases)}
    points: dict[str, list[Point]] = {}
    for entry in truth.entries:
        if entry.reader == reader:
            lesions = truth.lesions[entry.buffer]
            hard = 5 * number[entry.arm, bool(lesions), entry.case] % 8
            found = hard < FOUND[reader][entry.arm == OWN]
            marks = [(row, column, 5 - hard // 2) for row, column, _ in lesions]
            points[entry.item] = marks if lesions and found else []
            if not lesions and hard < FALSE[reader]:
                points[entry.item] = [(*CORNER, 1 + hard)]
    return points


def area(entries: Sequence[Entry], points: Mapping[str, list[Point]], truth: Truth, arm: int) -> float:
    """The area under a reader's alternative free-response curve by counting pairs; an image has one lesion at most."""
    here = [entry for entry in entries if entry.arm == arm]
    best = [(bool(truth.lesions[one.buffer]), max((mark[2] for mark in points[one.item]), default=0)) for one in here]
    pairs = [
        (found > false) + (found == false) / 2 for bears, found in best if bears for other, false in best if not other
    ]
    return float(np.mean(pairs))


class Script:
    """One reader.

    Attributes:
        at: The browser.
        entries: Every image that this reader is shown, by item.
        points: What to mark, by item.
        touch: Whether the screen is touched.
        pictures: Folder for pictures; none.
    """

    def __init__(self, at: Device, truth: Truth, reader: str, touch: bool, pictures: Path | None) -> None:
        own = [entry for entry in (*truth.unaware, *truth.entries) if entry.reader == reader]
        self.at, self.reader, self.touch, self.pictures = at, reader, touch, pictures
        self.entries: dict[str, Entry] = {entry.item: entry for entry in own}
        self.points = to_mark(reader, truth)

    def photograph(self, name: str) -> None:
        """Takes a picture."""
        if self.pictures is not None:
            self.at.painted()
            self.at.page.screenshot(path=str(self.pictures / f"scripted-{self.reader}-{name}.png"))

    def first(self, items: list[str]) -> None:
        """Answers the first part for the finding, reloads once in it, and answers both questions."""
        at = self.at
        for number, item in enumerate(items):
            at.ready()
            if number == 3:
                at.page.reload()
                at.ready()
            before = at.text("#where")
            at.keys("5" if self.entries[item].label == LABELS[0] else "2")
            if number == 0:
                self.photograph("first")
            at.keys("Enter")
            at.until(
                "before => !document.querySelector('#asked').hidden"
                " || document.querySelector('#where').textContent !== before",
                arg=before,
            )
        at.page.wait_for_selector("#asked:not([hidden])")
        at.page.check("input[name=asked][value='2']")
        at.page.fill("#asked-words", "Round spots")
        self.photograph("noticed")
        at.page.click("#asked button")
        at.page.wait_for_selector("#asked-share:visible")
        at.page.check("input[name=asked][value='1']")
        at.page.fill("#asked-share", "20")
        at.page.click("#asked button")
        at.page.wait_for_selector("#reveal:not([hidden])")
        self.photograph("told")
        at.page.click("#reveal-on")

    def practice(self) -> None:
        """Answers the practice."""
        for _ in range(PRACTICE):
            self.at.answer("3", "n")

    def one(self, item: str, number: int) -> None:
        """Marks what is to be marked, answers and locks."""
        at, entry = self.at, self.entries[item]
        at.ready()
        for row, column, confidence in self.points[item]:
            self._point(row, column)
            at.page.wait_for_selector("#mark-editor:not([hidden])")
            at.keys(str(confidence))
        at.keys(str(answer_at(number)), "y" if entry.label == LABELS[0] else "n")
        if number in {0, 1, 2}:
            self.photograph(f"marked-{number}")
        before = at.text("#where")
        at.keys("Enter")
        at.moved(before)

    def _point(self, row: float, column: float) -> None:
        self.at.painted()
        box = self.at.page.locator("#stage").bounding_box()
        side = min(box["width"], box["height"])
        x = box["x"] + box["width"] / 2 + ((column + 0.5) / SIDE - 0.5) * side
        y = box["y"] + box["height"] / 2 + ((row + 0.5) / SIDE - 0.5) * side
        (self.at.page.touchscreen.tap if self.touch else self.at.page.mouse.click)(x, y)


def answer_at(number: int) -> int:
    """The answer to the image of a number, from 0."""
    return 2 + number % 4


def read_all(study: Study, tokens: Mapping[str, str], truth: Truth, pictures: Path | None) -> None:
    """Lets every reader read."""
    worklist = study.reader / "worklist"
    orders = open_worklist(worklist).orders
    server = start_server(worklist)
    port = server.port
    try:
        with chromium() as one, firefox() as other:
            for reader, (name, size, touch) in SCREENS.items():
                order = orders[reader]
                parts: dict[Part, list[str]] = {part: [] for part in Part}
                for place, shown in enumerate(order.places):
                    parts[order.part(place)].append(shown.item)
                browser = one if name == "chromium" else other
                with device(browser, size, **({"has_touch": True} if touch else {})) as at:
                    script = Script(at, truth, reader, touch, pictures)
                    begin(SimpleNamespace(kit=SimpleNamespace(tokens=tokens), address=server.url), at, reader)
                    script.first(parts[Part.UNAWARE])
                    script.practice()
                    for number, item in enumerate(parts[Part.READING]):
                        if reader == "r01" and number == 20:  # the page waits, and goes on
                            server.kill()
                            server = start_server(worklist, port=port)
                        script.one(item, number)
                    at.page.wait_for_selector("#screen:not([hidden])")
                    at.arrived()
                    print(f"{reader} has read {len(parts[Part.READING])} images in {name} at {size}", flush=True)
    finally:
        server.kill()


def about_marks(study: Study, truth: Truth) -> dict[str, Any]:
    """The marks that came out beside those that were set, and the areas beside those that follow by counting pairs."""
    readings, where = read_readings(study.reader / READINGS), read_json(study.reader / ANALYSIS)["where"]
    entries = {reader: [entry for entry in truth.entries if entry.reader == reader] for reader in SCREENS}
    points = {reader: to_mark(reader, truth) for reader in SCREENS}
    away, wrong = [], 0
    for one in readings:
        wanted, placed = points[one.reader][one.item], read_marks(one.marks)
        wrong += [mark.confidence for mark in placed] != [mark[2] for mark in wanted]
        for mark, (row, column, _) in zip(placed, wanted, strict=False):
            away.append(float(np.hypot(mark.row - row, mark.column - column)))
    kinds = {kind["arm"]: kind for kind in where["kinds"]}
    areas = {arm: [area(entries[reader], points[reader], truth, arm) for reader in SCREENS] for arm in sorted(kinds)}
    apart = [np.abs(np.subtract(kinds[arm]["figures"]["free_response"]["readers"], areas[arm])).max() for arm in kinds]
    return {
        "marks": len(away),
        "marks_wrong": wrong,
        "farthest_pixels": round(max(away), 3),
        "images_with_a_lesion": {kind["kind"]: kind["with_lesions"] for kind in where["kinds"]},
        "areas": {kind["kind"]: round(kind["figures"]["free_response"]["value"], 4) for kind in where["kinds"]},
        "areas_apart_from_counted_pairs": float(max(apart)),
        "marks_differ": where["difference"]["outcome"],
        "marks_differ_why": where["difference"]["why"],
        "marks_difference": round(where["difference"]["value"], 4),
        "marks_difference_interval": [round(end, 4) for end in where["difference"]["interval"]],
    }


def compared(study: Study, truth: Truth) -> dict[str, Any]:
    """What came out beside what was done."""
    folder = study.reader
    readings, found = read_readings(folder / READINGS), read_json(folder / ANALYSIS)
    claims = {claim["claim"]: claim["verdict"] for claim in read_json(folder / CLAIMS_FILE)["claims"]}
    wrong = sum(answer_at(one.position - 1) != one.answer for one in readings)
    first = found["unaware"]
    unaware = read_csv(folder / UNAWARE)
    right = sum((row["answer"] == "5") == (row["label"] == LABELS[0]) for row in unaware)
    return {
        "answers": len(readings),
        "answers_wrong": wrong,
        **about_marks(study, truth),
        "claims": claims,
        "first_part_answers": len(unaware),
        "first_part_right": right,
        "noticed": first["readers"]["noticed"]["count"],
        "suspected": first["readers"]["suspected"]["count"],
        "said": len(read_csv(folder / SAID)),
        "sets": found["sets"]["sets"],
        "sets_outcome": found["sets"]["outcome"],
        "screens": [[row["reader"], row["good"], row["poor"]] for row in found["screens"]],
    }


def failed(found: Mapping[str, Any]) -> bool:
    """Whether something was lost, changed or misplaced."""
    readers = len(SCREENS)
    return bool(
        found["answers"] != readers * IMAGES
        or found["answers_wrong"]
        or found["marks_wrong"]
        or found["farthest_pixels"] > FARTHEST
        or found["areas_apart_from_counted_pairs"] > 1e-9
        or found["marks_differ"] != "different"
        or {found["first_part_right"], found["first_part_answers"]} != {readers * UNAWARE_IMAGES}
        or (found["noticed"], found["suspected"], found["said"]) != (readers, 0, readers)
    )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the screens")
    parser.add_argument("--work", type=Path, help="folder in which the study stays; default: it is thrown away")
    asked = parser.parse_args()
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.environ.setdefault(KEY_VARIABLE, str(Path(place) / "institution.key"))
        study, begun = made_study(asked.work or Path(place) / "study"), time.monotonic()
        settings = small(
            readers=len(SCREENS), images=IMAGES, practice=PRACTICE, repeats=0.0, marks=LABELS[0],
            unaware=UNAWARE_IMAGES, question="Is there a nodule?", confidence=False, against="other", finding=LABELS[0],
        )  # fmt: skip
        made = create(study, settings)
        truth = opened_truth(study, made.seal)
        read_all(study, made.invitations, truth, asked.pictures)
        close(study)
        conclude(study)
        found = compared(study, truth)
    print(json.dumps(found, indent=1))
    if asked.out is not None:
        head = {
            "command": shlex.join(["python", sys.argv[0], "--out", str(asked.out)]),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "seconds": round(time.monotonic() - begun, 1),
            "screens_of_readers": {reader: [name, *size] for reader, (name, size, _) in SCREENS.items()},
        }
        write_json(asked.out, {**head, **found})
    sys.exit(failed(found))


if __name__ == "__main__":
    main()
