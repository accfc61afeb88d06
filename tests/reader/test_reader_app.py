"""A study is read from the invitation to the last image; what each reader can see, and what everybody gets told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import Browser, browsers, code_in
from worklist_factory import Kit, make_worklist

from scansynth.reader.server.app import create_app
from scansynth.reader.server.guards import HEADERS
from scansynth.reader.server.locked import close_database, export_readings
from scansynth.reader.server.worklist import BUFFERS, CLOSED


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return make_worklist(tmp_path / "worklist", readers=2, count=5, practice=2, side=16)


@pytest.fixture
def two(kit: Kit, database_url: str | None) -> Iterator[list[Browser]]:
    with browsers(create_app(kit.folder, database_url), 2) as opened:
        yield opened


def test_a_study_is_read_from_the_invitation_to_the_last_image(
    kit: Kit, two: list[Browser], database_url: str | None
) -> None:
    browser, seat = two[0], kit.worklist.readers[0]
    assert browser.get("/read").status_code == 401
    assert browser.get(f"/i/{kit.tokens['r01']}").status_code == 200
    browser.begin(kit.tokens["r01"])
    assert browser.get("/read").status_code == 200
    state = browser.state()
    assert (state["phase"], state["total"], state["practice_total"]) == ("practice", 5, 2)
    for number, place in enumerate(seat.practice):
        assert state["item"] == {"id": place.item, "position": number + 1}
        locked = browser.lock(place.item).json()
        truth = {"truth": "synthetic" if kit.truth[place.item] else "real", "nearest": False, "mask": False}
        assert locked["feedback"] == truth
        state = locked
    for number, place in enumerate(seat.sequence):
        assert (state["phase"], state["done"], state["practice_done"]) == ("reading", number, 2)
        assert state["item"] == {"id": place.item, "position": number + 1}
        following = seat.sequence[number + 1].item if number < 4 else None
        assert (state["next"] or {"id": None})["id"] == following
        pixels = browser.get(f"/api/buffer/{place.item}").content
        assert pixels == (kit.folder / BUFFERS / f"{place.buffer}.bin").read_bytes()
        assert np.frombuffer(pixels, "<u2").size == 16 * 16
        state = browser.lock(place.item, answer=number + 1).json()
        assert "feedback" not in state
    assert (state["phase"], state["done"], state["item"], state["next"]) == ("done", 5, None, None)
    export = export_readings(kit.folder, database_url)
    assert [(row.reader, row.item, row.position, row.answer) for row in export.readings] == [
        ("r01", place.item, number + 1, number + 1) for number, place in enumerate(seat.sequence)
    ]
    assert export.end.rows == 7
    assert {(row.seconds, row.hidden_seconds, row.window_changes) for row in export.readings} == {(2.5, 0.5, 2)}


def test_a_draft_comes_back_and_goes_with_the_lock(kit: Kit, two: list[Browser]) -> None:
    browser = two[0]
    browser.begin(kit.tokens["r01"])
    item = browser.state()["item"]["id"]
    for answer in (2, None, 5):
        draft = {"answer": answer, "second": None, "confidence": None, "comment": "an edge", "marks": []}
        assert browser.change("PUT", f"/api/draft/{item}", draft).status_code == 200
        assert browser.state()["draft"] == draft
    assert browser.lock(item).json()["draft"] is None
    assert browser.change("PUT", f"/api/draft/{item}", {"answer": 1}).status_code == 409


def test_going_on_elsewhere_ends_the_older_session_and_says_so(kit: Kit, two: list[Browser]) -> None:
    first, second = two
    code = first.begin(kit.tokens["r01"])
    first.read_on(3)
    typed = code.lower().replace("-", " ").replace("0", "o")
    assert second.post("/resume", data={"code": typed}).status_code == 303
    assert second.state()["done"] == 1
    told = first.get("/api/state")
    assert told.status_code == 401
    assert "another device" in told.json()["error"]
    assert "another device" in first.get("/read").text
    assert first.post("/resume", data={"code": code}).status_code == 303  # and back again
    assert first.state()["done"] == 1
    assert second.get("/api/state").status_code == 401


def test_signing_out_ends_the_session_on_the_server(kit: Kit, two: list[Browser]) -> None:
    browser = two[0]
    browser.begin(kit.tokens["r01"])
    kept = dict(browser.client.cookies)
    left = browser.request("POST", "/api/logout", headers={"x-csrf-token": browser.csrf})
    # answers that wait for the network lie in the storage, and must not go
    assert (left.status_code, left.headers["clear-site-data"]) == (200, '"cache"')
    assert not dict(browser.client.cookies)
    browser.client.cookies.update(kept)  # a copy of the cookie opens nothing
    assert browser.get("/api/state").status_code == 401


def test_the_second_question_is_asked_whole(tmp_path: Path) -> None:
    kit = make_worklist(tmp_path / "worklist", count=2, practice=0, side=16, second_question=True)
    with browsers(create_app(kit.folder)) as (browser,):
        browser.begin(kit.tokens["r01"])
        item = browser.state()["item"]["id"]
        for values in ({}, {"second": 1}, {"confidence": 1}, {"second": 4, "confidence": 1}, {"second": 0}):
            assert browser.lock(item, **values).status_code == 422
        assert browser.lock(item, second=3, confidence=2).status_code == 200
    row = export_readings(kit.folder).readings[0]
    assert (row.second, row.confidence) == (3, 2)


def test_a_closed_study_takes_nothing(kit: Kit, two: list[Browser], database_url: str | None) -> None:
    browser = two[0]
    browser.begin(kit.tokens["r01"])
    browser.read_on(4)
    item = browser.state()["item"]["id"]
    end = close_database(kit.folder, database_url)
    assert end.rows == 4
    refused = browser.lock(item)
    assert (refused.status_code, refused.json()["phase"], refused.json()["item"]) == (410, "closed", None)
    assert browser.change("PUT", f"/api/draft/{item}", {"answer": 1}).status_code == 410
    assert browser.get(f"/api/buffer/{item}").status_code == 404
    assert browser.state()["phase"] == "closed"
    assert close_database(kit.folder, database_url) == end == export_readings(kit.folder, database_url).end


def test_the_mark_of_the_closing_is_enough(kit: Kit) -> None:
    with browsers(create_app(kit.folder)) as (browser,):
        browser.begin(kit.tokens["r01"])
        item = browser.state()["item"]["id"]
        (kit.folder / CLOSED).write_text("{}")
        assert browser.lock(item).status_code == 410
        assert browser.change("PUT", f"/api/draft/{item}", {"answer": 1}).status_code == 410
        assert browser.state()["phase"] == "closed"


def test_every_answer_carries_the_same_headers(kit: Kit, two: list[Browser]) -> None:
    browser = two[0]
    browser.begin(kit.tokens["r01"])
    item = browser.state()["item"]["id"]
    asked = [
        ("GET", "/read"),
        ("GET", "/static/base.css"),
        ("GET", "/static/none.css"),
        ("GET", f"/api/buffer/{item}"),
        ("DELETE", f"/api/lock/{item}"),
        ("POST", "/api/pause"),
        ("GET", "/i/none"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
    ]
    for method, path in asked:
        answer = browser.request(method, path)
        assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS), path
        assert not {"etag", "last-modified", "server", "content-encoding"} & answer.headers.keys()
        assert answer.headers.get_list("cache-control") == ["no-store"]
    assert browser.get("/openapi.json").status_code == browser.get("/docs").status_code == 404


def test_cookies_are_out_of_reach(kit: Kit) -> None:
    for tls in (False, True):
        with browsers(create_app(kit.folder, tls=tls)) as (browser,):
            seat = kit.tokens["r02" if tls else "r01"]
            cookie = browser.post(f"/i/{seat}").headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert "path=/" in cookie
            assert "domain" not in cookie
            assert ("secure" in cookie) == cookie.startswith("__host-") == tls
            plain = browser.get("/nothing").headers  # also where nothing is
            assert ("strict-transport-security" in plain) is tls
            assert plain["cross-origin-embedder-policy"] == "require-corp"


def test_pages_load_nothing_from_elsewhere(kit: Kit, two: list[Browser]) -> None:
    browser = two[0]
    shown = [browser.get(path).text for path in (f"/i/{kit.tokens['r01']}", "/resume", "/read", "/admin", "/nothing")]
    shown.append(browser.post(f"/i/{kit.tokens['r01']}").text)
    shown.append(browser.get("/read").text)
    for page in shown:
        assert "http://" not in page.replace("http://www.w3.org/", "")
        assert "https://" not in page
        assert kit.worklist.title in page
    assert code_in(shown[-2])


def test_the_administrator_sees_how_much_and_never_what(kit: Kit, database_url: str | None) -> None:
    """Two studies that differ in every answer and in nothing else look the same to the administrator."""
    seen = []
    with browsers(create_app(kit.folder, database_url), 3) as (reader, other, administrator):
        assert administrator.get("/api/admin").status_code == 401
        assert administrator.post("/admin", data={"token": "wrong"}).status_code == 403
        assert administrator.post("/admin", data={"token": kit.administrator}).status_code == 303
        assert administrator.get("/admin").status_code == 200
        for browser, name, answer in ((reader, "r01", 1), (other, "r02", 6)):
            browser.begin(kit.tokens[name])
            browser.read_on(4, answer=answer)
            item = browser.state()["item"]["id"]
            browser.change("PUT", f"/api/draft/{item}", {"answer": answer})
        told = administrator.get("/api/admin").json()
        assert not administrator.get("/api/admin").text.count("answer")
        assert reader.get("/api/admin").status_code == 401  # a reader is no administrator
        assert administrator.get("/api/state").status_code == 401  # and the other way round
    allowed = {
        "reader",
        "state",
        "withdrawn",
        "opened",
        "last_seen",
        "practice_done",
        "practice_total",
        "done",
        "total",
    }
    allowed |= {"first_done", "first_total", "screen"}
    for row in told["readers"]:
        assert row.keys() == allowed | {"finished"}
        seen.append({key: row[key] for key in row if key not in {"reader", "opened", "last_seen"}})
    assert seen[0] == seen[1]
    assert (seen[0]["done"], seen[0]["practice_done"], seen[0]["finished"]) == (2, 2, False)


def test_many_requests_at_once_are_answered(kit: Kit, two: list[Browser]) -> None:
    browser = two[0]
    browser.begin(kit.tokens["r01"])

    async def ask() -> list[int]:
        found = await asyncio.gather(*(browser.client.get("/api/state") for _ in range(60)))
        return [answer.status_code for answer in found]

    assert set(browser.loop.run_until_complete(ask())) == {200}
