"""A whole reader study read by scripts in a real browser: first part, marks and two sets, on three screens.

    python benchmarks/reader_scripted.py --out docs/results/reader_scripted.json [--pictures DIR]

Makes a study of drawn images with masks and a second set, serves it from a process of its own, and lets three readers
read all of it in headless Chromium, as people do: one at 1280 x 800, one on an upright tablet by touch, one at
3840 x 2160. The server is killed while the first of them reads, and started again. Each reader marks every lesion,
which the script knows from the sealed truth, and nothing else. Then the study is closed and analysed, and what comes
out is compared with what the readers did: every answer, every mark, the first part, the comparison of the sets.
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
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

_TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "reader")]

from browser import chromium  # noqa: E402
from page_kit import UPRIGHT, WIDE, Device, begin, device  # noqa: E402
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
from scansynth.reader.statistics.outlined import read_lesions  # noqa: E402
from scansynth.reader.statistics.readings import read_readings  # noqa: E402
from scansynth.reader.truth import Entry, Truth, from_json  # noqa: E402
from scansynth.study import ANALYSIS, LESIONS, READINGS, SAID, UNAWARE, Study  # noqa: E402

SIDE, UNAWARE_IMAGES, IMAGES, PRACTICE = 48, 8, 50, 2
SCREENS: Mapping[str, tuple[tuple[int, int], bool]] = {
    "r01": (WIDE, False),
    "r02": (UPRIGHT, True),
    "r03": ((3840, 2160), False),
}
"""Of each reader: size in CSS pixels, and whether it is touched."""

FARTHEST = 1.0
"""Pixels by which a mark may lie beside the place that was pointed at."""


def made_study(folder: Path) -> Study:
    """A study with masks, and a second set with masks."""
    study = make_study(folder, masks=True, set_masks=True)
    return with_another(study, masks=discs(60, LABELS, 1, SIDE))


def opened_truth(study: Study, seal: Path) -> Truth:
    """What the readers' script knows, and no reader."""
    protocol = read_json(study.reader / "protocol.json")
    sealed = (study.reader / "sealed.bin").read_bytes()
    return from_json(unseal(sealed, load_key(seal), protocol["study"], protocol["commitment"]), protocol["study"])


class Script:
    """One reader.

    Attributes:
        at: The browser.
        entries: Every image that this reader is shown, by item.
        lesions: By buffer.
        touch: Whether the screen is touched.
        pictures: Folder for pictures; none.
    """

    def __init__(self, at: Device, truth: Truth, reader: str, touch: bool, pictures: Path | None) -> None:
        own = [entry for entry in (*truth.unaware, *truth.entries) if entry.reader == reader]
        self.at, self.reader, self.touch, self.pictures = at, reader, touch, pictures
        self.entries: dict[str, Entry] = {entry.item: entry for entry in own}
        self.lesions = truth.lesions

    def photograph(self, name: str) -> None:
        """Takes a picture."""
        if self.pictures is not None:
            self.at.page.wait_for_timeout(250)
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
        """Marks every lesion, answers and locks."""
        at, entry = self.at, self.entries[item]
        at.ready()
        for row, column, _ in self.lesions.get(entry.buffer, ()):
            self._point(row, column)
            at.page.wait_for_selector("#mark-editor:not([hidden])")
            at.keys("4")
        at.keys(str(answer_at(number)), "y" if entry.label == LABELS[0] else "n")
        if number in {0, 1, 2}:
            self.photograph(f"marked-{number}")
        before = at.text("#where")
        at.keys("Enter")
        at.moved(before)

    def _point(self, row: float, column: float) -> None:
        self.at.page.wait_for_timeout(100)
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
        with chromium() as browser:
            for reader, (size, touch) in SCREENS.items():
                order = orders[reader]
                parts: dict[Part, list[str]] = {part: [] for part in Part}
                for place, shown in enumerate(order.places):
                    parts[order.part(place)].append(shown.item)
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
                    print(f"{reader} has read {len(parts[Part.READING])} images at {size[0]} x {size[1]}", flush=True)
    finally:
        server.kill()


def compared(study: Study) -> dict[str, Any]:
    """What came out beside what was done."""
    folder = study.reader
    readings, known = read_readings(folder / READINGS), read_lesions(folder / LESIONS)
    wrong = sum(answer_at(one.position - 1) != one.answer for one in readings)
    away, marks, missed = [], 0, 0
    for one in readings:
        placed = read_marks(one.marks)
        marks += len(placed)
        for row, column, _ in known[one.image]:
            near = [float(np.hypot(mark.row - row, mark.column - column)) for mark in placed]
            away += [min(near)] if near else []
            missed += not near
    found = read_json(folder / ANALYSIS)
    first = found["unaware"]
    unaware = read_csv(folder / UNAWARE)
    right = sum((row["answer"] == "5") == (row["label"] == LABELS[0]) for row in unaware)
    return {
        "answers": len(readings),
        "answers_wrong": wrong,
        "marks": marks,
        "lesions_not_marked": missed,
        "farthest_pixels": round(max(away), 3),
        "lesions": {kind["kind"]: kind["lesions"] for kind in found["where"]["kinds"]},
        "marks_differ": found["where"]["difference"]["outcome"],
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
        or found["lesions_not_marked"]
        or found["farthest_pixels"] > FARTHEST
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
        read_all(study, made.invitations, opened_truth(study, made.seal), asked.pictures)
        close(study)
        conclude(study)
        found = compared(study)
    print(json.dumps(found, indent=1))
    if asked.out is not None:
        head = {
            "command": shlex.join(["python", *sys.argv]),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "seconds": round(time.monotonic() - begun, 1),
            "screens_of_readers": {reader: [*size] for reader, (size, _) in SCREENS.items()},
        }
        write_json(asked.out, {**head, **found})
    sys.exit(failed(found))


if __name__ == "__main__":
    main()
