"""A whole study in a real browser: by keyboard, with a reload, a second device, and nobody unblinded."""

from __future__ import annotations

import json
import re
import statistics
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from page_kit import Served, begin, device, served, skip_practice

ANSWERS = ["3", "6", "1", "2", "5", "4", "6", "1", "3", "2"]


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, count=10, practice=2, second_question=True, break_every=4) as found:
        yield found


def test_a_study_is_read_by_keyboard_over_a_reload_and_on_another_device(any_browser: Any, study: Served) -> None:
    with device(any_browser) as worklist:
        code = begin(study, worklist)
        assert worklist.text("#where") == "Practice image 1 of 2"
        worklist.keys("5", "y", "9", "Enter")
        worklist.page.wait_for_selector("#feedback:not([hidden])")
        truth = "synthetic" if study.kit.truth[study.items()[0]] else "real"
        assert worklist.text("#feedback-title") == f"This image was {truth}."
        worklist.keys("Enter")
        worklist.answer("5", "y", "9")
        assert worklist.text("#where") == "Image 1 of 10"
        assert worklist.page.is_hidden("#practice")
        for answer in ANSWERS[:4]:
            worklist.answer(answer, "n", "8")
        worklist.ready()
        assert "You have read 4 images" in worklist.text("#rest")
        worklist.passes(3.0)
        worklist.keys(ANSWERS[4], "c")
        worklist.drafted()
        worklist.page.reload()
        worklist.ready()
        assert worklist.text("#where") == "Image 5 of 10"
        assert worklist.page.is_checked("#scale input[value='5']")
        assert worklist.page.is_checked("#second input[value='3']")
        assert worklist.page.locator("#confidence input:checked").count() == 0
        worklist.keys("Enter")
        assert "how sure you are" in worklist.text("#hint")
        assert worklist.text("#where") == "Image 5 of 10"
        worklist.keys("7", "Enter")
        worklist.moved("Image 5 of 10")
        worklist.arrived()
        with device(any_browser) as other:
            other.page.goto(f"{study.address}/resume")
            other.page.wait_for_selector("#code:focus")  # the field waits for the code by itself
            other.page.keyboard.type(code.lower())
            other.keys("Enter")
            other.ready()
            assert other.text("#where") == "Image 6 of 10"
            for answer in ANSWERS[5:]:
                other.answer(answer, "n", "8")
            assert other.text("#screen-title") == "Thank you. You have read everything."
            assert other.kept() == []
            worklist.keys("6", "n", "8", "Enter")
            worklist.page.wait_for_selector("#screen:not([hidden])")
            assert worklist.text("#screen-title") == "This page is no longer signed in"
        assert [url for url in worklist.asked if urlsplit(url).hostname != "127.0.0.1" and url != "data:,"] == []
        assert [text for text in worklist.said if "401" not in text] == []
    rows = study.readings()
    assert [row["item"] for row in rows] == study.items()[2:]
    assert [row["answer"] for row in rows] == [int(answer) for answer in ANSWERS]
    assert [row["second"] for row in rows] == [2, 2, 2, 2, 3, 2, 2, 2, 2, 2]
    assert [row["confidence"] for row in rows] == [2, 2, 2, 2, 1, 2, 2, 2, 2, 2]
    assert rows[4]["seconds"] > 3.0  # also what was seen before the reload
    assert all(0 < row["seconds"] < 60 and row["hidden_seconds"] <= row["seconds"] for row in rows)
    assert len(study.readings(practice=True)) == 2


def test_the_next_image_is_at_hand_before_an_answer_is_locked(browser: Any, study: Served) -> None:
    """So that nothing is waited for; how many milliseconds it takes hangs on the machine, and is printed."""
    with device(browser) as worklist:
        begin(study, worklist)
        skip_practice(study, worklist)
        for answer, following in zip(ANSWERS, study.items()[3:], strict=False):
            worklist.arrived()
            worklist.fetched(following)
            worklist.answer(answer, "y", "8")
            assert len([url for url in worklist.asked if url.endswith(following)]) == 1, "it is not asked for again"
        measured = worklist.page.evaluate("performance.getEntriesByName('lock-to-next').map(entry => entry.duration)")
    print(f"lock to next: median {statistics.median(measured):.0f} ms")
    assert len(measured) == 9


WORDS = re.compile(r"synthetic|\breal\b|repeat|truth|class|label|fake|generated|case|patient", re.IGNORECASE)
STATE = {"csrf", "title", "image", "presets", "scale", "second_question", "break_every", "phase", "done", "total"}
STATE |= {"practice_done", "practice_total", "item", "next", "draft", "last", "again"}
STATE |= {"comments", "references", "review", "teaching", "told", "just_told", "asked", "marking"}


