"""Cut networks, two windows, pauses: nothing that was locked is lost, and nothing counts twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from page_kit import Device, Served, begin, device, served, skip_practice


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("network"), count=6, practice=1, side=32, readers=16) as found:
        yield found


@pytest.fixture(scope="module")
def readers(study: Served) -> Iterator[str]:
    """A new reader for each who asks."""
    return iter(study.kit.tokens)


@pytest.fixture
def reader(readers: Iterator[str]) -> str:
    return next(readers)


@pytest.fixture
def worklist(browser: Any, study: Served, reader: str) -> Iterator[Device]:
    """A page after its practice."""
    with device(browser) as made:
        begin(study, made, reader)
        skip_practice(study, made)
        made.arrived()
        made.fetched(study.items(reader)[2])
        yield made


def answers(study: Served, reader: str) -> list[int]:
    return [row["answer"] for row in study.readings(reader)]


def test_a_cut_network_keeps_answers_and_sends_each_once(study: Served, worklist: Device, reader: str) -> None:
    worklist.context.set_offline(True)
    worklist.answer("5")
    assert worklist.text("#where") == "Image 2 of 6"  # the next image was here already
    worklist.page.wait_for_selector("#network.cut")
    assert "kept in this browser" in worklist.text("#network")
    worklist.keys("2", "Enter")
    worklist.page.wait_for_selector("#cover:not([hidden])")
    assert worklist.text("#cover") == "Waiting for the next image"
    assert len([key for key in worklist.kept() if "lock" in key]) == 2
    assert answers(study, reader) == []
    worklist.context.set_offline(False)
    worklist.ready()
    assert worklist.text("#where") == "Image 3 of 6"
    assert answers(study, reader) == [5, 2]
    assert worklist.text("#network") == "Connected again. All answers have arrived."
    assert [key for key in worklist.kept() if "lock" in key] == []


def test_a_lost_confirmation_is_asked_for_again_with_the_same_nonce(
    study: Served, worklist: Device, reader: str
) -> None:
    sent: list[dict[str, Any]] = []

    def lose_first(route: Any) -> None:
        sent.append(route.request.post_data_json)
        if len(sent) == 1:
            route.fetch()  # the server locks, and the answer is lost on its way back
            route.abort()
        else:
            route.continue_()

    worklist.page.route("**/api/lock/*", lose_first)
    worklist.answer("6")
    worklist.arrived()
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert answers(study, reader) == [6]
    worklist.answer("1")
    worklist.arrived()
    assert answers(study, reader) == [6, 1]
    assert sent[2]["nonce"] != sent[0]["nonce"]


def test_a_busy_server_is_asked_again(study: Served, worklist: Device, reader: str) -> None:
    answered: list[int] = []

    def busy_once(route: Any) -> None:
        answered.append(429)
        if len(answered) == 1:
            route.fulfill(status=429, json={"error": "Too many requests; wait a minute."})
        else:
            route.continue_()

    worklist.page.route("**/api/lock/*", busy_once)
    worklist.answer("3")
    worklist.page.wait_for_selector("#network.cut")
    assert worklist.text("#network").startswith("The server is busy. Your last answer is kept in this browser")
    worklist.arrived()
    assert answers(study, reader) == [3]


def test_a_refused_answer_can_be_given_again(study: Served, worklist: Device, reader: str) -> None:
    refusal = {"error": "The answer cannot be used."}
    worklist.page.route("**/api/lock/*", lambda route: route.fulfill(status=422, json=refusal))
    worklist.keys("3", "Enter")
    worklist.page.wait_for_selector("#hint:has-text('cannot be used')")
    worklist.ready()
    assert worklist.text("#where") == "Image 1 of 6"
    assert worklist.page.is_checked("#scale input[value='3']")
    assert not any("lock" in key for key in worklist.kept())
    worklist.page.unroute("**/api/lock/*")
    worklist.answer("4")
    worklist.arrived()
    assert answers(study, reader) == [4]


def test_an_answer_kept_over_a_reload_is_sent(study: Served, worklist: Device, reader: str) -> None:
    worklist.page.route("**/api/lock/*", lambda route: route.abort())
    worklist.answer("4")
    worklist.page.wait_for_selector("#network.cut")
    worklist.page.unroute("**/api/lock/*")
    worklist.page.reload()
    worklist.ready()
    worklist.arrived()
    assert answers(study, reader) == [4]
    assert worklist.text("#where") == "Image 2 of 6"


def test_two_windows_follow_each_other(study: Served, worklist: Device, reader: str) -> None:
    first = worklist.page
    second = worklist.watch(worklist.context.new_page())
    second.goto(f"{study.address}/read")
    worklist.page = second
    worklist.ready()
    worklist.answer("2")
    worklist.arrived()
    worklist.page = first
    assert worklist.text("#where") == "Image 1 of 6"
    worklist.keys("5", "Enter")
    first.wait_for_selector("#hint:has-text('another window')")
    assert worklist.text("#where") == "Image 2 of 6"
    worklist.ready()
    worklist.answer("3")
    worklist.arrived()
    assert answers(study, reader) == [2, 3]


def test_a_practice_answer_survives_a_cut(browser: Any, study: Served, reader: str) -> None:
    with device(browser) as other:
        begin(study, other, reader)
        other.context.set_offline(True)
        other.keys("1", "Enter")
        other.page.wait_for_selector("#network.cut")
        assert other.page.is_hidden("#feedback")
        other.context.set_offline(False)
        other.page.wait_for_selector("#feedback:not([hidden])")
        assert len(study.readings(reader, practice=True)) == 1


def test_an_answer_of_another_reader_in_this_browser_is_left_for_them(
    browser: Any, study: Served, readers: Iterator[str]
) -> None:
    reader, other = next(readers), next(readers)
    with device(browser) as shared:
        code = begin(study, shared, reader)
        skip_practice(study, shared)
        shared.arrived()
        shared.fetched(study.items(reader)[2])
        shared.page.route("**/api/lock/*", lambda route: route.abort())
        shared.answer("5")
        shared.page.wait_for_selector("#network.cut")
        shared.page.unroute("**/api/lock/*")
        shared.page.goto("about:blank")
        begin(study, shared, other)
        shared.answer("2")
        assert shared.text("#where") == "Image 1 of 6"
        assert answers(study, reader) == []
        shared.page.goto(f"{study.address}/resume")
        shared.page.fill("#code", code)
        shared.keys("Enter")
        shared.ready()
        shared.arrived()
        assert answers(study, reader) == [5]


def test_a_pause_hides_the_image_and_stops_the_clock(study: Served, worklist: Device, reader: str) -> None:
    worklist.keys("p")
    assert worklist.page.is_visible("#paused")
    assert not worklist.page.is_visible("#canvas")
    worklist.passes(600.0)
    worklist.keys("3", "Enter")  # 3 is for the image, which is not there; Enter goes on
    assert worklist.page.is_hidden("#paused")
    assert worklist.page.locator("#scale input:checked").count() == 0
    worklist.answer("6")
    worklist.arrived()
    assert study.readings(reader)[0]["seconds"] < 500.0


def test_a_pause_goes_on_after_a_reload(worklist: Device) -> None:
    worklist.keys("p")
    worklist.page.reload()
    worklist.page.wait_for_selector("#paused[open]")
    assert not worklist.page.is_visible("#canvas")
    worklist.keys("Enter")
    worklist.page.wait_for_selector("#canvas", state="visible")


def test_time_out_of_sight_is_counted(study: Served, worklist: Device, reader: str) -> None:
    hide = """hidden => { Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
        document.dispatchEvent(new Event("visibilitychange")); }"""
    worklist.page.evaluate(hide, True)
    worklist.passes(600.0)
    worklist.page.evaluate(hide, False)
    worklist.answer("6")
    worklist.arrived()
    row = study.readings(reader)[0]
    assert 600.0 <= row["hidden_seconds"] < row["seconds"]


def test_a_page_left_open_for_weeks_can_still_lock(study: Served, worklist: Device, reader: str) -> None:
    worklist.passes(40 * 86400.0)
    worklist.answer("6")
    worklist.arrived()
    assert study.readings(reader)[0]["seconds"] == 7 * 86400


def test_a_held_key_locks_one_image(study: Served, worklist: Device, reader: str) -> None:
    worklist.keys("6")
    for _ in range(5):
        worklist.page.keyboard.down("Enter")
    worklist.page.keyboard.up("Enter")
    worklist.page.wait_for_timeout(200)
    assert worklist.text("#where") == "Image 2 of 6"
    assert answers(study, reader) == [6]


def test_the_closed_study_says_so(study: Served, worklist: Device) -> None:
    (study.kit.folder / "closed.json").write_text("{}")
    worklist.keys("2", "Enter")
    worklist.page.wait_for_selector("#screen:not([hidden])")
    (study.kit.folder / "closed.json").unlink()
    assert worklist.text("#screen-title") == "This study is closed"


def test_leaving_signs_out(study: Served, worklist: Device) -> None:
    worklist.keys("p", "Tab", "Enter")
    worklist.page.wait_for_selector("#screen:not([hidden])")
    assert worklist.text("#screen-title") == "You are signed out"
    worklist.page.goto(f"{study.address}/read")
    assert worklist.text("h1") == "Please sign in"