def test_nothing_that_a_browser_receives_tells_class_repeat_or_order(browser: Any, study: Served) -> None:
    """The scale names both classes, and practice is told: nothing else in a whole study may."""
    got: list[tuple[str, dict[str, str], bytes]] = []
    with device(browser) as worklist:
        begin(study, worklist)
        skip_practice(study, worklist)
        worklist.arrived()
        first = study.items()[2:]
        worklist.page.on("response", lambda answer: got.append((answer.url, answer.all_headers(), answer.body())))
        for answer in ANSWERS:
            worklist.answer(answer, "y", "8")
            worklist.arrived()
        worklist.page.wait_for_timeout(100)
    buffers = [(url, headers, body) for url, headers, body in got if "/api/buffer/" in url]
    states = [json.loads(body) for url, _, body in got if "/api/lock/" in url]
    assert len(states) == len(first)
    assert len(buffers) == len(first) - 2  # the first two were here before
    for state in states:
        assert state.keys() == STATE
        assert state["draft"] is None
        assert state["review"] == []
        rest = {key: value for key, value in state.items() if key not in {"scale", "csrf", "title"}}
        assert not WORDS.search(json.dumps(rest))
        # of the order, no more than where the reader is: the image on the screen and the one after it
        named = {entry["id"] for entry in (state["item"], state["next"]) if entry}
        assert state["last"]["id"] == first[-1 if state["item"] is None else state["done"] - 1]
        assert named == set(first[state["done"] : state["done"] + 2])
    constant = [{key: value for key, value in headers.items() if key != "date"} for _, headers, _ in buffers]
    assert all(headers == constant[0] for headers in constant)
    assert not {"etag", "last-modified", "server"} & constant[0].keys()
    assert {len(body) for _, _, body in buffers} == {64 * 64 * 2}
    assert len({body for _, _, body in buffers}) == len(buffers)
    assert all(re.fullmatch(r"[0-9a-f]{32}", urlsplit(url).path.rsplit("/", 1)[1]) for url, _, _ in buffers)
    assert not any(WORDS.search(url) for url, _, _ in got)


def auc(feature: NDArray[np.float64], synthetic: NDArray[np.bool_]) -> float:
    """How well one number tells the classes apart: Mann and Whitney's statistic over all pairs, ties half."""
    difference = feature[synthetic][:, None] - feature[~synthetic][None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def best_guess(features: NDArray[np.float64], synthetic: NDArray[np.bool_]) -> float:
    """p of the best single feature, against the same search over permuted classes."""
    rng = np.random.default_rng(0)
    found = max(abs(auc(feature, synthetic) - 0.5) for feature in features.T)
    null = [max(abs(auc(feature, drawn) - 0.5) for feature in features.T)
            for drawn in (rng.permutation(synthetic) for _ in range(2000))]  # fmt: skip
    return (1 + sum(value >= found for value in null)) / (1 + len(null))


def test_the_class_cannot_be_learned_from_what_travels(browser: Any, tmp_path: Path) -> None:
    """Sizes, headers, timing, names and bytes of every image of a study, against its class; a planted leak is found."""
    rows: list[list[float]] = []
    truth: list[bool] = []
    with served(tmp_path, count=32, practice=1, side=16) as study, device(browser) as worklist:
        begin(study, worklist)

        def note(answer: Any) -> None:
            if "/api/buffer/" not in answer.url:
                return
            item, body, headers = answer.url.rsplit("/", 1)[1], answer.body(), answer.headers_array()
            stored = np.frombuffer(body, "<u2")
            truth.append(study.kit.truth[item])
            rows.append([
                len(body), len(headers), sum(len(pair["name"] + pair["value"]) for pair in headers),
                answer.request.timing["responseStart"], answer.request.timing["responseEnd"],
                int(item[:12], 16), int(item[-12:], 16), len(set(item)),
                len(zlib.compress(body)), len(np.unique(stored)), float(np.mean(stored % 256)),
                int(stored[0]), int(stored[-1]),
            ])  # fmt: skip

        worklist.page.on("response", note)
        worklist.answer("4")
        for _ in range(30):
            worklist.answer("4")
            worklist.arrived()
        worklist.page.wait_for_timeout(200)
    features, synthetic = np.array(rows, np.float64), np.array(truth)
    assert len(features) >= 29
    assert best_guess(features, synthetic) > 0.0006
    planted = features.copy()
    planted[:, 2] += synthetic  # a header one byte longer for one class
    assert best_guess(planted, synthetic) < 0.0006
